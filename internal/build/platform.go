// Package build takes a Source and a builder and gives an application's Image, by running
// the lifecycle of Cloud Native Buildpacks: it is what the specification calls the platform.
//
// The five phases (analyze, detect, restore, build, export) are steps of an executor, each
// in the builder's own root filesystem and with only the folders it needs. Only detect and
// build run foreign code; they see no cache, no other build, no registry. No step sees
// credentials: registries are read and written here, outside, and the lifecycle works on
// folders in OCI layout.
package build

import (
	"context"
	"io"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Platform builds images.
type Platform struct {
	Home       string // folder of plimsoll; caches and work lie in its cache folder
	Executor   executor.Executor
	Registries *oci.Registries
	Log        io.Writer       // what the buildpacks print; nil discards it
	Verbose    bool            // also what the lifecycle prints, in every phase
	Progress   func(note Note) // hears of each phase when it ends; may be nil
	CacheBytes int64           // bound of all builds' caches together; 0 means 10 GiB

	// Contents tells what is in an image, so that one with a dependency below its floor is
	// refused (package override). nil: buildpacks are believed.
	Contents func(ctx context.Context, image v1.Image) (artifact.Contents, error)
}

// Note says that a phase has ended.
type Note struct {
	Architecture string
	Phase        string
	Began        bool // it begins: there is no more to say yet
	Duration     time.Duration
	Text         string // what came of it, for a person; may be empty
}

// DefaultBuilder is the builder of builds that name none.
const DefaultBuilder = "builder:1"

// Request is what to build.
type Request struct {
	Tag oci.Reference // where the image will be pushed; names its cache and its mirrors

	// Fetch puts the source into the folder, which it makes.
	Fetch func(ctx context.Context, dir string) (artifact.Source, error)

	Builder  oci.Reference // the builder image; zero is the one that project.toml names, else DefaultBuilder
	RunImage string        // instead of the builder's choice; must be one it names
	Settings Settings

	Architectures []string // to build for, by OCI's names; none means this machine's
	Cache         CachePolicy
	Fresh         bool // take nothing from the image that Tag names now

	// Believe tells whether the image of that digest, which Tag names now, is one of ours:
	// layers of another's image are never taken over. nil believes all.
	Believe func(ctx context.Context, digest v1.Hash) (bool, error)

	Force bool // build though nothing has changed
}

// CachePolicy says where what buildpacks want to keep is kept between builds.
type CachePolicy struct {
	Image oci.Reference // a cache image, as lifecycle and pack keep it; zero is on this machine
	Clear bool          // start with an empty one
}

// Result is what was built.
type Result struct {
	Source    artifact.Source `json:"source"`
	Unchanged bool            `json:"unchanged"` // the images that are there were built from just this
	Images    []Built         `json:"images"`
	Overrides []Overridden    `json:"overrides,omitempty"` // that bore on the source
	Index     v1.ImageIndex   `json:"-"`                   // nil for one architecture

	work *work
}

// Built is the image of one architecture.
type Built struct {
	Architecture string   `json:"architecture"`
	Digest       string   `json:"digest"`
	RunImage     string   `json:"runImage"` // with its digest
	Buildpacks   []string `json:"buildpacks"`
	Processes    []string `json:"processes"`
	Layers       []Layer  `json:"layers"` // the application's own, bottom first
	Phases       []Phase  `json:"phases"`
	Unchanged    bool     `json:"unchanged"` // it was there
	Image        v1.Image `json:"-"`
}

// Layer is a layer that the build put on the run image.
type Layer struct {
	Name      string `json:"name"`                // what is in it, in a few words
	Buildpack string `json:"buildpack,omitempty"` // "id@version" of the one that brought it
	Digest    string `json:"digest"`
	Size      int64  `json:"size"` // bytes, compressed
	Reused    bool   `json:"reused"`
}

// Phase is a part of a build and how long it took.
type Phase struct {
	Name     string        `json:"name"`
	Duration time.Duration `json:"nanoseconds"`
}

// Build builds the request's image for each architecture. It pushes nothing: the caller
// does, then closes the result. Its errors are *fault.Error, and nothing is left of a
// build that failed.
func (p *Platform) Build(ctx context.Context, request Request) (result *Result, err error) {
	work, err := newWork(p.workDir())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			work.close()
			err = p.explain(request.Tag.String(), err)
		}
	}()
	started := time.Now()
	tree := work.path("source")
	source, err := request.Fetch(ctx, tree)
	if err != nil {
		return nil, err
	}
	fetched := Phase{Name: "fetch", Duration: time.Since(started)}
	project, err := readProject(tree)
	if err != nil {
		return nil, err
	}
	if err := project.prune(tree); err != nil {
		return nil, err
	}
	if request, err = project.join(request); err != nil {
		return nil, err
	}
	b, builders, digest, err := p.readBuilder(ctx, request.Builder)
	if err != nil {
		return nil, err
	}
	overrides, err := p.overrides(request.Tag, tree)
	if err != nil {
		return nil, err
	}
	result = &Result{Source: source, Overrides: overrides.told(), work: work}
	for i, architecture := range request.Architectures {
		j := &job{
			platform: p, request: request, settings: request.Settings, source: source,
			builder: b, builders: builders, builderDigest: digest,
			architecture: architecture, overrides: overrides, phases: []Phase{fetched},
		}
		if j.work, err = work.enter(architecture, tree, i == len(request.Architectures)-1); err != nil {
			return nil, fault.New(fault.Failed, "copy source", tree, err)
		}
		built, err := j.build(ctx)
		if err != nil {
			return nil, err
		}
		result.Images = append(result.Images, *built)
		work.discard(j.work.path("layers"), j.work.path("workspace"), j.work.path("tmp")) // only the layout is read from now on
	}
	result.join()
	return result, nil
}

// Close removes what the result's images are read from.
func (r *Result) Close() { r.work.close() }

// join makes the index of several images (OCI image-spec, image-index.md), and looks
// whether there is anything new in them.
func (r *Result) join() {
	r.Unchanged = true
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, built := range r.Images {
		r.Unchanged = r.Unchanged && built.Unchanged
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        built.Image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: built.Architecture}},
		})
	}
	if len(r.Images) > 1 {
		r.Index = index
	}
}

// readBuilder reads the builder that runs on this machine, and its images by architecture.
func (p *Platform) readBuilder(ctx context.Context, ref oci.Reference) (*builder.Builder, map[string]v1.Image, string, error) {
	images, err := p.Registries.Images(ctx, ref)
	if err != nil {
		if fault.KindOf(err) == fault.NotFound && ref.IsLocal() {
			err = fault.Newf(fault.NotFound, "read builder", ref.String(), "there is no such image").
				WithHint("make one: plimsoll builder build -f examples/builders/builder.yaml -t " + ref.String())
		}
		return nil, nil, "", err
	}
	image, ok := images[machine]
	if !ok {
		return nil, nil, "", fault.Newf(fault.NotFound, "read builder", ref.String(), "it has no image for "+machine)
	}
	b, err := builder.Read(ref.String(), image)
	if err != nil {
		return nil, nil, "", err
	}
	digest, err := image.Digest()
	if err != nil {
		return nil, nil, "", fault.New(fault.Failed, "read builder", ref.String(), err)
	}
	return b, images, digest.String(), nil
}

func (p *Platform) workDir() string  { return filepath.Join(p.Home, "cache", "work") }
func (p *Platform) cacheDir() string { return filepath.Join(p.Home, "cache", "builds") }

func (p *Platform) log() io.Writer {
	if p.Log == nil {
		return io.Discard
	}
	return p.Log
}
