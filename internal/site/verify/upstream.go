package verify

import (
	"context"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/home"
)

// Upstream holds what is attached to an image outside against what an import wants. A
// signature of what the reference names speaks of all that is in there by digest; all else may
// be said of that, or of each image in it.
func Upstream(ctx context.Context, h *home.Home, session *oci.Session, ref oci.Reference, wanted v1alpha1.UpstreamVerification) error {
	trust, err := trustUpstream(ctx, h, wanted)
	if err != nil {
		return err
	}
	if len(wanted.Want) == 0 {
		wanted.Want = []string{"signature"}
	}
	want, err := Types("spec.verify.want", wanted.Want...)
	if err != nil {
		return err
	}
	m, err := session.Manifest(ctx, ref)
	if err != nil {
		return err
	}
	report, missing, err := one(ctx, session, ref, m, trust, want)
	if err != nil {
		return err
	}
	inside := slices.DeleteFunc(missing, func(predicate string) bool { return predicate == artifact.PredicateSignature })
	if settled := len(inside) == 0 || len(inside) < len(report.Missing) || len(report.Refused) > 0; settled || m.Index == nil {
		return report.err(ref)
	}
	images := 0
	for _, d := range m.Index.Manifests {
		if d.Platform != nil && d.Platform.OS == "unknown" {
			continue // attestations of other builders
		}
		images++
		child, err := session.Manifest(ctx, ref.At(d.Digest))
		if err != nil {
			return err
		}
		report, _, err := one(ctx, session, ref, child, trust, inside)
		if err != nil {
			return err
		}
		if err := report.err(ref.At(d.Digest)); err != nil {
			return err
		}
	}
	if images == 0 {
		return report.err(ref)
	}
	return nil
}

// one gives which of what is wanted is missing of one manifest.
func one(ctx context.Context, session *oci.Session, ref oci.Reference, m oci.Manifest, trust attest.Trust, want []string) (upstreamReport, []string, error) {
	attached, err := attest.List(ctx, session, ref, m.Digest)
	if err != nil {
		return upstreamReport{}, nil, err
	}
	part := Image{Report: attest.Verify(m.Digest, attached, trust, want...)}
	part.heed(want)
	var missing []string
	for _, m := range part.Missing {
		missing = append(missing, m.Predicate)
	}
	return upstreamReport{part}, missing, nil
}

// upstreamReport is what was verified of one manifest outside.
type upstreamReport struct{ Image }

func (r upstreamReport) err(ref oci.Reference) error {
	var why []string
	for _, m := range slices.Concat(r.Refused, r.Missing) {
		why = append(why, Name(m.Predicate)+": "+m.Why)
	}
	if len(why) == 0 {
		return nil
	}
	return fault.Newf(fault.Denied, "verify upstream", ref.String(), strings.Join(why, "; ")).
		WithHint("see what is there with `plimsoll verify`, or change spec.verify")
}

// trustUpstream opens the keys that an import names.
func trustUpstream(ctx context.Context, h *home.Home, wanted v1alpha1.UpstreamVerification) (t attest.Trust, err error) {
	if t.Images.Keys, err = h.PublicKeys(ctx, wanted.Keys); err != nil {
		return t, err
	}
	if t.Attestations.Keys, err = h.PublicKeys(ctx, wanted.AttestationKeys); err != nil {
		return t, err
	}
	for _, i := range wanted.Identities {
		t.Images.Identities = append(t.Images.Identities, attest.Identity(i))
	}
	if len(wanted.AttestationKeys) > 0 {
		t.Attestations.Identities = t.Images.Identities
	}
	t.Root, err = home.TrustedRoot(wanted.Root)
	return t, err
}
