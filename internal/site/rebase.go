package site

import (
	"cmp"
	"context"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/internal/build/rebase"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/ledger"
)

// RebaseItem is an image to put on a newer base.
type RebaseItem struct {
	Tag            string   // that names it, and will name the result
	RunImage       string   // to put it on; "" is the one that the image names
	AdditionalTags []string // that are to name the result, too, here or in other repositories
}

// RebaseOptions say how images are rebased.
type RebaseOptions struct {
	rebase.Options
	To         oci.Reference // where the only image is written; the zero value: its own tag moves
	DryRun     bool          // write nothing
	Hold       bool          // no tag moves: what comes of it stands beside, accounted for, until Move lets the tag name it
	Jobs       int           // images at a time; 0 is 16
	NoEvidence bool          // issue no evidence
	Vouch      bool          // sign what is rebased even if nobody who is trusted signed it before
	Means
}

// RebaseOutcome is what became of one item. Where only its additional tags could not be moved it has
// failed, and To says what the tag names all the same.
type RebaseOutcome struct {
	Item RebaseItem
	rebase.Result
}

// Rebase puts images on newer bases, issues their evidence anew, moves their tags and tells the
// inventory, as rebase.Fleet does: it reports each once, one at a time, in no order; failures too.
// The error is that of ctx, or that nothing could begin.
func (s *Site) Rebase(ctx context.Context, items []RebaseItem, o RebaseOptions, report func(RebaseOutcome)) error {
	byRun := map[string][]RebaseItem{}
	var order []string
	for _, item := range items {
		if byRun[item.RunImage] == nil {
			order = append(order, item.RunImage)
		}
		byRun[item.RunImage] = append(byRun[item.RunImage], item)
	}
	for _, run := range order {
		all := func(yield func(RebaseItem, error) bool) {
			for _, item := range byRun[run] {
				if !yield(item, nil) {
					return
				}
			}
		}
		if err := s.RebaseOnto(ctx, run, all, o, report); err != nil {
			return err
		}
	}
	return nil
}

// RebaseOnto is Rebase for any number of images, which go onto one run image, or each onto its own
// where that is ""; that of the items does not count. It ends with the error that comes with an item.
func (s *Site) RebaseOnto(ctx context.Context, run string, items iter.Seq2[RebaseItem, error], o RebaseOptions, report func(RebaseOutcome)) error {
	h := s.with(o.Means)
	l, err := ledger.Open(ctx, h, ledger.Options{NoEvidence: o.NoEvidence})
	if err != nil {
		return err
	}
	defer l.Close()
	f := &fleet{site: s, ledger: l, options: o, report: report, now: map[string]*underWay{}}
	f.landing.SetLimit(cmp.Or(o.Jobs, 16))
	options := rebase.FleetOptions{
		Options: o.Options, RunImage: run, Tag: o.To, DryRun: o.DryRun, Hold: o.Hold, Jobs: o.Jobs, Account: l.Movers(ctx, o.Vouch),
	}
	err = rebase.Fleet(ctx, h.Registries, f.tags(ctx, items), options, func(r rebase.Result) { f.landed(ctx, r) })
	f.close()
	l.Record(ctx)
	return err
}

// fleet are the images that are rebased together.
type fleet struct {
	site    *Site
	ledger  *ledger.Ledger
	options RebaseOptions
	report  func(RebaseOutcome)

	mu  sync.Mutex
	now map[string]*underWay // by what the item and what its result call it

	landing   errgroup.Group // those whose other tags are moved
	reporting sync.Mutex
}

// underWay is an item that has its turn.
type underWay struct {
	RebaseItem
	end func()
}

// tags gives the tags whose turn it is: first those that nobody works on, then the others when it
// is theirs. Whoever waits holds no turn but those under way, which end, so that two fleets never
// wait for each other.
func (f *fleet) tags(ctx context.Context, items iter.Seq2[RebaseItem, error]) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var busy []RebaseItem
		for item, err := range items {
			if err != nil {
				yield("", err)
				return
			}
			end := f.try(item)
			if end == nil {
				busy = append(busy, item)
				continue
			}
			if !f.begin(item, end, yield) {
				return
			}
		}
		for _, item := range busy {
			end, err := f.site.tags.take(ctx, f.turn(item))
			if err != nil || !f.begin(item, end, yield) {
				return // when interrupted, the fleet says so
			}
		}
	}
}

// try is turns.try; what writes nothing needs no turn.
func (f *fleet) try(item RebaseItem) (end func()) {
	if f.options.DryRun {
		return func() {}
	}
	return f.site.tags.try(f.turn(item))
}

// turn names the tag that moves.
func (f *fleet) turn(item RebaseItem) string {
	if f.options.To.Reference != nil {
		return f.options.To.String()
	}
	return called(item.Tag)
}

// called gives the tag as results call it; what is none stays as it is, and its result will be that.
func called(tag string) string {
	ref, err := oci.Parse(tag)
	if err != nil {
		return tag
	}
	return ref.String()
}

func (f *fleet) begin(item RebaseItem, end func(), yield func(string, error) bool) bool {
	one := &underWay{item, sync.OnceFunc(end)}
	f.mu.Lock()
	f.now[item.Tag], f.now[called(item.Tag)] = one, one
	f.mu.Unlock()
	return yield(item.Tag, nil)
}

// landed hears what became of a tag.
func (f *fleet) landed(ctx context.Context, r rebase.Result) {
	f.mu.Lock()
	one := f.now[r.Ref]
	delete(f.now, one.Tag)
	delete(f.now, called(one.Tag))
	f.mu.Unlock()
	if len(one.AdditionalTags) == 0 {
		f.end(ctx, one, r)
		return
	}
	f.landing.Go(func() error {
		f.end(ctx, one, r)
		return nil
	})
}

// end ends the turn of an item, when its other tags name what it became.
func (f *fleet) end(ctx context.Context, one *underWay, r rebase.Result) {
	defer one.end()
	others, err := parseTags(one.AdditionalTags)
	if !f.options.Hold { // else nothing has another name
		if landed := f.ledger.Landed(ctx, r, others...); err == nil {
			err = landed
		}
	}
	if err != nil && r.Status != rebase.StatusFailed {
		r.Status, r.Error, r.Hint, r.Err = rebase.StatusFailed, err.Error(), fault.HintOf(err), err
	}
	f.reporting.Lock()
	defer f.reporting.Unlock()
	f.report(RebaseOutcome{one.RebaseItem, r})
}

func parseTags(texts []string) ([]oci.Reference, error) {
	var tags []oci.Reference
	for _, text := range texts {
		tag, err := oci.ParseTag(text)
		if err != nil {
			return nil, err
		}
		tags = append(tags, tag)
	}
	return tags, nil
}

// close waits for what is under way still, and ends the turns of what was interrupted.
func (f *fleet) close() {
	_ = f.landing.Wait() // failures are outcomes
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.now {
		one.end()
	}
}
