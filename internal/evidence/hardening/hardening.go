// Package hardening takes an image and gives its hardening report: as whom it runs, what in
// it helps an intruder, and which secrets lie in it.
//
// Each layer is read once, and what matters of it is kept as a Summary by its diffID; the
// report of an image is joined from those in well under a millisecond.
package hardening

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"runtime"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/cache"
	"plimsoll.dev/plimsoll/internal/evidence/entries"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Version tells reports of one image apart that different rules made: it is a part of the
// names in the cache, so it changes with every rule.
const Version = "1"

// Scanner reports on images. It is safe for concurrent use, also by several processes that
// share a folder.
type Scanner struct {
	folder string

	mu    sync.Mutex
	known map[string]*Summary // by diffID
	bytes int                 // of these, about
}

// New gives a Scanner that keeps summaries of layers in the folder, which is made when
// first needed; "" keeps none on the disk.
func New(folder string) *Scanner {
	return &Scanner{folder: folder, known: map[string]*Summary{}}
}

// Evidence gives the report on an image as a claim about it, not yet signed.
func (s *Scanner) Evidence(ctx context.Context, image v1.Image) (artifact.Evidence, error) {
	digest, err := image.Digest()
	if err != nil {
		return artifact.Evidence{}, failure("", err)
	}
	report, err := s.Report(ctx, image)
	if err != nil {
		return artifact.Evidence{}, err
	}
	predicate, err := json.Marshal(report)
	if err != nil {
		return artifact.Evidence{}, failure("", err)
	}
	return artifact.Evidence{Subject: digest.String(), PredicateType: artifact.PredicateHardening, Predicate: predicate}, nil
}

// Report gives the report on an image. Layers without a summary are read.
func (s *Scanner) Report(ctx context.Context, image v1.Image) (Report, error) {
	config, err := image.ConfigFile()
	if err != nil {
		return Report{}, failure("", err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		return Report{}, failure("", err)
	}
	diffIDs := config.RootFS.DiffIDs
	if len(manifest.Layers) != len(diffIDs) {
		return Report{}, fault.Newf(fault.Denied, "report on hardening", "", "the manifest has another number of layers than the configuration")
	}
	summaries := make([]*Summary, len(diffIDs))
	var missing []int
	for i, diffID := range diffIDs {
		var ok bool
		if summaries[i], ok = s.Kept(diffID); !ok {
			missing = append(missing, i)
		}
	}
	if len(missing) > 0 { // else the layers need not even be named
		if err := s.read(ctx, image, diffIDs, missing, summaries); err != nil {
			return Report{}, err
		}
	}
	return Join(config, manifest.Annotations, summaries), nil
}

// read reads the layers of those numbers.
func (s *Scanner) read(ctx context.Context, image v1.Image, diffIDs []v1.Hash, numbers []int, into []*Summary) error {
	layers, err := image.Layers()
	if err != nil {
		return failure("", err)
	}
	reading, ctx := errgroup.WithContext(ctx)
	reading.SetLimit(runtime.GOMAXPROCS(0))
	for _, i := range numbers {
		reading.Go(func() (err error) {
			into[i], err = s.layer(ctx, layers[i], diffIDs[i])
			return err
		})
	}
	return reading.Wait()
}

func (s *Scanner) layer(ctx context.Context, layer v1.Layer, diffID v1.Hash) (*Summary, error) {
	collector := NewCollector(diffID.String())
	if err := entries.Each(ctx, layer, diffID, collector.File); err != nil {
		return nil, failure(diffID.String(), err)
	}
	summary := collector.Summary()
	if err := s.Keep(diffID, summary); err != nil {
		return nil, failure(diffID.String(), err)
	}
	return summary, nil
}

// Kept gives the summary of the layer, when there is one.
func (s *Scanner) Kept(diffID v1.Hash) (*Summary, bool) {
	s.mu.Lock()
	summary := s.known[diffID.Hex]
	s.mu.Unlock()
	if summary != nil || s.folder == "" {
		return summary, summary != nil
	}
	data, ok := aside.ReadSealed(s.path(diffID))
	if !ok {
		return nil, false
	}
	summary, err := decode(data)
	if err != nil {
		return nil, false
	}
	cache.Used(s.path(diffID))
	s.remember(diffID, summary)
	return summary, true
}

// Keep keeps the summary of a layer that has been read to its end and found to have the
// diffID.
func (s *Scanner) Keep(diffID v1.Hash, summary *Summary) error {
	s.remember(diffID, summary)
	if s.folder == "" {
		return nil
	}
	data, err := encode(summary)
	if err != nil {
		return err
	}
	return aside.WriteSealed(s.path(diffID), data)
}

// held is how many bytes of summaries stay in memory: those of some thousand layers.
const held = 128 << 20

func (s *Scanner) remember(diffID v1.Hash, summary *Summary) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[diffID.Hex] != nil {
		return
	}
	if s.bytes > held {
		clear(s.known)
		s.bytes = 0
	}
	s.known[diffID.Hex] = summary
	s.bytes += summary.weight()
}

// path is in a folder of its own for each version of the rules.
func (s *Scanner) path(diffID v1.Hash) string {
	return filepath.Join(s.folder, "v"+Version, diffID.Hex)
}

func failure(which string, err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	return fault.New(fault.KindOf(err), "report on hardening", which, err)
}
