package cli

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/policy/verdicts"
	"plimsoll.dev/plimsoll/internal/registry"
)

// serveOptions say where and for whom a registry is served, and what it does beside.
type serveOptions struct {
	registry.ServeOptions
	htpasswd    string
	environment string
	gate        bool // the policies decide what may be pulled
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
docs/policy.md. Each verdict is signed and put beside its image. A home has one server then. Where
its policies are gone nothing is let through; --gate=false serves without any.

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
	flags.BoolVar(&o.gate, "gate", true, "let the policies decide what may be pulled")
	flags.StringVar(&o.environment, "environment", "", "environment that policies know this registry by, such as production")
	flags.DurationVar(&o.Drain, "drain", 30*time.Second, "how long requests under way may take to end")
	return cmd
}

func runRegistryServe(ctx context.Context, s *store, o serveOptions) error {
	// Before anything is written: who cannot serve leaves no trace in a home that another serves.
	if err := o.Check(ctx); err != nil {
		return err
	}
	if err := verdicts.Free(s.env.verdictsFolder()); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(s.env.Err, nil))
	at, err := s.env.site(o, log)
	if err != nil {
		return err
	}
	o.Ready = func(addr net.Addr) {
		at.warnExposed(addr)
		log.Info("serving", "addr", addr.String(), "tls", o.TLSCert != "", "accounts", at.accounts(),
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

// warnExposed warns of what others than this machine reach, and should not as it is.
func (at *site) warnExposed(addr net.Addr) {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		return
	}
	said := at.said.Now()
	if said == nil && !at.accounts() {
		at.log.Warn("whoever reaches the address may push and pull", "addr", addr.String(), "hint", "say who may do what in registry.yaml, or give --htpasswd")
	}
	if at.o.TLSCert == "" && (said == nil || !strings.HasPrefix(said.ExternalURL, "https://")) {
		at.log.Warn("passwords and images travel in the clear", "addr", addr.String(), "hint", "give --tls-cert and --tls-key, or serve behind what has TLS and say its https URL in spec.externalURL")
	}
}

// accounts says whether there is a file of users.
func (at *site) accounts() bool {
	said := at.said.Now()
	return at.o.htpasswd != "" || said != nil && said.Auth.Htpasswd != ""
}
