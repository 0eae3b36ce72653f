package plane

import (
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/build"
	controller "plimsoll.dev/plimsoll/internal/controller/build"
	"plimsoll.dev/plimsoll/internal/controller/secrets"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site"
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
	r.Registries = p.registries(job)
	if job.Image.Spec.Source.Artifact != nil {
		return func() {}, nil
	}
	r.Location, r.GitEnv, end, err = lendLogin(job.Secrets.Logins, r.Location)
	return end, err
}

// registries are the ways to registries of those jobs: their own logins, and nobody else's. The
// controllers' own are for what the administrators declare.
func (p *Plane) registries(jobs ...controller.Job) *oci.Registries {
	lent := *p.site.Registries
	keys := logins{}
	for _, job := range jobs {
		keys = append(keys, job.Secrets.Logins)
	}
	lent.Keys = keys
	return &lent
}

// logins is an authn.Keychain of service accounts.
type logins []secrets.Logins

// Resolve implements authn.Keychain.
func (l logins) Resolve(target authn.Resource) (authn.Authenticator, error) {
	repository := strings.TrimPrefix(target.String(), target.RegistryStr()+"/")
	for _, each := range l {
		if login, ok := each.Registry(target.RegistryStr(), repository); ok {
			config := authn.AuthConfig{Username: login.Username, Password: string(login.Password), IdentityToken: string(login.Token)}
			return authn.FromConfig(config), nil
		}
	}
	return authn.Anonymous, nil
}

// lendLogin gives the location with the login that the service account has for it, and git's
// environment. end removes what was written for it.
func lendLogin(all secrets.Logins, location string) (with string, env []string, end func(), err error) {
	env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull) // no credential helpers of the controllers' own
	nothing := func() {}
	login, ok := all.ForGit(location)
	if !ok {
		return location, env, nothing, nil
	}
	if login.Key != "" {
		command, end, err := lendKey(login)
		return location, append(env, "GIT_SSH_COMMAND="+command), end, err
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
	options := []string{"ssh", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", filepath.Join(dir, "key")}
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
	return strings.Join(options, " "), end, nil
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
