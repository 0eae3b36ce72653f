package attest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

// TestTrust holds one image, signed and attested with keys of their own, against trusts.
func TestTrust(t *testing.T) {
	h := store(t)
	images, attestations, stranger := p256(t), p256(t), p256(t)
	h.issue(t, h.evidence(artifact.PredicateSPDX), images, attestations)
	all := h.list(t)
	at := func(change func(*Trust)) Trust {
		trust := trusts(images, attestations)
		trust.Now = morning
		change(&trust)
		return trust
	}
	both := []string{artifact.PredicateSignature, artifact.PredicateSPDX}
	for _, c := range []struct {
		name  string
		trust Trust
		want  []string
		why   string // part of what is missing; "" is nothing
	}{
		{"both keys", at(func(*Trust) {}), both, ""},
		{"the signature alone", at(func(t *Trust) { t.Attestations = Trusted{Keys: []Key{{Public: stranger.PublicKey()}}} }), nil, ""},
		{"one key for all", at(func(t *Trust) { t.Attestations = Trusted{} }), both, "it says that it is signed with sha256:"},
		{"nobody for attestations", at(func(t *Trust) { t.Attestations = Trusted{None: true} }), both, "it is signed with a key, and no key is trusted"},
		{"keys swapped", at(func(t *Trust) { t.Images, t.Attestations = t.Attestations, t.Images }), both, "it is signed with image key, which is not trusted for images"},
		{"an attestation is no signature", at(func(t *Trust) { t.Images = t.Attestations }), nil, "no trusted key verifies it"},
		{"a stranger's key", trusts(stranger, stranger), both, "no trusted key verifies it"},
		{"no key", Trust{}, nil, "no key is trusted"},
		{"several keys", at(func(t *Trust) {
			t.Images.Keys = append([]Key{{Name: "stranger", Public: stranger.PublicKey()}}, t.Images.Keys...)
		}), both, ""},
		{"an expired key", at(func(t *Trust) { t.Images.Keys[0].Until = morning.Add(-time.Hour) }), nil, "the key image key expired on 2026-03-01"},
		{"a key of tomorrow", at(func(t *Trust) { t.Images.Keys[0].From = morning.Add(24 * time.Hour) }), nil, "valid only from 2026-03-02"},
		{"two must sign", at(func(t *Trust) { t.Images.Threshold = 2 }), nil, "1 of the 2 that must vouch for it do: image key"},
		{"a log is wanted", at(func(t *Trust) { t.Logged = true }), nil, "there is no trusted root that names one"},
		{"a type that is not there", at(func(*Trust) {}), []string{artifact.PredicateVEX}, "there is none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			report := Verify(h.image.Digest, all, c.trust, c.want...)
			err := report.Err("team/app:1")
			if (err == nil) != (c.why == "") || report.Verified != (err == nil) {
				t.Fatalf("got %v", err)
			}
			if err != nil && (fault.ExitCode(err) != 3 || fault.HintOf(err) == "" || !strings.Contains(err.Error(), c.why)) {
				t.Errorf("got %v, want %q", err, c.why)
			}
		})
	}
}

// tamper changes what is stored beside the image in that form.
func (h *harbour) tamper(t *testing.T, form Form, change func(layer *v1.Descriptor, data []byte) []byte) {
	t.Helper()
	kind := types.MediaType(envelopeType)
	if form == AsSignatureTag {
		kind = simpleType
	}
	w := &writer{session: h.session, repo: h.ref, subject: h.image, now: morning}
	listed, err := h.session.Referrers(t.Context(), h.ref, h.image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if form == AsReferrer {
		for _, r := range records(listed.Manifests) {
			a, err := (&lister{session: h.session, ref: h.ref}).referrer(t.Context(), r.Descriptor)
			if err != nil {
				t.Fatal(err)
			}
			bundle, _, err := w.putBlob(t.Context(), bundleType, change(&v1.Descriptor{}, a.Raw))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.session.Delete(t.Context(), h.ref.At(r.Digest)); err != nil {
				t.Fatal(err)
			}
			if _, err := w.putReferrer(t.Context(), &r, bundle); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	tag := olderTag(h.ref, h.image.Digest, kind)
	layers, err := layersAt(t.Context(), h.session, tag)
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range layers {
		data, err := h.session.Blob(t.Context(), h.ref, d)
		if err != nil {
			t.Fatal(err)
		}
		made, _, err := w.putBlob(t.Context(), kind, change(&d, bytes.Clone(data)))
		if err != nil {
			t.Fatal(err)
		}
		made.Annotations = d.Annotations
		layers[i] = made
	}
	if _, err := w.putTag(t.Context(), tag, layers); err != nil {
		t.Fatal(err)
	}
}

// payloads changes the statement in an envelope or a bundle.
func payloads(from, to string) func(*v1.Descriptor, []byte) []byte {
	return func(_ *v1.Descriptor, data []byte) []byte {
		var doc map[string]any
		if json.Unmarshal(data, &doc) != nil {
			return data
		}
		in := doc
		if inner, ok := doc["dsseEnvelope"].(map[string]any); ok {
			in = inner
		}
		payload, _ := base64.StdEncoding.DecodeString(fmt.Sprint(in["payload"]))
		in["payload"] = base64.StdEncoding.EncodeToString(bytes.ReplaceAll(payload, []byte(from), []byte(to)))
		out, _ := json.Marshal(doc)
		return out
	}
}

// signatures changes each signature in an envelope or a bundle, and beside an older one.
func signatures(d *v1.Descriptor, data []byte) []byte {
	if s := d.Annotations[signatureAnnotation]; s != "" {
		d.Annotations[signatureAnnotation] = base64.StdEncoding.EncodeToString(flip(s))
	}
	const mark = `"sig":"`
	if i := bytes.Index(data, []byte(mark)); i >= 0 {
		i += len(mark)
		end := i + bytes.IndexByte(data[i:], '"')
		return append(append(bytes.Clone(data[:i]), base64.StdEncoding.EncodeToString(flip(string(data[i:end])))...), data[end:]...)
	}
	return data
}

func flip(encoded string) []byte {
	raw, _ := base64.StdEncoding.DecodeString(encoded)
	raw[len(raw)-1] ^= 1
	return raw
}

// TestTampered changes what is stored, in each form. The same is verified first as it is.
func TestTampered(t *testing.T) {
	nothing := func(_ *v1.Descriptor, data []byte) []byte { return data }
	for _, c := range []struct {
		name   string
		form   Form
		change func(*v1.Descriptor, []byte) []byte
		wanted string // the type that must be lost
	}{
		{"the SBOM in a bundle", AsReferrer, payloads(`{"is":`, `{"was":`), artifact.PredicateSPDX},
		{"the SBOM below the tag", AsAttestTag, payloads(`{"is":`, `{"was":`), artifact.PredicateSPDX},
		{"the type in a bundle", AsReferrer, payloads(artifact.PredicateSPDX, artifact.PredicateVEX), artifact.PredicateSPDX},
		{"the signature in a bundle", AsReferrer, signatures, artifact.PredicateSignature},
		{"the signature of the SBOM below the tag", AsAttestTag, signatures, artifact.PredicateSPDX},
		{"the signature below the tag", AsSignatureTag, signatures, artifact.PredicateSignature},
		{"the payload below the tag", AsSignatureTag, func(_ *v1.Descriptor, data []byte) []byte {
			return bytes.Replace(data, []byte(`"optional":null`), []byte(`"optional":{"by":"me"}`), 1)
		}, artifact.PredicateSignature},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := store(t)
			key := p256(t)
			h.issue(t, h.evidence(artifact.PredicateSPDX), key, key)
			verify := func() bool {
				t.Helper()
				var kept []Attached
				for _, a := range h.list(t) {
					for _, form := range a.Forms {
						if form == c.form {
							kept = append(kept, a)
						}
					}
				}
				if len(kept) == 0 {
					t.Fatal("nothing is left to verify")
				}
				return Verify(h.image.Digest, kept, trusts(key, key), c.wanted).Verified
			}
			h.tamper(t, c.form, nothing)
			if !verify() {
				t.Fatal("untouched, it is not verified")
			}
			h.tamper(t, c.form, c.change)
			if verify() {
				t.Error("tampered with, it is still verified")
			}
		})
	}
}

// TestReplayed puts another image's attestations beside this one.
func TestReplayed(t *testing.T) {
	both(t, func(t *testing.T, h *harbour) {
		key := p256(t)
		signed := h.image
		h.issue(t, h.evidence(artifact.PredicateSPDX), key, key)
		all := h.list(t)
		wanted := []string{artifact.PredicateSignature, artifact.PredicateSPDX}
		if err := Verify(signed.Digest, all, trusts(key, key), wanted...).Err("app"); err != nil {
			t.Fatal(err)
		}
		other := h.push(t, "other")
		for _, a := range all {
			w := &writer{session: h.session, repo: h.ref, subject: other, now: morning}
			if a.Forms[0] != AsReferrer {
				if _, err := w.putTag(t.Context(), olderTag(h.ref, other.Digest, simpleType), []v1.Descriptor{a.layer}); err != nil {
					t.Fatal(err)
				}
				continue
			}
			bundle, _, err := w.putBlob(t.Context(), bundleType, a.Raw)
			if err != nil {
				t.Fatal(err)
			}
			r := record{by: "me", predicate: a.Predicate}
			if _, err := w.putReferrer(t.Context(), &r, bundle); err != nil {
				t.Fatal(err)
			}
			if err := w.index(t.Context(), []record{r}, nil); err != nil {
				t.Fatal(err)
			}
		}
		h.image = other
		report := Verify(other.Digest, h.list(t), trusts(key, key), wanted...)
		if report.Verified || len(report.Checks) != 3 || len(report.Evidence()) != 0 {
			t.Errorf("got %+v", report)
		}
		for _, c := range report.Checks {
			if c.Why != "it is about another image" {
				t.Errorf("got %q", c.Why)
			}
		}
	})
}

// TestStrangersHarmNothing attaches rubbish beside what is good.
func TestStrangersHarmNothing(t *testing.T) {
	h := store(t)
	key := p256(t)
	h.issue(t, h.evidence(), key, key)
	w := &writer{session: h.session, repo: h.ref, subject: h.image, now: morning}
	for i, rubbish := range []string{``, `{}`, `[`, `{"mediaType":"` + bundleType + `"}`, "\x1b[2J" + strings.Repeat("x", 10_000)} {
		bundle, _, err := w.putBlob(t.Context(), bundleType, []byte(rubbish))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.putReferrer(t.Context(), &record{by: fmt.Sprint(i), predicate: artifact.PredicateSignature}, bundle); err != nil {
			t.Fatal(err)
		}
	}
	// One says that it has a layer for the older tag, and has not.
	gone := record{by: "eve", predicate: artifact.PredicateSignature, layer: describe(t, simpleType, []byte("never put"))}
	gone.layer.Annotations = map[string]string{byAnnotation: gone.by}
	bundle, _, err := w.putBlob(t.Context(), bundleType, []byte("gone"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.putReferrer(t.Context(), &gone, bundle); err != nil {
		t.Fatal(err)
	}
	h.issue(t, h.evidence(artifact.PredicateSPDX), key, key)
	all := h.list(t)
	broken := 0
	for _, a := range all {
		if a.Problem != "" {
			broken++
		}
		if strings.ContainsRune(a.Problem, '\x1b') || len(a.Problem) > 500 {
			t.Errorf("people would be shown %q", a.Problem)
		}
	}
	if err := Verify(h.image.Digest, all, trusts(key, key), artifact.PredicateSignature, artifact.PredicateSPDX).Err("app"); err != nil || broken != 6 {
		t.Errorf("%d broken, %v", broken, err)
	}
}

// TestTooMuch refuses what nobody could look through.
func TestTooMuch(t *testing.T) {
	small := []byte(`{}`)
	for name, c := range map[string]struct {
		layers int
		size   int64
		ok     bool
	}{
		"much":       {2, maxTotal / 2, true},
		"too much":   {3, maxTotal / 2, false},
		"many":       {maxAttached, int64(len(small)), true},
		"too many":   {maxAttached + 1, int64(len(small)), false},
		"less than0": {3, -1, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := withoutAPI(t)
			w := &writer{session: h.session, repo: h.ref, subject: h.image}
			d, _, err := w.putBlob(t.Context(), envelopeType, small)
			if err != nil {
				t.Fatal(err)
			}
			d.Size = c.size
			if _, err := w.putTag(t.Context(), olderTag(h.ref, h.image.Digest, envelopeType), slices.Repeat([]v1.Descriptor{d}, c.layers)); err != nil {
				t.Fatal(err)
			}
			all, err := List(t.Context(), h.session, h.ref, h.image.Digest)
			if (err == nil) != c.ok || err != nil && fault.KindOf(err) != fault.Denied {
				t.Fatalf("got %v", err)
			}
			for _, a := range all {
				if a.Problem == "" {
					t.Errorf("it was read: %+v", a)
				}
			}
		})
	}
}

// TestReportAsJSON is what a script reads.
func TestReportAsJSON(t *testing.T) {
	h := store(t)
	key := p256(t)
	h.issue(t, h.evidence()[:1], key, key)
	report := Verify(h.image.Digest, h.list(t)[:1], trusts(key, key), artifact.PredicateSignature, artifact.PredicateSPDX)
	report.Checks[0].Manifest = "sha256:…"
	got, err := json.MarshalIndent(report, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want := `{
 "image": "` + h.image.Digest.String() + `",
 "verified": false,
 "checks": [
  {
   "predicate": "https://sigstore.dev/cosign/sign/v1",
   "forms": [
    "referrer"
   ],
   "manifest": "sha256:…",
   "verified": true,
   "by": "image key"
  }
 ],
 "missing": [
  {
   "predicate": "https://spdx.dev/Document",
   "why": "there is none"
  }
 ]
}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestParseStatement(t *testing.T) {
	whole := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":"ab"}}],"predicateType":"https://x","predicate":{}}`
	for _, c := range []struct {
		name, text string
		ok         bool
	}{
		{"whole", whole, true},
		{"the older version", strings.Replace(whole, "/v1", "/v0.1", 1), true},
		{"fields of tomorrow", strings.Replace(whole, `{"_type"`, `{"more":1,"_type"`, 1), true},
		{"another type", strings.Replace(whole, "Statement", "Link", 1), false},
		{"no subject", strings.Replace(whole, `{"name":"a","digest":{"sha256":"ab"}}`, "", 1), false},
		{"too many subjects", strings.Replace(whole, `"subject":[`, `"subject":[`+strings.Repeat("{},", maxSubjects), 1), false},
		{"two subjects", strings.Replace(whole, `{"_type"`, `{"subject":[],"_type"`, 1), false},
		{"two digests", strings.Replace(whole, `{"sha256"`, `{"sha256":"cd","sha256"`, 1), false},
		{"a name in another case", strings.Replace(whole, `"predicateType"`, `"PredicateType"`, 1), false},
		{"no type", strings.Replace(whole, "https://x", "", 1), false},
		{"a type for the terminal", strings.Replace(whole, "https://x", `\u001b[2J`, 1), false},
		{"something behind it", whole + "{}", false},
	} {
		if p, err := parseStatement([]byte(c.text)); (err == nil) != c.ok || c.ok && !p.of("sha256", "ab") {
			t.Errorf("%s: %+v, %v", c.name, p, err)
		}
	}
}
