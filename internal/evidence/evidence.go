// Package evidence takes an Image and gives its Evidence, signed and beside it in the
// registry: what it holds, how it came about, how hardened it is, and a signature of the
// whole. Its sub-packages each make one kind; here they are put together.
package evidence

import (
	"context"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/evidence/hardening"
	"plimsoll.dev/plimsoll/internal/evidence/sbom"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/bill"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/cyclonedx"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/spdx"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Issuer makes the evidence of images. It is safe for concurrent use: a fleet has one.
type Issuer struct {
	Contents  *sbom.Scanner
	Hardening *hardening.Scanner
	Malware   Malware // nil: nobody looks for any
	Signers   attest.Signers
	Keyless   *attest.Keyless // instead of Signers; nil: keys sign
	Version   string          // of plimsoll

	// Attached and Bills remember what is issued, for those who read it here; nil does not.
	Attached *attest.Memory
	Bills    Bills
}

// Bills hears which bills of materials were made of which contents.
type Bills interface {
	Made(of artifact.Contents, bills ...artifact.Evidence)
}

// Malware looks for malware in an image.
type Malware interface {
	Evidence(ctx context.Context, image v1.Image) (artifact.Evidence, error)
}

// Subject is an image of one platform that the registry holds.
type Subject struct {
	Ref        oci.Reference // a reference in its repository
	Descriptor v1.Descriptor // of its manifest
	Image      v1.Image
	BaseLayers int // how many of its layers are the base's; 0: its labels say

	// Others is evidence that the issuer cannot make: how the image came about. It was
	// encoded by this program.
	Others []artifact.Evidence
}

// Issued is what was issued for one image.
type Issued struct {
	Contents artifact.Contents
	Evidence []artifact.Evidence // all that was signed, the signature itself last
	attest.Issued
}

// Issue makes all evidence of the image, signs it and puts it beside the image. It may be
// called again: what stands is not signed twice, what has changed is replaced.
func (i *Issuer) Issue(ctx context.Context, session *oci.Session, s Subject) (Issued, error) {
	out, err := i.collect(ctx, s)
	if err != nil {
		return out, err
	}
	out.Issued, err = attest.Issue(ctx, session, s.Ref, s.Descriptor, out.Evidence, i.Signers, attest.Options{Keyless: i.Keyless, Encoded: true, Memory: i.Attached})
	if err == nil && i.Bills != nil {
		i.Bills.Made(out.Contents, out.Evidence...)
	}
	return out, err
}

// Sign signs an index: all else is said of its images.
func (i *Issuer) Sign(ctx context.Context, session *oci.Session, ref oci.Reference, index v1.Descriptor) (int64, error) {
	issued, err := attest.Issue(ctx, session, ref, index, []artifact.Evidence{attest.Sign(index.Digest)}, i.Signers, attest.Options{Keyless: i.Keyless})
	return issued.Sent, err
}

// collect makes the evidence. Each maker reads only layers that it has not seen.
func (i *Issuer) collect(ctx context.Context, s Subject) (Issued, error) {
	var out Issued
	var bills [2]artifact.Evidence
	var hard, malware artifact.Evidence
	makers, inner := errgroup.WithContext(ctx)
	makers.Go(func() (err error) {
		out.Contents, bills, err = i.bills(inner, s)
		return err
	})
	makers.Go(func() (err error) {
		hard, err = i.Hardening.Evidence(inner, s.Image)
		return err
	})
	if i.Malware != nil {
		makers.Go(func() (err error) {
			malware, err = i.Malware.Evidence(inner, s.Image)
			return err
		})
	}
	if err := makers.Wait(); err != nil {
		return out, err
	}
	out.Evidence = append(bills[:], hard)
	if i.Malware != nil {
		out.Evidence = append(out.Evidence, malware)
	}
	out.Evidence = append(out.Evidence, s.Others...)
	out.Evidence = append(out.Evidence, attest.Sign(s.Descriptor.Digest))
	return out, nil
}

// bills gives what the image holds, and that as SPDX and as CycloneDX. They bear the time of
// the image, so that the same image has the same bills whenever they are made.
func (i *Issuer) bills(ctx context.Context, s Subject) (artifact.Contents, [2]artifact.Evidence, error) {
	image, err := sbom.ImageOf(s.Image)
	if err != nil {
		return artifact.Contents{}, [2]artifact.Evidence{}, err
	}
	image.BaseLayers = s.BaseLayers
	contents, err := i.Contents.Contents(ctx, image)
	if err != nil {
		return contents, [2]artifact.Evidence{}, err
	}
	about, err := About(s.Ref, s.Image, i.Version)
	digest := s.Descriptor.Digest.String()
	return contents, [2]artifact.Evidence{
		{Subject: digest, PredicateType: artifact.PredicateSPDX, Predicate: spdx.Encode(contents, about)},
		{Subject: digest, PredicateType: artifact.PredicateCycloneDX, Predicate: cyclonedx.Encode(contents, about)},
	}, err
}

// About gives what a bill of the image says of itself.
func About(ref oci.Reference, image v1.Image, version string) (bill.About, error) {
	config, err := image.ConfigFile()
	if err != nil {
		return bill.About{}, err
	}
	created := config.Created.Time
	if created.IsZero() {
		created = time.Unix(0, 0)
	}
	return bill.About{Name: ref.Repository(), Version: version, Created: created}, nil
}
