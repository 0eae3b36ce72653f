package attest

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// record is what the list of referrers tells of a bundle that Plimsoll issued.
type record struct {
	v1.Descriptor               // of the bundle's manifest
	by            string        // the signer's name
	predicate     string        // its type
	layer         v1.Descriptor // for the older tag
}

// records gives those of the referrers that Plimsoll issued.
func records(listed []v1.Descriptor) []record {
	var out []record
	for _, d := range listed {
		r := record{Descriptor: d, by: d.Annotations[byAnnotation], predicate: d.Annotations[bundlePredicateAnnotation]}
		if r.by == "" || json.Unmarshal([]byte(d.Annotations[layerAnnotation]), &r.layer) != nil {
			continue
		}
		if r.layer.MediaType == r.layerType() && r.layer.Annotations[byAnnotation] == r.by && len(r.layer.URLs) == 0 {
			out = append(out, r)
		}
	}
	return out
}

// layerType is the media type of layers below the older tag that the record belongs to.
func (r record) layerType() types.MediaType {
	if r.predicate == artifact.PredicateSignature {
		return simpleType
	}
	return envelopeType
}

// replaces says whether a layer below the record's older tag is by the same signer, and of
// the same type.
func (r record) replaces(layer v1.Descriptor) bool {
	predicate := layer.Annotations[predicateAnnotation]
	if layer.MediaType == simpleType {
		predicate = artifact.PredicateSignature
	}
	return layer.Annotations[byAnnotation] == r.by && predicate == r.predicate
}

// suffix is that of the older tag with layers of that media type.
func suffix(layers types.MediaType) string {
	if layers == simpleType {
		return string(AsSignatureTag)
	}
	return string(AsAttestTag)
}

// olderTag is where cosign kept what is attached to an image (cosign, SIGNATURE_SPEC.md,
// "Tag-based discovery").
func olderTag(repo oci.Reference, subject v1.Hash, layers types.MediaType) oci.Reference {
	return repo.SignatureTag(subject, suffix(layers))
}

// rounds is how often a tag is written before the writer gives up to others.
const rounds = 32

// settle makes the older tags hold what the records say. Whoever writes a tag looks at the
// list of referrers afterwards. So the last of several writers sees all of them: each has
// put its bundle there before it wrote.
func (w *writer) settle(ctx context.Context, now []record) (sent int64, err error) {
	for range rounds {
		n, wrote, err := w.writeTags(ctx, now)
		sent += n
		if err != nil || !wrote {
			return sent, err
		}
		listed, err := w.session.Referrers(ctx, w.repo, w.subject.Digest)
		if err != nil {
			return sent, err
		}
		found := records(listed.Manifests)
		if same(found, now) {
			return sent, nil
		}
		now = found
	}
	return sent, w.contended()
}

func (w *writer) contended() error {
	return fault.Newf(fault.Unavailable, "attest", w.repo.At(w.subject.Digest).String(), "others keep writing to its attestations").WithHint("try again")
}

func same(a, b []record) bool {
	digests := func(all []record) map[string]bool {
		out := map[string]bool{}
		for _, r := range all {
			out[r.Digest.Hex] = true
		}
		return out
	}
	return maps.Equal(digests(a), digests(b))
}

// writeTags writes those of the older tags that are not as the records say.
func (w *writer) writeTags(ctx context.Context, now []record) (sent int64, wrote bool, err error) {
	for _, kind := range []types.MediaType{simpleType, envelopeType} {
		tag := olderTag(w.repo, w.subject.Digest, kind)
		all := slices.DeleteFunc(slices.Clone(now), func(r record) bool { return r.layerType() != kind })
		own := slices.DeleteFunc(slices.Clone(all), func(r record) bool { return !w.by.own(r.by) })
		if len(all) == 0 {
			continue
		}
		there, err := layersAt(ctx, w.session, tag)
		if err != nil {
			return sent, wrote, err
		}
		n, put, err := w.writeTag(ctx, tag, there, all)
		sent, wrote = sent+n, wrote || put
		if err != nil && len(own) < len(all) && ctx.Err() == nil {
			// What others recorded may be gone from the registry, or never have been there.
			n, put, err = w.writeTag(ctx, tag, there, own)
			sent, wrote = sent+n, wrote || put
		}
		if err != nil {
			return sent, wrote, err
		}
	}
	return sent, wrote, nil
}

// writeTag puts the records' layers in the place of those that are there and that are
// replaced by them: of the same signer and type, as their marks say. Of others there need be
// no record: a copy in the older form has none.
func (w *writer) writeTag(ctx context.Context, tag oci.Reference, there []v1.Descriptor, all []record) (int64, bool, error) {
	want := slices.DeleteFunc(slices.Clone(there), func(d v1.Descriptor) bool {
		return slices.ContainsFunc(all, func(r record) bool { return r.replaces(d) })
	})
	want = append(want, layersOf(all)...)
	if slices.EqualFunc(want, there, equal) {
		return 0, false, nil
	}
	sent, err := w.putTag(ctx, tag, want)
	return sent, err == nil, err
}

// layersOf gives the layers of the records in an order that does not depend on who wrote
// first.
func layersOf(all []record) []v1.Descriptor {
	slices.SortFunc(all, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.predicate, b.predicate), cmp.Compare(a.by, b.by), cmp.Compare(a.Digest.Hex, b.Digest.Hex))
	})
	var out []v1.Descriptor
	for _, r := range all {
		out = append(out, r.layer)
	}
	return out
}

func equal(a, b v1.Descriptor) bool {
	return a.Digest == b.Digest && a.MediaType == b.MediaType && a.Size == b.Size && maps.Equal(a.Annotations, b.Annotations)
}

// layersAt gives the layers of the manifest that a tag names; none when there is none.
func layersAt(ctx context.Context, session *oci.Session, tag oci.Reference) ([]v1.Descriptor, error) {
	m, err := session.Manifest(ctx, tag)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return nil, nil
	case err != nil:
		return nil, err
	case m.Image == nil:
		return nil, fault.Newf(fault.Failed, "read attestations", tag.String(), "it is an index, not the image that cosign puts there").WithHint("remove that tag")
	case len(m.Image.Layers) > maxAttached:
		return nil, tooMany(tag)
	}
	return m.Image.Layers, nil
}

// putTag writes a manifest with these layers, with a configuration as cosign writes it: some
// tools look for the layers' diffIDs there.
func (w *writer) putTag(ctx context.Context, tag oci.Reference, layers []v1.Descriptor) (int64, error) {
	file := v1.ConfigFile{RootFS: v1.RootFS{Type: "layers"}}
	for _, d := range layers {
		file.RootFS.DiffIDs = append(file.RootFS.DiffIDs, d.Digest)
	}
	text, err := json.Marshal(file)
	if err != nil {
		return 0, err
	}
	config, configSent, err := w.putBlob(ctx, types.OCIConfigJSON, text)
	if err != nil {
		return 0, err
	}
	raw, err := json.Marshal(v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: config, Layers: layers})
	if err != nil {
		return configSent, err
	}
	sent, err := w.session.PutManifest(ctx, tag, types.OCIManifestSchema1, raw)
	return configSent + sent, err
}

// index keeps the list of referrers where the registry does not (OCI distribution-spec 1.1,
// "Referrers Tag Schema"). Nothing guards that tag: it is read again until it is as wanted,
// and of two writers at the very same moment one may still be lost until it runs again.
func (w *writer) index(ctx context.Context, made, old []record) error {
	tag := w.repo.ReferrersTag(w.subject.Digest)
	for range rounds {
		listed, err := w.session.Referrers(ctx, w.repo, w.subject.Digest)
		if err != nil {
			return err
		}
		want := slices.DeleteFunc(slices.Clone(listed.Manifests), func(d v1.Descriptor) bool { return holds(old, d) })
		for _, r := range made {
			if !slices.ContainsFunc(want, func(d v1.Descriptor) bool { return d.Digest == r.Digest }) {
				want = append(want, r.Descriptor)
			}
		}
		if slices.EqualFunc(want, listed.Manifests, func(a, b v1.Descriptor) bool { return a.Digest == b.Digest }) {
			return nil
		}
		raw, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: want})
		if err != nil {
			return err
		}
		if _, err := w.session.PutManifest(ctx, tag, types.OCIImageIndex, raw); err != nil {
			return err
		}
	}
	return w.contended()
}

func holds(all []record, d v1.Descriptor) bool {
	return slices.ContainsFunc(all, func(r record) bool { return r.Digest == d.Digest })
}
