package webhook

import (
	"encoding/json"
	"mime"
	"net/url"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// push is what the three say alike of a push: GitHub ("push" event payload) and Gitea, which has
// its form, in "repository"; GitLab ("Push events") in "project".
type push struct {
	Ref        string `json:"ref"` // "refs/heads/main", "refs/tags/v1"
	Repository place  `json:"repository"`
	Project    place  `json:"project"`
}

// place is a repository.
type place struct {
	CloneURL      string `json:"clone_url"`
	SSHURL        string `json:"ssh_url"`
	HTMLURL       string `json:"html_url"`
	GitHTTPURL    string `json:"git_http_url"`
	GitSSHURL     string `json:"git_ssh_url"`
	DefaultBranch string `json:"default_branch"`
}

// parse reads the body of a webhook: JSON, or a form with JSON in "payload". sound is false for
// what is neither. A webhook that is no push has no Ref.
func parse(contentType string, body []byte) (p push, sound bool) {
	if kind, _, _ := mime.ParseMediaType(contentType); kind == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return push{}, false
		}
		body = []byte(form.Get("payload"))
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return push{}, false
	}
	return p, true
}

// repositories gives the repository in the form of the index, each of its addresses once.
func (p push) repositories() []string {
	var out []string
	for _, at := range []place{p.Repository, p.Project} {
		for _, text := range []string{at.CloneURL, at.SSHURL, at.HTMLURL, at.GitHTTPURL, at.GitSSHURL} {
			if at := repository(text); at != "" && !slices.Contains(out, at) {
				out = append(out, at)
			}
		}
	}
	return out
}

// bears says that the push bears on the Image: it is of the branch or tag that this follows. What
// does not say its ref may be of any.
func (p push) bears(i *v1alpha1.Image) bool {
	git := i.Spec.Source.Git
	if git == nil || p.Ref == "" {
		return true
	}
	revision := git.Revision
	if revision == "" {
		revision = p.Repository.DefaultBranch + p.Project.DefaultBranch // one of them
	}
	return revision == "" || slices.Contains([]string{revision, "refs/heads/" + revision, "refs/tags/" + revision}, p.Ref)
}

// repository gives a git URL as "host/path": the same for all ways to reach it. It decides only
// whose secret a webhook is held against.
func repository(text string) string {
	host, path := "", ""
	if strings.Contains(text, "://") {
		u, err := url.Parse(text)
		if err != nil {
			return ""
		}
		host, path = u.Hostname(), u.Path
	} else {
		at, rest, found := strings.Cut(text, ":")
		if !found {
			return ""
		}
		host, path = at[strings.LastIndexByte(at, '@')+1:], rest
	}
	path = strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	if host == "" || path == "" {
		return ""
	}
	return strings.ToLower(host + "/" + path)
}
