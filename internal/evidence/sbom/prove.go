package sbom

import (
	"context"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/internal/aside"
)

// prove reads those layers of which nobody has seen yet that their bytes have the diffID that
// the image's configuration says. What is known of a layer is known by its diffID: else an
// image could name that of a layer without faults, and carry another.
func (s *Scanner) prove(ctx context.Context, layers []Layer) error {
	reading, ctx := errgroup.WithContext(ctx)
	for _, l := range layers {
		if l.Blob == "" || s.proven(l) {
			continue
		}
		reading.Go(func() error {
			_, err := s.scan(ctx, l)
			return err
		})
	}
	return reading.Wait()
}

// proven says whether the layer's bytes were read before, and had that diffID.
func (s *Scanner) proven(l Layer) bool {
	if diffID, ok := s.proofs.Get(l.Blob); ok {
		return diffID == l.DiffID
	}
	if s.options.Cache == "" || !diffIDForm.MatchString(l.Blob) {
		return false
	}
	diffID, ok := aside.ReadSealed(s.proofPath(l.Blob))
	if ok {
		s.proofs.Put(l.Blob, string(diffID), proofSize)
	}
	return ok && string(diffID) == l.DiffID
}

// proofSize is what a proof takes in memory, about.
const proofSize = 256

// proved notes that the layer's bytes were read, and have its diffID.
func (s *Scanner) proved(l Layer) error {
	if !diffIDForm.MatchString(l.Blob) {
		return nil
	}
	s.proofs.Put(l.Blob, l.DiffID, proofSize)
	if s.options.Cache == "" {
		return nil
	}
	return aside.WriteSealed(s.proofPath(l.Blob), []byte(l.DiffID))
}

// proofPath gives where the cache keeps which diffID a blob has.
func (s *Scanner) proofPath(blob string) string {
	hex := blob[len("sha256:"):]
	return filepath.Join(s.options.Cache, "blobs", hex[:2], hex)
}
