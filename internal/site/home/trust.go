package home

import (
	"context"
	"crypto"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/root"

	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/keys"
)

// Named is whom somebody names to be believed, instead of those whom the home does. The zero value
// names nobody.
type Named struct {
	Keys            []string // names of public keys that sign images
	AttestationKeys []string // those that sign attestations; none are those of Keys
	Identity        attest.Identity
	Root            string // path of a Sigstore trusted root; "" is the home's
}

func (n Named) given() bool {
	return len(n.Keys)+len(n.AttestationKeys) > 0 || n.Identity != (attest.Identity{})
}

// Trust gives whom one names; where that is nobody, the home's own keys and those that
// signing.yaml trusts.
func (h *Home) Trust(ctx context.Context, named Named) (attest.Trust, error) {
	s, err := h.Signing()
	if err != nil {
		return attest.Trust{}, err
	}
	var t attest.Trust
	if named.given() {
		t, err = h.trustNamed(ctx, named)
	} else {
		t = h.trustConfigured(ctx, s)
	}
	if err != nil {
		return t, err
	}
	if len(t.Images.Keys)+len(t.Images.Identities) == 0 {
		return t, fault.New(fault.Usage, "verify", "", errNobody).
			WithHint("name a public key with --key, or keys and identities in " + s.path)
	}
	path := named.Root
	if path == "" && s.Trust.Root != "" {
		path = s.at(s.Trust.Root)
	}
	t.Root, err = TrustedRoot(path)
	return t, err
}

// TrustedRoot reads a trusted root; none where there is no path.
func TrustedRoot(path string) (*root.TrustedRoot, error) {
	if path == "" {
		return nil, nil
	}
	read, err := root.NewTrustedRootFromPath(path)
	if err != nil {
		return nil, fault.New(fault.Usage, "read trusted root", path, err).WithHint("it is a trusted_root.json of Sigstore")
	}
	return read, nil
}

// trustNamed gives all whom one names, or an error.
func (h *Home) trustNamed(ctx context.Context, named Named) (t attest.Trust, err error) {
	if t.Images.Keys, err = h.PublicKeys(ctx, named.Keys); err != nil {
		return t, err
	}
	if t.Attestations.Keys, err = h.PublicKeys(ctx, named.AttestationKeys); err != nil {
		return t, err
	}
	if named.Identity != (attest.Identity{}) {
		t.Images.Identities = []attest.Identity{named.Identity}
		t.Attestations.Identities = t.Images.Identities
	}
	return t, nil
}

// trustConfigured gives whom the home believes. A key that cannot be read is said to be so,
// and takes nobody's trust but its own.
func (h *Home) trustConfigured(ctx context.Context, s *Signing) attest.Trust {
	images, attestations := h.OwnKeys(s)
	for _, name := range s.Trust.Images {
		images = append(images, s.at(name))
	}
	for _, name := range s.Trust.Attestations {
		attestations = append(attestations, s.at(name))
	}
	var t attest.Trust
	t.Images.Keys, t.Attestations.Keys = h.readableKeys(ctx, images), h.readableKeys(ctx, attestations)
	for _, i := range s.Trust.Identities {
		t.Images.Identities = append(t.Images.Identities, attest.Identity(i))
	}
	t.Attestations.Identities = t.Images.Identities
	// Else those of images would stand in for them.
	t.Attestations.None = len(attestations) > 0 && len(t.Attestations.Keys) == 0
	return t
}

// readableKeys gives those of the keys that can be read, and says once which cannot.
func (h *Home) readableKeys(ctx context.Context, names []string) []attest.Key {
	var out []attest.Key
	for _, name := range names {
		read, err := h.PublicKeys(ctx, []string{name})
		if err != nil && h.firstUnread(name) {
			h.Warn("what this key signed counts as not verified: "+err.Error(), "")
		}
		out = append(out, read...)
	}
	return out
}

// firstUnread says whether nobody was told yet that the key cannot be read.
func (h *Home) firstUnread(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := !h.unread[name]
	h.unread[name] = true
	return first
}

// errNobody says that neither this home nor its user names anybody to believe, which is no
// failure where that is not asked for.
var errNobody = errors.New("nobody is trusted here")

// Believed is Trust of nobody named, for those who can do without: nobody, where nobody is
// named or the configuration cannot be read. The latter is said, for then all evidence seems to
// be nobody's.
func (h *Home) Believed(ctx context.Context) attest.Trust {
	t, err := h.Trust(ctx, Named{})
	if err == nil {
		return t
	}
	if !errors.Is(err, errNobody) {
		h.Warn("nobody is believed, and all evidence counts as not verified: "+err.Error(), "")
	}
	return attest.Trust{}
}

// OwnKeys names the public keys that this home signs with.
func (h *Home) OwnKeys(s *Signing) (images, attestations []string) {
	if s.Images != "" || s.Attestations != "" {
		return s.own(s.Images, s.Attestations), s.own(s.Attestations, s.Images)
	}
	for name, into := range map[string]*[]string{"images.key": &images, "attestations.key": &attestations} {
		path := publicHalf(filepath.Join(h.Folder, "keys", name))
		if exists(path) {
			*into = []string{path}
		}
	}
	return images, attestations
}

// TrustFiles names the files that decide whom the home believes, besides those in its folder keys.
func (h *Home) TrustFiles() []string {
	files := []string{h.Path("signing.yaml")}
	s, err := h.Signing()
	if err != nil {
		return files
	}
	for _, name := range slices.Concat([]string{s.Images, s.Attestations, s.Trust.Root}, s.Trust.Images, s.Trust.Attestations) {
		if name != "" { // else it would be the home, which changes all the time
			files = append(files, s.at(name)) // no file where it is a service or a variable
		}
	}
	return files
}

// own names the public half of the first of the keys that is set.
func (s *Signing) own(names ...string) []string {
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

// PublicKeys opens public keys by name.
func (h *Home) PublicKeys(ctx context.Context, names []string) ([]attest.Key, error) {
	var out []attest.Key
	for _, name := range names {
		public, err := h.Keychain().Public(ctx, name)
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
