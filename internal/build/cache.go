package build

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	caches "plimsoll.dev/plimsoll/internal/cache"
	"plimsoll.dev/plimsoll/internal/fault"
)

// DefaultCacheBytes bounds what the caches of all builds hold together.
const DefaultCacheBytes = 10 << 30

// cache is what buildpacks kept of earlier builds, as the lifecycle wants it: a folder with
// "committed" in it. A build works on a copy of its own, made of hard links, and at its end
// puts it in the place of the one it copied: parallel builds never see each other's, and
// the last one wins.
type cache struct {
	dir     string // the build's own
	kept    string // where it is kept; "" when it is in a registry
	dirs    string // holds all that are kept
	bound   int64
	publish func() error // sends it to a registry; nil when it is kept here
}

// openCache gives the build a cache with what the last one kept.
func (p *Platform) openCache(ctx context.Context, j *job) (*cache, error) {
	c := &cache{dir: j.work.path("cache"), dirs: p.cacheDir(), bound: cmp.Or(p.CacheBytes, DefaultCacheBytes)}
	if err := os.MkdirAll(filepath.Join(c.dir, "committed"), 0o755); err != nil {
		return nil, fault.New(fault.Failed, "open build cache", c.dir, err)
	}
	if j.request.Cache.Image.Reference != nil {
		return c, p.openCacheImage(ctx, j, c)
	}
	name := sha256.Sum256([]byte(j.request.Tag.Context().Name() + "\n" + j.request.Builder.Context().Name() + "\n" + j.architecture + "\n" + j.owner()[1] + ":" + j.owner()[3]))
	c.kept = filepath.Join(c.dirs, hex.EncodeToString(name[:16]))
	if j.request.Cache.Clear {
		return c, nil
	}
	if err := c.copy(); err != nil {
		return nil, fault.New(fault.Failed, "open build cache", c.kept, err).WithHint("begin with an empty one: --clear-cache")
	}
	return c, nil
}

// copy links what is kept into the build's own folder. The lifecycle writes a file of the
// cache once and never again, so both may share it.
func (c *cache) copy() error {
	unlock, err := c.lock(unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
	entries, err := os.ReadDir(filepath.Join(c.kept, "committed"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Link(filepath.Join(c.kept, "committed", e.Name()), filepath.Join(c.dir, "committed", e.Name())); err != nil {
			return err
		}
	}
	caches.Used(c.kept)
	return nil
}

// keep puts the build's cache where the next build finds it.
func (c *cache) keep(ctx context.Context) error {
	if err := sound(c.dir); err != nil {
		return fault.New(fault.Failed, "keep build cache", c.dir, err)
	}
	if c.publish != nil {
		return c.publish()
	}
	unlock, err := c.lock(unix.LOCK_EX)
	if err != nil {
		return fault.New(fault.Failed, "keep build cache", c.kept, err)
	}
	err = c.replace()
	unlock()
	if err != nil {
		return fault.New(fault.Failed, "keep build cache", c.kept, err)
	}
	// Best effort: the image stands, and the next build, or whoever prunes the home, tries again.
	_, _ = caches.Prune(ctx, c.bound, caches.Options{Recent: true}, caches.Folder{Path: c.dirs, Trees: true})
	return nil
}

func (c *cache) replace() error {
	old := c.dir + ".old"
	if err := os.Rename(c.kept, old); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.Rename(c.dir, c.kept); err != nil {
		return err
	}
	now := time.Now()
	if err := os.Chtimes(c.kept, now, now); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

func (c *cache) lock(how int) (unlock func(), err error) {
	if err := os.MkdirAll(c.dirs, 0o700); err != nil {
		return nil, err
	}
	f, err := caches.Lock(c.kept+caches.LockSuffix, how)
	if err != nil {
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
