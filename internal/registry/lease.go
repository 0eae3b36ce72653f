package registry

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"golang.org/x/sync/errgroup"
)

// leaseRoot holds, for an object store, an empty object a lease, named as what it leases.
const leaseRoot = "/plimsoll/leases/v1"

// leaseFresh is how long a lease in an object store is not renewed, so that many readers
// of one image do not each write there. It is small beside the least grace.
const leaseFresh = 10 * time.Minute

// justWritten is the age below which a file is as young as a lease would make it, so that
// an upload need not wait for the lock. It is small beside any grace that spares pushes;
// with a smaller one a push may be refused, as it may without, but never lose a blob.
const justWritten = time.Second

func leasePath(file string) string { return path.Join(leaseRoot, file) }

// lease makes a file young again, because a client was just told, or is about to be,
// that it need not send its content: collection spares what is younger than its grace. It
// waits for a sweep under way, so that afterwards the file is either kept or gone for all
// to see. A file that is not there is left so.
func (s *store) lease(ctx context.Context, file string) error {
	if s.readOnly {
		return nil
	}
	if s.root == "" {
		return s.leaseObject(ctx, file)
	}
	local := filepath.Join(s.root, filepath.FromSlash(file))
	if info, err := os.Stat(local); err == nil && time.Since(info.ModTime()) < justWritten {
		return nil
	}
	release, err := s.locks.shared(ctx)
	if err != nil {
		return err
	}
	defer release()
	now := time.Now()
	err = os.Chtimes(local, now, now)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// leaseObject writes a lease beside the object: its own time cannot be set. It cannot
// wait for a sweep on another machine, which may miss it by as long as that takes to
// delete one blob.
func (s *store) leaseObject(ctx context.Context, file string) error {
	fresh := time.Now().Add(-leaseFresh)
	info, err := s.driver.Stat(ctx, file)
	if isMissing(err) {
		return nil
	}
	if err != nil || info.ModTime().After(fresh) {
		return err
	}
	if leased, err := s.leased(ctx, file, fresh); err != nil || leased {
		return err
	}
	return s.driver.PutContent(ctx, leasePath(file), nil)
}

// leaseParts leases what a manifest needs, ahead of the check that it is there, and its
// own content, which is not written again where it is. A local store needs none: its lock
// holds off the sweep.
func (s *store) leaseParts(ctx context.Context, p *push) error {
	if s.root != "" {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, need := range append(p.manifest.needs(), p.canonical) {
		g.Go(func() error {
			d, ok, err := s.canonical(ctx, p.Repository, need)
			if err != nil || !ok {
				return err
			}
			return s.lease(ctx, path.Join(blobDir(d), "data"))
		})
	}
	return g.Wait()
}

// leased says whether an object has a lease that was written since the limit.
func (s *store) leased(ctx context.Context, file string, limit time.Time) (bool, error) {
	info, err := s.driver.Stat(ctx, leasePath(file))
	if isMissing(err) {
		return false, nil
	}
	return err == nil && !info.IsDir() && !info.ModTime().Before(limit), err
}

// sweepLeases removes the leases that have run out.
func (c *collection) sweepLeases(ctx context.Context) error {
	if c.root != "" || c.o.DryRun {
		return nil
	}
	var over []string
	err := c.driver.Walk(ctx, leaseRoot, func(info storagedriver.FileInfo) error {
		if !info.IsDir() && info.ModTime().Before(c.before) {
			over = append(over, info.Path())
		}
		return ctx.Err()
	})
	if err != nil && !isMissing(err) {
		return err
	}
	for _, file := range over {
		if err := c.remove(ctx, file); err != nil {
			return err
		}
	}
	return nil
}
