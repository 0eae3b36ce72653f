package home

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/evidence/facts"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/manifest"
)

// Signing is what signing.yaml in the home says: who signs here, and whom one believes.
// docs/signing.md describes it.
type Signing struct {
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

// Signing reads signing.yaml; there need be none.
func (h *Home) Signing() (*Signing, error) {
	s := &Signing{path: h.Path("signing.yaml")}
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

// Builders gives those whose provenance counts; nil are those that always do.
func (s *Signing) Builders() ([]facts.Builder, error) {
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
func (s *Signing) at(name string) string { return KeyAt(filepath.Dir(s.path), name) }

// KeyAt gives a key's name as seen from here, where paths are relative to the folder.
func KeyAt(folder, name string) string {
	if strings.Contains(name, ":") || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(folder, name)
}

// Keyless gives the services that sign here; nil where keys do.
func (h *Home) Keyless() (*attest.Keyless, error) {
	s, err := h.Signing()
	if err != nil || s.Keyless == nil {
		return nil, err
	}
	k := s.Keyless
	return &attest.Keyless{
		Fulcio: k.Fulcio, Rekor: k.Rekor, RekorVersion: k.RekorVersion, TSA: k.Timestamp,
		Token: func(context.Context) (string, error) { return h.identityToken(s, k.Token) },
	}, nil
}

// identityToken reads the token that proves who signs. It is read each time: they live for
// minutes.
func (h *Home) identityToken(s *Signing, place string) (string, error) {
	name, inVariable := strings.CutPrefix(cmp.Or(place, "env://SIGSTORE_ID_TOKEN"), "env://")
	if inVariable {
		if token := h.Getenv(name); token != "" {
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

// Signers opens the keys that sign here: those of the file, else the home's own; none
// where signing is keyless.
func (h *Home) Signers(ctx context.Context) (attest.Signers, error) {
	s, err := h.Signing()
	if err != nil || s.Keyless != nil {
		return attest.Signers{}, err
	}
	if s.Images == "" && s.Attestations == "" {
		pair, err := h.Keychain().Default(ctx, h.Folder)
		return attest.Signers{Images: pair.Images, Attestations: pair.Attestations}, err
	}
	var out attest.Signers
	for name, into := range map[string]*attest.Signer{s.Images: &out.Images, s.Attestations: &out.Attestations} {
		if name == "" {
			continue // the other signs both
		}
		signer, err := h.Keychain().Signer(ctx, s.at(name))
		if err != nil {
			return attest.Signers{}, err
		}
		*into = signer
	}
	return out, nil
}
