package base

import (
	"cmp"
	"context"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/internal/base/content"
	"plimsoll.dev/plimsoll/internal/debian/archive"
	"plimsoll.dev/plimsoll/internal/fault"
)

// contents gives what every package of the sets ships, by its hash: from the cache, or
// fetched, verified and unpacked. The caller closes them.
func (b *Builder) contents(ctx context.Context, sets []LockedImage, mirrors map[string]string) (map[string]*content.Content, error) {
	cache, pool := b.contentCache(), archive.NewPool(b.cache("debian"), b.Agent)
	all := map[string]Package{}
	for _, set := range sets {
		for _, p := range set.Packages {
			all[p.SHA256] = p
		}
	}
	packages := make([]Package, 0, len(all))
	for _, p := range all {
		packages = append(packages, p)
	}
	slices.SortFunc(packages, func(a, b Package) int { return cmp.Compare(b.Size, a.Size) }) // large ones first
	loaded := make([]*content.Content, len(packages))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0) + 1) // one more than the cores: someone always waits for the network
	done := b.stage("unpacking packages", len(packages))
	for i, p := range packages {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			defer done()
			var ok bool
			if loaded[i], ok = cache.Load(p.SHA256); ok {
				return nil
			}
			deb, err := pool.Package(ctx, mirrors[p.Suite], p.Filename, archive.File{SHA256: p.SHA256, Size: p.Size})
			if err != nil {
				return err
			}
			defer deb.Close()
			if loaded[i], err = cache.Unpack(deb, p.SHA256, p.Architecture); err != nil {
				return fault.New(fault.Failed, "unpack", p.String(), err)
			}
			return nil
		})
	}
	err := group.Wait()
	for i := 0; i < len(packages) && err == nil; i++ {
		if bad := packages[i].agrees(loaded[i].Control); bad != nil {
			err = fault.New(fault.Denied, "verify package", packages[i].Filename, bad).
				WithHint("the archive or the lock calls it what it is not: try another mirror, or run without --locked")
		}
	}
	contents := map[string]*content.Content{}
	for i, p := range packages {
		switch {
		case err == nil:
			contents[p.SHA256] = loaded[i]
		case loaded[i] != nil:
			loaded[i].Close()
		}
	}
	return contents, err
}
