package attest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"plimsoll.dev/plimsoll/artifact"
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
