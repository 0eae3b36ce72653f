package served

import (
	"context"
	"log/slog"
	"net/http"
	"sync"

	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/audit"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/events"
	"plimsoll.dev/plimsoll/internal/registry/metrics"
	"plimsoll.dev/plimsoll/internal/registry/quota"
	"plimsoll.dev/plimsoll/internal/registry/retention"
	"plimsoll.dev/plimsoll/internal/registry/settings"
	"plimsoll.dev/plimsoll/internal/site/home"
)

// upkeep is what keeps a registry while it is served: the log of what was done, those who are
// told of it, figures, quotas, and the tags that stay.
type upkeep struct {
	said    *settings.File
	audit   *audit.Log
	events  *events.Bus
	figures *metrics.Metrics
	quotas  *quota.Quotas
	fixed   *retention.Immutable
	pulls   *retention.Pulls
	keeper  *retention.Keeper
	log     *slog.Logger
}

// upkeepChecks are those of what registry.yaml tells it.
func upkeepChecks() []settings.Check {
	return []settings.Check{audit.Check, events.Check, metrics.Check, quota.Check, retention.Check}
}

// AuditFolder is where what was done in the registry is written down.
func AuditFolder(h *home.Home) string { return h.Path("audit") }

// EventsFolder is where events wait for their webhooks.
func EventsFolder(h *home.Home) string { return h.Path("events") }

// pullsFile says when tags were last pulled.
func pullsFile(h *home.Home) string { return h.Path("pulls") }

// openUpkeep opens what keeps the registry. quarantined counts the images of each project that may not
// be pulled; policies gives why the site's are not in force.
func openUpkeep(ctx context.Context, h *home.Home, reg *registry.Registry, said *settings.File, log *slog.Logger, quarantined func() map[string]int, policies func() error) (u *upkeep, err error) {
	u = &upkeep{said: said, log: log, fixed: retention.NewImmutable(reg, said.Now)}
	if u.events, err = openEvents(h, said.Now, log); err != nil {
		return nil, err
	}
	if u.quotas, err = quota.Open(ctx, reg, said.Now, quota.Options{Logger: log}); err != nil {
		return nil, err
	}
	if u.pulls, err = retention.OpenPulls(pullsFile(h), log); err != nil {
		return nil, err
	}
	if u.audit, err = openAudit(ctx, h, said.Now(), log, u.events); err != nil {
		return nil, err
	}
	u.keeper = retention.New(reg, said.Now, u.pulls, retention.Options{Logger: log, Done: func(ctx context.Context, r retention.Report) {
		retained(ctx, h, r, u.audit, u.events)
		if err := u.quotas.Recount(ctx); err != nil {
			log.Error("what projects hold cannot be counted", "error", err)
		}
	}})
	u.figures = metrics.New(metrics.Options{
		Project: u.project, Usage: u.quotas.Usage, Quarantined: quarantined, Webhooks: u.events.Stats, Audit: u.audit.Stats,
		Policies: policies, Settings: said.Stale,
		Probes: []metrics.Probe{
			{Name: "store", Check: reg.Reachable},
			{Name: "audit", Check: func(context.Context) error { return u.audit.Ready() }},
			{Name: "policies", Check: func(context.Context) error { return policies() }},
			{Name: "settings", Check: func(context.Context) error { return said.Stale() }},
		},
		Allow: metrics.Allow(said.Now, h.Getenv), Logger: log,
	})
	return u, nil
}

// openAudit opens the log of what was done. Each checkpoint is told to the logger and to those
// who want to hear of it, so that one outside can be held against it.
func openAudit(ctx context.Context, h *home.Home, said *settings.Settings, log *slog.Logger, told *events.Bus) (*audit.Log, error) {
	o := audit.Options{Logger: log, Checkpointed: func(c audit.Checkpoint) {
		log.Info("audit checkpoint", "seq", c.Sequence, "previous", c.Previous)
		told.Publish(events.Event{Type: events.AuditCheckpoint, Subject: "audit", Time: c.Time, Data: c})
	}}
	key := ""
	if said != nil {
		o, key = o.With(said.Audit), said.Audit.Key
	}
	signer, err := auditSigner(ctx, h, said, key)
	if err != nil {
		return nil, err
	}
	if o.Signer = signer; signer == nil {
		log.Warn("checkpoints of the audit log are not signed: signing is keyless, and spec.audit.key names no key")
	}
	return audit.Open(AuditFolder(h), o)
}

// auditSigner gives the key that signs checkpoints: the one that is named, else the one of
// attestations; nil where there is none.
func auditSigner(ctx context.Context, h *home.Home, said *settings.Settings, key string) (audit.Signer, error) {
	if key != "" {
		return h.Keychain().Signer(ctx, AuditKey(said, key))
	}
	signers, err := h.Signers(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case signers.Attestations != nil:
		return signers.Attestations, nil
	case signers.Images != nil:
		return signers.Images, nil
	}
	return nil, nil
}

func openEvents(h *home.Home, said func() *settings.Settings, log *slog.Logger) (*events.Bus, error) {
	return events.Open(EventsFolder(h), said, events.Options{Agent: h.Agent(), Getenv: h.Getenv, Logger: log})
}

func (u *upkeep) project(repository string) string {
	if said := u.said.Now(); said != nil {
		if p := said.ProjectOf(repository); p != nil {
			return p.Name
		}
	}
	return ""
}

// run works until ctx ends. What changes the store is left out of a registry that is read-only.
func (u *upkeep) run(ctx context.Context, readOnly bool) {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() {
		if err := u.events.Deliver(ctx); err != nil {
			u.log.Error("events are not delivered", "error", err)
		}
	})
	work.Go(func() { u.quotas.Run(ctx) })
	work.Go(func() { u.pulls.Run(ctx) })
	if !readOnly {
		work.Go(func() { u.keeper.Schedule(ctx) })
	}
}

// close ends the log, when no request is under way any more.
func (u *upkeep) close() {
	if err := u.audit.Close(); err != nil {
		u.log.Error("the audit log was not closed", "error", err)
	}
}

// outer is the door before who asks is known, inner are those behind it.
func (u *upkeep) outer() func(http.Handler) http.Handler { return u.figures.Door }

func (u *upkeep) inner() []func(http.Handler) http.Handler {
	return []func(http.Handler) http.Handler{u.audit.Door, call.Keep, u.fixed.Door, u.quotas.Door}
}

// heard are those who are told of each request.
func (u *upkeep) heard() []func(*call.Record) {
	return []func(*call.Record){u.figures.Hear, u.audit.Hear, u.pulls.Hear, u.events.Hear}
}
