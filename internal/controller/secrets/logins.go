package secrets

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"plimsoll.dev/plimsoll/internal/fault"
)

// RegistryLogin is one of a registry, or of the repositories below a path of it.
type RegistryLogin struct {
	Registry string // host, with its port where it has one
	Path     string // "team": only repositories below it; "" is all
	Username string
	Password Hidden
	Token    Hidden // an identity or bearer token, in the place of both
}

// GitLogin is one of a git server, or of what is below a path of it.
type GitLogin struct {
	URL      string // as the annotation has it: "https://git.example.com/team", "git@git.example.com"
	Username string
	Password Hidden
	Key      Hidden // an SSH private key, in the place of both
	Known    string // the server's lines of known_hosts; "" when nobody said
}

// AnnotationGit is on a secret of type basic-auth or ssh-auth: the git server, or the path of it,
// that it is for. An archive's server is named likewise.
const AnnotationGit = "plimsoll.dev/git"

// logins reads all logins that the account lists. What is listed and not there is no mistake of
// the Image's: whoever needs it is refused where it is needed.
func (a *account) logins(ctx context.Context) (Logins, error) {
	var out Logins
	for _, name := range a.listed {
		s, err := a.secret(ctx, name)
		if err != nil {
			return Logins{}, err
		}
		if s == nil {
			continue
		}
		switch s.Type {
		case corev1.SecretTypeDockerConfigJson:
			logins, err := parseDocker(s.Data[corev1.DockerConfigJsonKey])
			if err != nil {
				return Logins{}, a.unreadable(name)
			}
			out.Registries = append(out.Registries, logins...)
		case corev1.SecretTypeDockercfg:
			logins, err := parseDocker([]byte(`{"auths":` + string(s.Data[corev1.DockerConfigKey]) + `}`))
			if err != nil {
				return Logins{}, a.unreadable(name)
			}
			out.Registries = append(out.Registries, logins...)
		case corev1.SecretTypeBasicAuth:
			if at := s.Annotations[AnnotationGit]; at != "" {
				user, password := s.Data[corev1.BasicAuthUsernameKey], s.Data[corev1.BasicAuthPasswordKey]
				out.Git = append(out.Git, GitLogin{URL: at, Username: string(user), Password: Hidden(password)})
			}
		case corev1.SecretTypeSSHAuth:
			if at := s.Annotations[AnnotationGit]; at != "" {
				out.Git = append(out.Git, GitLogin{URL: at, Key: Hidden(s.Data[corev1.SSHAuthPrivateKey]), Known: string(s.Data["known_hosts"])})
			}
		}
	}
	return out, nil
}

// unreadable says so without a word of what is in it.
func (a *account) unreadable(name string) error {
	return fault.Newf(fault.Usage, "read secret", a.namespace+"/"+name, "it is not in the form of docker's config.json").
		WithHint("make it with kubectl create secret docker-registry")
}

// parseDocker reads docker's config.json.
func parseDocker(text []byte) ([]RegistryLogin, error) {
	var config struct {
		Auths map[string]struct {
			Username      string `json:"username"`
			Password      Hidden `json:"password"`
			Auth          string `json:"auth"`
			IdentityToken Hidden `json:"identitytoken"`
			RegistryToken Hidden `json:"registrytoken"`
		} `json:"auths"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, err
	}
	var out []RegistryLogin
	for at, auth := range config.Auths {
		l := RegistryLogin{Username: auth.Username, Password: auth.Password, Token: cmp.Or(auth.RegistryToken, auth.IdentityToken)}
		l.Registry, l.Path = registryOf(at)
		if auth.Auth != "" {
			decoded, err := base64.StdEncoding.DecodeString(auth.Auth)
			if err != nil {
				return nil, err
			}
			user, password, _ := strings.Cut(string(decoded), ":")
			l.Username, l.Password = user, Hidden(strings.TrimRight(password, "\x00"))
		}
		if l.Registry != "" {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b RegistryLogin) int {
		return cmp.Or(cmp.Compare(a.Registry, b.Registry), cmp.Compare(a.Path, b.Path))
	})
	return out, nil
}

// registryOf gives host and path of a key of docker's config.json: "registry.example.com/team",
// "https://index.docker.io/v1/".
func registryOf(key string) (host, path string) {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, path, _ = strings.Cut(strings.TrimRight(key, "/"), "/")
	if path == "v1" || path == "v2" {
		path = ""
	}
	return strings.ToLower(host), path
}

// Registry gives the login for a repository of a registry: that of the longest path.
func (l Logins) Registry(host, repository string) (RegistryLogin, bool) {
	best, found := RegistryLogin{}, false
	for _, login := range l.Registries {
		if login.Registry == strings.ToLower(host) && below(repository, login.Path) && (!found || len(login.Path) > len(best.Path)) {
			best, found = login, true
		}
	}
	return best, found
}

// ForGit gives the login for a git URL. It is of the same protocol and host and of the longest
// path: what is for https://git.example.com is sent to nobody else.
func (l Logins) ForGit(location string) (GitLogin, bool) {
	want, ok := parseGit(location)
	if !ok {
		return GitLogin{}, false
	}
	best, longest := GitLogin{}, -1
	for _, login := range l.Git {
		at, ok := parseGit(login.URL)
		if ok && at.protocol == want.protocol && at.host == want.host && below(want.path, at.path) && len(at.path) > longest {
			best, longest = login, len(at.path)
		}
	}
	return best, longest >= 0
}

// below says that the path is the folder, or in it.
func below(path, folder string) bool {
	return folder == "" || path == folder || strings.HasPrefix(path, folder+"/")
}

// address is a git URL taken apart.
type address struct{ protocol, host, path string }

// parseGit reads a git URL, or the scp-like form "git@host:path", whose path may be missing.
func parseGit(text string) (address, bool) {
	if !strings.Contains(text, "://") {
		host, path, _ := strings.Cut(text, ":")
		_, host, named := strings.Cut(host, "@")
		if !named || host == "" || strings.ContainsAny(host, "/@") {
			return address{}, false
		}
		return address{"ssh", strings.ToLower(host), trimGit(path)}, true
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return address{}, false
	}
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "ssh":
		host = strings.TrimSuffix(host, ":22")
	default:
		return address{}, false
	}
	return address{u.Scheme, host, trimGit(u.Path)}, true
}

func trimGit(path string) string { return strings.TrimSuffix(strings.Trim(path, "/"), ".git") }
