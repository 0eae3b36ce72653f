package site

import (
	"context"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/policy"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/mirror"
	"plimsoll.dev/plimsoll/internal/site/feeds"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/judge"
	"plimsoll.dev/plimsoll/internal/site/served"
	"plimsoll.dev/plimsoll/internal/source"
)

// Fetcher gives what fetches sources and says what they are now. env is git's environment,
// "NAME=value"; nil is the process's own.
func (s *Site) Fetcher(env []string) *source.Fetcher {
	return &source.Fetcher{Images: s.Registries, Agent: s.Agent(), Env: env}
}

// Resolved is what a reference names now.
type Resolved struct {
	Ref    string
	Digest v1.Hash
	Err    error // why nobody knows; of kind NotFound where it names nothing
}

// Resolve gives what each reference names now, in their order, with one small request for each
// that is another.
func (s *Site) Resolve(ctx context.Context, refs ...string) []Resolved {
	const atOnce = 16
	session := s.Registries.Session()
	places := map[string][]int{}
	for i, ref := range refs {
		places[ref] = append(places[ref], i)
	}
	out := make([]Resolved, len(refs))
	var several errgroup.Group
	several.SetLimit(atOnce)
	for text, at := range places {
		several.Go(func() error {
			one := Resolved{Ref: text}
			ref, err := oci.Parse(text)
			if err == nil {
				one.Digest, err = session.Head(ctx, ref)
			}
			one.Err = err
			for _, i := range at {
				out[i] = one
			}
			return nil
		})
	}
	_ = several.Wait() // failures are results
	return out
}

// SyncFeeds brings the home's feeds up to date and holds the inventory against what has changed, as
// feeds.Sync does.
func (s *Site) SyncFeeds(ctx context.Context, o feeds.SyncOptions) (*feeds.Synced, error) {
	f, err := feeds.Open(s.Home)
	if err != nil {
		return nil, err
	}
	return f.Sync(ctx, o)
}

// Match holds against the home's advisories what is new in the inventory, as feeds.Match does.
func (s *Site) Match(ctx context.Context) error { return feeds.Match(ctx, s.Home) }

// Import runs ImageImports now, into the store of the home, as served.Import does.
func (s *Site) Import(ctx context.Context, o served.ImportOptions) (reports []*mirror.Report, err error) {
	err = served.With(ctx, s.Home, registry.Options{}, func(reg *registry.Registry) error {
		reports, err = served.Import(ctx, s.Home, reg, o)
		return err
	})
	return reports, err
}

// Verdict gives what the home's policies say of an image: what stands where this process serves the
// registry that holds it, else what they say now. An error is home.ErrNoPolicies where there are
// none.
func (s *Site) Verdict(ctx context.Context, ref oci.Reference) (artifact.Verdict, error) {
	if j := s.judging.Load(); j != nil && ref.IsLocal() {
		digest, err := s.Registries.Session().Head(ctx, ref)
		if err != nil {
			return artifact.Verdict{}, err
		}
		return j.Keeper().Verdict(ctx, verdicts.Image{Repository: ref.Repository(), Digest: digest.String()})
	}
	set, err := s.Policies(home.PolicySource{})
	if err != nil {
		return artifact.Verdict{}, err
	}
	g, err := judge.NewGatherer(ctx, s.Home)
	if err != nil {
		return artifact.Verdict{}, err
	}
	fleet, err := g.Fleet(ctx, ref)
	if err != nil {
		return artifact.Verdict{}, err
	}
	return fleet.Decide(set, policy.Where{}, time.Now()), nil
}

// Serve serves the registry of the home, with its gate, until ctx ends; Ready of the options hears
// where, and Changed of every verdict that is another. A home has one server at a time.
func (s *Site) Serve(ctx context.Context, o served.Options) error {
	judging := o.Judging
	o.Judging = func(j *judge.Judge) {
		s.judging.Store(j)
		if judging != nil {
			judging(j)
		}
	}
	defer s.judging.Store(nil)
	return served.Serve(ctx, s.Home, o)
}
