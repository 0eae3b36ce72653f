package cli

import (
	"context"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/internal/site/served"
)

func newRegistryServe(s *store) *cobra.Command {
	var o served.Options
	gate, index, publish, follow := true, true, true, false
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the store to other machines and tools, until interrupted",
		Long: `Serve answers the OCI distribution API, referrers included, until it is interrupted; then
it lets requests under way end. /healthz answers whether the store can be read, /readyz whether all
that it needs is there, /metrics how it is doing. Requests are logged to standard error, without
queries and credentials.

What is pushed is looked into at once. Where the home has policies ("plimsoll policy add"), nobody
who may not inspect a repository gets an image, or any part of it, that they deny at the registry:
docs/policy.md. Each verdict is signed and put beside its image. A home has one server then. Where
its policies are gone nothing is let through; --gate=false serves without any.

Who may do what stands in registry.yaml of the home: docs/registry-access.md. Without that
file every user of --htpasswd may read and write, and without both anybody who reaches the
address; the policies bind them all.` + "\n" + exitCodes,
		Example: `  plimsoll registry serve
  plimsoll registry serve --addr :5000 --tls-cert cert.pem --tls-key key.pem --environment production`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Config, o.Logger = s.config, slog.New(slog.NewTextHandler(s.env.Err, nil))
			o.NoGate, o.NoInventory, o.NoPublish = !gate, !index, !publish
			if follow {
				return serveFollowing(cmd.Context(), s.env, o)
			}
			return s.env.Site().Serve(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Addr, "addr", "127.0.0.1:5000", "host and port to listen on; port 0 takes a free one")
	flags.StringVar(&o.TLSCert, "tls-cert", "", "PEM file of the certificate with its chain")
	flags.StringVar(&o.TLSKey, "tls-key", "", "PEM file of the certificate's key")
	flags.StringVar(&o.Htpasswd, "htpasswd", "", "file of users with bcrypt passwords; nobody else is served")
	flags.BoolVar(&o.ReadOnly, "read-only", false, "refuse every write")
	flags.BoolVar(&index, "inventory", true, "tell the inventory of what is pushed")
	flags.BoolVar(&publish, "publish-verdicts", true, "sign verdicts and put them beside the images")
	flags.BoolVar(&gate, "gate", true, "let the policies decide what may be pulled")
	flags.BoolVar(&follow, "policies-in-cluster", false, "take policies and exceptions from the cluster that this program runs in as a pod")
	flags.StringVar(&o.Environment, "environment", "", "environment that policies know this registry by, such as production")
	flags.DurationVar(&o.Drain, "drain", 30*time.Second, "how long requests under way may take to end")
	return cmd
}

// serveFollowing serves by the policies of the cluster, and ends when they can be followed no more.
func serveFollowing(ctx context.Context, env *Env, o served.Options) error {
	keep, err := env.Follow(ctx, env.Site())
	if err != nil {
		return err
	}
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return keep(ctx) })
	both.Go(func() error { return env.Site().Serve(ctx, o) })
	return both.Wait()
}
