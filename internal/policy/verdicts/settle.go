package verdicts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/policy"
)

// Limits of a decision.
const (
	maxChildren   = 128              // of an index
	maxDepth      = 4                // of indexes in indexes
	gatherTimeout = 10 * time.Minute // one gathering, with that of an index's children
	firstRetry    = time.Second      // after facts could not be gathered; doubled each time
	lastRetry     = 5 * time.Minute
	maxWhy        = 1000 // bytes of a reason
)

// flight is one decision under way. Its results may be read when done is closed.
type flight struct {
	done    chan struct{}
	verdict *artifact.Verdict
	err     error // the image does not exist, or the keeper is being closed
}

// settle waits for the decision on an image.
func (k *Keeper) settle(ctx context.Context, image Image) (artifact.Verdict, error) {
	f := k.fly(image, 0)
	select {
	case <-ctx.Done():
		return artifact.Verdict{}, fault.New(fault.Unavailable, "decide", image.String(), fmt.Errorf("it is still being examined: %w", ctx.Err())).
			WithHint("try again in a while")
	case <-f.done:
	}
	if f.err != nil {
		return artifact.Verdict{}, f.err
	}
	return *f.verdict, nil
}

// closed is the error of asking a keeper that is being closed.
func closed(image Image, err error) error {
	return fault.New(fault.Unavailable, "decide", image.String(), err)
}

// fly gives the decision on an image that does not stand: the one under way, begun if there is
// none. It begins with what is true now, or was when somebody else called fly and still is.
func (k *Keeper) fly(image Image, depth int) *flight {
	now := k.clock.now()
	k.table.mu.Lock()
	defer k.table.mu.Unlock()
	// It may have landed since the caller looked.
	if e := k.table.entries[image]; e != nil && e.stands(now) {
		f := &flight{done: make(chan struct{}), verdict: e.verdict}
		close(f.done)
		return f
	}
	return k.launch(image, depth)
}

// refresh is fly for an image whose verdict may stand, and does until the decision.
func (k *Keeper) refresh(image Image) *flight {
	k.table.mu.Lock()
	defer k.table.mu.Unlock()
	return k.launch(image, 0)
}

// launch gives the flight under way, or a new one. The table is locked.
func (k *Keeper) launch(image Image, depth int) *flight {
	f := k.table.flights[image]
	if f != nil {
		return f
	}
	f = &flight{done: make(chan struct{})}
	if err := k.work.Err(); err != nil {
		f.err = closed(image, err)
		close(f.done)
		return f
	}
	k.table.flights[image] = f
	k.wait.Go(func() { k.run(image, depth, f) })
	return f
}

// abandon ends a flight that brings no verdict.
func (t *table) abandon(image Image, f *flight, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.err = err
	t.land(image, f)
}

// land ends a flight at the moment at which its verdict stands, so that whoever comes later finds
// either that verdict or a new flight. The table is locked.
func (t *table) land(image Image, f *flight) {
	delete(t.flights, image)
	close(f.done)
}

// run decides until nothing has changed meanwhile.
func (k *Keeper) run(image Image, depth int, f *flight) {
	for {
		change := k.journal.pending(opChanged, image)
		b := k.table.begin(image)
		o, err := k.decide(image, b, depth)
		switch {
		case k.work.Err() != nil:
			k.table.abandon(image, f, closed(image, k.work.Err()))
			return
		case err != nil:
			untold := k.journal.pending(opUntold, image)
			if !k.table.drop(image, b, f, err) {
				continue
			}
			k.done(opUntold, image, untold)
		case !k.table.apply(image, b, o, f):
			continue
		}
		if !o.failed {
			k.done(opChanged, image, change)
		}
		k.wakeWriter()
		return
	}
}

// decide gives what an image comes to now, or an error where there is no such image.
func (k *Keeper) decide(image Image, b basis, depth int) (outcome, error) {
	ctx, cancel := context.WithTimeout(k.work, gatherTimeout)
	defer cancel()
	facts, gathered, err := k.learn(ctx, image, b.gather)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return outcome{}, err
	case err != nil:
		if k.work.Err() == nil {
			k.opts.Log.Warn("facts cannot be gathered", "image", image.String(), "attempt", b.fails+1, "error", err)
		}
		retry := k.clock.now().Add(min(lastRetry, firstRetry<<min(b.fails, 20)))
		return outcome{failed: true, verdict: k.denial(image, b, told(err), retry)}, nil
	}
	o := k.judge(ctx, image, b, facts, depth)
	o.gathered, o.platform = gathered, facts.Image.Platform
	return o, nil
}

// learn gives the facts that are kept, or gathers them.
func (k *Keeper) learn(ctx context.Context, image Image, gather bool) (facts artifact.Facts, gathered bool, err error) {
	if !gather {
		known := false
		err = within(ctx, k.deciding, func() (err error) {
			facts, known, err = k.facts.Known(ctx, image)
			return err
		})
		if known || err != nil {
			return facts, false, errors.Join(err, about(facts, known, image))
		}
	}
	err = within(ctx, k.gathering, func() (err error) {
		facts, err = k.facts.Gather(ctx, image)
		return err
	})
	if err != nil {
		return artifact.Facts{}, false, err
	}
	return facts, true, about(facts, true, image)
}

// within works in one of the places, of which there are few.
func within(ctx context.Context, places chan struct{}, work func() error) error {
	select {
	case places <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-places }()
	return work()
}

// about wants facts to be of the image they were asked for.
func about(facts artifact.Facts, known bool, image Image) error {
	if got := (Image{facts.Image.Repository, facts.Image.Digest}); known && got != image {
		return fault.Newf(fault.Failed, "decide", image.String(), fmt.Sprintf("the facts are of %q", got.String()))
	}
	return nil
}

// judge decides on facts; an index together with its children.
func (k *Keeper) judge(ctx context.Context, image Image, b basis, facts artifact.Facts, depth int) outcome {
	own := b.rules.Decide(facts, k.opts.Where, k.clock.now())
	soon := k.clock.now().Add(lastRetry)
	switch {
	case len(facts.Children) == 0:
		return outcome{verdict: own}
	case len(facts.Children) > maxChildren:
		return outcome{verdict: k.denial(image, b, fmt.Sprintf("it names %d images, more than %d", len(facts.Children), maxChildren), soon)}
	case depth >= maxDepth:
		return outcome{verdict: k.denial(image, b, fmt.Sprintf("an index in more than %d others", maxDepth), soon)}
	}
	o := outcome{}
	var children []policy.Child
	for _, child := range k.settleChildren(ctx, image, facts.Children, depth+1) {
		children = append(children, child.Child)
		if child.image.check() == nil {
			o.children = append(o.children, child.image)
		}
		if child.Verdict == nil && (own.Until == nil || soon.Before(*own.Until)) {
			own.Until = &soon
		}
	}
	o.verdict = policy.Join(own, children)
	return o
}

// child is a child of an index on its way.
type child struct {
	policy.Child
	image  Image
	flight *flight // nil when a verdict stands
}

// settleChildren gives the verdicts on all that an index names, decided at once.
func (k *Keeper) settleChildren(ctx context.Context, index Image, digests []string, depth int) []child {
	children := make([]child, len(digests))
	for i, digest := range digests {
		c := &children[i]
		c.Digest, c.image = digest, Image{index.Repository, digest}
		if c.image.check() != nil || c.image == index {
			continue // without a verdict it is denied
		}
		if c.Verdict, _ = k.table.standing(c.image, k.clock.now()); c.Verdict == nil {
			c.flight = k.fly(c.image, depth)
		}
	}
	for i := range children {
		c := &children[i]
		if c.flight != nil {
			select {
			case <-c.flight.done:
				c.Verdict = c.flight.verdict
			case <-ctx.Done():
			}
		}
		c.Platform = k.table.platform(c.image)
	}
	return children
}

// denial is the verdict on an image of which nothing can be said, until it is tried again.
func (k *Keeper) denial(image Image, b basis, why string, until time.Time) artifact.Verdict {
	if len(why) > maxWhy {
		why = why[:maxWhy] + " …"
	}
	denied := gates{}
	for _, gate := range artifact.Gates() {
		denied[gate] = artifact.ActionDeny
	}
	return artifact.Verdict{
		Repository: image.Repository, Image: image.Digest, Gates: denied, Decided: k.clock.now(), Until: &until, Policies: b.rules.Digest(),
		Results: []artifact.Result{{
			Policy: "plimsoll", Rule: "facts", Title: "What the image is can be found out",
			Missing: true, Why: why, Remedy: "plimsoll inspect " + image.String(), Gates: denied,
		}},
	}
}

// told says why nothing is known of an image to whoever asks for it: what the image itself is
// denied for, and of all else no more than that, for it speaks of this site.
func told(err error) string {
	if fault.KindOf(err) == fault.Denied {
		return err.Error()
	}
	return "what it is could not be found out; it is tried again, and the site's log says why"
}

// settleLoop decides what is due.
func (k *Keeper) settleLoop() {
	for {
		select {
		case <-k.work.Done():
			return
		case <-k.table.wake:
		}
		if image, ok := k.table.takeDue(); ok {
			<-k.fly(image, 0).done
		}
	}
}
