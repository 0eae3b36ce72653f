package attest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
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
	Raw       []byte `json:"-"`                   // the bundle; or what lies below the tag; nil of what is remembered and a key verifies
	Problem   string `json:"problem,omitempty"`   // why it cannot be read

	bundle    *bundle.Bundle // nil below a tag
	layer     v1.Descriptor  // below a tag
	envelope  envelope       // without signatures for an older signature
	sum       string         // of the envelope as a layer, in hexadecimal; "" where there is none
	statement parsed
}

// Limits of what is attached to one image.
const (
	maxAttached = 512
	maxTotal    = 128 << 20 // bytes
)

// tooMany refuses to look at less than all: what is missing might be what matters.
func tooMany(at oci.Reference) error {
	return fault.Newf(fault.Denied, "read attestations", at.String(), fmt.Sprintf("there are more than %d, or more than %d MB of them", maxAttached, maxTotal>>20)).
		WithHint("remove those that nobody needs")
}

// List gives all that is attached to the manifest of that digest in the repository of ref:
// what refers to it as Sigstore bundles and what is below the older tags, each once. What
// cannot be read is listed with its Problem; there is an error only when the registry fails
// or there is too much to look at.
func List(ctx context.Context, session *oci.Session, ref oci.Reference, subject v1.Hash) ([]Attached, error) {
	return (*Memory)(nil).List(ctx, session, ref, subject)
}

func list(ctx context.Context, l *lister) ([]Attached, error) {
	bundles, err := l.referrers(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range bundles {
		if digest, ok := a.same(); ok {
			l.known[digest] = a
		}
	}
	layers, err := l.layers(ctx)
	if err != nil {
		return nil, err
	}
	if len(bundles)+len(layers) > maxAttached {
		return nil, tooMany(l.ref.At(l.subject))
	}
	return once(append(bundles, layers...)), nil
}

// lister reads what is attached to one image.
type lister struct {
	memory  *Memory
	session *oci.Session
	ref     oci.Reference
	subject v1.Hash
	known   map[string]Attached // bundles, by the digest of the layer that is the same
	taken   atomic.Int64        // bytes
}

// referrers reads the bundles that refer to the image.
func (l *lister) referrers(ctx context.Context) ([]Attached, error) {
	listed, err := l.session.Referrers(ctx, l.ref, l.subject)
	if err != nil {
		return nil, err
	}
	// Some registries list a manifest by the type of its configuration.
	bundles := slices.DeleteFunc(listed.Manifests, func(d v1.Descriptor) bool {
		return !strings.HasPrefix(d.ArtifactType, bundlePrefix) && d.Annotations[contentAnnotation] == ""
	})
	if len(bundles) > maxAttached {
		return nil, tooMany(l.ref.At(l.subject))
	}
	return each(ctx, bundles, l.referrer)
}

// layers reads what is below the older tags.
func (l *lister) layers(ctx context.Context) ([]Attached, error) {
	var out []Attached
	for _, kind := range []types.MediaType{simpleType, envelopeType} {
		layers, err := layersAt(ctx, l.session, olderTag(l.ref, l.subject, kind))
		if err != nil {
			return nil, err
		}
		read, err := each(ctx, layers, func(ctx context.Context, d v1.Descriptor) (Attached, error) { return l.layer(ctx, kind, d) })
		if err != nil {
			return nil, err
		}
		out = append(out, read...)
	}
	return out, nil
}

// each reads several at once, and gives them in order.
func each(ctx context.Context, all []v1.Descriptor, read func(context.Context, v1.Descriptor) (Attached, error)) ([]Attached, error) {
	out := make([]Attached, len(all))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(jobs)
	for i, d := range all {
		group.Go(func() (err error) {
			out[i], err = read(inner, d)
			return err
		})
	}
	return out, group.Wait()
}

// referrer reads a bundle by the descriptor of its manifest.
func (l *lister) referrer(ctx context.Context, d v1.Descriptor) (Attached, error) {
	out := Attached{Forms: []Form{AsReferrer}, Manifest: d.Digest.String()}
	if at, err := time.Parse(time.RFC3339, d.Annotations[createdAnnotation]); err == nil {
		out.Created = at.UTC().Format(time.RFC3339)
	}
	if known, ok := l.memory.get(d.Digest); ok {
		if err := l.take(int64(len(known.envelope.payload))); err != nil {
			return out, err
		}
		known.Created = out.Created
		return known, nil
	}
	m, err := l.session.Manifest(ctx, l.ref.At(d.Digest))
	if err != nil {
		return out.broken(err)
	}
	if m.Image == nil || len(m.Image.Layers) != 1 || !strings.HasPrefix(string(m.Image.Layers[0].MediaType), bundlePrefix) {
		return out.broken(fault.Newf(fault.Failed, "read bundle", "", "its manifest does not hold just a bundle"))
	}
	if out.Raw, err = l.blob(ctx, m.Image.Layers[0]); err != nil {
		return out.broken(err)
	}
	if out.bundle, out.envelope, err = parseBundle(out.Raw); err != nil {
		return out.broken(err)
	}
	out, err = out.stated()
	if err == nil {
		l.memory.put(d.Digest, out)
	}
	return out, err
}

// layer reads what is below an older tag, unless a bundle has the very same.
func (l *lister) layer(ctx context.Context, kind types.MediaType, d v1.Descriptor) (out Attached, err error) {
	tag := olderTag(l.ref, l.subject, kind)
	out = Attached{Forms: []Form{Form(suffix(kind))}, Manifest: tag.Identifier(), layer: d}
	if d.MediaType != kind {
		return out.broken(fmt.Errorf("it is of type %q, want %q", d.MediaType, kind))
	}
	if twin, ok := l.known[d.Digest.Hex]; ok && kind == envelopeType && out.plain() {
		out.Predicate, out.envelope, out.sum, out.statement = twin.Predicate, twin.envelope, twin.sum, twin.statement
		return out, nil
	}
	if out.Raw, err = l.blob(ctx, d); err != nil {
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

// blob reads a blob if that is not too much in all.
func (l *lister) blob(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	if err := l.take(d.Size); err != nil {
		return nil, err
	}
	return l.session.Blob(ctx, l.ref, d)
}

// take counts bytes that are looked at.
func (l *lister) take(bytes int64) error {
	if l.taken.Add(max(0, bytes)) > maxTotal {
		return tooMany(l.ref.At(l.subject))
	}
	return nil
}

// broken notes what is wrong with the attestation, and passes on what is wrong with the
// registry or with all that is attached.
func (a Attached) broken(err error) (Attached, error) {
	short := errors.Is(err, io.ErrUnexpectedEOF) // than it says: by a stranger's hand, perhaps
	if kind := fault.KindOf(err); !short && kind != fault.Failed && kind != fault.NotFound {
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
	a.Predicate, a.sum = a.statement.predicateType, sumOf(a.envelope.json())
	return a, nil
}

// once leaves out what is there in two forms, with the first of them.
func once(all []Attached) []Attached {
	var out []Attached
	seen := map[string]int{}
	for _, a := range all {
		if digest, ok := a.same(); ok {
			if i, ok := seen[digest]; ok {
				if !slices.Contains(out[i].Forms, a.Forms[0]) {
					out[i].Forms = append(out[i].Forms, a.Forms[0])
				}
				continue
			}
			seen[digest] = len(out)
		}
		out = append(out, a)
	}
	slices.SortStableFunc(out, func(a, b Attached) int { return cmp.Compare(a.Predicate, b.Predicate) })
	return out
}

// same gives what others have in common with the attestation that say the same: the digest,
// in hexadecimal, of its envelope as a layer. Only what is verified with keys alone is the
// same for sure: what a certificate or a log entry beside it is worth differs.
func (a Attached) same() (string, bool) {
	if a.Problem != "" || len(a.envelope.signatures) == 0 || !a.plain() {
		return "", false
	}
	return a.sum, true
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
