package attest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Form is how an attestation is stored.
type Form string

// The forms.
const (
	AsReferrer     Form = "referrer" // a Sigstore bundle that refers to the image
	AsSignatureTag Form = "sig"      // below the tag sha256-….sig
	AsAttestTag    Form = "att"      // below the tag sha256-….att
)

// Attached is one attestation or signature as it was found beside an image: nothing in it
// has been verified.
type Attached struct {
	Forms     []Form `json:"forms"`               // the first is where Raw is from
	Manifest  string `json:"manifest"`            // the bundle's manifest by digest, or the tag
	Predicate string `json:"predicate,omitempty"` // artifact.PredicateSignature also for an older signature
	Created   string `json:"created,omitempty"`   // as its manifest says
	Raw       []byte `json:"-"`                   // the bundle; or what lies below the tag
	Problem   string `json:"problem,omitempty"`   // why it cannot be read

	bundle    *bundle.Bundle // nil below a tag
	layer     v1.Descriptor  // below a tag
	envelope  envelope       // without signatures for an older signature
	statement parsed
}

// Limits of what is attached to one image.
const (
	maxAttached = 512
	maxTotal    = 256 << 20 // bytes
)

func tooMany(at oci.Reference) error {
	return fault.Newf(fault.Failed, "read attestations", at.String(), fmt.Sprintf("there are more than %d", maxAttached)).
		WithHint("remove those that nobody needs")
}

// List gives all that is attached to the manifest of that digest in the repository of ref:
// what refers to it as Sigstore bundles and what is below the older tags, each once. What
// cannot be read is listed with its Problem; there is an error only when the registry fails
// or there is too much to look at.
func List(ctx context.Context, session *oci.Session, ref oci.Reference, subject v1.Hash) ([]Attached, error) {
	reads, err := locate(ctx, session, ref, subject)
	if err != nil {
		return nil, err
	}
	out := make([]Attached, len(reads))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(jobs)
	for i, read := range reads {
		group.Go(func() (err error) {
			out[i], err = read(inner)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return once(out), nil
}

// locate gives a function for each attestation, which reads it.
func locate(ctx context.Context, session *oci.Session, ref oci.Reference, subject v1.Hash) ([]func(context.Context) (Attached, error), error) {
	listed, err := session.Referrers(ctx, ref, subject)
	if err != nil {
		return nil, err
	}
	var reads []func(context.Context) (Attached, error)
	var total int64
	for _, d := range listed.Manifests {
		// Some registries list a manifest by the type of its configuration.
		if strings.HasPrefix(d.ArtifactType, bundlePrefix) || d.Annotations[contentAnnotation] != "" {
			reads = append(reads, func(ctx context.Context) (Attached, error) { return readReferrer(ctx, session, ref, d) })
		}
	}
	for _, kind := range []types.MediaType{simpleType, envelopeType} {
		tag := olderTag(ref, subject, kind)
		layers, err := layersAt(ctx, session, tag)
		if err != nil {
			return nil, err
		}
		for _, d := range layers {
			total += d.Size
			reads = append(reads, func(ctx context.Context) (Attached, error) { return readLayer(ctx, session, tag, kind, d) })
		}
	}
	if len(reads) > maxAttached || total > maxTotal {
		return nil, tooMany(ref.At(subject))
	}
	return reads, nil
}

// readReferrer reads a bundle by the descriptor of its manifest.
func readReferrer(ctx context.Context, session *oci.Session, ref oci.Reference, d v1.Descriptor) (Attached, error) {
	out := Attached{Forms: []Form{AsReferrer}, Manifest: d.Digest.String()}
	if at, err := time.Parse(time.RFC3339, d.Annotations[createdAnnotation]); err == nil {
		out.Created = at.UTC().Format(time.RFC3339)
	}
	m, err := session.Manifest(ctx, ref.At(d.Digest))
	if err != nil {
		return out.broken(err)
	}
	if m.Image == nil || len(m.Image.Layers) != 1 || !strings.HasPrefix(string(m.Image.Layers[0].MediaType), bundlePrefix) {
		return out.broken(fault.Newf(fault.Failed, "read bundle", "", "its manifest does not hold just a bundle"))
	}
	if out.Raw, err = session.Blob(ctx, ref, m.Image.Layers[0]); err != nil {
		return out.broken(err)
	}
	if out.bundle, out.envelope, err = parseBundle(out.Raw); err != nil {
		return out.broken(err)
	}
	return out.stated()
}

// readLayer reads what is below an older tag.
func readLayer(ctx context.Context, session *oci.Session, tag oci.Reference, kind types.MediaType, d v1.Descriptor) (out Attached, err error) {
	out = Attached{Forms: []Form{Form(suffix(kind))}, Manifest: tag.Identifier(), layer: d}
	if d.MediaType != kind {
		return out.broken(fmt.Errorf("it is of type %q, want %q", d.MediaType, kind))
	}
	if out.Raw, err = session.Blob(ctx, tag, d); err != nil {
		return out.broken(err)
	}
	if kind == envelopeType {
		if out.envelope, err = parseEnvelope(out.Raw); err != nil {
			return out.broken(err)
		}
		return out.stated()
	}
	digest, err := parseSimple(out.Raw)
	if err != nil {
		return out.broken(err)
	}
	algorithm, hex, _ := strings.Cut(digest, ":")
	out.Predicate = artifact.PredicateSignature
	out.statement = parsed{predicateType: out.Predicate, subjects: []map[string]string{{algorithm: hex}}}
	return out, nil
}

// broken notes what is wrong with the attestation, and passes on what is wrong with the
// registry.
func (a Attached) broken(err error) (Attached, error) {
	if kind := fault.KindOf(err); kind != fault.Failed && kind != fault.NotFound {
		return a, err
	}
	a.Problem = legible(err.Error())
	return a, nil
}

// stated reads the statement in the envelope.
func (a Attached) stated() (Attached, error) {
	var err error
	if a.statement, err = parseStatement(a.envelope.payload); err != nil {
		return a.broken(err)
	}
	a.Predicate = a.statement.predicateType
	return a, nil
}

// once leaves out what is there in two forms, with the first of them. Only what is verified
// with keys alone is the same for sure: what a certificate or a log entry beside it is
// worth differs.
func once(all []Attached) []Attached {
	var out []Attached
	seen := map[[sha256.Size]byte]int{}
	for _, a := range all {
		if a.Problem == "" && a.plain() && len(a.envelope.signatures) > 0 {
			key := sha256.Sum256(a.envelope.json())
			if i, ok := seen[key]; ok {
				if !slices.Contains(out[i].Forms, a.Forms[0]) {
					out[i].Forms = append(out[i].Forms, a.Forms[0])
				}
				continue
			}
			seen[key] = len(out)
		}
		out = append(out, a)
	}
	slices.SortStableFunc(out, func(a, b Attached) int { return cmp.Compare(a.Predicate, b.Predicate) })
	return out
}

// plain says that there is nothing beside the signature to verify it with.
func (a Attached) plain() bool {
	if a.bundle != nil {
		m := a.bundle.GetVerificationMaterial()
		return m.GetPublicKey() != nil && len(m.GetTlogEntries()) == 0 && len(m.GetTimestampVerificationData().GetRfc3161Timestamps()) == 0
	}
	for _, key := range []string{certificateAnnotation, logAnnotation, timestampAnnotation} {
		if a.layer.Annotations[key] != "" {
			return false
		}
	}
	return true
}
