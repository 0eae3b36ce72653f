package attest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Annotations of the manifests of bundles: cosign's own, and ours, by which a writer knows
// from the list of referrers alone what it issued and what belongs below the older tags.
const (
	contentAnnotation         = "dev.sigstore.bundle.content"
	bundlePredicateAnnotation = "dev.sigstore.bundle.predicateType"
	createdAnnotation         = "org.opencontainers.image.created"

	byAnnotation    = "dev.plimsoll.attestation.by"    // the signer's name; also on layers below older tags
	layerAnnotation = "dev.plimsoll.attestation.layer" // descriptor, in JSON, of the layer for the older tag
)

// claim is a statement that is to stand beside the image.
type claim struct {
	predicate string
	payload   []byte
	stated    parsed // the same as whoever reads it finds it
}

func (c claim) signs() bool { return c.predicate == artifact.PredicateSignature }

// writer issues for one image.
type writer struct {
	memory  *Memory
	session *oci.Session
	repo    oci.Reference
	subject v1.Descriptor
	now     time.Time
	by      sealers
	claims  []claim

	configured sync.Once
	config     v1.Descriptor // of all bundles, put once
	failed     error         // to put it
}

// jobs is how many attestations of an image are on their way at once.
const jobs = 4

func (w *writer) write(ctx context.Context) (Issued, error) {
	listed, err := w.session.Referrers(ctx, w.repo, w.subject.Digest)
	if err != nil {
		return Issued{}, err
	}
	known := records(listed.Manifests)
	made := make([]record, len(w.claims))
	sent := make([]int64, len(w.claims))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(jobs)
	for i, c := range w.claims {
		group.Go(func() (err error) {
			made[i], sent[i], err = w.attach(inner, c, known)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Issued{}, err
	}
	out := Issued{}
	for i, r := range made {
		out.Attached, out.Older, out.Sent = append(out.Attached, r.Digest), append(out.Older, w.older(r)), out.Sent+sent[i]
		if sent[i] > 0 {
			out.Signed++
		}
	}
	now, left, err := w.replace(ctx, listed.Tagged, known, made)
	if err != nil {
		return out, err
	}
	out.Left = left
	n, err := w.settle(ctx, now)
	out.Sent += n
	return out, err
}

// older gives the older tag of a record below which there is more than the envelope of its bundle: a signature
// of the older kind, or one that what is beside it verifies. List gives such as attestations of their own.
func (w *writer) older(r record) string {
	below := Attached{layer: r.layer}
	if r.predicate != artifact.PredicateSignature && below.plain() {
		return ""
	}
	return olderTag(w.repo, w.subject.Digest, r.layerType()).Identifier()
}

// attach puts the claim beside the image, unless it is there. It gives the bytes that were
// sent for that.
func (w *writer) attach(ctx context.Context, c claim, known []record) (record, int64, error) {
	by := w.by.of(c)
	for _, r := range known {
		if r.by == by.name() && r.predicate == c.predicate {
			if there, err := w.stands(ctx, c, r); there || err != nil {
				return r, 0, err
			}
		}
	}
	sealed, err := by.seal(ctx, c.payload, true)
	if err != nil {
		return record{}, 0, err
	}
	signed := envelope{payload: c.payload, signatures: [][]byte{sealed.signature}}
	wrapped := signed.json()
	layer, layerSent, err := w.putLayer(ctx, c, wrapped, sealed)
	if err != nil {
		return record{}, 0, err
	}
	raw := bundleJSON(sealed.material, wrapped)
	bundle, bundleSent, err := w.putBlob(ctx, bundleType, raw)
	if err != nil {
		return record{}, 0, err
	}
	r := record{by: by.name(), predicate: c.predicate, layer: layer}
	manifestSent, err := w.putReferrer(ctx, &r, bundle)
	if err == nil {
		sum := layer.Digest.Hex
		if c.signs() {
			sum = sumOf(wrapped)
		}
		w.memory.issued(r.Digest, sealed.material, raw, signed, sum, c.stated)
	}
	return r, layerSent + bundleSent + manifestSent, err
}

// stands tells whether what is attached is the claim in fact, signed by us. It puts the
// layer for the older tag once more: that may have been collected before it had a tag.
func (w *writer) stands(ctx context.Context, c claim, r record) (bool, error) {
	a, err := (&lister{session: w.session, ref: w.repo, subject: w.subject.Digest}).referrer(ctx, r.Descriptor)
	if err != nil || a.Problem != "" || !bytes.Equal(a.envelope.payload, c.payload) {
		return false, err
	}
	by, layer := w.by.of(c), a.envelope.json()
	if !by.verifies(preAuth(c.payload), a.envelope.signatures[0]) {
		return false, nil
	}
	if c.signs() {
		layer = w.simple()
		older, err := base64.StdEncoding.DecodeString(r.layer.Annotations[signatureAnnotation])
		if err != nil || !by.verifies(layer, older) {
			return false, nil
		}
	}
	again, _, err := w.putBlob(ctx, r.layer.MediaType, layer)
	return again.Digest == r.layer.Digest, err
}

// putLayer writes the layer for the older tag: the envelope itself, or for a signature one
// of the older kind.
func (w *writer) putLayer(ctx context.Context, c claim, wrapped []byte, sealed seal) (v1.Descriptor, int64, error) {
	kind, data := types.MediaType(envelopeType), wrapped
	if c.signs() {
		kind, data = simpleType, w.simple()
		var err error
		if sealed, err = w.by.images.seal(ctx, data, false); err != nil {
			return v1.Descriptor{}, 0, err
		}
	}
	layer, sent, err := w.putBlob(ctx, kind, data)
	layer.Annotations = map[string]string{byAnnotation: w.by.of(c).name()}
	for key, value := range sealed.beside {
		layer.Annotations[key] = value
	}
	if !c.signs() {
		layer.Annotations[predicateAnnotation] = c.predicate
	}
	return layer, sent, err
}

func (w *writer) simple() []byte {
	return simple(w.repo.Repository(), w.subject.Digest.String())
}

func (w *writer) putBlob(ctx context.Context, kind types.MediaType, data []byte) (v1.Descriptor, int64, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		return v1.Descriptor{}, 0, err
	}
	blob := v1.Descriptor{MediaType: kind, Digest: digest, Size: size}
	sent, err := w.session.PutDescribed(ctx, w.repo, blob, data)
	return blob, sent, err
}

// emptyType is the media type of a configuration that says nothing (OCI image-spec 1.1,
// "Guidance for an Empty Descriptor").
const emptyType = "application/vnd.oci.empty.v1+json"

// putReferrer writes the manifest of a bundle, and notes its descriptor as the referrers API
// lists it.
func (w *writer) putReferrer(ctx context.Context, r *record, bundle v1.Descriptor) (int64, error) {
	configSent := int64(0)
	w.configured.Do(func() { w.config, configSent, w.failed = w.putBlob(ctx, emptyType, []byte("{}")) })
	if w.failed != nil {
		return 0, w.failed
	}
	layer, err := json.Marshal(r.layer)
	if err != nil {
		return 0, err
	}
	annotations := map[string]string{
		contentAnnotation: "dsse-envelope", bundlePredicateAnnotation: r.predicate, createdAnnotation: w.now.Format(time.RFC3339),
		byAnnotation: r.by, layerAnnotation: string(layer),
	}
	raw, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: bundleType,
		Config: w.config, Layers: []v1.Descriptor{bundle}, Annotations: annotations,
		Subject: &v1.Descriptor{MediaType: w.subject.MediaType, Digest: w.subject.Digest, Size: w.subject.Size},
	})
	if err != nil {
		return 0, err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return 0, err
	}
	r.Descriptor = v1.Descriptor{
		MediaType: types.OCIManifestSchema1, ArtifactType: bundleType, Digest: digest, Size: size, Annotations: annotations,
	}
	sent, err := w.session.PutManifest(ctx, w.repo.At(digest), types.OCIManifestSchema1, raw)
	return configSent + sent, err
}

// replace takes away what the claims replace. It gives what now refers to the image, and
// what the registry does not let go.
func (w *writer) replace(ctx context.Context, tagged bool, known, made []record) (now []record, left []v1.Hash, err error) {
	now = slices.Clone(made)
	var old []record
	for _, r := range known {
		switch {
		case holds(made, r.Descriptor):
		case slices.ContainsFunc(made, func(m record) bool { return m.by == r.by && m.predicate == r.predicate }):
			old = append(old, r)
		default:
			now = append(now, r)
		}
	}
	if tagged {
		if err := w.index(ctx, made, old); err != nil {
			return nil, nil, err
		}
	}
	for _, r := range old {
		gone, err := w.session.Delete(ctx, w.repo.At(r.Digest))
		if err != nil {
			return nil, nil, err
		}
		if !gone {
			left = append(left, r.Digest)
			if !tagged { // it is listed as long as it is there
				now = append(now, r)
			}
		}
	}
	return now, left, nil
}
