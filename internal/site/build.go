package site

import (
	"context"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/caches"
	"plimsoll.dev/plimsoll/internal/site/known"
	"plimsoll.dev/plimsoll/internal/site/ledger"
	"plimsoll.dev/plimsoll/internal/source"
)

// BuildRequest says what to build, and under which tags it is published.
type BuildRequest struct {
	build.Request // its Believe is set here, and its Fetch where there is none

	Location string         // of the source, as docs/sources.md has it; not used where there is a Fetch
	Source   source.Options // what of it is taken

	AdditionalTags []oci.Reference // that name the image besides Tag, here or in other repositories
	NoEvidence     bool            // issue neither signature nor SBOM nor any other evidence

	Means
	Executor executor.Executor // runs the steps; nil is the site's
	GitEnv   []string          // environment of git, "NAME=value"; nil is the process's own
	Log      io.Writer         // what the buildpacks print; nil discards it
	Verbose  bool              // also what the lifecycle prints
	Progress func(build.Note)  // hears of each phase when it begins and when it ends; nil hears nothing
}

// Built is what a build came to.
type Built struct {
	Ref           string `json:"ref"`
	Digest        string `json:"digest"` // of the image, or of the index of several
	*build.Result        // closed: its images cannot be read any more
}

// Build builds an image from source, issues its evidence, moves its tags and tells the inventory.
// Where nothing has changed since the image that Tag names, it is only seen to that the additional
// tags name that, too. Nothing is left of a build that fails.
func (s *Site) Build(ctx context.Context, r BuildRequest) (*Built, error) {
	steps := r.Executor
	if steps == nil {
		var err error
		if steps, err = s.Steps(); err != nil {
			return nil, err
		}
	}
	end, err := s.tags.take(ctx, r.Tag.String())
	if err != nil {
		return nil, err
	}
	defer end()
	h := s.with(r.Means)
	l, err := ledger.Open(ctx, h, ledger.Options{NoEvidence: r.NoEvidence})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	r.Believe = l.Believe(ctx, r.Tag)
	if r.Fetch == nil {
		fetcher := source.Fetcher{Images: h.Registries, Agent: h.Agent(), Env: r.GitEnv}
		r.Fetch = func(ctx context.Context, dir string) (artifact.Source, error) {
			return fetcher.Fetch(ctx, r.Location, r.Source, dir)
		}
	}
	s.filled.Store(true)
	total, err := caches.Total(s.Getenv)
	if err != nil {
		return nil, err
	}
	platform := build.Platform{
		CacheBytes: caches.Bound(caches.Builds, total),
		Home:       h.Folder, Executor: steps, Registries: h.Registries, Log: r.Log, Verbose: r.Verbose, Progress: r.Progress,
		Contents: func(ctx context.Context, image v1.Image) (artifact.Contents, error) {
			return known.Contents(ctx, h, image)
		},
	}
	result, err := platform.Build(ctx, r.Request)
	if err != nil {
		return nil, err
	}
	defer result.Close()
	return publishBuilt(ctx, l, r, result)
}

// publishBuilt publishes what was built, and notes how long that took.
func publishBuilt(ctx context.Context, l *ledger.Ledger, r BuildRequest, result *build.Result) (*Built, error) {
	pushing := time.Now()
	var images []ledger.Told
	for _, built := range result.Images {
		facts, err := ledger.FactsOfBuild(r.Source, r.Request, result, built)
		if err != nil {
			return nil, err
		}
		images = append(images, ledger.Told{Image: built.Image, Provenance: facts})
	}
	made := ledger.Made{Index: result.Index, Image: result.Images[0].Image}
	digest, err := made.Digest()
	if err != nil {
		return nil, err
	}
	if result.Unchanged {
		err = l.Also(ctx, r.Tag.At(digest), r.AdditionalTags...)
	} else {
		err = l.Publish(ctx, made, images, r.Tag, r.AdditionalTags...)
	}
	push := build.Phase{Name: "push", Duration: time.Since(pushing)}
	for i := range result.Images {
		result.Images[i].Phases = append(result.Images[i].Phases, push)
	}
	return &Built{Ref: r.Tag.String(), Digest: digest.String(), Result: result}, err
}
