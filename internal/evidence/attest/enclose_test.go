package attest

import (
	"strings"
	"testing"
)

// TestDisclose: what a trusted key of attestations has enclosed comes out again, and nothing else does.
func TestDisclose(t *testing.T) {
	const kind, text = "application/vnd.example+json", `{"a":1}`
	images, attestations, stranger := p256(t), p256(t), p256(t)
	sealed, err := Enclose(t.Context(), attestations, kind, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	unsigned, err := Unsigned(kind, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		kind     string
		envelope string
		trust    Trust
		why      string // "" is none
	}{
		{"its key", kind, string(sealed), trusts(images, attestations), ""},
		{"a stranger's key", kind, string(sealed), trusts(images, stranger), "no trusted key"},
		{"the key of images", kind, string(sealed), trusts(attestations, images), "no trusted key"},
		{"nobody is trusted", kind, string(sealed), Trust{}, "no trusted key"},
		{"of another type", "text/plain", string(sealed), trusts(images, attestations), "it is a"},
		{"not signed", kind, string(unsigned), trusts(images, attestations), "nobody has signed it"},
		{"changed", kind, strings.Replace(string(sealed), "eyJhIjox", "eyJhIjoy", 1), trusts(images, attestations), "no trusted key"},
		{"not an envelope", kind, "[]", trusts(images, attestations), "no envelope"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.trust.Now = morning
			payload, _, err := Disclose(c.trust, c.kind, []byte(c.envelope))
			switch {
			case c.why == "" && (err != nil || string(payload) != text):
				t.Errorf("got %s, %v", payload, err)
			case c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why) || payload != nil):
				t.Errorf("got %s, %v; want %s", payload, err, c.why)
			}
		})
	}
}

// FuzzDisclose: an envelope that anybody may have written never gets through.
func FuzzDisclose(f *testing.F) {
	f.Add([]byte(`{"payloadType":"a","payload":"e30=","signatures":[{"sig":"e30="}]}`))
	f.Add([]byte(`{"payloadType":"a","payload":"","signatures":[]}`))
	trust := trusts(p256(f), p256(f))
	f.Fuzz(func(t *testing.T, envelope []byte) {
		if payload, by, err := Disclose(trust, "a", envelope); err == nil {
			t.Errorf("%q was signed by %s", payload, by)
		}
	})
}
