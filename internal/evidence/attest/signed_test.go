package attest

import (
	"testing"

	"plimsoll.dev/plimsoll/artifact"
)

// TestSigned: only a signature, of the image, by a key that is trusted for images, makes an
// image signed; in either form.
func TestSigned(t *testing.T) {
	for name, open := range map[string]func(testing.TB) *harbour{"with the referrers API": store, "without": withoutAPI} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			images, attestations, stranger := p256(t), p256(t), p256(t)
			signed := func(trust Trust) bool {
				trust.Now = morning
				ok, err := Signed(t.Context(), h.session, h.ref, h.image.Digest, trust)
				if err != nil {
					t.Fatal(err)
				}
				return ok
			}
			if signed(trusts(images, attestations)) {
				t.Error("it is signed before anybody did")
			}
			h.issue(t, h.evidence(artifact.PredicateSPDX), images, attestations)
			for _, c := range []struct {
				name  string
				trust Trust
				want  bool
			}{
				{"its key", trusts(images, attestations), true},
				{"a stranger's key", trusts(stranger, attestations), false},
				{"the key of attestations", trusts(attestations, attestations), false},
				{"nobody", Trust{}, false},
			} {
				if got := signed(c.trust); got != c.want {
					t.Errorf("%s: signed %t, want %t", c.name, got, c.want)
				}
			}
		})
	}
}
