package known

import (
	"context"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/evidence/sbom"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/keys"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/feeds"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/vuln/vex"
)

// Reader reads images for the inventory.
type Reader struct {
	home     *home.Home
	Session  *oci.Session
	Contents *sbom.Scanner
	Trust    attest.Trust // the zero value, where nobody is trusted
}

// NewReader gives one that believes whom the home does.
func NewReader(ctx context.Context, h *home.Home) *Reader {
	return &Reader{home: h, Session: h.Registries.Session(), Contents: h.Contents(), Trust: h.Believed(ctx)}
}

// Found is an image as the inventory is to know it, and what VEX statements say of it.
type Found struct {
	inventory.Image
	Digest   v1.Hash
	Attached []attest.Attached // to the image itself
	silenced []silenced
}

// silenced is what VEX statements from one place say.
type silenced struct {
	from       string
	statements []inventory.Suppression
}

// Read gives every image that the reference names.
func (r *Reader) Read(ctx context.Context, text string) ([]Found, error) {
	ref, err := oci.Parse(text)
	if err != nil {
		return nil, err
	}
	top, err := r.Session.Manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	images, err := r.home.Registries.Images(ctx, ref.At(top.Digest))
	if err != nil {
		return nil, err
	}
	var out []Found
	for _, image := range images {
		one, err := r.one(ctx, ref, image)
		if err != nil {
			return nil, err
		}
		if err := r.silence(ctx, &one, ref, top.Digest); err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func (r *Reader) one(ctx context.Context, ref oci.Reference, image v1.Image) (Found, error) {
	subject, err := sbom.ImageOf(image)
	if err != nil {
		return Found{}, err
	}
	contents, err := r.Contents.Contents(ctx, subject)
	if err != nil {
		return Found{}, err
	}
	digest, err := image.Digest()
	if err != nil {
		return Found{}, err
	}
	attached, err := r.home.Attached().List(ctx, r.Session, ref, digest)
	if err != nil {
		return Found{}, err
	}
	return r.Found(ref, image, contents, attest.Verify(digest, attached, r.Trust), attached)
}

// Found gives the image as the inventory is to know it.
func (r *Reader) Found(ref oci.Reference, image v1.Image, contents artifact.Contents, report attest.Report, attached []attest.Attached) (Found, error) {
	out := Found{Attached: attached}
	var err error
	if out.Image, err = Of(ref, image, contents); err != nil {
		return Found{}, err
	}
	if out.Digest, err = image.Digest(); err != nil {
		return Found{}, err
	}
	for _, c := range report.Checks {
		out.Evidence = append(out.Evidence, r.evidence(c))
	}
	return out, nil
}

// silence adds what the VEX documents say that are attached to the image, and to what the
// reference names where that is its index.
func (r *Reader) silence(ctx context.Context, image *Found, ref oci.Reference, top v1.Hash) error {
	own, err := Statements(image.Digest, image.Attached, r.Trust)
	if err != nil {
		return err
	}
	about := vex.Image{Contents: image.Contents, Digests: []string{top.String()}, Repository: ref.Repository()}
	image.Silence("attestations of "+image.Digest.String(), own, about)
	if top == image.Digest {
		return nil
	}
	ofIndex, err := StatementsOn(ctx, r.Session, ref, r.Trust, top)
	if err != nil {
		return err
	}
	image.Silence("attestations of "+top.String()+" on "+image.Digest.String(), ofIndex, about)
	return nil
}

// Silence notes what the documents say, which are from there.
func (f *Found) Silence(from string, documents []*vex.Document, about vex.Image) {
	f.silenced = append(f.silenced, silenced{from, suppressions(documents, about)})
}

// Keep puts images into the inventory.
func (r *Reader) Keep(ctx context.Context, index *inventory.Inventory, images []Found) error {
	var all []inventory.Image
	for _, image := range images {
		all = append(all, image.Image)
	}
	if err := feeds.Put(ctx, r.home, all...); err != nil {
		return err
	}
	for _, image := range images {
		for _, s := range image.silenced {
			if err := index.Suppress(ctx, s.from, s.statements); err != nil {
				return err
			}
		}
	}
	return nil
}

// evidence gives one thing that is attached, with who signed it when that is somebody the
// home trusts.
func (r *Reader) evidence(c attest.Check) inventory.Evidence {
	out := inventory.Evidence{PredicateType: c.Predicate, Digest: c.Manifest, Stored: "tag"}
	if slices.Contains(c.Forms, attest.AsReferrer) {
		out.Stored = "bundle"
	}
	if !c.Verified {
		return out
	}
	out.VerifiedAt, out.Identity = time.Now(), c.By
	for _, key := range slices.Concat(r.Trust.Images.Keys, r.Trust.Attestations.Keys) {
		if key.Name == c.By {
			out.KeyID, out.Identity = keys.Fingerprint(key.Public), ""
		}
	}
	return out
}
