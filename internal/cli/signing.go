package cli

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/root"

	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/evidence/facts"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/keys"
	"plimsoll.dev/plimsoll/internal/manifest"
)

// signing is what signing.yaml in the home says: who signs here, and whom one believes.
// docs/signing.md describes it.
type signing struct {
	// Names of keys; "" are the home's own, which are made when they are first needed.
	Images       string `json:"images,omitempty"`
	Attestations string `json:"attestations,omitempty"`

	Keyless *keyless `json:"keyless,omitempty"` // instead of keys

	Trust trusted `json:"trust,omitzero"`

	path string
}

// keyless are the services that sign for an identity.
type keyless struct {
	Fulcio       string `json:"fulcio"`                 // URL of the certificate authority
	Rekor        string `json:"rekor,omitempty"`        // URL of the transparency log
	RekorVersion uint32 `json:"rekorVersion,omitempty"` // 1 or 2; 0 is 1
	Timestamp    string `json:"timestamp,omitempty"`    // URL of the timestamp authority

	// Token is where the identity token is: env://NAME, or the path of a file that
	// something keeps fresh. "" is env://SIGSTORE_ID_TOKEN.
	Token string `json:"token,omitempty"`
}

// trusted is whom one believes beside one's own keys.
type trusted struct {
	Images       []string   `json:"images,omitempty"`       // names of public keys
	Attestations []string   `json:"attestations,omitempty"` // the same
	Identities   []identity `json:"identities,omitempty"`
	Root         string     `json:"root,omitempty"` // path of a Sigstore trusted root

	// Builders are those that provenance may name; none is plimsoll itself at SLSA build level 1.
	Builders []trustedBuilder `json:"builders,omitempty"`
}

// trustedBuilder is a builder, and how far its builds are to be trusted.
type trustedBuilder struct {
	ID    string   `json:"id"`           // runDetails.builder.id of its provenance
	By    []string `json:"by,omitempty"` // who may speak for it, as "plimsoll verify" names them; none is anybody who is trusted
	Level int      `json:"level"`        // SLSA build level, 0 to 3
}

// identity is whom a certificate names.
type identity struct {
	Issuer        string `json:"issuer,omitempty"`
	IssuerRegexp  string `json:"issuerRegexp,omitempty"`
	Subject       string `json:"subject,omitempty"`
	SubjectRegexp string `json:"subjectRegexp,omitempty"`
}

// signing reads signing.yaml; there need be none.
func (env *Env) signing() (*signing, error) {
	s := &signing{path: filepath.Join(env.Home, "signing.yaml")}
	if _, err := os.Stat(s.path); errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	text, err := manifest.ReadFile(s.path)
	if err != nil {
		return nil, err
	}
	if _, err := manifest.Decode(text, "signing configuration", s); err != nil {
		return nil, fault.New(fault.Usage, "read signing configuration", s.path, err).WithHint("docs/signing.md shows what the file may say")
	}
	return s, nil
}

// builders gives those whose provenance counts; nil are those that always do.
func (s *signing) builders() ([]facts.Builder, error) {
	var out []facts.Builder
	for _, b := range s.Trust.Builders {
		if b.ID == "" || b.Level < 0 || b.Level > 3 {
			return nil, fault.Newf(fault.Usage, "read signing configuration", s.path, fmt.Sprintf("builder %q: want an id, and a level from 0 to 3", b.ID)).
				WithHint("docs/signing.md shows what the file may say")
		}
		out = append(out, facts.Builder(b))
	}
	return out, nil
}

// at gives a key's name as seen from here: paths in the file are relative to it.
func (s *signing) at(name string) string {
	if strings.Contains(name, ":") || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(s.path), name)
}

// keyless gives the services that sign here; nil where keys do.
func (env *Env) keyless() (*attest.Keyless, error) {
	s, err := env.signing()
	if err != nil || s.Keyless == nil {
		return nil, err
	}
	k := s.Keyless
	return &attest.Keyless{
		Fulcio: k.Fulcio, Rekor: k.Rekor, RekorVersion: k.RekorVersion, TSA: k.Timestamp,
		Token: func(context.Context) (string, error) { return env.identityToken(s, k.Token) },
	}, nil
}

// identityToken reads the token that proves who signs. It is read each time: they live for
// minutes.
func (env *Env) identityToken(s *signing, place string) (string, error) {
	name, inVariable := strings.CutPrefix(cmp.Or(place, "env://SIGSTORE_ID_TOKEN"), "env://")
	if inVariable {
		if token := env.Getenv(name); token != "" {
			return token, nil
		}
		return "", fault.Newf(fault.Usage, "read identity token", name, "the variable is not set").
			WithHint("set it, or say in " + s.path + " where the token is")
	}
	token, err := os.ReadFile(s.at(name))
	if err != nil {
		return "", fault.New(fault.Usage, "read identity token", name, err)
	}
	return strings.TrimSpace(string(token)), nil
}

// signers opens the keys that sign here: those of the file, else the home's own; none
// where signing is keyless.
func (env *Env) signers(ctx context.Context) (attest.Signers, error) {
	s, err := env.signing()
	if err != nil || s.Keyless != nil {
		return attest.Signers{}, err
	}
	if s.Images == "" && s.Attestations == "" {
		pair, err := env.keychain().Default(ctx, env.Home)
		return attest.Signers{Images: pair.Images, Attestations: pair.Attestations}, err
	}
	var out attest.Signers
	for name, into := range map[string]*attest.Signer{s.Images: &out.Images, s.Attestations: &out.Attestations} {
		if name == "" {
			continue // the other signs both
		}
		signer, err := env.keychain().Signer(ctx, s.at(name))
		if err != nil {
			return attest.Signers{}, err
		}
		*into = signer
	}
	return out, nil
}

// trustOptions are the flags that say whom to believe, instead of what the home says.
type trustOptions struct {
	keys, attestationKeys []string
	identity              attest.Identity
	root                  string
}

func (o trustOptions) given() bool {
	return len(o.keys)+len(o.attestationKeys) > 0 || o.identity != (attest.Identity{})
}

// check refuses flags that name half of somebody.
func (o trustOptions) check() error {
	i := o.identity
	issuer, subject := i.Issuer+i.IssuerRegexp, i.Subject+i.SubjectRegexp
	switch {
	case len(o.attestationKeys) > 0 && len(o.keys) == 0 && i == (attest.Identity{}):
		return fault.Newf(fault.Usage, "read flags", "--attestation-key", "nothing says who signs images").
			WithHint("name that key with --key; without --attestation-key it counts for attestations too")
	case issuer != "" && subject == "":
		return fault.Newf(fault.Usage, "read flags", "--issuer", "without a subject it would be anybody whom that issuer knows").
			WithHint("name the identity with --subject or --subject-regexp")
	case subject != "" && issuer == "":
		return fault.Newf(fault.Usage, "read flags", "--subject", "without an issuer it would be whoever anybody calls so").
			WithHint("name who issued the identity with --issuer or --issuer-regexp")
	}
	return nil
}

// trust gives whom the flags name; without any, the home's own keys and those that
// signing.yaml trusts.
func (env *Env) trust(ctx context.Context, o trustOptions) (attest.Trust, error) {
	if err := o.check(); err != nil {
		return attest.Trust{}, err
	}
	s, err := env.signing()
	if err != nil {
		return attest.Trust{}, err
	}
	var t attest.Trust
	if o.given() {
		t, err = env.trustNamed(ctx, o)
	} else {
		t = env.trustConfigured(ctx, s)
	}
	if err != nil {
		return t, err
	}
	if len(t.Images.Keys)+len(t.Images.Identities) == 0 {
		return t, fault.New(fault.Usage, "verify", "", errNobody).
			WithHint("name a public key with --key, or keys and identities in " + s.path)
	}
	path := o.root
	if path == "" && s.Trust.Root != "" {
		path = s.at(s.Trust.Root)
	}
	if path != "" {
		if t.Root, err = root.NewTrustedRootFromPath(path); err != nil {
			return t, fault.New(fault.Usage, "read trusted root", path, err).WithHint("it is a trusted_root.json of Sigstore")
		}
	}
	return t, nil
}

// trustNamed gives whom the flags name: all of them, or an error.
func (env *Env) trustNamed(ctx context.Context, o trustOptions) (t attest.Trust, err error) {
	if t.Images.Keys, err = env.publicKeys(ctx, o.keys); err != nil {
		return t, err
	}
	if t.Attestations.Keys, err = env.publicKeys(ctx, o.attestationKeys); err != nil {
		return t, err
	}
	if o.identity != (attest.Identity{}) {
		t.Images.Identities = []attest.Identity{o.identity}
		t.Attestations.Identities = t.Images.Identities
	}
	return t, nil
}

// trustConfigured gives whom the home believes. A key that cannot be read is said to be so,
// and takes nobody's trust but its own.
func (env *Env) trustConfigured(ctx context.Context, s *signing) attest.Trust {
	images, attestations := env.ownKeys(s)
	for _, name := range s.Trust.Images {
		images = append(images, s.at(name))
	}
	for _, name := range s.Trust.Attestations {
		attestations = append(attestations, s.at(name))
	}
	var t attest.Trust
	t.Images.Keys, t.Attestations.Keys = env.readableKeys(ctx, images), env.readableKeys(ctx, attestations)
	for _, i := range s.Trust.Identities {
		t.Images.Identities = append(t.Images.Identities, attest.Identity(i))
	}
	t.Attestations.Identities = t.Images.Identities
	// Else those of images would stand in for them.
	t.Attestations.None = len(attestations) > 0 && len(t.Attestations.Keys) == 0
	return t
}

// readableKeys gives those of the keys that can be read, and says once which cannot.
func (env *Env) readableKeys(ctx context.Context, names []string) []attest.Key {
	var out []attest.Key
	for _, name := range names {
		read, err := env.publicKeys(ctx, []string{name})
		if err != nil && !env.unread[name] {
			fmt.Fprintf(env.Err, "warning: what this key signed counts as not verified: %s\n", visible(err.Error()))
			if env.unread == nil {
				env.unread = map[string]bool{}
			}
			env.unread[name] = true
		}
		out = append(out, read...)
	}
	return out
}

// errNobody says that neither this home nor its user names anybody to believe, which is no
// failure where that is not asked for.
var errNobody = errors.New("nobody is trusted here")

// trustOfHome is trust without flags for those who can do without: nobody, where nobody is
// named or the configuration cannot be read. The latter is said, for then all evidence seems to
// be nobody's.
func (env *Env) trustOfHome(ctx context.Context) attest.Trust {
	t, err := env.trust(ctx, trustOptions{})
	if err == nil {
		return t
	}
	if !errors.Is(err, errNobody) {
		fmt.Fprintf(env.Err, "warning: nobody is believed, and all evidence counts as not verified: %s\n", visible(err.Error()))
	}
	return attest.Trust{}
}

// ownKeys names the public keys that this home signs with.
func (env *Env) ownKeys(s *signing) (images, attestations []string) {
	if s.Images != "" || s.Attestations != "" {
		return s.own(s.Images, s.Attestations), s.own(s.Attestations, s.Images)
	}
	for name, into := range map[string]*[]string{"images.key": &images, "attestations.key": &attestations} {
		path := publicHalf(filepath.Join(env.Home, "keys", name))
		if exists(path) {
			*into = []string{path}
		}
	}
	return images, attestations
}

// own names the public half of the first of the keys that is set.
func (s *signing) own(names ...string) []string {
	for _, name := range names {
		switch {
		case name == "":
			continue
		case strings.Contains(name, ":"): // the service or variable tells it
			return []string{name}
		}
		return []string{publicHalf(s.at(name))}
	}
	return nil
}

// publicHalf names the public half of the key in the file: the file beside it, where there is one.
func publicHalf(path string) string {
	if beside := keys.PublicPath(path); exists(beside) {
		return beside
	}
	return path
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (env *Env) publicKeys(ctx context.Context, names []string) ([]attest.Key, error) {
	var out []attest.Key
	for _, name := range names {
		public, err := env.keychain().Public(ctx, name)
		if err != nil {
			return nil, err
		}
		out = append(out, attest.Key{Name: shortKey(name, public), Public: public})
	}
	return out, nil
}

// shortKey names a key to people: its name, and enough of its fingerprint to tell two of
// one name apart.
func shortKey(name string, public crypto.PublicKey) string {
	if !strings.Contains(name, ":") {
		name = filepath.Base(name)
	}
	const shown = len("sha256:") + 12
	fingerprint := keys.Fingerprint(public)
	return name + " (" + fingerprint[:min(shown, len(fingerprint))] + ")"
}
