package cli

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/registry"
)

// serveOptions say where and for whom a registry is served, and what it does beside.
type serveOptions struct {
	registry.ServeOptions
	htpasswd    string
	environment string
	index       bool // tell the inventory of what is pushed
	publish     bool // put verdicts beside images
}

func newRegistryServe(s *store) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the store to other machines and tools, until interrupted",
		Long: `Serve answers the OCI distribution API, referrers included, until it is interrupted; then
it lets requests under way end. /healthz answers whether the store can be read, /readyz whether all
that it needs is there, /metrics how it is doing. Requests are logged to standard error, without
queries and credentials.

What is pushed is looked into at once. Where the home has policies ("plimsoll policy add"), nobody
who may not inspect a repository gets an image, or any part of it, that they deny at the registry:
docs/policy.md. Each verdict is signed and put beside its image.

Who may do what stands in registry.yaml of the home: docs/registry-access.md. Without that
file every user of --htpasswd may read and write, and without both anybody who reaches the
address; the policies bind them all.` + "\n" + exitCodes,
		Example: `  plimsoll registry serve
  plimsoll registry serve --addr :5000 --tls-cert cert.pem --tls-key key.pem --environment production`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRegistryServe(cmd.Context(), s, o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Addr, "addr", "127.0.0.1:5000", "host and port to listen on; port 0 takes a free one")
	flags.StringVar(&o.TLSCert, "tls-cert", "", "PEM file of the certificate with its chain")
	flags.StringVar(&o.TLSKey, "tls-key", "", "PEM file of the certificate's key")
	flags.StringVar(&o.htpasswd, "htpasswd", "", "file of users with bcrypt passwords; nobody else is served")
	flags.BoolVar(&o.ReadOnly, "read-only", false, "refuse every write")
	flags.BoolVar(&o.index, "inventory", true, "tell the inventory of what is pushed")
	flags.BoolVar(&o.publish, "publish-verdicts", true, "sign verdicts and put them beside the images")
	flags.StringVar(&o.environment, "environment", "", "environment that policies know this registry by, such as production")
	flags.DurationVar(&o.Drain, "drain", 30*time.Second, "how long requests under way may take to end")
	return cmd
}

func runRegistryServe(ctx context.Context, s *store, o serveOptions) error {
	log := slog.New(slog.NewTextHandler(s.env.Err, nil))
	at, err := s.env.site(o, log)
	if err != nil {
		return err
	}
	defer at.close()
	o.Ready = func(addr net.Addr) {
		log.Info("serving", "addr", addr.String(), "tls", o.TLSCert != "", "accounts", o.htpasswd != "",
			"settings", at.said.Now() != nil, "policies", at.gate.keeper.Load() != nil, "readOnly", o.ReadOnly)
	}
	options := registry.Options{ReadOnly: o.ReadOnly, Logger: log, Gate: at.gate}
	return s.with(ctx, options, func(reg *registry.Registry) error {
		stop, err := at.open(ctx, reg)
		if err != nil {
			return err
		}
		defer stop()
		o.Doors, o.Pages, o.Heard = at.doors(), at.pages(), at.heard()
		return reg.Serve(ctx, o.ServeOptions)
	})
}
