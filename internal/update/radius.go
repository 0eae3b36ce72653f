package update

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/campaigns"
)

// Radius says what a plan touches before anything moves.
type Radius struct {
	Images     int64                       `json:"images"` // references that are meant
	Remedies   map[artifact.Remedy]int64   `json:"remedies"`
	Severities map[artifact.Severity]int64 `json:"severities,omitempty"` // of the worst that is fixed in each image
	Teams      []Share                     `json:"teams"`                // most images first
	Waves      []Share                     `json:"waves"`                // in their order, with the images that are worked on
	Bases      []BaseMove                  `json:"bases,omitempty"`      // that images are moved onto
	Overrides  []OverrideShare             `json:"overrides,omitempty"`
	First      []string                    `json:"first,omitempty"`   // bases that must be built again first
	Unfixed    []Unfixed                   `json:"unfixed,omitempty"` // what stays, the most images first, at most 100

	// Bytes that go to the registry: what is new in bases once, and of every image its
	// manifest, its configuration and what it is built of anew. Bound says that it is at most.
	Bytes int64 `json:"bytes"`
	Bound bool  `json:"bound,omitempty"`

	// Estimate is how long the work takes, without windows and soaking. Measured says that it
	// is from the pace of what was done here before.
	Estimate time.Duration `json:"estimate"`
	Measured bool          `json:"measured"`
}

// Share is how many images something has.
type Share struct {
	Name   string `json:"name"`
	Images int64  `json:"images"`
}

// BaseMove is a base onto which images are moved.
type BaseMove struct {
	Rebase
	Images int64 `json:"images"`
	Bytes  int64 `json:"bytes"` // new in it
}

// OverrideShare is how many images are built with an override.
type OverrideShare struct {
	Override
	Images int64 `json:"images"`
}

// Unfixed is what stays, in how many images, and why.
type Unfixed struct {
	Cause
	Images int64 `json:"images"`
}

// maxUnfixed bounds what is listed of what stays.
const maxUnfixed = 100

// Paces that are assumed until something was measured: images a second on one machine, and
// bytes an image.
var assumed = map[artifact.Remedy]campaigns.Pace{
	artifact.RemedyRebase:   {Images: 50, Seconds: 1, Bytes: 50 * 24 << 10},
	artifact.RemedyRebuild:  {Images: 1, Seconds: 60, Bytes: 20 << 20},
	artifact.RemedyOverride: {Images: 1, Seconds: 60, Bytes: 20 << 20},
}

// radius adds up. Most of it follows from the few decisions, not from each image.
func (p *planner) radius(ctx context.Context, plan *Plan, paces map[artifact.Remedy]campaigns.Pace) (Radius, error) {
	r := Radius{
		Images: int64(len(plan.rows)), Remedies: map[artifact.Remedy]int64{}, Severities: map[artifact.Severity]int64{}, First: plan.bases, Measured: true,
	}
	of := map[*decision]int64{}
	teams := map[string]int64{}
	waves := make([]int64, len(plan.names))
	for _, row := range plan.rows {
		of[row.decision]++
		teams[row.team]++
		if row.remedy != artifact.RemedyNone {
			waves[row.wave]++
		}
	}
	for name, n := range teams {
		r.Teams = append(r.Teams, Share{name, n})
	}
	slices.SortFunc(r.Teams, func(a, b Share) int { return cmp.Or(-cmp.Compare(a.Images, b.Images), cmp.Compare(a.Name, b.Name)) })
	for i, name := range plan.names {
		if waves[i] > 0 {
			r.Waves = append(r.Waves, Share{name, waves[i]})
		}
	}
	tally := newTally()
	for d, n := range of {
		r.Remedies[d.remedy] += n
		if len(d.fixes) > 0 {
			r.Severities[d.severity] += n
		}
		tally.add(d, n)
	}
	tally.into(&r)
	r.pace(paces)
	return r, p.weigh(ctx, &r)
}

// pace says how long it will take.
func (r *Radius) pace(paces map[artifact.Remedy]campaigns.Pace) {
	for remedy, n := range r.Remedies {
		if remedy == artifact.RemedyNone {
			continue
		}
		pace, measured := paces[remedy]
		if !measured || pace.Images == 0 {
			pace = assumed[remedy]
			r.Measured = false
		}
		r.Estimate += time.Duration(float64(n) * pace.Seconds / float64(pace.Images) * float64(time.Second))
		r.Bytes += int64(float64(n) * float64(pace.Bytes) / float64(pace.Images))
	}
	r.Estimate = r.Estimate.Round(time.Second)
}

// weigh adds what is new in the bases.
func (p *planner) weigh(ctx context.Context, r *Radius) error {
	for i := range r.Bases {
		b := &r.Bases[i]
		if p.BaseBytes == nil {
			r.Bound = true
		} else {
			var err error
			if b.Bytes, err = p.BaseBytes(ctx, b.Name, b.From, b.To); err != nil {
				return err
			}
		}
		r.Bytes += b.Bytes
	}
	return nil
}

// tally counts the images of what decisions name.
type tally struct {
	bases     map[Rebase]*BaseMove
	overrides map[string]*OverrideShare
	unfixed   map[Cause]int64
}

func newTally() tally {
	return tally{map[Rebase]*BaseMove{}, map[string]*OverrideShare{}, map[Cause]int64{}}
}

func (t tally) add(d *decision, n int64) {
	if d.base != nil {
		if t.bases[*d.base] == nil {
			t.bases[*d.base] = &BaseMove{Rebase: *d.base, Bytes: d.baseSize}
		}
		t.bases[*d.base].Images += n
	}
	for _, o := range d.overrides {
		key := o.Ecosystem + " " + o.Package + " " + o.Version
		if t.overrides[key] == nil {
			t.overrides[key] = &OverrideShare{Override: Override{Ecosystem: o.Ecosystem, Package: o.Package, Version: o.Version}}
		}
		share := t.overrides[key]
		share.Images += n
		share.Advisories = append(share.Advisories, o.Advisories...)
	}
	for _, c := range d.leaves {
		t.unfixed[c] += n
	}
}

func (t tally) into(r *Radius) {
	for _, move := range t.bases {
		r.Bases = append(r.Bases, *move)
	}
	slices.SortFunc(r.Bases, func(a, b BaseMove) int {
		return cmp.Or(-cmp.Compare(a.Images, b.Images), cmp.Compare(a.Name, b.Name), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	for _, key := range slices.Sorted(maps.Keys(t.overrides)) {
		share := t.overrides[key]
		slices.Sort(share.Advisories)
		share.Advisories = slices.Compact(share.Advisories)
		r.Overrides = append(r.Overrides, *share)
	}
	for c, n := range t.unfixed {
		r.Unfixed = append(r.Unfixed, Unfixed{c, n})
	}
	slices.SortFunc(r.Unfixed, func(a, b Unfixed) int {
		return cmp.Or(-cmp.Compare(a.Images, b.Images), cmp.Compare(a.Severity.Rank(), b.Severity.Rank()), cmp.Compare(a.Advisory, b.Advisory),
			cmp.Compare(a.Package, b.Package), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Why, b.Why))
	})
	r.Unfixed = r.Unfixed[:min(len(r.Unfixed), maxUnfixed)]
}
