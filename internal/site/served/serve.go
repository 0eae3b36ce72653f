package served

import (
	"context"
	"log/slog"
	"net"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/judge"
)

// Options say where and for whom a registry is served, and what it does beside. Only Addr of
// ServeOptions is needed.
type Options struct {
	registry.ServeOptions

	Config      string       // configuration in the distribution project's format, whose storage is used; "" is the home's folder
	Htpasswd    string       // file of users with bcrypt passwords; "" is none
	Environment string       // that policies know this registry by
	NoGate      bool         // whatever the policies say, all may be pulled by whoever may pull
	NoInventory bool         // tell the inventory nothing of what is pushed
	NoPublish   bool         // put no verdicts beside images
	Logger      *slog.Logger // nil discards

	// Changed hears of each verdict that is another now, until it returns nil: what fails is told
	// again. It may be called at once for several images. nil hears nothing.
	Changed func(ctx context.Context, change verdicts.Change) error

	// Judging hears who keeps the verdicts, as soon as the home has policies; nil hears nothing.
	Judging func(*judge.Judge)
}

// Serve serves the registry of the home until ctx ends, and then lets requests under way end.
func Serve(ctx context.Context, h *home.Home, o Options) error {
	// Before anything is written: who cannot serve leaves no trace in a home that another serves.
	if err := o.Check(ctx); err != nil {
		return err
	}
	if err := verdicts.Free(h.VerdictsFolder()); err != nil {
		return err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	at, err := newSite(h, o)
	if err != nil {
		return err
	}
	ready := o.Ready
	o.Ready = func(addr net.Addr) {
		at.warnExposed(addr)
		o.Logger.Info("serving", "addr", addr.String(), "tls", o.TLSCert != "", "accounts", at.accounts(),
			"settings", at.said.Now() != nil, "policies", at.gate.keeper.Load() != nil, "readOnly", o.ReadOnly)
		if ready != nil {
			ready(addr)
		}
	}
	options := registry.Options{Config: o.Config, ReadOnly: o.ReadOnly, Logger: o.Logger, Gate: at.gate}
	return With(ctx, h, options, func(reg *registry.Registry) error {
		stop, err := at.open(ctx, reg)
		if err != nil {
			return err
		}
		defer stop()
		o.Doors, o.Pages, o.Heard = at.doors(), at.pages(), at.heard()
		return reg.Serve(ctx, o.ServeOptions)
	})
}

// With opens the store of the home for the length of one call.
func With(ctx context.Context, h *home.Home, o registry.Options, do func(*registry.Registry) error) error {
	o.Root = h.Path("registry")
	reg, err := registry.Open(ctx, o)
	if err != nil {
		return err
	}
	err = do(reg)
	if closed := reg.Close(); err == nil && closed != nil {
		return fault.New(fault.Failed, "close registry", o.Root, closed)
	}
	return err
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
	return at.o.Htpasswd != "" || said != nil && said.Auth.Htpasswd != ""
}
