package build

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/fault"
)

// DefaultCacheBytes bounds what the caches of all builds hold together.
const DefaultCacheBytes = 20 << 30

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
	return nil
}

// keep puts the build's cache where the next build finds it.
func (c *cache) keep() error {
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
	return c.bind()
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

// bind removes the caches that were kept longest ago until what is left is within bounds.
func (c *cache) bind() error {
	type kept struct {
		path  string
		used  time.Time
		bytes int64
	}
	var all []kept
	var total int64
	folders, err := os.ReadDir(c.dirs)
	if err != nil {
		return fault.New(fault.Failed, "bound build caches", c.dirs, err)
	}
	for _, folder := range folders {
		info, err := folder.Info()
		if err != nil || !folder.IsDir() {
			continue
		}
		k := kept{path: filepath.Join(c.dirs, folder.Name()), used: info.ModTime()}
		_ = filepath.WalkDir(k.path, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if st, err := d.Info(); err == nil {
					k.bytes += st.Size()
				}
			}
			return nil
		})
		total += k.bytes
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b kept) int { return a.used.Compare(b.used) })
	for _, k := range all {
		if total <= c.bound {
			break
		}
		lock, err := flock(k.path+".lock", unix.LOCK_EX|unix.LOCK_NB)
		if err != nil {
			continue // in use: the next build will see to it
		}
		err = os.RemoveAll(k.path)
		_ = lock.Close()
		if err != nil {
			return fault.New(fault.Failed, "bound build caches", k.path, err)
		}
		total -= k.bytes
	}
	return nil
}

func (c *cache) lock(how int) (unlock func(), err error) {
	if err := os.MkdirAll(c.dirs, 0o700); err != nil {
		return nil, err
	}
	f, err := flock(c.kept+".lock", how)
	if err != nil {
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
