package plane

import (
	"context"
	"sync"

	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/controller/advisoryfeed"
	builders "plimsoll.dev/plimsoll/internal/controller/builder"
	"plimsoll.dev/plimsoll/internal/controller/imageimport"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/mirror"
	"plimsoll.dev/plimsoll/internal/site"
	"plimsoll.dev/plimsoll/internal/site/feeds"
	"plimsoll.dev/plimsoll/internal/site/served"
)

// makers is builder.Maker in the site.
type makers struct{ *Plane }

// Make implements builders.Maker.
func (m makers) Make(ctx context.Context, spec *builder.Spec, tag string) (builders.Result, error) {
	ref, err := m.place(tag)
	if err != nil {
		return builders.Result{}, err
	}
	if spec, err = m.based(spec); err != nil {
		return builders.Result{}, err
	}
	built, err := m.site.BuildBuilder(ctx, site.BuilderRequest{
		Publication: site.Publication{Tag: ref, IfChanged: true, Means: m.means("builder", spec.Name)},
		Spec:        spec,
	})
	if err != nil {
		return builders.Result{}, err
	}
	image, err := m.site.Registries.Image(ctx, ref, "")
	if err != nil {
		return builders.Result{}, err
	}
	made, err := builder.Read(ref.String(), image)
	if err != nil {
		return builders.Result{}, err
	}
	result := builders.Result{Image: tag, Digest: built.Digest}
	for _, b := range made.Buildpacks {
		result.Buildpacks = append(result.Buildpacks, b.ID+"@"+b.Version)
	}
	return result, nil
}

// based gives the spec with its bases named where they are.
func (m makers) based(spec *builder.Spec) (*builder.Spec, error) {
	out := *spec
	out.Builder = *spec.Builder.DeepCopy()
	var err error
	if out.Spec.Build.Image, err = m.placed(spec.Spec.Build.Image); err != nil {
		return nil, err
	}
	for i, run := range spec.Spec.Run {
		if out.Spec.Run[i].Image, err = m.placed(run.Image); err != nil {
			return nil, err
		}
	}
	return &out, nil
}

// Digest implements builders.Maker.
func (m makers) Digest(ctx context.Context, ref string) (string, error) {
	place, err := m.place(ref)
	if err != nil {
		return "", err
	}
	found := m.site.Resolve(ctx, place.String())[0]
	return found.Digest.String(), found.Err
}

// syncer is advisoryfeed.Syncer in the site.
type syncer struct {
	*Plane
	one     sync.Mutex            // a sync is of all feeds
	changed func(context.Context) // hears that something new is known
}

// Sync implements advisoryfeed.Syncer.
func (s *syncer) Sync(ctx context.Context, name string) (advisoryfeed.Synced, error) {
	s.one.Lock()
	defer s.one.Unlock()
	synced, err := s.site.SyncFeeds(ctx, feeds.SyncOptions{})
	if synced == nil {
		return advisoryfeed.Synced{}, err
	}
	if synced.Changed > 0 {
		s.changed(ctx)
	}
	out := advisoryfeed.Synced{Changed: synced.Changed > 0}
	for _, part := range synced.Feeds {
		if part.Feed != name {
			continue
		}
		out.Records += part.Records
		if part.Error != "" {
			return out, fault.Newf(fault.Unavailable, "sync feed", name, part.Error)
		}
	}
	return out, nil
}

// runs is imageimport.Runs of the home.
type runs struct{ *Plane }

// Last implements imageimport.Runs.
func (r runs) Last(_ context.Context, name string) (imageimport.Run, error) {
	state, err := served.Mirror(r.site.Home, mirror.Options{}).State(&mirror.Import{Name: name})
	if err != nil {
		return imageimport.Run{}, err
	}
	run := imageimport.Run{Ended: state.Finished, Error: state.Error}
	for _, tag := range state.Tags {
		if tag.Names {
			run.Tags++
		}
	}
	return run, nil
}
