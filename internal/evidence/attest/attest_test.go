package attest

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	plain "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

// both holds a test against a registry with the referrers API and one without.
func both(t *testing.T, run func(t *testing.T, h *harbour)) {
	t.Helper()
	t.Run("with the referrers API", func(t *testing.T) { run(t, store(t)) })
	t.Run("without it", func(t *testing.T) { run(t, withoutAPI(t)) })
}

// shown is what a list shows of an attachment.
type shown struct {
	Predicate string
	Forms     []Form
}

func show(all []Attached) []shown {
	var out []shown
	for _, a := range all {
		out = append(out, shown{a.Predicate, a.Forms})
	}
	return out
}

func TestIssueListVerify(t *testing.T) {
	both(t, func(t *testing.T, h *harbour) {
		images, attestations := p256(t), p256(t)
		evidence := h.evidence(artifact.PredicateSPDX, artifact.PredicateProvenance)
		issued := h.issue(t, evidence, images, attestations)
		if issued.Signed != 3 || len(issued.Attached) != 3 {
			t.Errorf("issued %+v", issued)
		}
		all := h.list(t)
		want := []shown{
			{artifact.PredicateSignature, []Form{AsReferrer}},
			{artifact.PredicateSignature, []Form{AsSignatureTag}},
			{artifact.PredicateProvenance, []Form{AsReferrer, AsAttestTag}},
			{artifact.PredicateSPDX, []Form{AsReferrer, AsAttestTag}},
		}
		if diff := cmp.Diff(want, show(all)); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		report := Verify(h.image.Digest, all, trusts(images, attestations), artifact.PredicateSignature, artifact.PredicateSPDX, artifact.PredicateProvenance)
		if err := report.Err("app"); err != nil {
			t.Error(err)
		}
		sorted := cmpopts.SortSlices(func(a, b artifact.Evidence) bool { return a.PredicateType < b.PredicateType })
		if diff := cmp.Diff(evidence, report.Evidence(), sorted); diff != "" {
			t.Errorf("evidence: -want +got\n%s", diff)
		}
	})
}

func TestEveryKindOfKey(t *testing.T) {
	h := store(t)
	for name, key := range kinds(t) {
		h.image = h.push(t, name)
		h.issue(t, h.evidence(artifact.PredicateSPDX), key, key)
		report := Verify(h.image.Digest, h.list(t), trusts(key, key), artifact.PredicateSignature, artifact.PredicateSPDX)
		if err := report.Err(name); err != nil || len(report.Checks) != 3 {
			t.Errorf("%s: %v, %+v", name, err, report.Checks)
		}
	}
}

// TestAgain issues the same twice: nothing is signed or piled up, and nothing changes.
func TestAgain(t *testing.T) {
	both(t, func(t *testing.T, h *harbour) {
		images, attestations := p256(t), p256(t)
		evidence := h.evidence(artifact.PredicateSPDX, artifact.PredicateProvenance)
		first := h.issue(t, evidence, images, attestations)
		before := h.list(t)
		second, err := Issue(t.Context(), h.session, h.ref, h.image, evidence, Signers{images, attestations}, Options{Now: morning.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(Issued{Attached: first.Attached, Older: first.Older}, second); diff != "" {
			t.Errorf("-first +second\n%s", diff)
		}
		if diff := cmp.Diff(show(before), show(h.list(t))); diff != "" {
			t.Errorf("-before +after\n%s", diff)
		}
	})
}

// TestSameBytes issues the same at the same time to two stores.
func TestSameBytes(t *testing.T) {
	images, attestations := p256(t), p256(t)
	var digests [][]v1.Hash
	for range 2 {
		h := store(t)
		issued := h.issue(t, h.evidence(artifact.PredicateSPDX), images, attestations)
		for _, kind := range []types.MediaType{simpleType, envelopeType} {
			digest, err := h.session.Head(t.Context(), olderTag(h.ref, h.image.Digest, kind))
			if err != nil {
				t.Fatal(err)
			}
			issued.Attached = append(issued.Attached, digest)
		}
		digests = append(digests, issued.Attached)
	}
	if diff := cmp.Diff(digests[0], digests[1]); diff != "" {
		t.Errorf("-one +other\n%s", diff)
	}
}

// TestReplace issues newer evidence of one type: the older goes, all else stays, also what
// others said of that type.
func TestReplace(t *testing.T) {
	both(t, func(t *testing.T, h *harbour) {
		ours, theirs := p256(t), p256(t)
		h.issue(t, h.evidence(artifact.PredicateSPDX, artifact.PredicateVEX), ours, ours)
		h.issue(t, h.evidence(artifact.PredicateSPDX), theirs, theirs)
		newer := artifact.Evidence{Subject: h.image.Digest.String(), PredicateType: artifact.PredicateSPDX, Predicate: []byte(`{"is":"newer"}`)}
		if issued := h.issue(t, []artifact.Evidence{newer}, ours, ours); len(issued.Left) != 0 || issued.Signed != 1 {
			t.Errorf("issued %+v", issued)
		}
		trust := trusts(ours, ours)
		trust.Images.Keys = append(trust.Images.Keys, Key{Name: "theirs", Public: theirs.PublicKey()})
		trust.Attestations = trust.Images
		var got []string
		for _, c := range Verify(h.image.Digest, h.list(t), trust).Checks {
			got = append(got, fmt.Sprint(c.Predicate, " ", c.Forms, " ", c.By, " ", c.Why, string(c.evidence.Predicate)))
		}
		want := []string{
			artifact.PredicateVEX + ` [referrer att] image key {"is":"` + artifact.PredicateVEX + `"}`,
			artifact.PredicateSignature + ` [referrer] image key {}`,
			artifact.PredicateSignature + ` [referrer] theirs {}`,
			artifact.PredicateSignature + ` [sig] image key `,
			artifact.PredicateSignature + ` [sig] theirs `,
			artifact.PredicateSPDX + ` [referrer att] image key {"is":"newer"}`,
			artifact.PredicateSPDX + ` [referrer att] theirs {"is":"` + artifact.PredicateSPDX + `"}`,
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

// TestSeveralOfOneType keeps all that one call gives.
func TestSeveralOfOneType(t *testing.T) {
	h := store(t)
	key := p256(t)
	var two []artifact.Evidence
	for i := range 2 {
		two = append(two, artifact.Evidence{Subject: h.image.Digest.String(), PredicateType: artifact.PredicateTestResult, Predicate: fmt.Appendf(nil, `{"suite":%d}`, i)})
	}
	h.issue(t, two, key, key)
	h.issue(t, two, key, key)
	if got := h.list(t); len(got) != 2 {
		t.Errorf("want both, got %+v", show(got))
	}
}

// TestKeepsForeignLayers leaves what other tools put below the older tags.
func TestKeepsForeignLayers(t *testing.T) {
	h := store(t)
	foreign := []byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"sig":"c2ln"}]}`)
	if _, err := h.session.PutBlob(t.Context(), h.ref, foreign); err != nil {
		t.Fatal(err)
	}
	w := &writer{session: h.session, repo: h.ref, subject: h.image}
	tag := olderTag(h.ref, h.image.Digest, envelopeType)
	if _, err := w.putTag(t.Context(), tag, []v1.Descriptor{describe(t, envelopeType, foreign)}); err != nil {
		t.Fatal(err)
	}
	key := p256(t)
	for range 2 {
		h.issue(t, h.evidence(artifact.PredicateSPDX), key, key)
	}
	layers, err := layersAt(t.Context(), h.session, tag)
	if err != nil || len(layers) != 2 || layers[0].Digest != describe(t, "", foreign).Digest {
		t.Errorf("got %+v, %v", layers, err)
	}
}

// TestManyWriters has many attest one image at once. Each finds all others' below the tag
// in the end, though nothing guards it.
func TestManyWriters(t *testing.T) {
	h := store(t)
	const writers = 12
	trust := Trust{Images: Trusted{Threshold: writers}}
	var all sync.WaitGroup
	for i := range writers {
		key := p256(t)
		trust.Images.Keys = append(trust.Images.Keys, Key{Name: fmt.Sprint(i), Public: key.PublicKey()})
		all.Go(func() {
			if _, err := Issue(context.Background(), h.session, h.ref, h.image, h.evidence(artifact.PredicateSPDX), Signers{Images: key}, Options{Now: morning}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, kind := range []types.MediaType{simpleType, envelopeType} {
		layers, err := layersAt(t.Context(), h.session, olderTag(h.ref, h.image.Digest, kind))
		if err != nil || len(layers) != writers {
			t.Errorf("%s has %d of %d, %v", kind, len(layers), writers, err)
		}
	}
	if err := Verify(h.image.Digest, h.list(t), trust, artifact.PredicateSignature, artifact.PredicateSPDX).Err("app"); err != nil {
		t.Error(err)
	}
}

// TestInterrupted breaks off at each write in turn: running again completes it.
func TestInterrupted(t *testing.T) {
	for at := range 16 {
		left, refused := -1, false // writes that go through; negative is all
		inner := plain.New(plain.Logger(log.New(t.Output(), "", 0)), plain.WithReferrersSupport(true))
		h := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if left >= 0 && r.Method != http.MethodGet && r.Method != http.MethodHead {
				if left == 0 {
					refused = true
					w.WriteHeader(http.StatusForbidden)
					return
				}
				left--
			}
			inner.ServeHTTP(w, r)
		}))
		left = at
		key := p256(t)
		evidence := h.evidence(artifact.PredicateSPDX)
		_, err := Issue(t.Context(), h.session, h.ref, h.image, evidence, Signers{Images: key}, Options{Now: morning})
		if (err != nil) != refused {
			t.Fatalf("at write %d: %v", at, err)
		}
		left = -1
		h.issue(t, evidence, key, key)
		want := []shown{
			{artifact.PredicateSignature, []Form{AsReferrer}},
			{artifact.PredicateSignature, []Form{AsSignatureTag}},
			{artifact.PredicateSPDX, []Form{AsReferrer, AsAttestTag}},
		}
		if diff := cmp.Diff(want, show(h.list(t))); diff != "" {
			t.Errorf("broken at write %d: -want +got\n%s", at, diff)
		}
		if !refused {
			return
		}
	}
	t.Error("it never came to an end")
}

// TestLeft reports what a registry does not remove.
func TestLeft(t *testing.T) {
	inner := plain.New(plain.Logger(log.New(t.Output(), "", 0)), plain.WithReferrersSupport(true))
	h := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	key := p256(t)
	first := h.issue(t, h.evidence(artifact.PredicateSPDX), key, key)
	newer := artifact.Evidence{Subject: h.image.Digest.String(), PredicateType: artifact.PredicateSPDX, Predicate: []byte(`{"is":"newer"}`)}
	second := h.issue(t, []artifact.Evidence{newer}, key, key)
	if diff := cmp.Diff(first.Attached[1:], second.Left); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestIssueRefuses(t *testing.T) {
	h := store(t)
	key := p256(t)
	other := h.push(t, "other")
	for name, evidence := range map[string]artifact.Evidence{
		"another image": Sign(other.Digest),
		"no object":     {Subject: h.image.Digest.String(), PredicateType: "x", Predicate: []byte(`[]`)},
		"no JSON":       {Subject: h.image.Digest.String(), PredicateType: "x", Predicate: []byte(`{"a":`)},
		"nothing":       {Subject: h.image.Digest.String(), PredicateType: "x"},
		"no URI":        {Subject: h.image.Digest.String(), PredicateType: "a b", Predicate: []byte(`{}`)},
		"no type":       {Subject: h.image.Digest.String(), Predicate: []byte(`{}`)},
	} {
		_, err := Issue(t.Context(), h.session, h.ref, h.image, []artifact.Evidence{evidence}, Signers{Images: key}, Options{})
		if fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := Issue(t.Context(), h.session, h.ref, h.image, h.evidence(), Signers{}, Options{}); fault.KindOf(err) != fault.Usage || fault.HintOf(err) == "" {
		t.Errorf("no key: got %v", err)
	}
}

// TestKeepsWhatWasCopied: a copy in the older form has no bundles. What is attached to it
// later replaces nothing of another kind, neither ours nor what somebody else issued.
func TestKeepsWhatWasCopied(t *testing.T) {
	both(t, func(t *testing.T, h *harbour) {
		ours, theirs := p256(t), p256(t)
		h.issue(t, h.evidence(artifact.PredicateSPDX), theirs, theirs)
		h.issue(t, h.evidence(artifact.PredicateSPDX, artifact.PredicateProvenance), ours, ours)
		listed, err := h.session.Referrers(t.Context(), h.ref, h.image.Digest)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range listed.Manifests {
			if _, err := h.session.Delete(t.Context(), h.ref.At(d.Digest)); err != nil {
				t.Fatal(err)
			}
		}
		if listed.Tagged {
			empty := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
			if _, err := h.session.PutManifest(t.Context(), h.ref.ReferrersTag(h.image.Digest), types.OCIImageIndex, empty); err != nil {
				t.Fatal(err)
			}
		}
		h.issue(t, h.evidence(artifact.PredicateVEX)[1:], ours, ours)
		trust := trusts(ours, ours)
		trust.Images.Keys = append(trust.Images.Keys, Key{Name: "theirs", Public: theirs.PublicKey()})
		trust.Attestations = trust.Images
		var got []string
		for _, c := range Verify(h.image.Digest, h.list(t), trust).Checks {
			got = append(got, fmt.Sprint(c.Predicate, " ", c.Forms, " ", c.By, c.Why))
		}
		want := []string{
			artifact.PredicateSignature + " [sig] image key", artifact.PredicateSignature + " [sig] theirs",
			artifact.PredicateSPDX + " [att] image key", artifact.PredicateSPDX + " [att] theirs",
			artifact.PredicateProvenance + " [att] image key", artifact.PredicateVEX + " [referrer att] image key",
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}
