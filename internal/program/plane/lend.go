package plane

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build"
	controller "plimsoll.dev/plimsoll/internal/controller/build"
	"plimsoll.dev/plimsoll/internal/controller/secrets"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site"
	"plimsoll.dev/plimsoll/internal/source"
)

// lend gives the build what its service account may use, and what takes it back afterwards.
func (p *Plane) lend(job controller.Job, r *site.BuildRequest) (end func(), err error) {
	r.Settings.Environment = map[string]string{}
	for name, value := range job.Secrets.Environment {
		r.Settings.Environment[name] = string(value)
	}
	for _, b := range job.Secrets.Bindings {
		files := map[string][]byte{}
		for name, text := range b.Files {
			files[name] = []byte(text)
		}
		r.Settings.Bindings = append(r.Settings.Bindings, build.Binding{Name: b.Name, Files: files})
	}
	r.Registries = p.registries(job.Secrets.Logins)
	fetcher := source.Fetcher{Images: r.Registries, Client: p.outward(), Agent: p.site.Agent()}
	location, end := r.Location, func() {}
	if job.Image.Spec.Source.Artifact == nil {
		if location, fetcher.Env, end, err = lendLogin(job.Secrets.Logins, r.Location); err != nil {
			return nil, err
		}
	}
	from := r.Source
	r.Fetch = func(ctx context.Context, dir string) (artifact.Source, error) {
		if err := p.admitSource(ctx, r.Location); err != nil {
			return artifact.Source{}, err
		}
		return fetcher.Fetch(ctx, location, from, dir)
	}
	return end, nil
}

// registries are the ways to registries of one service account: its own logins, and nobody else's.
// The controllers' own are for what the administrators declare.
func (p *Plane) registries(of secrets.Logins) *oci.Registries {
	lent := *p.site.Registries
	lent.Keys, lent.Remote = logins{of}, p.way()
	return &lent
}

// outward downloads archives that Images name.
func (p *Plane) outward() *http.Client { return &http.Client{Transport: p.way()} }

// way is how servers are reached that Images name.
func (p *Plane) way() http.RoundTripper {
	if p.lent != nil {
		return p.lent
	}
	return outside
}

// logins is an authn.Keychain of a service account.
type logins struct{ secrets.Logins }

// Resolve implements authn.Keychain.
func (l logins) Resolve(target authn.Resource) (authn.Authenticator, error) {
	repository := strings.TrimPrefix(target.String(), target.RegistryStr()+"/")
	login, ok := l.Registry(target.RegistryStr(), repository)
	if !ok {
		return authn.Anonymous, nil
	}
	config := authn.AuthConfig{Username: login.Username, Password: string(login.Password), IdentityToken: string(login.Token)}
	return authn.FromConfig(config), nil
}

// gitEnv is the environment of git for an Image: nothing of this process that is a login, or would
// bring git to one. What is left says how the network is reached.
func gitEnv() []string {
	env := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		switch name {
		case "SSH_AUTH_SOCK", "GIT_ASKPASS", "GIT_SSH", "GIT_SSH_COMMAND", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "KUBECONFIG":
			return true
		}
		return strings.HasPrefix(name, "PLIMSOLL_") || strings.HasPrefix(name, "GIT_CONFIG")
	})
	// No file of this process's user: neither settings nor a .netrc. An empty helper takes back those
	// of the system's settings (git-config(1), "credential.helper").
	return append(env, "HOME="+os.DevNull, "GIT_CONFIG_GLOBAL="+os.DevNull,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=credential.helper", "GIT_CONFIG_VALUE_0=")
}

// sshCommand is ssh as git is to call it: without the settings, keys and agent of this process's
// user, and with what is lent. It wants to know the server already, as that user does.
func sshCommand(lent ...string) string {
	own := []string{"ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentityAgent=none", "-o", "IdentitiesOnly=yes", "-o", "GSSAPIAuthentication=no"}
	if len(lent) == 0 {
		own = append(own, "-o", "PubkeyAuthentication=no")
	}
	return "GIT_SSH_COMMAND=" + strings.Join(append(own, lent...), " ")
}

// lendLogin gives the location with the login that the service account has for it, and git's
// environment. end removes what was written for it.
func lendLogin(all secrets.Logins, location string) (with string, env []string, end func(), err error) {
	env = gitEnv()
	nothing := func() {}
	login, ok := all.ForGit(location)
	if !ok {
		return location, append(env, sshCommand()), nothing, nil
	}
	if login.Key != "" {
		command, end, err := lendKey(login)
		return location, append(env, command), end, err
	}
	u, err := url.Parse(location)
	if err != nil {
		return "", nil, nothing, fault.Newf(fault.Usage, "read source location", location, "it is not a URL")
	}
	u.User = url.UserPassword(login.Username, string(login.Password))
	return u.String(), env, nothing, nil
}

// lendKey writes an SSH key where ssh reads it, in a folder of its own.
func lendKey(login secrets.GitLogin) (command string, end func(), err error) {
	dir, err := os.MkdirTemp("", "plimsoll-ssh-*")
	if err != nil {
		return "", func() {}, fault.New(fault.Failed, "lend a key to ssh", "", err)
	}
	end = func() { _ = os.RemoveAll(dir) }
	options := []string{"-i", filepath.Join(dir, "key")}
	files := map[string]string{"key": strings.TrimRight(string(login.Key), "\n") + "\n"}
	if login.Known != "" {
		files["known_hosts"] = login.Known + "\n"
		options = append(options, "-o", "UserKnownHostsFile="+filepath.Join(dir, "known_hosts"), "-o", "StrictHostKeyChecking=yes")
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			end()
			return "", func() {}, fault.New(fault.Failed, "lend a key to ssh", "", err)
		}
	}
	return sshCommand(options...), end, nil
}

// at gives the reference at a digest.
func at(ref oci.Reference, text string) (oci.Reference, error) {
	digest, err := v1.NewHash(text)
	if err != nil {
		return ref, fault.New(fault.Failed, "read digest", ref.String(), err)
	}
	return ref.At(digest), nil
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
