// Package base takes a BaseImage and a signed archive and gives an Image: packages
// verified, resolved, composed and layered without running any of them.
package base

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/base/content"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Builder builds bases. It is safe for concurrent use, also by several processes with the
// same home.
type Builder struct {
	Home  string // folder for caches and for what is remembered of archives
	Agent string // User-Agent of requests to mirrors

	// AptSources is the folder of the machine's apt sources; "" is /etc/apt.
	AptSources string

	// Progress hears of each finished item of a stage; nil hears nothing. It may be called
	// from several goroutines at a time.
	Progress func(stage string, done, total int)
}

// Options change how a base is built.
type Options struct {
	Locked *Lock // build exactly these packages
	Strict bool  // warnings are errors
}

// Result is a built base, not yet pushed.
type Result struct {
	Lock   *Lock
	Images []Built       // by architecture
	Index  v1.ImageIndex // of all Images; nil when there is only one
}

// Built is the image of one architecture and its report.
type Built struct {
	Architecture string    `json:"architecture"`
	Digest       string    `json:"digest"`
	Size         int64     `json:"size"` // of all layers, compressed bytes
	Layers       []Layer   `json:"layers"`
	Hardening    []Check   `json:"hardening"`
	Warnings     []Warning `json:"warnings,omitempty"`

	Image v1.Image `json:"-"`
}

// Layer is one layer of a built image.
type Layer struct {
	Name     string   `json:"name"`
	Digest   string   `json:"digest"`
	Size     int64    `json:"size"` // compressed bytes
	Packages []string `json:"packages,omitempty"`
	Cached   bool     `json:"cached"`
}

// leftover is the age at which a half-written file belongs to no living process.
const leftover = 24 * time.Hour

// Build makes the image of every architecture of the spec.
func (b *Builder) Build(ctx context.Context, image *v1alpha1.BaseImage, o Options) (*Result, error) {
	spec := &image.Spec
	mirrors, err := b.mirrors(spec.Archive)
	if err != nil {
		return nil, err
	}
	if err := aside.Sweep(b.cache(""), leftover); err != nil {
		return nil, fault.New(fault.Failed, "sweep the cache", b.cache(""), err)
	}
	lock := o.Locked
	if lock == nil {
		if lock, err = b.resolve(ctx, spec, mirrors); err != nil {
			return nil, err
		}
	}
	sets, err := lock.sets(spec)
	if err != nil {
		return nil, err
	}
	unsigned := make([][]Warning, len(sets))
	if o.Locked != nil {
		if unsigned, err = b.vouch(ctx, spec, mirrors, sets); err != nil {
			return nil, err
		}
	}
	result := &Result{Lock: lock, Images: make([]Built, len(sets))}
	contents, err := b.contents(ctx, sets, mirrors)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, c := range contents {
			c.Close()
		}
	}()
	for i, set := range sets {
		if result.Images[i], err = b.image(ctx, image, set, contents, unsigned[i], o.Strict); err != nil {
			return nil, err
		}
	}
	if len(result.Images) > 1 {
		result.Index, err = indexOf(result.Images)
	}
	return result, err
}

func (b *Builder) cache(name string) string { return filepath.Join(b.Home, "cache", name) }

func (b *Builder) contentCache() *content.Cache { return content.NewCache(b.cache("content")) }

// stage gives a function that reports one more finished item of the stage.
func (b *Builder) stage(name string, total int) func() {
	if b.Progress == nil {
		return func() {}
	}
	b.Progress(name, 0, total)
	var done atomic.Int64
	return func() { b.Progress(name, int(done.Add(1)), total) }
}
