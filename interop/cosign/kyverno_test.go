package cosign

import (
	"context"
	"os"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/kyverno/kyverno/pkg/image/verifiers"
	kyverno "github.com/kyverno/kyverno/pkg/image/verifiers/cpol/cosign"
)

// plainly is how Kyverno reaches a registry on loopback.
type plainly struct{}

func (plainly) Options(ctx context.Context) ([]remote.Option, []name.Option, error) {
	return []remote.Option{remote.WithContext(ctx)}, nil, nil
}

func (plainly) NameOptions() []name.Option { return nil }

// TestKyvernoVerifiesOurs has Kyverno's own verifier judge what plimsoll issued, as its
// admission controller does.
func TestKyvernoVerifiesOurs(t *testing.T) {
	b := newBed(t)
	i := b.signed("ours")
	attested := b.push("attested")
	b.issue(attested, claims(attested)...)
	by := kyverno.NewVerifier()
	for form, inBundles := range map[string]bool{"bundles": true, "older": false} {
		t.Run(form, func(t *testing.T) {
			with := func(key string, i image) verifiers.Options {
				text, err := os.ReadFile(b.public(key))
				if err != nil {
					t.Fatal(err)
				}
				return verifiers.Options{SigstoreBundle: inBundles, ImageRef: i.at(), Client: plainly{}, Key: string(text), IgnoreTlog: true, IgnoreSCT: true}
			}
			if got, err := by.VerifySignature(t.Context(), with("image", i)); err != nil || got.Digest != i.desc.Digest.String() {
				t.Errorf("signature: %+v, %v", got, err)
			}
			if _, err := by.VerifySignature(t.Context(), with("stranger", i)); err == nil {
				t.Error("a stranger's key verifies the image")
			}
			if _, err := by.VerifySignature(t.Context(), with("image", attested)); err == nil {
				t.Error("the image's key verifies an image that is only attested")
			}
			for _, p := range predicates {
				options := with("attestation", i)
				options.FetchAttestations, options.Type = true, p.kind
				got, err := by.FetchAttestations(t.Context(), options)
				if err != nil || len(got.Statements) == 0 {
					t.Errorf("%s: %+v, %v", p.kind, got, err)
				}
				options = with("image", i)
				options.FetchAttestations, options.Type = true, p.kind
				if got, err := by.FetchAttestations(t.Context(), options); err == nil && len(got.Statements) > 0 {
					t.Errorf("%s is verified by the image's key", p.kind)
				}
			}
		})
	}
}
