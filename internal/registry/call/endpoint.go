// Package call takes a request of the registry API and gives what it names, what it needs
// to be allowed, who asks, and what became of it. Everything that stands before a store
// speaks in its terms.
package call

import (
	"net/http"
	"regexp"
	"strings"
)

// Kind is what an endpoint is about.
type Kind string

// The kinds, by OCI distribution-spec 1.1, "Endpoints". An endpoint that names nothing is
// KindOther: "/v2/" itself.
const (
	KindManifest  Kind = "manifests"
	KindBlob      Kind = "blobs"
	KindUpload    Kind = "uploads"
	KindTags      Kind = "tags"
	KindReferrers Kind = "referrers"
	KindCatalog   Kind = "catalog"
	KindOther     Kind = ""
)

// Endpoint is what a request's path names.
type Endpoint struct {
	Kind       Kind
	Repository string
	Reference  string // a tag, a digest or an upload's id; may be empty
}

// repositoryName is <name> of OCI distribution-spec 1.1, "Pulling Manifests".
var repositoryName = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)

// maxName keeps a repository's path within what filesystems and the distribution project's
// reference package take.
const maxName = 255

// IsRepository says whether a name is one of a repository.
func IsRepository(name string) bool { return len(name) <= maxName && repositoryName.MatchString(name) }

// Steps is the repository of the images that build steps run in. Whoever wrote there would run his own
// code in the steps of others: those who run them write it past every door, and nobody else does.
const Steps = "plimsoll/steps"

// Reserved says whether a repository is Plimsoll's own: nobody is let write there.
func Reserved(repository string) bool {
	return repository == Steps || strings.HasPrefix(repository, Steps+"/")
}

// Parse reads a path. ok is false where it is no endpoint. The repository's name is not yet
// checked. A path is read from its end: a repository may be named like an endpoint.
func Parse(path string) (e Endpoint, ok bool) {
	switch path {
	case "/v2", "/v2/":
		return Endpoint{}, true
	case "/v2/_catalog":
		return Endpoint{Kind: KindCatalog}, true
	}
	rest, ok := strings.CutPrefix(path, "/v2/")
	cut := strings.LastIndexByte(rest, '/')
	if !ok || cut < 0 {
		return Endpoint{}, false
	}
	head, ref := rest[:cut], rest[cut+1:]
	if repo, ok := strings.CutSuffix(head, "/blobs/uploads"); ok && repo != "" {
		return Endpoint{KindUpload, repo, ref}, true
	}
	cut = strings.LastIndexByte(head, '/')
	if cut <= 0 || ref == "" {
		return Endpoint{}, false
	}
	e = Endpoint{Kind(head[cut+1:]), head[:cut], ref}
	switch e.Kind {
	case KindBlob:
		if ref == "uploads" {
			e.Kind, e.Reference = KindUpload, ""
		}
		return e, true
	case KindManifest, KindReferrers:
		return e, true
	case KindTags:
		return e, ref == "list"
	}
	return Endpoint{}, false
}

// Need is one thing that whoever calls must be allowed.
type Need struct {
	Action     Action
	Repository string // "" for what is no repository's
}

// Needs gives all that a request needs. A mount needs to pull from where the blob is.
func (e Endpoint) Needs(r *http.Request) []Need {
	switch {
	case e.Kind == KindOther:
		return nil
	case e.Kind == KindCatalog:
		return []Need{{Action: ActionList}}
	case r.Method == http.MethodDelete && e.Kind != KindUpload:
		return []Need{{ActionDelete, e.Repository}}
	case e.Kind == KindUpload:
		needs := []Need{{ActionPush, e.Repository}}
		if from := r.URL.Query().Get("from"); r.Method == http.MethodPost && r.URL.Query().Get("mount") != "" && from != "" && from != e.Repository {
			needs = append(needs, Need{ActionPull, from})
		}
		return needs
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return []Need{{ActionPull, e.Repository}}
	}
	return []Need{{ActionPush, e.Repository}}
}
