// Package served takes a home and its registry's store and gives the registry as it is served: who
// may do what, what may be pulled, and who is told of what was done.
package served

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/policy"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/access"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/events"
	"plimsoll.dev/plimsoll/internal/registry/mirror"
	"plimsoll.dev/plimsoll/internal/registry/mirror/upstream"
	"plimsoll.dev/plimsoll/internal/registry/settings"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/judge"
)

// site is all that stands around a registry while it is served.
type site struct {
	home *home.Home // whose local registry is the one that is served
	log  *slog.Logger
	o    Options
	said *settings.File
	who  *access.Access
	gate *gate
	news newcomers

	judge   *judge.Judge // nil until there are policies
	judging sync.Mutex
	proxy   *mirror.Proxy
	keep    *upkeep
}

// newSite opens what needs no store.
func newSite(h *home.Home, o Options) (*site, error) {
	at := &site{home: h, log: o.Logger, o: o, gate: &gate{}, news: newcomers{log: o.Logger, refs: map[string]bool{}}}
	var err error
	if at.said, err = Settings(h, o.Logger); err != nil {
		return nil, err
	}
	at.who, err = access.Open(h.Folder, access.Options{Settings: at.said, Htpasswd: o.Htpasswd, Logger: o.Logger})
	return at, err
}

// open opens what works on the store, and gives what ends it.
func (at *site) open(ctx context.Context, reg *registry.Registry) (stop func(), err error) {
	outside := at.home
	ways := through(outside, reg)
	ways.Remote = upstream.New(upstream.Options{}) // who may push names hosts to ask for bases
	at.home = outside.Through(ways)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if at.keep, err = openUpkeep(ctx, at.home, reg, at.said, at.log, at.quarantined, at.stale); err != nil {
		cancel()
		return nil, err
	}
	at.gate.figures.Store(at.keep.figures)
	if err := at.openGate(ctx); err != nil {
		cancel()
		at.keep.close()
		return nil, err
	}
	// What is taken in keeps to quotas and to tags that do not move.
	taking := through(at.home, reg, call.Keep, at.keep.fixed.Door, at.keep.quotas.Door)
	takes := Mirror(at.home.Through(taking), mirror.Options{Account: at.account, Named: at.named, Ended: at.imported, Logger: at.log})
	at.proxy = takes.Proxy(at.said, mirror.ProxyOptions{})
	var work sync.WaitGroup
	if !at.o.NoGate {
		work.Go(func() { at.watchPolicies(ctx) })
	}
	work.Go(func() { at.keep.run(ctx, at.o.ReadOnly) })
	if !at.o.ReadOnly {
		work.Go(func() { takes.Run(ctx) })
	}
	told := at.news.watch(ctx, at.home)
	return func() {
		at.proxy.Close()
		told()
		cancel()
		work.Wait()
		if at.judge != nil {
			if err := at.judge.Close(); err != nil {
				at.log.Warn("the verdicts were not closed", "error", err)
			}
		}
		at.keep.close()
	}, nil
}

// stale gives why the site's policies are not in force as their files are; nil when they are, or
// there never were any.
func (at *site) stale() error {
	if j := at.judged(); j != nil {
		return j.UpToDate()
	}
	return at.gate.whyShut()
}

// openGate has the policies there are decide what may be pulled. A home that has lost its policies
// is served with the gate shut.
func (at *site) openGate(ctx context.Context) error {
	if at.o.NoGate {
		at.log.Warn("the gate is off: whatever the policies say, all may be pulled by whoever may pull")
		return nil
	}
	err := at.openJudge(ctx)
	switch {
	case errors.Is(err, errLost):
		at.gate.shutFor(err)
		at.log.Error("nothing is let through", "error", err, "hint", fault.HintOf(err))
		return nil
	case err == nil && at.judged() == nil && at.said.Now() != nil:
		at.log.Warn("there are no policies: all that is pushed may be pulled", "hint", "take some up with `plimsoll policy add`, or say --gate=false")
	}
	return err
}

// openJudge opens the verdicts, where there are policies. From then on the gate is closed to what
// they deny. A home that had policies and has none is errLost.
func (at *site) openJudge(ctx context.Context) error {
	switch _, err := at.home.Policies(home.PolicySource{}); {
	case errors.Is(err, home.ErrNoPolicies) && verdicts.Used(at.home.VerdictsFolder()):
		return fault.New(fault.Failed, "read policies", at.home.PolicyFolder(), errLost).
			WithHint("put them back; to let all be pulled without any, serve with --gate=false")
	case errors.Is(err, home.ErrNoPolicies):
		return nil
	case err != nil:
		return err
	}
	j, err := judge.Open(ctx, at.home, at.log, verdicts.Options{
		Where: policy.Where{Environment: at.o.Environment}, Publish: at.tell(at.publisher(ctx)), Announce: at.announce,
	})
	if err != nil {
		return err
	}
	at.judging.Lock()
	at.judge = j
	at.judging.Unlock()
	at.gate.keeper.Store(j.Keeper())
	if at.o.Judging != nil {
		at.o.Judging(j)
	}
	j.TakenUp = at.keep.policiesTaken
	j.Tell(ctx, "taken up by a server that began to judge")
	return nil
}

// watchPolicies follows the policies, and what others tell the inventory. The first policies may
// come while the registry is served; when they are wrong, or another server keeps the verdicts of
// this home, the gate is shut until that is over.
func (at *site) watchPolicies(ctx context.Context) {
	tick := time.NewTicker(judge.WatchEvery)
	defer tick.Stop()
	for state := ""; at.judged() == nil; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := judge.PolicyState(at.home)
		if now == state && at.gate.whyShut() == nil {
			continue
		}
		err := at.openJudge(ctx)
		at.gate.shutFor(err)
		if err != nil && now != state {
			at.log.Error("the policies are not taken up: nothing is let through", "error", err)
		}
		state = now
	}
	at.judged().Watch(ctx)
}

// tell gives what tells others of a verdict that is another now: whoever has a webhook, and whoever
// reads what is beside the image.
func (at *site) tell(p *publisher) func(context.Context, verdicts.Change) error {
	return func(ctx context.Context, c verdicts.Change) error {
		if p != nil {
			if err := p.tell(ctx, c, at.level(ctx, c)); err != nil {
				return err // it is told again, so nobody else is yet
			}
		}
		if at.o.Changed != nil {
			if err := at.o.Changed(ctx, c); err != nil {
				return err
			}
		}
		at.keep.events.Publish(verdictEvent(c))
		return nil
	}
}

// level is the SLSA build level of the image by its provenance.
func (at *site) level(ctx context.Context, c verdicts.Change) int {
	j := at.judged()
	if j == nil {
		return 0
	}
	return j.Level(ctx, verdicts.Image{Repository: c.Verdict.Repository, Digest: c.Verdict.Image})
}

// quarantined counts the images of each project that may not be pulled.
func (at *site) quarantined() map[string]int {
	j := at.judged()
	if j == nil {
		return nil
	}
	return j.Keeper().Denied(artifact.GateRegistry, at.keep.project)
}

// verdictEvent says what a verdict that changed comes to at the registry's gate.
func verdictEvent(c verdicts.Change) events.Event {
	const here = artifact.GateRegistry
	v, told := c.Verdict, judgement(c.Verdict)
	kind := events.VerdictChanged
	before, known := c.Before[here]
	switch denied := v.At(here) == artifact.ActionDeny; {
	case denied && before != artifact.ActionDeny:
		kind = events.Quarantined
	case !denied && (!known || before == artifact.ActionDeny):
		kind = events.Released
	}
	return events.Event{
		Type: kind, Repository: v.Repository, Subject: v.Repository + "@" + v.Image, Time: v.Decided,
		Data: events.Image{Repository: v.Repository, Digest: v.Image, Verdict: string(v.At(here)), Why: told.Why, Remedy: told.Remedy},
	}
}

// announce tells of an exception that ends soon.
func (at *site) announce(_ context.Context, e verdicts.Expiring) {
	at.keep.events.Publish(events.Event{Type: events.ExceptionExpiring, Subject: "exception/" + e.Name, Data: struct {
		Name    string    `json:"name"`
		Owner   string    `json:"owner"`
		Reason  string    `json:"reason"`
		Expires time.Time `json:"expires"`
		Images  int       `json:"images"` // whose verdicts will be others then
	}{e.Name, e.Owner, e.Reason, e.Expires, len(e.Images)}})
}

func (at *site) judged() *judge.Judge {
	at.judging.Lock()
	defer at.judging.Unlock()
	return at.judge
}

// account has what was taken in from elsewhere judged, before a tag names it.
func (at *site) account(ctx context.Context, ref oci.Reference) error {
	j := at.judged()
	if j == nil {
		return at.gate.whyShut()
	}
	v, err := j.Keeper().Verdict(ctx, verdicts.Image{Repository: ref.Repository(), Digest: ref.Identifier()})
	if err != nil {
		return err
	}
	told := judgement(v)
	if told.Action != artifact.ActionDeny {
		return nil
	}
	return fault.Newf(fault.Denied, "take in", ref.String(), told.Why).WithHint(told.Remedy)
}

// imported tells of an import that did not bring all.
func (at *site) imported(r *mirror.Report, err error) {
	if err == nil {
		return
	}
	at.keep.events.Publish(events.Event{Type: events.ImportFailed, Repository: r.Destination, Subject: "import/" + r.Name, Time: time.Now(), Data: struct {
		Name        string `json:"name"`
		Source      string `json:"source"`
		Destination string `json:"destination"`
		Why         string `json:"why"`
	}{r.Name, r.Source, r.Destination, err.Error()}})
}

// named tells of a tag that was let name what was taken in: nobody else hears of it.
func (at *site) named(repository, tag, digest string) {
	if !at.o.NoInventory {
		at.news.note(repository, tag)
	}
	if j := at.judged(); j != nil {
		if err := j.Keeper().Changed(repository, digest); err != nil {
			at.log.Error("what was taken in is not looked into", "repository", repository, "digest", digest, "error", err)
		}
	}
}

// doors are what a request passes on its way to the store.
func (at *site) doors() []func(http.Handler) http.Handler {
	doors := append([]func(http.Handler) http.Handler{at.keep.outer(), at.who.Door}, at.keep.inner()...)
	if at.o.ReadOnly {
		return doors // nothing can be taken in
	}
	return append(doors, at.proxy.Door)
}

// pages are what is served beside the registry API.
func (at *site) pages() http.Handler { return at.keep.figures.Pages(at.who.Pages()) }

// heard are those who are told of each request.
func (at *site) heard() []func(*call.Record) {
	heard := at.keep.heard()
	if at.o.ReadOnly {
		return heard
	}
	heard = append(heard, at.hear)
	if !at.o.NoInventory {
		heard = append(heard, at.news.hear)
	}
	return heard
}

// hear has the verdicts decided anew that a request bears on.
func (at *site) hear(r *call.Record) {
	j := at.judged()
	if j == nil || !r.OK() || !r.Writes() || r.Endpoint.Kind != call.KindManifest || r.Canonical == "" {
		return
	}
	digests := []string{r.Canonical}
	if r.Subject != "" {
		digests = append(digests, r.Subject)
	}
	for _, tag := range r.Tags {
		if subject, ok := oci.SignatureTag(tag); ok {
			digests = append(digests, subject.String())
		}
	}
	if err := j.Keeper().Changed(r.Endpoint.Repository, digests...); err != nil {
		at.log.Error("what was pushed is not looked into", "repository", r.Endpoint.Repository, "digest", r.Digest, "error", err)
	}
}
