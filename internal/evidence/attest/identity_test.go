package attest

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"

	"plimsoll.dev/plimsoll/artifact"
)

const (
	workflow = "https://git.example/team/app/.ci/build.yaml@refs/heads/main"
	issuer   = "https://git.example"
)

// site is a Sigstore of its own: an authority, a log and a timestamp authority. It seals as
// Keyless does.
type site struct{ *ca.VirtualSigstore }

func newSite(t *testing.T) site {
	t.Helper()
	v, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	return site{v}
}

// CTLogs are none: this authority's certificates are in no log.
func (site) CTLogs() map[string]*root.TransparencyLog { return nil }

func (site) name() string              { return workflow }
func (site) verifies(_, _ []byte) bool { return false }
func (s site) identity(subject string) Trust {
	return Trust{Root: s, Images: Trusted{Identities: []Identity{{Issuer: issuer, Subject: subject}}}}
}

func (s site) seal(_ context.Context, payload []byte, enveloped bool) (seal, error) {
	issue := s.Sign
	if enveloped {
		issue = func(identity, issuer string, payload []byte) (*ca.TestEntity, error) {
			return s.AttestAtTime(identity, issuer, payload, time.Now().Add(5*time.Minute), true)
		}
	}
	made, err := issue(workflow, issuer, payload)
	if err != nil {
		return seal{}, err
	}
	content, err := made.VerificationContent()
	if err != nil {
		return seal{}, err
	}
	material := &protobundle.VerificationMaterial{
		Content:                   &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: content.Certificate().Raw}},
		TimestampVerificationData: &protobundle.TimestampVerificationData{},
	}
	stamps, err := made.Timestamps()
	if err != nil {
		return seal{}, err
	}
	for _, stamp := range stamps {
		material.TimestampVerificationData.Rfc3161Timestamps = append(material.TimestampVerificationData.Rfc3161Timestamps, &protocommon.RFC3161SignedTimestamp{SignedTimestamp: stamp})
	}
	entries, err := made.TlogEntries()
	if err != nil {
		return seal{}, err
	}
	for _, entry := range entries {
		logged, err := s.promised(entry.TransparencyLogEntry())
		if err != nil {
			return seal{}, err
		}
		material.TlogEntries = append(material.TlogEntries, logged)
	}
	signed, err := made.SignatureContent()
	if err != nil {
		return seal{}, err
	}
	text, err := protojson.Marshal(material)
	out := seal{signature: signed.Signature(), material: text, beside: map[string]string{
		signatureAnnotation:   base64.StdEncoding.EncodeToString(signed.Signature()),
		certificateAnnotation: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: content.Certificate().Raw})),
	}}
	if err != nil {
		return out, err
	}
	return out, besides(material, out.beside)
}

// promised gives the entry with what a log answers beside it.
func (s site) promised(entry *protorekor.TransparencyLogEntry) (*protorekor.TransparencyLogEntry, error) {
	var head struct{ Kind, APIVersion string }
	if err := json.Unmarshal(entry.GetCanonicalizedBody(), &head); err != nil {
		return nil, err
	}
	promise, err := s.RekorSignPayload(tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(entry.GetCanonicalizedBody()), IntegratedTime: entry.GetIntegratedTime(),
		LogIndex: entry.GetLogIndex(), LogID: hex.EncodeToString(entry.GetLogId().GetKeyId()),
	})
	entry.KindVersion = &protorekor.KindVersion{Kind: head.Kind, Version: head.APIVersion}
	entry.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: promise}
	return entry, err
}

// issued signs and attests the harbour's image.
func (h *harbour) issued(t *testing.T, by sealers) {
	t.Helper()
	w := &writer{session: h.session, repo: h.ref, subject: h.image, now: morning, by: by}
	for _, e := range h.evidence(artifact.PredicateSPDX) {
		payload, _, err := statement(h.ref.Repository(), e, false)
		if err != nil {
			t.Fatal(err)
		}
		w.claims = append(w.claims, claim{predicate: e.PredicateType, payload: payload})
	}
	if _, err := w.write(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestIdentities verifies certificates, log entries and timestamps in both forms, against
// those who should have signed and those who should not.
func TestIdentities(t *testing.T) {
	here, elsewhere := newSite(t), newSite(t)
	h := store(t)
	h.issued(t, sealers{here, here})
	all := h.list(t)
	both := []string{artifact.PredicateSignature, artifact.PredicateSPDX}
	for _, c := range []struct {
		name  string
		trust Trust
		why   string
	}{
		{"whom it names", here.identity(workflow), ""},
		{"by pattern", Trust{Root: here, Images: Trusted{Identities: []Identity{{IssuerRegexp: `^https://git\.example$`, SubjectRegexp: `^https://git\.example/team/`}}}}, ""},
		{"one of two", Trust{Root: here, Images: Trusted{Identities: []Identity{{Issuer: issuer, Subject: "someone@git.example"}, {Issuer: issuer, Subject: workflow}}}}, ""},
		{"someone else", here.identity("someone@git.example"), "certificate identity"},
		{"another issuer", Trust{Root: here, Images: Trusted{Identities: []Identity{{Issuer: "https://else.example", Subject: workflow}}}}, "certificate identity"},
		{"another authority", elsewhere.identity(workflow), "failed to verify"},
		{"without a root", Trust{Images: here.identity(workflow).Images}, "there is no trusted root"},
		{"only keys", Trust{Root: here, Images: trusts(p256(t), p256(t)).Images}, "no identity is trusted"},
		{"no issuer given", Trust{Root: here, Images: Trusted{Identities: []Identity{{Subject: workflow}}}}, "is not complete"},
	} {
		t.Run(c.name, func(t *testing.T) {
			report := Verify(h.image.Digest, all, c.trust, both...)
			if len(report.Checks) != 4 { // two forms of each: a certificate is not the same for sure
				t.Fatalf("got %+v", report.Checks)
			}
			for _, check := range report.Checks {
				if check.Verified != (c.why == "") || !strings.Contains(check.Why, c.why) {
					t.Errorf("%s in %s: %q, want %q", check.Predicate, check.Forms, check.Why, c.why)
				}
				if check.Verified && (check.By != workflow+" ("+issuer+")" || check.Issuer != issuer || check.SignedAt == nil) {
					t.Errorf("%s in %s: by %q at %v", check.Predicate, check.Forms, check.By, check.SignedAt)
				}
			}
		})
	}
}

// TestCertificateSwapped puts another certificate of the same authority beside what is
// signed.
func TestCertificateSwapped(t *testing.T) {
	here := newSite(t)
	h := store(t)
	h.issued(t, sealers{here, here})
	if err := Verify(h.image.Digest, h.list(t), here.identity(workflow), artifact.PredicateSignature, artifact.PredicateSPDX).Err("app"); err != nil {
		t.Fatal(err)
	}
	other, _, err := here.GenerateLeafCert(workflow, issuer)
	if err != nil {
		t.Fatal(err)
	}
	swap := func(d *v1.Descriptor, data []byte) []byte {
		if d.Annotations[certificateAnnotation] != "" {
			d.Annotations[certificateAnnotation] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Raw}))
			return data
		}
		var doc map[string]any
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		doc["verificationMaterial"].(map[string]any)["certificate"] = map[string]any{"rawBytes": other.Raw}
		out, _ := json.Marshal(doc)
		return out
	}
	for _, form := range []Form{AsReferrer, AsAttestTag, AsSignatureTag} {
		h.tamper(t, form, swap)
	}
	all := h.list(t)
	for _, check := range Verify(h.image.Digest, all, here.identity(workflow)).Checks {
		if check.Verified || check.Why == "" {
			t.Errorf("%s in %s is verified with another certificate", check.Predicate, check.Forms)
		}
	}
	if len(all) != 4 {
		t.Errorf("got %+v", show(all))
	}
}

// timed seals with a key, and has the site's authority say when.
type timed struct {
	keySealer
	site site
}

func (s timed) seal(ctx context.Context, payload []byte, enveloped bool) (seal, error) {
	out, err := s.keySealer.seal(ctx, payload, enveloped)
	if err != nil {
		return out, err
	}
	stamp, err := s.site.TimestampResponse(out.signature)
	if err != nil {
		return out, err
	}
	material := &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{Hint: s.key.Hint()}},
		TimestampVerificationData: &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp}},
		},
	}
	if out.material, err = protojson.Marshal(material); err != nil {
		return out, err
	}
	return out, besides(material, out.beside)
}

// TestExpiredKeyWithTime believes a key that has expired where an authority says that it
// had not when it signed.
func TestExpiredKeyWithTime(t *testing.T) {
	here, elsewhere := newSite(t), newSite(t)
	key := p256(t)
	h := store(t)
	by := timed{keySealer{key}, here}
	h.issued(t, sealers{by, by})
	now := time.Now()
	all := h.list(t)
	for _, c := range []struct {
		name  string
		root  root.TrustedMaterial
		until time.Time
		why   string
	}{
		{"it expired later", here, now.Add(time.Minute), ""},
		{"it had expired", here, now.Add(-time.Minute), "validity window"},
		{"nobody says when", nil, now.Add(time.Minute), "no trusted time says"},
		{"an unknown authority says so", elsewhere, now.Add(time.Minute), "failed to verify timestamps"},
	} {
		t.Run(c.name, func(t *testing.T) {
			trust := trusts(key, key)
			trust.Root, trust.Now, trust.Images.Keys[0].Until = c.root, now.Add(time.Hour), c.until
			for _, check := range Verify(h.image.Digest, all, trust).Checks {
				if check.Predicate != artifact.PredicateSignature {
					continue
				}
				if check.Verified != (c.why == "") || !strings.Contains(check.Why, c.why) || check.Verified && check.SignedAt == nil {
					t.Errorf("in %s: %+v", check.Forms, check)
				}
			}
		})
	}
}
