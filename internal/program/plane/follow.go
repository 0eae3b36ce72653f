package plane

import (
	"context"
	"log/slog"

	"k8s.io/client-go/rest"

	"plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/controller/policies"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/site"
)

// Follow has the home's policies be those of the cluster that this program runs in as a pod: for a
// registry that is served apart from the controllers. They are when it returns, so that nothing is
// let through before; keep has them stay so until ctx ends.
func Follow(ctx context.Context, s *site.Site, log *slog.Logger) (keep func(context.Context) error, err error) {
	target, err := rest.InClusterConfig()
	if err != nil {
		return nil, fault.New(fault.Unavailable, "reach the cluster", "--policies-in-cluster", err).
			WithHint("this works in a pod with a service account only")
	}
	return follow(ctx, target, controller.Options{Log: slog.New(quiet{log.Handler()})}, s.PolicyFolder(), log)
}

func follow(ctx context.Context, target *rest.Config, o controller.Options, dir string, log *slog.Logger) (func(context.Context) error, error) {
	mgr, err := controller.New(target, o)
	if err != nil {
		return nil, err
	}
	folder := policies.New(dir)
	if err := folder.Fill(ctx, mgr.GetAPIReader(), log); err != nil {
		return nil, err
	}
	if err := policies.Follow(mgr, folder, log); err != nil {
		return nil, fault.New(fault.Failed, "follow the cluster's policies", "", err)
	}
	return func(ctx context.Context) error {
		if err := mgr.Start(ctx); err != nil {
			return fault.New(fault.Failed, "follow the cluster's policies", "", err)
		}
		return nil
	}, nil
}
