// Package base takes a BaseImage and a signed archive and gives an Image: packages
// verified, resolved, composed and layered without running any of them.
package base

import (
	"context"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/base/content"
	"plimsoll.dev/plimsoll/internal/debian/archive"
	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/debian/resolve"
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
	Strict bool  // uncovered maintainer scripts are errors, not warnings
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
		if lock, err = b.Resolve(ctx, image); err != nil {
			return nil, err
		}
	}
	if err := lock.answers(spec); err != nil {
		return nil, err
	}
	result := &Result{Lock: lock, Images: make([]Built, len(spec.Architectures))}
	sets := make([]LockedImage, len(spec.Architectures))
	for i, architecture := range spec.Architectures {
		if sets[i], err = lock.image(architecture); err != nil {
			return nil, err
		}
	}
	contents, err := b.contents(ctx, sets, mirrors)
	if err != nil {
		return nil, err
	}
	for i, set := range sets {
		if result.Images[i], err = b.image(ctx, image, set, contents, o); err != nil {
			return nil, err
		}
	}
	if len(result.Images) > 1 {
		result.Index, err = indexOf(result.Images)
	}
	return result, err
}

// Resolve verifies the archive and chooses the packages of every architecture.
func (b *Builder) Resolve(ctx context.Context, image *v1alpha1.BaseImage) (*Lock, error) {
	spec := &image.Spec
	mirrors, err := b.mirrors(spec.Archive)
	if err != nil {
		return nil, err
	}
	keyring, err := archive.LoadKeyring(spec.Archive.Keyring)
	if err != nil {
		return nil, err
	}
	options := archive.Options{
		Components: spec.Archive.Components, Keyring: keyring, Agent: b.Agent,
		Cache: b.cache("debian"), State: filepath.Join(b.Home, "archives"),
	}
	for _, suite := range spec.Archive.Suites {
		options.Suites = append(options.Suites, archive.Suite{Name: suite, Mirror: mirrors[suite]})
	}
	signed, err := archive.Open(ctx, options)
	if err != nil {
		return nil, err
	}
	lock := &Lock{APIVersion: v1alpha1.APIVersion, Kind: LockKind, For: wishOf(spec), Images: make([]LockedImage, len(spec.Architectures))}
	group, ctx := errgroup.WithContext(ctx)
	done := b.stage("resolving architectures", len(spec.Architectures))
	for i, architecture := range spec.Architectures {
		group.Go(func() (err error) {
			lock.Images[i], err = resolveOne(ctx, signed, spec, architecture)
			done()
			return err
		})
	}
	return lock, group.Wait()
}

func resolveOne(ctx context.Context, signed *archive.Archive, spec *v1alpha1.BaseImageSpec, architecture string) (LockedImage, error) {
	indexes, err := signed.Indexes(ctx, architecture)
	if err != nil {
		return LockedImage{}, err
	}
	defer func() {
		for _, opened := range indexes {
			opened.Close()
		}
	}()
	request := resolve.Request{Architecture: architecture, Packages: spec.Packages}
	for _, o := range spec.Omit {
		request.Omit = append(request.Omit, o.Package)
	}
	found, err := resolve.Resolve(ctx, index.NewUniverse(indexes...), request)
	if err != nil {
		return LockedImage{}, err
	}
	return lockedImage(architecture, found), nil
}

// mirrors gives the mirror of every suite: the spec's, else the machine's own.
func (b *Builder) mirrors(a v1alpha1.Archive) (map[string]string, error) {
	mirrors := map[string]string{}
	var sources []archive.Source
	for _, suite := range a.Suites {
		mirrors[suite] = a.Mirror
		if own, ok := a.Mirrors[suite]; ok {
			mirrors[suite] = own
		}
		if mirrors[suite] != "" {
			continue
		}
		if sources == nil {
			root := b.AptSources
			if root == "" {
				root = "/etc/apt"
			}
			var err error
			if sources, err = archive.MachineSources(root); err != nil {
				return nil, fault.New(fault.Failed, "read the machine's apt sources", root, err)
			}
		}
		mirror, err := archive.MirrorFor(sources, suite)
		if err != nil {
			return nil, err
		}
		mirrors[suite] = mirror
	}
	return mirrors, nil
}

// contents gives what every package of the sets ships, by its hash: from the cache, or
// fetched, verified and unpacked.
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
	slices.SortFunc(packages, func(a, b Package) int { return int(min(1, max(-1, b.Size-a.Size))) }) // large ones first
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
			path, err := pool.Package(ctx, mirrors[p.Suite], p.Filename, archive.File{SHA256: p.SHA256, Size: p.Size})
			if err != nil {
				return err
			}
			if loaded[i], err = cache.Unpack(path, p.SHA256, p.Architecture); err != nil {
				return fault.New(fault.Failed, "unpack", p.String(), err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	contents := map[string]*content.Content{}
	for i, p := range packages {
		if err := p.agrees(loaded[i].Control); err != nil {
			return nil, fault.New(fault.Denied, "verify package", p.Filename, err).
				WithHint("the archive or the lock calls it what it is not: try another mirror, or run without --locked")
		}
		contents[p.SHA256] = loaded[i]
	}
	return contents, nil
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
