package cosign

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// stored is a manifest that holds what is attached to an image.
type stored struct {
	tag string // "" for a bundle
	raw []byte
	v1.Manifest
}

// attached gives all such manifests of the image.
func (b *bed) attached(i image) []stored {
	b.t.Helper()
	found, err := b.session.Referrers(b.t.Context(), i.ref, i.desc.Digest)
	if err != nil {
		b.t.Fatal(err)
	}
	var out []stored
	for _, d := range found.Manifests {
		m, err := b.session.Manifest(b.t.Context(), i.ref.At(d.Digest))
		if err != nil {
			b.t.Fatal(err)
		}
		out = append(out, stored{raw: m.Raw, Manifest: *m.Image})
	}
	for _, suffix := range []string{".sig", ".att"} {
		tag := "sha256-" + i.desc.Digest.Hex + suffix
		m, err := b.session.Manifest(b.t.Context(), i.ref.Tag(tag))
		if err != nil {
			b.t.Fatal(err)
		}
		out = append(out, stored{tag: tag, raw: m.Raw, Manifest: *m.Image})
	}
	return out
}

// put writes a manifest beside the image, in the place of from if that is one of its own.
func (b *bed) put(i image, from, to stored) {
	b.t.Helper()
	raw, err := json.Marshal(to.Manifest)
	if err != nil {
		b.t.Fatal(err)
	}
	if bytes.Equal(raw, from.raw) {
		return
	}
	ref := i.ref.Tag(to.tag)
	if to.tag == "" {
		if _, err := b.session.Delete(b.t.Context(), i.ref.At(describe(b.t, "", from.raw).Digest)); err != nil {
			b.t.Fatal(err)
		}
		ref = i.ref.At(describe(b.t, "", raw).Digest)
	}
	if _, err := b.session.PutManifest(b.t.Context(), ref, types.OCIManifestSchema1, raw); err != nil {
		b.t.Fatal(err)
	}
}

// change gives each layer that is attached to the image another content or annotations.
func (b *bed) change(i image, by func(layer *v1.Descriptor, data []byte) []byte) {
	b.t.Helper()
	for _, from := range b.attached(i) {
		to := from
		to.Layers = nil
		for _, d := range from.Layers {
			data, err := b.session.Blob(b.t.Context(), i.ref, d)
			if err != nil {
				b.t.Fatal(err)
			}
			data = by(&d, data)
			if _, err := b.session.PutBlob(b.t.Context(), i.ref, data); err != nil {
				b.t.Fatal(err)
			}
			made := describe(b.t, d.MediaType, data)
			made.Annotations = d.Annotations
			to.Layers = append(to.Layers, made)
		}
		b.put(i, from, to)
	}
}

// flipped changes the last byte of what is encoded.
func flipped(encoded string) string {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(raw) == 0 {
		return encoded
	}
	raw[len(raw)-1] ^= 1
	return base64.StdEncoding.EncodeToString(raw)
}

// rewrite decodes the envelope, in a bundle or alone, and encodes it changed.
func rewrite(data []byte, change func(envelope map[string]any)) []byte {
	var doc map[string]any
	if json.Unmarshal(data, &doc) != nil {
		return data
	}
	inner, ok := doc["dsseEnvelope"].(map[string]any)
	if !ok {
		inner = doc
	}
	if inner["payload"] == nil {
		return data
	}
	change(inner)
	out, _ := json.Marshal(doc)
	return out
}

// TestTampered changes what is stored. Each time cosign, in both formats, and plimsoll
// first verify it as it was.
func TestTampered(t *testing.T) {
	b := newBed(t)
	for name, change := range map[string]func(*v1.Descriptor, []byte) []byte{
		"payloads": func(_ *v1.Descriptor, data []byte) []byte {
			if bytes.HasPrefix(data, []byte(`{"critical"`)) {
				return bytes.Replace(data, []byte(`"optional":null`), []byte(`"optional":{}`), 1)
			}
			return rewrite(data, func(e map[string]any) {
				payload, _ := base64.StdEncoding.DecodeString(e["payload"].(string))
				e["payload"] = base64.StdEncoding.EncodeToString(bytes.Replace(payload, []byte(`"predicate":{`), []byte(`"predicate":{"and":1`+comma(payload)), 1))
			})
		},
		"signatures": func(d *v1.Descriptor, data []byte) []byte {
			const beside = "dev.cosignproject.cosign/signature"
			if d.Annotations[beside] != "" {
				d.Annotations[beside] = flipped(d.Annotations[beside])
			}
			return rewrite(data, func(e map[string]any) {
				s := e["signatures"].([]any)[0].(map[string]any)
				s["sig"] = flipped(s["sig"].(string))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := b.signed("app")
			b.change(i, func(_ *v1.Descriptor, data []byte) []byte {
				return rewrite(data, func(map[string]any) {}) // encoded anew, and the same
			})
			b.stand(t, i, true)
			b.change(i, change)
			b.stand(t, i, false)
		})
	}
}

func comma(payload []byte) string {
	if bytes.Contains(payload, []byte(`"predicate":{}`)) {
		return ""
	}
	return ","
}

// TestReplayed puts beside an image what is of another, also with the subject changed.
func TestReplayed(t *testing.T) {
	b := newBed(t)
	signed, other := b.signed("app"), b.push("app")
	b.stand(t, signed, true)
	for _, from := range b.attached(signed) {
		to := from
		if to.tag == "" {
			to.Subject = &other.desc
		} else {
			to.tag = "sha256-" + other.desc.Digest.Hex + to.tag[len(to.tag)-len(".sig"):]
		}
		raw, err := json.Marshal(to.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		ref := other.ref.Tag(to.tag)
		if to.tag == "" {
			ref = other.ref.At(describe(t, "", raw).Digest)
		}
		if _, err := b.session.PutManifest(t.Context(), ref, types.OCIManifestSchema1, raw); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.attached(other)); n != len(b.attached(signed)) {
		t.Fatalf("%d are beside the other image", n)
	}
	b.stand(t, other, false)
}

// TestImageChanged moves the tag to a changed image.
func TestImageChanged(t *testing.T) {
	b := newBed(t)
	b.signed("app")
	if err := b.verify(bundles, "image", b.host+"/app:1"); err != nil {
		t.Fatal(err)
	}
	b.push("app")
	for _, f := range []format{bundles, older} {
		if b.verify(f, "image", b.host+"/app:1") == nil {
			t.Errorf("%s: the changed image is verified", f)
		}
	}
}

// stand says whether the image is verified, by cosign in both formats and by plimsoll.
func (b *bed) stand(t *testing.T, i image, want bool) {
	t.Helper()
	for _, f := range []format{bundles, older} {
		if err := b.verify(f, "image", i.at()); (err == nil) != want {
			t.Errorf("%s: signature: %v", f, err)
		}
		for kind := range predicates {
			if err := b.verifyAttestation(f, "attestation", kind, i.at()); (err == nil) != want {
				t.Errorf("%s: %s: %v", f, kind, err)
			}
		}
	}
	for _, predicate := range all {
		if report := b.report(i, predicate); report.Verified != want {
			t.Errorf("plimsoll: %s: %+v", predicate, report.Missing)
		}
	}
}
