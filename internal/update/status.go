package update

import (
	"context"
	"encoding/json"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/campaigns"
)

// Status says how far a campaign is.
type Status struct {
	campaigns.Campaign
	Counts   Counts             `json:"counts"`
	WaveName string             `json:"waveName"`          // that is under way or waited for
	Waves    []WaveStatus       `json:"waveStatus"`        // in their order
	Estimate time.Time          `json:"estimate,omitzero"` // when it will be done at the pace so far, soaking included, windows not
	Frozen   []campaigns.Freeze `json:"frozen,omitempty"`  // what holds everything up
	Report   string             `json:"report,omitempty"`  // digest of the report, when it has ended
}

// Counts count the references of a campaign.
type Counts struct {
	Total      int64                     `json:"total"`
	Remedies   map[artifact.Remedy]int64 `json:"remedies"`
	Unfixable  int64                     `json:"unfixable"` // with something that stays, for now
	Planned    int64                     `json:"planned"`
	Moving     int64                     `json:"moving"`
	Done       int64                     `json:"done"`
	Failed     int64                     `json:"failed"`
	Skipped    int64                     `json:"skipped"`
	RolledBack int64                     `json:"rolledBack"`
}

// WaveStatus says how far a wave is.
type WaveStatus struct {
	Name   string `json:"name"`
	Images int64  `json:"images"`
	Done   int64  `json:"done"`
	Failed int64  `json:"failed"`
}

// Status says how far the newest campaign of a patch is.
func (e *Engine) Status(ctx context.Context, name string) (Status, error) {
	c, err := e.store.Latest(ctx, name)
	if err != nil {
		return Status{}, err
	}
	return e.statusOf(ctx, c)
}

// List says how far the newest campaigns are, the newest first.
func (e *Engine) List(ctx context.Context, n int) ([]Status, error) {
	all, err := e.store.All(ctx, n)
	if err != nil {
		return nil, err
	}
	list := make([]Status, len(all))
	for i, c := range all {
		if list[i], err = e.statusOf(ctx, c); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Items gives what became of the items of a campaign: what is left and why.
func (e *Engine) Items(ctx context.Context, c campaigns.Campaign, f campaigns.Filter) ([]Item, error) {
	return e.store.Items(ctx, c.ID, f)
}

func (e *Engine) statusOf(ctx context.Context, c campaigns.Campaign) (Status, error) {
	s := Status{Campaign: c}
	if c.Wave < len(c.Waves) {
		s.WaveName = c.Waves[c.Wave]
	}
	t, err := e.store.Tally(ctx, c)
	if err != nil {
		return s, err
	}
	if s.Frozen, err = e.store.Frozen(ctx); err != nil {
		return s, err
	}
	if s.Report, _, err = e.store.Report(ctx, c.ID); err != nil {
		return s, err
	}
	paces, err := e.store.Paces(ctx)
	if err != nil {
		return s, err
	}
	var radius Radius
	if err := json.Unmarshal(c.Radius, &radius); err != nil {
		return s, err
	}
	s.Counts = countsOf(t, radius)
	for i, name := range c.Waves {
		w := WaveStatus{Name: name, Done: t.Of(i, campaigns.Done), Failed: t.Of(i, campaigns.Failed)}
		if w.Images = waveSize(t, i); w.Images > 0 {
			s.Waves = append(s.Waves, w)
		}
	}
	if c.Ended.IsZero() && !c.Started.IsZero() {
		s.Estimate = e.estimate(c, t, radius, paces)
	}
	return s, nil
}

func waveSize(t campaigns.Tally, wave int) int64 {
	return t.Of(wave, campaigns.Planned, campaigns.Moving, campaigns.Done, campaigns.Failed, campaigns.Returning, campaigns.RolledBack)
}

func countsOf(t campaigns.Tally, radius Radius) Counts {
	of := func(states ...campaigns.State) int64 { return t.Of(-1, states...) }
	return Counts{
		Total: radius.Images, Remedies: t.Remedies, Unfixable: t.Remedies[artifact.RemedyNone],
		Planned: of(campaigns.Planned), Moving: of(campaigns.Moving, campaigns.Returning), Done: of(campaigns.Done),
		Failed: of(campaigns.Failed), Skipped: of(campaigns.Skipped), RolledBack: of(campaigns.RolledBack),
	}
}

// estimate says when a campaign will be done at the measured pace.
func (e *Engine) estimate(c campaigns.Campaign, t campaigns.Tally, radius Radius, paces map[artifact.Remedy]campaigns.Pace) time.Time {
	whole := Radius{Remedies: map[artifact.Remedy]int64{}}
	for remedy, n := range radius.Remedies {
		if remedy != artifact.RemedyNone {
			whole.Remedies[remedy] = n
		}
	}
	whole.pace(paces)
	all, left := waveSize(t, -1), t.Of(-1, campaigns.Planned, campaigns.Moving)
	if all == 0 {
		return time.Time{}
	}
	in := time.Duration(float64(whole.Estimate) * float64(left) / float64(all))
	for i := c.Wave; i < len(c.Waves)-1; i++ {
		later := c
		later.Wave = i
		if waveSize(t, i) > 0 {
			in += soak(&later)
		}
	}
	return e.o.Now().Add(in).Truncate(time.Second).UTC()
}

// Follow calls tell with the status of a patch, now and whenever it differs, until its
// campaign has ended or ctx does.
func (e *Engine) Follow(ctx context.Context, name string, tell func(Status)) error {
	ticker := time.NewTicker(e.o.Tick)
	defer ticker.Stop()
	for last := ""; ; {
		s, err := e.Status(ctx, name)
		if err != nil {
			return err
		}
		comparable := s
		comparable.Estimate = time.Time{}
		text, err := json.Marshal(comparable)
		if err != nil {
			return err
		}
		if string(text) != last {
			tell(s)
			last = string(text)
		}
		if !s.Ended.IsZero() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// Freeze lets nothing start anywhere until then; what is under way ends. Thaw ends it sooner.
func (e *Engine) Freeze(ctx context.Context, owner, reason string, until time.Time) (campaigns.Freeze, error) {
	return e.store.Freeze(ctx, owner, reason, until)
}

// Thaw ends all freezes and gives how many there were.
func (e *Engine) Thaw(ctx context.Context, by string) (int64, error) {
	n, err := e.store.Thaw(ctx, by)
	e.wake()
	return n, err
}

// Frozen gives the freezes that last.
func (e *Engine) Frozen(ctx context.Context) ([]campaigns.Freeze, error) { return e.store.Frozen(ctx) }
