package judge

import (
	"context"
	"slices"
	"sync"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/site/known"
)

// keeping is what a judge knows of what it has put into the inventory since it heard the news there last.
type keeping struct {
	turn  sync.Mutex // protects the rest
	own   []inventory.Mark
	bases bool // others stand on some of that
}

// gatherFindings is how long what was found out waits for more, once more than one comes: a fleet is patched,
// or all images are looked into anew.
const gatherFindings = 50 * time.Millisecond

// finding is what was found out of a manifest, on its way into the inventory.
type finding struct {
	gathered
	ctx   context.Context // of whoever waits for it
	at    inventory.Manifest
	tags  []string
	local bool // its registry is the home's

	kept artifact.Facts // as everybody else is told of it
	err  error
}

// keep keeps what was found out, and gives it as everybody else is told of it. All that comes while others
// are put into the inventory, or soon after, is put there at once: a transaction costs as much for one as
// for ten.
func (j *Judge) keep(ctx context.Context, f *finding) (artifact.Facts, error) {
	f.ctx = ctx
	j.findings.Do(f) // whoever keeps it hears of the end of ctx
	return f.kept, f.err
}

// keepSome keeps what has come.
func (j *Judge) keepSome(some []*finding) {
	if err := j.keepAll(some[0].ctx, some); err != nil { // of one of them, perhaps
		for _, f := range some {
			f.err = j.keepAll(f.ctx, []*finding{f})
		}
	}
}

// keepAll keeps all of them or, with an error, perhaps some.
func (j *Judge) keepAll(ctx context.Context, some []*finding) error {
	of := make([]inventory.Manifest, len(some))
	for i, f := range some {
		of[i] = f.at
	}
	before, err := j.index.Kept(ctx, of...)
	if err != nil {
		return err
	}
	images, err := j.images(ctx, some)
	if err != nil {
		return err
	}
	if len(images) > 0 {
		if err := j.gatherer().Keep(ctx, j.index, images); err != nil {
			return err
		}
	}
	facts := make([]artifact.Facts, len(some))
	for i, f := range some {
		was, seen := before[f.at]
		facts[i] = f.Facts
		if facts[i].Image.Pushed = was.Image.Pushed; !seen && f.local {
			facts[i].Image.Pushed = time.Now().UTC().Truncate(time.Second)
		}
		facts[i].Unadvised = nil // see each
	}
	marks, err := j.index.PutFacts(ctx, facts...)
	j.put(marks, of)
	if err != nil {
		return err
	}
	return j.readBack(ctx, of, some)
}

// put notes which changes are this judge's own.
func (j *Judge) put(marks []inventory.Mark, of []inventory.Manifest) {
	if len(marks) == 0 {
		return
	}
	stands, based := &j.gatherer().stands, false
	for _, m := range of {
		based = stands.forget(m.Digest) || based
	}
	j.turn.Lock()
	defer j.turn.Unlock()
	j.own, j.bases = append(j.own, marks...), j.bases || based
}

// images gives what the inventory is to be told of images: by their tags; of those without any by their
// digests, unless they are known by something else.
func (j *Judge) images(ctx context.Context, some []*finding) ([]known.Found, error) {
	var all, bare []known.Found
	var digests []string
	for _, f := range some {
		if f.image == nil {
			continue
		}
		for _, tag := range f.tags {
			one := *f.image
			one.Reference = f.at.Repository + ":" + tag
			all = append(all, one)
		}
		if len(f.tags) == 0 {
			bare, digests = append(bare, *f.image), append(digests, f.image.Contents.Image)
		}
	}
	missing, err := j.index.Missing(ctx, digests)
	for _, image := range bare {
		if slices.Contains(missing, image.Contents.Image) {
			all = append(all, image)
		}
	}
	return all, err
}

// readBack gives each of them what is kept of it.
func (j *Judge) readBack(ctx context.Context, of []inventory.Manifest, some []*finding) error {
	kept := make(map[inventory.Manifest]artifact.Facts, len(of))
	err := j.each(ctx, inventory.Selection{Of: of}, func(f artifact.Facts) error {
		kept[inventory.Manifest{Repository: f.Image.Repository, Digest: f.Image.Digest}] = f
		return nil
	})
	if err != nil {
		return err
	}
	for _, f := range some {
		facts, ok := kept[f.at]
		if !ok {
			return fault.Newf(fault.Unavailable, "keep what is known of", f.at.Repository+"@"+f.at.Digest, "it was removed at the same moment")
		}
		f.kept = facts
	}
	return nil
}

// ownSince gives the marks of what this judge has put, for the inventory's news since then to leave out:
// whoever had it gathered has decided on it. bases says that others stand on some of it.
func (j *Judge) ownSince(since inventory.Mark) (own []inventory.Mark, bases bool) {
	j.turn.Lock()
	defer j.turn.Unlock()
	j.own = slices.DeleteFunc(j.own, func(m inventory.Mark) bool { return m <= since })
	own, bases, j.bases = slices.Clone(j.own), j.bases, false
	return own, bases
}
