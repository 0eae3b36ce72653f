package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"

	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/audit"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/events"
	"plimsoll.dev/plimsoll/internal/registry/metrics"
	"plimsoll.dev/plimsoll/internal/registry/quota"
	"plimsoll.dev/plimsoll/internal/registry/retention"
	"plimsoll.dev/plimsoll/internal/registry/settings"
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

func (env *Env) auditFolder() string  { return filepath.Join(env.Home, "audit") }
func (env *Env) eventsFolder() string { return filepath.Join(env.Home, "events") }
func (env *Env) pullsFile() string    { return filepath.Join(env.Home, "pulls") }

// upkeep opens what keeps the registry. quarantined counts the images of each project that may not
// be pulled; policies gives why the site's are not in force.
func (env *Env) upkeep(ctx context.Context, reg *registry.Registry, said *settings.File, log *slog.Logger, quarantined func() map[string]int, policies func() error) (u *upkeep, err error) {
	u = &upkeep{said: said, log: log, fixed: retention.NewImmutable(reg, said.Now)}
	if u.events, err = env.events(said.Now, log); err != nil {
		return nil, err
	}
	if u.quotas, err = quota.Open(ctx, reg, said.Now, quota.Options{Logger: log}); err != nil {
		return nil, err
	}
	if u.pulls, err = retention.OpenPulls(env.pullsFile(), log); err != nil {
		return nil, err
	}
	if u.audit, err = env.audit(ctx, said.Now(), log, u.events); err != nil {
		return nil, err
	}
	u.keeper = retention.New(reg, said.Now, u.pulls, retention.Options{Logger: log, Done: func(ctx context.Context, r retention.Report) {
		env.retained(ctx, r, u.audit, u.events)
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
		Allow: metrics.Allow(said.Now, env.Getenv), Logger: log,
	})
	return u, nil
}

// audit opens the log of what was done. Each checkpoint is told to the logger and to those
// who want to hear of it, so that one outside can be held against it.
func (env *Env) audit(ctx context.Context, said *settings.Settings, log *slog.Logger, told *events.Bus) (*audit.Log, error) {
	o := audit.Options{Logger: log, Checkpointed: func(c audit.Checkpoint) {
		log.Info("audit checkpoint", "seq", c.Sequence, "previous", c.Previous)
		told.Publish(events.Event{Type: events.AuditCheckpoint, Subject: "audit", Time: c.Time, Data: c})
	}}
	key := ""
	if said != nil {
		o, key = o.With(said.Audit), said.Audit.Key
	}
	signer, err := env.auditSigner(ctx, said, key)
	if err != nil {
		return nil, err
	}
	if o.Signer = signer; signer == nil {
		log.Warn("checkpoints of the audit log are not signed: signing is keyless, and spec.audit.key names no key")
	}
	return audit.Open(env.auditFolder(), o)
}

// auditSigner gives the key that signs checkpoints: the one that is named, else the one of
// attestations; nil where there is none.
func (env *Env) auditSigner(ctx context.Context, said *settings.Settings, key string) (audit.Signer, error) {
	if key != "" {
		return env.keychain().Signer(ctx, auditKey(said, key))
	}
	signers, err := env.signers(ctx)
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

func (env *Env) events(said func() *settings.Settings, log *slog.Logger) (*events.Bus, error) {
	return events.Open(env.eventsFolder(), said, events.Options{Agent: env.agent(), Getenv: env.Getenv, Logger: log})
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
	return []func(http.Handler) http.Handler{u.audit.Door, u.fixed.Door, u.quotas.Door}
}

// heard are those who are told of each request.
func (u *upkeep) heard() []func(*call.Record) {
	return []func(*call.Record){u.figures.Hear, u.audit.Hear, u.pulls.Hear, u.events.Hear}
}

// retained tells of the tags that retention removed: the inventory, the log, and who else
// wants to know.
func (env *Env) retained(ctx context.Context, r retention.Report, log *audit.Log, told *events.Bus) {
	var gone []string
	var changed []oci.Reference
	for _, t := range r.Removed {
		gone = append(gone, t.Repository+":"+t.Tag)
		if ref, named, err := at(verdicts.Image{Repository: t.Repository, Digest: t.Digest.String()}); err == nil {
			changed = append(changed, untagged(ref.Tag(t.Tag), named))
		}
		entry := audit.Entry{
			Action: audit.ActionRetention, Outcome: audit.Done, Principal: "retention", Repository: t.Repository, Reference: t.Tag,
			Digest: t.Digest.String(), Tags: []string{t.Tag}, Why: t.Why,
		}
		if err := log.Append(ctx, entry); err != nil {
			fmt.Fprintf(env.Err, "warning: what was removed is not in the audit log: %s\n", visible(err.Error()))
		}
		told.Publish(events.Event{
			Type: events.Deleted, Repository: t.Repository, Subject: t.Repository + "@" + t.Digest.String(),
			Data: events.Image{Repository: t.Repository, Digest: t.Digest.String(), Tags: []string{t.Tag}, Why: "retention: " + t.Why},
		})
	}
	env.forget(ctx, gone)
	env.relearn(ctx, changed...)
	told.Publish(events.Event{Type: events.RetentionApplied, Subject: "retention", Data: struct {
		Removed int   `json:"removed"`
		Kept    int   `json:"kept"`
		Blobs   int   `json:"blobs"`
		Bytes   int64 `json:"bytes"`
	}{len(r.Removed), r.Kept, r.Collected.Blobs, r.Collected.Bytes}})
}

// recordRemoved writes down what a command of the machine itself removed, where there is a log:
// in a home that was once served.
func (env *Env) recordRemoved(ctx context.Context, args []string) error {
	if len(args) == 0 || !exists(env.auditFolder()) {
		return nil
	}
	said, err := env.settingsNow()
	if err != nil {
		return err
	}
	record, _, err := env.recorder(ctx, said)
	if err != nil {
		return err
	}
	for _, arg := range args {
		ref, err := oci.Parse(arg)
		if err != nil {
			return errors.Join(err, record.Close())
		}
		entry := audit.Entry{
			Action: audit.ActionDelete, Outcome: audit.Done, Principal: "machine",
			Repository: ref.Context().RepositoryStr(), Reference: ref.Identifier(),
		}
		if err := record.Append(ctx, entry); err != nil {
			return errors.Join(err, record.Close())
		}
	}
	return record.Close()
}

// recorder opens, for a command, what a server writes down and whom it tells. Close the log.
func (env *Env) recorder(ctx context.Context, said *settings.Settings) (*audit.Log, *events.Bus, error) {
	log := env.warningLog()
	told, err := env.events(func() *settings.Settings { return said }, log)
	if err != nil {
		return nil, nil, err
	}
	record, err := env.audit(ctx, said, log, told)
	return record, told, err
}

// auditKey gives a key's name as seen from here: paths are relative to registry.yaml.
func auditKey(said *settings.Settings, name string) string {
	s := &signing{path: filepath.Join(said.Folder, "registry.yaml")}
	return s.at(name)
}

// settingsNow reads registry.yaml once, for a command; nil where there is none.
func (env *Env) settingsNow() (*settings.Settings, error) {
	s, err := settings.Read(env.registryFile(), registryChecks()...)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return s, err
}

// warningLog gives a command's own log: what is wrong, on standard error.
func (env *Env) warningLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(env.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
