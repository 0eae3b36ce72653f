package registry

import (
	"context"
	"path"
	"time"

	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/internal/fault"
)

// CollectOptions says what a garbage collection may remove.
type CollectOptions struct {
	// Grace spares what is younger. It must cover the time a client takes from its first
	// blob to its manifest. Zero: one hour. An object store needs at least that, because
	// no lock keeps other machines' pushes apart from its collection.
	Grace time.Duration
	// Uploads is how long an upload may stand still before it is given up. Zero: one day.
	Uploads time.Duration
	// Untagged also removes manifests that no tag, no index and no live subject holds.
	Untagged bool
	// UntaggedAfter says for a repository whether Untagged is for it, and for how long such a
	// manifest stays. Nil: for all, for as long as Grace.
	UntaggedAfter func(repository string) (stays time.Duration, ok bool)
	// Retain keeps a manifest, by its canonical digest, as a tag would. Nil: none.
	Retain func(repository string, d digest.Digest) bool
	// Gone says of a tag to count it as removed, in a dry run. Nil: none is.
	Gone func(repository, tag string) bool
	// DryRun only counts.
	DryRun bool
}

// CollectReport says what a collection found and removed, or would remove.
type CollectReport struct {
	Repositories int   `json:"repositories"`
	Kept         int   `json:"kept"`      // blobs that manifests need, manifests included
	Manifests    int   `json:"manifests"` // untagged ones removed
	Blobs        int   `json:"blobs"`
	Bytes        int64 `json:"bytes"` // of the blobs removed
	Links        int   `json:"links"` // of repositories to the blobs removed
	Tags         int   `json:"tags"`  // half-made or half-deleted ones
	Referrers    int   `json:"referrers"`
	Uploads      int   `json:"uploads"`
	DryRun       bool  `json:"dryRun"`
}

const (
	defaultGrace   = time.Hour
	defaultUploads = 24 * time.Hour
	// sweepBatch bounds how long pushes wait for a sweep.
	sweepBatch = 256
)

// collection is one garbage collection at work.
type collection struct {
	*store
	o      CollectOptions
	before time.Time // what is younger is spared
	marks  *marks
	report CollectReport
}

// Collect removes what no manifest needs, while pushes and pulls go on in this process
// and in others on the same folder. It marks without a lock, then deletes in short
// batches that hold off manifest writes; each batch first looks for manifests that came
// meanwhile. Killed at any moment it leaves a sound store. Errors are *fault.Error:
// Unavailable when another collection runs.
func (r *Registry) Collect(ctx context.Context, o CollectOptions) (CollectReport, error) {
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	if o.Uploads == 0 {
		o.Uploads = defaultUploads
	}
	switch {
	case r.readOnly && !o.DryRun:
		return CollectReport{}, fault.Newf(fault.Usage, "collect garbage", "", "the registry is open read-only")
	case r.store.root == "" && o.Grace < defaultGrace:
		return CollectReport{}, fault.Newf(fault.Usage, "collect garbage", o.Grace.String(), "too short a grace for an object store").
			WithHint("give at least " + defaultGrace.String() + ": no lock protects pushes from other machines")
	}
	release, err := r.store.locks.collecting(ctx)
	if err != nil {
		return CollectReport{}, err
	}
	defer release()
	c := &collection{store: r.store, o: o, before: time.Now().Add(-o.Grace), marks: newMarks(r.store)}
	c.report.DryRun = o.DryRun
	if err := c.run(ctx); err != nil {
		return c.report, storeFault("collect garbage", "", err)
	}
	return c.report, nil
}

func (c *collection) run(ctx context.Context) error {
	if c.o.Untagged {
		if err := c.repositories(ctx, func(repo string) error { return c.sweepUntagged(ctx, repo) }); err != nil {
			return err
		}
	}
	if err := c.marks.refresh(ctx); err != nil {
		return err
	}
	if err := c.sweepBlobs(ctx); err != nil {
		return err
	}
	c.report.Kept = len(c.marks.needed)
	err := c.repositories(ctx, func(repo string) error {
		c.report.Repositories++
		if err := c.sweepTags(ctx, repo); err != nil {
			return err
		}
		return c.sweepUploads(ctx, repo)
	})
	if err != nil {
		return err
	}
	if err := c.sweepLeases(ctx); err != nil {
		return err
	}
	c.report.Referrers, err = c.sweepReferrers(ctx, c.o.DryRun)
	return err
}

// old says whether a path exists, is older than the limit and has no younger lease.
func (c *collection) old(ctx context.Context, p string, limit time.Time) (size int64, old bool, err error) {
	info, err := c.driver.Stat(ctx, p)
	if isMissing(err) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	if !info.ModTime().Before(limit) {
		return info.Size(), false, nil
	}
	if c.root == "" && !info.IsDir() {
		leased, err := c.leased(ctx, p, limit)
		return info.Size(), !leased, err
	}
	return info.Size(), true, nil
}

// garbage is a blob that nothing needed when it was looked at.
type garbage struct {
	digest digest.Digest
	links  []string // by which repositories name it
}

func (c *collection) sweepBlobs(ctx context.Context) error {
	found, err := c.findGarbage(ctx)
	if err != nil {
		return err
	}
	for len(found) > 0 {
		n := min(sweepBatch, len(found))
		if err := c.sweepBatch(ctx, found[:n]); err != nil {
			return err
		}
		found = found[n:]
	}
	return nil
}

func (c *collection) findGarbage(ctx context.Context) ([]*garbage, error) {
	var found []*garbage
	byDigest := map[digest.Digest]*garbage{}
	err := c.eachBlob(ctx, func(d digest.Digest) error {
		if c.marks.needed[d] {
			return nil
		}
		// What an interrupted write left has a folder but no data.
		for _, p := range []string{path.Join(blobDir(d), "data"), blobDir(d)} {
			_, old, err := c.old(ctx, p, c.before)
			if err != nil {
				return err
			}
			if old {
				byDigest[d] = &garbage{digest: d}
				found = append(found, byDigest[d])
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = c.repositories(ctx, func(repo string) error { return c.findLinks(ctx, repo, byDigest) })
	return found, err
}

func (c *collection) findLinks(ctx context.Context, repo string, garbage map[digest.Digest]*garbage) error {
	layers, err := c.digests(ctx, layersDir(repo))
	if err != nil {
		return err
	}
	for _, d := range layers {
		canonical := d
		if d.Algorithm() != digest.Canonical {
			if canonical, _, err = c.layer(ctx, repo, d); err != nil {
				return err
			}
		}
		if g := garbage[canonical]; g != nil {
			g.links = append(g.links, path.Dir(layerLink(repo, d)))
		}
	}
	return nil
}

func (s *store) eachBlob(ctx context.Context, each func(digest.Digest) error) error {
	algs, err := s.names(ctx, blobsRoot)
	if err != nil {
		return err
	}
	for _, alg := range algs {
		shards, err := s.names(ctx, path.Join(blobsRoot, alg))
		if err != nil {
			return err
		}
		for _, shard := range shards {
			hexes, err := s.names(ctx, path.Join(blobsRoot, alg, shard))
			if err != nil {
				return err
			}
			for _, hex := range hexes {
				d := digest.NewDigestFromEncoded(digest.Algorithm(alg), hex)
				if d.Validate() != nil {
					continue
				}
				if err := each(d); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// sweepBatch works alone. A blob goes after the links to it: a kill between the two
// leaves a blob for the next collection, not a link to nothing.
func (c *collection) sweepBatch(ctx context.Context, batch []*garbage) error {
	release, err := c.locks.exclusive(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := c.marks.refresh(ctx); err != nil {
		return err
	}
	for _, g := range batch {
		if c.marks.needed[g.digest] {
			continue
		}
		size, old, err := c.old(ctx, path.Join(blobDir(g.digest), "data"), c.before)
		if err != nil {
			return err
		}
		if !old {
			// Leased or pushed meanwhile, or the remains of an interrupted write.
			if _, old, err = c.old(ctx, blobDir(g.digest), c.before); err != nil || !old {
				continue
			}
			if has, err := c.hasData(ctx, g.digest); err != nil || has {
				continue
			}
		}
		c.report.Blobs++
		c.report.Bytes += size
		c.report.Links += len(g.links)
		if c.o.DryRun {
			continue
		}
		for _, p := range append(g.links, blobDir(g.digest)) {
			if err := c.remove(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}
