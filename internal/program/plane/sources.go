package plane

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/internal/controller/poll"
	"plimsoll.dev/plimsoll/internal/controller/secrets"
	"plimsoll.dev/plimsoll/internal/source"
)

// sources is poll.Sources with the logins of service accounts.
type sources struct {
	*Plane
	api client.Reader // asks the API itself: no secret is in a cache
}

// Revision implements poll.Sources.
func (s sources) Revision(ctx context.Context, q poll.Question, last poll.Answer) (poll.Answer, error) {
	var now source.Revision
	err := s.with(ctx, q, func(f *source.Fetcher, location string) (err error) {
		now, err = f.Revision(ctx, location, source.Options{Ref: q.Revision}, source.Revision{ID: last.Revision, Validator: last.Validator})
		return err
	})
	return poll.Answer{Revision: now.ID, Validator: now.Validator}, err
}

// Paths implements poll.Sources.
func (s sources) Paths(ctx context.Context, q poll.Question, from, to string) (paths []string, err error) {
	err = s.with(ctx, q, func(f *source.Fetcher, location string) error {
		paths, err = f.Changed(ctx, location, from, to)
		return err
	})
	return paths, err
}

// with does something with the source, as its service account may.
func (s sources) with(ctx context.Context, q poll.Question, do func(*source.Fetcher, string) error) error {
	all, err := secrets.ResolveLogins(ctx, s.api, q.Namespace, q.ServiceAccount)
	if err != nil {
		return err
	}
	fetcher := source.Fetcher{Images: s.registries(all), Client: s.outward(), Agent: s.site.Agent()}
	if q.Kind == poll.Artifact {
		return do(&fetcher, "oci://"+q.Location)
	}
	if err := s.admitSource(ctx, q.Location); err != nil {
		return err
	}
	location, env, end, err := lendLogin(all, q.Location)
	if err != nil {
		return err
	}
	defer end()
	fetcher.Env = env
	return do(&fetcher, location)
}
