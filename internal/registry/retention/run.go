package retention

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/robfig/cron/v3"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// Options of a Keeper.
type Options struct {
	// Deployed gives the digests that run somewhere, of images or indexes. Nil: none are known.
	// When it fails nothing is removed.
	Deployed func(context.Context) (map[digest.Digest]bool, error)
	// Grace is the collection's. Zero: its default.
	Grace time.Duration
	// Done is told of each run that is not dry, by the schedule or by hand. It may be nil.
	Done func(context.Context, Report)
	// Logger gets what runs by schedule came to. Nil: nothing is logged.
	Logger *slog.Logger
}

// Keeper applies the rules of a registry's projects.
type Keeper struct {
	store *registry.Registry
	now   func() *settings.Settings
	pulls *Pulls
	o     Options
}

// Report is what a run came to, or would.
type Report struct {
	DryRun       bool                   `json:"dryRun"`
	Repositories int                    `json:"repositories"` // that rules were asked about
	Kept         int                    `json:"kept"`         // tags of those
	Removed      []Removed              `json:"removed"`
	Collected    registry.CollectReport `json:"collected"`
}

// Removed is a tag that went.
type Removed struct {
	Repository string        `json:"repository"`
	Tag        string        `json:"tag"`
	Digest     digest.Digest `json:"digest"`
	Pushed     time.Time     `json:"pushed"`
	Why        string        `json:"why"`
}

// New gives a Keeper of the store. now gives the settings, which may be nil.
func New(store *registry.Registry, now func() *settings.Settings, pulls *Pulls, o Options) *Keeper {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Keeper{store: store, now: now, pulls: pulls, o: o}
}

// Run removes the tags that no rule keeps and collects what is garbage then. Dry, it only says
// what would go. It may run beside pushes: a tag that moves meanwhile stays. Errors are
// *fault.Error: Unavailable when another collection runs.
func (k *Keeper) Run(ctx context.Context, dry bool) (Report, error) {
	r := &run{Keeper: k, settings: k.now(), report: Report{DryRun: dry, Removed: []Removed{}}, gone: map[string]bool{}}
	if r.settings == nil {
		r.settings = &settings.Settings{}
	}
	if k.o.Deployed != nil {
		var err error
		if r.deployed, err = k.o.Deployed(ctx); err != nil {
			return r.report, fault.New(fault.Unavailable, "apply retention", "", err).
				WithHint("what is deployed is not known, so nothing is removed")
		}
	}
	if err := k.store.Repositories(ctx, func(repository string) error { return r.repository(ctx, repository) }); err != nil {
		return r.report, err
	}
	err := r.collect(ctx)
	if !dry && k.o.Done != nil {
		k.o.Done(ctx, r.report)
	}
	return r.report, err
}

// run is one run.
type run struct {
	*Keeper
	settings *settings.Settings
	deployed map[digest.Digest]bool
	report   Report
	gone     map[string]bool // "repository:tag", of a dry run
}

// rulesOf gives the rules for a repository; nil where its project has none.
func (r *run) rulesOf(repository string) (*rules, error) {
	project := r.settings.ProjectOf(repository)
	if project == nil || len(project.Retention) == 0 {
		return nil, nil
	}
	compiled, problem := compile(project, "project "+project.Name)
	if problem != nil {
		return nil, fault.New(fault.Usage, "apply retention", repository, problem)
	}
	return compiled, nil
}

// repository applies the rules to one.
func (r *run) repository(ctx context.Context, repository string) error {
	rules, err := r.rulesOf(repository)
	if err != nil || rules == nil {
		return err
	}
	tags, err := r.tags(ctx, repository)
	if err != nil {
		return err
	}
	r.report.Repositories++
	for _, d := range rules.decide(repository, tags, time.Now()) {
		if d.Keep {
			r.report.Kept++
			continue
		}
		r.gone[repository+":"+d.Tag.Name] = true
		if !r.report.DryRun {
			done, err := r.store.Untag(ctx, repository, d.Tag.Name, d.Tag.Digest)
			if err != nil {
				return err
			}
			if !done { // it has moved: whoever pushed it wants it
				r.report.Kept++
				continue
			}
		}
		r.report.Removed = append(r.report.Removed, Removed{repository, d.Tag.Name, d.Tag.Digest, d.Tag.Pushed, d.Why})
	}
	return nil
}

// tags gives the tags that rules are asked about. Those below which signatures lie are none:
// they live as long as what they are about.
func (r *run) tags(ctx context.Context, repository string) ([]Tag, error) {
	stored, err := r.store.Tags(ctx, repository)
	if err != nil {
		return nil, err
	}
	var tags []Tag
	for _, s := range stored {
		if _, ok := oci.SignatureTag(s.Name); ok {
			continue
		}
		t := Tag{Name: s.Name, Digest: s.Digest, Pushed: s.Pushed, Pulled: r.pulls.Last(repository, s.Digest.String())}
		if len(r.deployed) > 0 {
			within, err := r.store.Within(ctx, repository, s.Digest.String())
			if err != nil {
				return nil, err
			}
			for _, d := range append(within, s.Digest) {
				t.Deployed = t.Deployed || r.deployed[d]
			}
		}
		tags = append(tags, t)
	}
	return tags, nil
}

// collect removes what nothing holds any more: manifests of the repositories that have rules,
// and blobs.
func (r *run) collect(ctx context.Context) error {
	untagged := defaultUntagged
	if text := r.settings.Keeping.Untagged; text != "" {
		var err error
		if untagged, err = settings.Period(text); err != nil {
			return fault.New(fault.Usage, "apply retention", text, err)
		}
	}
	var err error
	r.report.Collected, err = r.store.Collect(ctx, registry.CollectOptions{
		Grace: r.o.Grace, DryRun: r.report.DryRun, Untagged: true,
		UntaggedAfter: func(repository string) (time.Duration, bool) {
			rules, err := r.rulesOf(repository)
			return untagged, err == nil && rules != nil
		},
		Retain: func(_ string, d digest.Digest) bool { return r.deployed[d] },
		Gone:   func(repository, tag string) bool { return r.gone[repository+":"+tag] },
	})
	return err
}

// parseSchedule reads a schedule, which is in UTC.
func parseSchedule(text string) (cron.Schedule, error) {
	fields := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	schedule, err := fields.Parse("CRON_TZ=UTC " + text)
	if err != nil || strings.Contains(text, "TZ=") {
		return nil, errors.New("want five fields as cron has them, such as 0 3 * * *")
	}
	return schedule, nil
}

// look is how often the schedule is looked at: it may change.
const look = 30 * time.Second

// Schedule runs when the settings say, until ctx ends.
func (k *Keeper) Schedule(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if !k.due(last, now) {
				continue
			}
			last = now
		}
		report, err := k.Run(ctx, false)
		if err != nil {
			if ctx.Err() == nil {
				k.o.Logger.Error("retention failed", "error", err)
			}
			continue
		}
		k.o.Logger.Info("applied retention", "removed", len(report.Removed), "kept", report.Kept,
			"manifests", report.Collected.Manifests, "blobs", report.Collected.Blobs, "bytes", report.Collected.Bytes)
	}
}

// due says whether the schedule has come since the last run.
func (k *Keeper) due(last, now time.Time) bool {
	s := k.now()
	if s == nil || s.Keeping.Schedule == "" {
		return false
	}
	schedule, err := parseSchedule(s.Keeping.Schedule)
	return err == nil && !schedule.Next(last).After(now)
}
