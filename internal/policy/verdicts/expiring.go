package verdicts

import (
	"cmp"
	"context"
	"slices"
	"time"

	"plimsoll.dev/plimsoll/artifact"
)

// announceEvery is how often an exception that ends is announced.
const announceEvery = 24 * time.Hour

// Expiring is an exception in use that ends soon.
type Expiring struct {
	Name, Owner, Reason string
	Expires             time.Time
	Images              []Image // whose verdicts will be others then, sorted
}

// Expiring gives the exceptions in use that end within the time, the first to end first.
func (k *Keeper) Expiring(within time.Duration) []Expiring {
	now := k.clock.now()
	return k.table.expiring(now, now.Add(within))
}

func (t *table) expiring(after, before time.Time) []Expiring {
	t.mu.RLock()
	defer t.mu.RUnlock()
	by := map[string]*Expiring{}
	for image, e := range t.entries {
		if e.verdict == nil {
			continue
		}
		for _, x := range e.verdict.Exceptions {
			if x.Expires.After(after) && !x.Expires.After(before) {
				by[x.Name] = by[x.Name].with(x, image)
			}
		}
	}
	all := make([]Expiring, 0, len(by))
	for _, x := range by {
		slices.SortFunc(x.Images, func(a, b Image) int {
			return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Digest, b.Digest))
		})
		all = append(all, *x)
	}
	slices.SortFunc(all, func(a, b Expiring) int {
		return cmp.Or(a.Expires.Compare(b.Expires), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// with adds an image to the exception, which may not be there yet.
func (x *Expiring) with(in artifact.ExceptionInUse, image Image) *Expiring {
	if x == nil {
		x = &Expiring{Name: in.Name, Owner: in.Owner, Reason: in.Reason, Expires: in.Expires}
	}
	x.Images = append(x.Images, image)
	return x
}

// announce tells of exceptions that end soon, of each once a day. Only the sweeper calls it.
func (k *Keeper) announce(ctx context.Context) {
	now := k.clock.now()
	for _, x := range k.Expiring(k.opts.Notice) {
		if last, ok := k.announced[x.Name]; ok && now.Sub(last) < announceEvery {
			continue
		}
		k.announced[x.Name] = now
		k.opts.Log.Warn("an exception ends", "exception", x.Name, "owner", x.Owner, "expires", x.Expires, "images", len(x.Images))
		if k.opts.Announce != nil {
			k.opts.Announce(ctx, x)
		}
	}
}

// Denied gives how many images are denied at a gate, by the group of their repositories.
func (k *Keeper) Denied(gate artifact.Gate, group func(repository string) string) map[string]int {
	k.table.mu.RLock()
	defer k.table.mu.RUnlock()
	denied := map[string]int{}
	for image, e := range k.table.entries {
		if e.verdict != nil && e.verdict.At(gate) == artifact.ActionDeny {
			denied[group(image.Repository)]++
		}
	}
	return denied
}
