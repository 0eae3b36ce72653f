// Package mirror takes images of registries outside and gives them to this one, under control:
// what was signed there is verified before anything is copied, all that is known of an image
// comes along, and a tag names it only once the site has accounted for it. Imports do so on
// demand or on a schedule, proxies when somebody asks for what is not here.
package mirror

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/sync/singleflight"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry/mirror/upstream"
)

// Options says what a mirror works with.
type Options struct {
	// Registries has the store that images go to, and the name of this program. Required.
	Registries *oci.Registries

	// Dir keeps what is known of imports between runs. Required for imports.
	Dir string

	// Verify holds what the reference names in the session's registry against what is wanted.
	// Required where anything is. A fault of kind Denied says that it is not so.
	Verify func(ctx context.Context, session *oci.Session, ref oci.Reference, want v1alpha1.UpstreamVerification) error

	// Account lets the site look into what is now in the store, by its digest: contents,
	// malware, verdict. A fault of kind Denied leaves it without a tag. Nil: nobody looks.
	Account func(ctx context.Context, ref oci.Reference) error

	// Named hears of each tag that names something else here by now, and must be quick. Nil:
	// nobody does.
	Named func(repository, tag, digest string)

	// Ended hears what each run of an import came to, a dry one left out; the error is nil when
	// every tag is as it should be. Nil: nobody does.
	Ended func(r *Report, err error)

	// Transport carries requests to registries outside. Nil: upstream.New with its defaults.
	Transport http.RoundTripper

	// Getenv gives the variables in which passwords are. Nil: there are none.
	Getenv func(string) string

	// Logger hears what happens without anybody waiting for it. Nil: nothing is logged.
	Logger *slog.Logger
}

// Mirror takes images in. It is safe for concurrent use.
type Mirror struct {
	o     Options
	log   *slog.Logger
	blobs singleflight.Group // on their way, by repository and digest
}

// New gives a mirror that has asked nobody yet.
func New(o Options) *Mirror {
	if o.Transport == nil {
		o.Transport = upstream.New(upstream.Options{})
	}
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	if o.Named == nil {
		o.Named = func(string, string, string) {}
	}
	if o.Ended == nil {
		o.Ended = func(*Report, error) {}
	}
	m := &Mirror{o: o, log: o.Logger}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	return m
}

// session opens a session with registries outside.
func (m *Mirror) session(source oci.Reference, login *v1alpha1.UpstreamCredentials) *oci.Session {
	registries := &oci.Registries{Agent: m.o.Registries.Agent, Keys: m.o.Registries.Keys, Remote: m.o.Transport}
	if login != nil {
		registries.Keys = keychain{registry: source.Context().RegistryStr(), login: *login, getenv: m.o.Getenv}
	}
	return registries.Session()
}

// keychain has what one registry alone is told.
type keychain struct {
	registry string
	login    v1alpha1.UpstreamCredentials
	getenv   func(string) string
}

// Resolve implements authn.Keychain.
func (k keychain) Resolve(to authn.Resource) (authn.Authenticator, error) {
	if to.RegistryStr() != k.registry {
		return authn.Anonymous, nil
	}
	password, err := k.password()
	if err != nil {
		return nil, err
	}
	return &authn.Basic{Username: k.login.Username, Password: password}, nil
}

func (k keychain) password() (string, error) {
	const what = "read credentials"
	name, inVariable := strings.CutPrefix(k.login.Password, "env://")
	if inVariable {
		if password := k.getenv(name); password != "" {
			return password, nil
		}
		return "", fault.Newf(fault.Usage, what, name, "the variable is not set").WithHint("set it to the password for " + k.registry)
	}
	text, err := os.ReadFile(k.login.Password)
	if err != nil {
		return "", fault.New(fault.Usage, what, k.login.Password, err).WithHint("put the password for " + k.registry + " there")
	}
	return strings.TrimSpace(string(text)), nil
}
