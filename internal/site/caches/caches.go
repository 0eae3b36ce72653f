// Package caches takes a home folder and gives its caches bounds: what each may hold, what it holds, and
// what is longest unused out of the way.
package caches

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/cache"
	"plimsoll.dev/plimsoll/internal/executor/rootfs"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Variable names the environment variable with what all caches of a home may hold together.
const Variable = "PLIMSOLL_CACHE"

// The caches, in the order of the list.
const (
	Debian   = "debian"   // packages and indexes as they were fetched
	Content  = "content"  // packages, unpacked
	Layers   = "layers"   // of bases and builders
	Builds   = "builds"   // what buildpacks keep between builds
	Evidence = "evidence" // what was found in layers, and what was vouched for
	Roots    = "roots"    // layers as steps see them
)

// kind is a cache and its share.
type kind struct {
	name    string
	bytes   int64 // that it may hold where nobody says what all may
	folders []cache.Folder
}

// kinds are all but the roots, which keep an order of their own.
func kinds(home string) []kind {
	in := func(name string) cache.Folder { return cache.Folder{Path: filepath.Join(home, "cache", name)} }
	builds := in("builds")
	builds.Trees = true
	return []kind{
		{Debian, 4 << 30, []cache.Folder{in("debian")}},
		{Content, 8 << 30, []cache.Folder{in("content")}},
		{Layers, 8 << 30, []cache.Folder{in("layers")}},
		{Builds, 10 << 30, []cache.Folder{builds}},
		{Evidence, 1 << 30, []cache.Folder{in("contents"), in("hardening"), in("malware"), in("vouched")}},
	}
}

// rootBytes is what the roots may hold where nobody says what all caches may.
const rootBytes = 30 << 30

// Unpacked is what steps of builds see, unpacked.
type Unpacked interface {
	Prune(ctx context.Context, maxBytes int64) (rootfs.Pruned, error)
	Held() (entries int, bytes int64, err error)
}

// Total reads what Variable says, in bytes; 0 is nothing. Its error is of kind Usage.
func Total(getenv func(string) string) (int64, error) {
	text := getenv(Variable)
	if text == "" {
		return 0, nil
	}
	return Bytes("read environment", Variable+"="+text, text)
}

// Bytes reads a number of bytes as people write it: 40G, 500Mi. Its error is of kind Usage, about which.
func Bytes(what, which, text string) (int64, error) {
	q, err := resource.ParseQuantity(text)
	if err != nil || q.Value() <= 0 {
		return 0, fault.Newf(fault.Usage, what, which, "it is no number of bytes").WithHint("write it as 40G or 500Mi")
	}
	return q.Value(), nil
}

// Bound gives what the cache of that name may hold where all may hold so much together, in bytes. A total
// of 0 is the default; any other is shared out as the defaults are.
func Bound(name string, total int64) int64 {
	own, all := int64(rootBytes), int64(rootBytes)
	for _, k := range kinds("") {
		all += k.bytes
		if k.name == name {
			own = k.bytes
		}
	}
	if total <= 0 {
		return own
	}
	return int64(float64(total) * float64(own) / float64(all))
}

// Caches are those of a home.
type Caches struct {
	home  string
	total int64
	roots func() (Unpacked, error)
}

// Open gives the caches of the home in the folder, which may hold so many bytes together: 0 is the
// default. roots gives what steps see, where there is something of it; nil bounds it elsewhere.
func Open(home string, total int64, roots func() (Unpacked, error)) *Caches {
	return &Caches{home: home, total: total, roots: roots}
}

// Within gives the same caches with another total.
func (c *Caches) Within(total int64) *Caches {
	other := *c
	other.total = total
	return &other
}

// State is what a cache holds and may hold.
type State struct {
	Name  string `json:"name"`
	Bound int64  `json:"bound"` // bytes
	cache.Held
}

// List gives the state of each cache. Its errors are of kind Failed, or Canceled.
func (c *Caches) List(ctx context.Context) ([]State, error) {
	var all []State
	for _, k := range kinds(c.home) {
		held, err := cache.Measure(ctx, k.folders...)
		if err != nil {
			return nil, failure(ctx, "measure cache", k.name, err)
		}
		all = append(all, State{k.name, Bound(k.name, c.total), held})
	}
	roots, err := c.unpacked()
	if roots == nil || err != nil {
		return all, err
	}
	held := cache.Held{}
	if held.Entries, held.Bytes, err = roots.Held(); err != nil {
		return nil, err
	}
	return append(all, State{Roots, Bound(Roots, c.total), held}), nil
}

// PruneOptions change what Prune takes. The zero value takes what is beyond the caches' bounds.
type PruneOptions struct {
	All     bool          // takes all that is not in use
	Pause   time.Duration // see cache.Options
	NoRoots bool          // leaves roots as they are: who runs steps bounds them
}

// Pruned is what was taken from a cache, and what it holds now.
type Pruned struct {
	State
	Removed cache.Held `json:"removed"`
}

// Prune takes from each cache what was longest unused until it is within its bound. It may run beside
// whoever uses them, here and in other processes. Its errors are of kind Failed, or Canceled; what was
// done until then is given with them.
func (c *Caches) Prune(ctx context.Context, o PruneOptions) ([]Pruned, error) {
	var all []Pruned
	most := func(name string) int64 {
		if o.All {
			return 0
		}
		return Bound(name, c.total)
	}
	for _, k := range kinds(c.home) {
		done, err := cache.Prune(ctx, most(k.name), cache.Options{Recent: o.All, Pause: o.Pause}, k.folders...)
		all = append(all, Pruned{State{k.name, Bound(k.name, c.total), done.Left}, done.Removed})
		if err != nil {
			return all, failure(ctx, "prune cache", k.name, err)
		}
	}
	if !o.NoRoots {
		roots, err := c.unpacked()
		if err != nil {
			return all, err
		}
		if roots != nil {
			done, err := roots.Prune(ctx, most(Roots))
			all = append(all, Pruned{
				State{Roots, Bound(Roots, c.total), cache.Held{Entries: done.Kept, Bytes: done.Left}},
				cache.Held{Entries: done.Roots + done.Layers, Bytes: done.Freed},
			})
			if err != nil {
				return all, err
			}
		}
	}
	_ = aside.WriteBytes(c.stamp(), nil) // best effort: another one prunes sooner
	return all, nil
}

// every is how long commands leave caches alone.
const every = 24 * time.Hour

// Due says that nobody has pruned for a day.
func (c *Caches) Due() bool {
	last, err := os.Stat(c.stamp())
	return err != nil || time.Since(last.ModTime()) >= every
}

func (c *Caches) stamp() string { return filepath.Join(c.home, "cache", "pruned") }

// unpacked gives what steps see; nil where there is nothing of it.
func (c *Caches) unpacked() (Unpacked, error) {
	if _, err := os.Stat(filepath.Join(c.home, "cache", "roots")); err != nil || c.roots == nil {
		return nil, nil
	}
	return c.roots()
}

func failure(ctx context.Context, what, name string, err error) error {
	if ctx.Err() != nil {
		return fault.New(fault.Canceled, what, name, ctx.Err())
	}
	return fault.New(fault.Failed, what, name, err).WithHint("check the disk below the home folder: is it read-only?")
}
