package attest

import (
	"context"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/oci"
)

// mostSignatures is how many signatures of one image are looked at.
const mostSignatures = 16

// Signed says whether those whom the trust believes signed the image or index of that
// digest. It reads signatures alone, and the older ones only when no bundle will do: for
// those who must know it of thousands.
func Signed(ctx context.Context, session *oci.Session, ref oci.Reference, subject v1.Hash, trust Trust) (bool, error) {
	l := &lister{session: session, ref: ref, subject: subject, known: map[string]Attached{}}
	listed, err := session.Referrers(ctx, ref, subject)
	if err != nil {
		return false, err
	}
	signatures := slices.DeleteFunc(listed.Manifests, func(d v1.Descriptor) bool {
		return d.Annotations[bundlePredicateAnnotation] != artifact.PredicateSignature
	})
	bundles, err := each(ctx, signatures[:min(len(signatures), mostSignatures)], l.referrer)
	if err != nil {
		return false, err
	}
	if Verify(subject, bundles, trust).Verified {
		return true, nil
	}
	layers, err := layersAt(ctx, session, olderTag(ref, subject, simpleType))
	if err != nil {
		return false, err
	}
	older, err := each(ctx, layers[:min(len(layers), mostSignatures)], func(ctx context.Context, d v1.Descriptor) (Attached, error) {
		return l.layer(ctx, types.MediaType(simpleType), d)
	})
	return err == nil && Verify(subject, older, trust).Verified, err
}
