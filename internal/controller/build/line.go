package build

import (
	"cmp"
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/controller/queue"
)

// line is the Builds that wait and run, as this process knows them: it is ahead of the watch
// cache, which says for a while that what has just ended waits.
type line struct {
	mu      sync.Mutex
	waiting map[types.NamespacedName]*entry
	running map[types.NamespacedName]*entry
	over    map[types.NamespacedName]types.UID // ended, though the cache does not say so yet
	planned map[types.NamespacedName][]*entry  // rebases by their Image that the cache does not have: they wait, run or have ended
	history queue.History
	fleets  int
	held    map[string]bool // Images of which something waits for what runs of them, since the line was looked at last
	kicked  chan struct{}
}

// entry is a Build in the line.
type entry struct {
	item   queue.Item
	name   types.NamespacedName // of one that is in no API its UID: its name may be taken there
	image  types.NamespacedName
	uid    types.UID
	rebase bool

	unwritten bool            // it is in no API: what build says never changes then, another entry does
	build     *v1alpha1.Build // as it was last read or written; only who runs it looks
	cancel    context.CancelCauseFunc
}

func newEntry(b *v1alpha1.Build) *entry {
	e := &entry{name: client.ObjectKeyFromObject(b), image: imageName(b), uid: b.UID, rebase: b.Spec.Method == v1alpha1.MethodRebase, build: b}
	if e.unwritten = b.ResourceVersion == ""; e.unwritten {
		e.name.Name = string(b.UID)
	}
	e.item = queue.Item{
		Name: e.name.String(), Image: e.image.String(), Number: b.Spec.Number,
		Namespace: b.Namespace, Team: cmp.Or(b.Labels[v1alpha1.LabelTeam], b.Namespace),
		Priority: b.Spec.Priority, Since: b.CreationTimestamp.Time,
	}
	if at := b.Status.RetryAt; at != nil {
		e.item.NotBefore = at.Time
	}
	return e
}

// imageName gives the name of the Image that the Build is of.
func imageName(b *v1alpha1.Build) types.NamespacedName {
	return types.NamespacedName{Namespace: b.Namespace, Name: b.Spec.Image.Name}
}

// add lines up a Build that is not known yet.
func (l *line) add(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := e.name
	if known, ok := l.running[name]; ok && known.uid != e.uid {
		known.cancel(errGone) // one of the same name that is not there any more
	} else if ok || l.over[name] == e.uid {
		return
	}
	if known, ok := l.waiting[name]; ok && known.uid == e.uid {
		return // and knows better when to be tried
	}
	l.waiting[name] = e
	l.kick()
}

// knows says that the Build is in the line, whatever the cache says.
func (l *line) knows(b *v1alpha1.Build) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := client.ObjectKeyFromObject(b)
	for _, e := range []*entry{l.waiting[name], l.running[name]} {
		if e != nil && e.uid == b.UID {
			return true
		}
	}
	return l.over[name] == b.UID
}

// rebases gives how many wait.
func (l *line) rebases() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.waiting {
		if e.rebase {
			n++
		}
	}
	return n
}

// drop forgets a Build that is not there any more, and ends it if it runs. It gives the Image that was told
// of it before the cache was; its name is "" where there is none.
func (l *line) drop(name types.NamespacedName) (told types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, name)
	delete(l.over, name)
	if e, ok := l.running[name]; ok {
		e.cancel(errGone)
	}
	of, _, _ := image.ParseRebase(name.Name)
	for _, e := range l.planned[types.NamespacedName{Namespace: name.Namespace, Name: of}] {
		if e.name == name {
			l.exchange(e, nil)
			return e.image
		}
	}
	return told
}

// settled hears that the cluster knows of a Build's end.
func (l *line) settled(b *v1alpha1.Build) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := client.ObjectKeyFromObject(b)
	delete(l.over, name)
	if e, ok := l.waiting[name]; ok && e.uid == b.UID {
		delete(l.waiting, name)
	}
}

// interrupt ends a Build that runs, or takes one that waits out of the line. It says whether it
// runs.
func (l *line) interrupt(name types.NamespacedName, why error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, name)
	e, ok := l.running[name]
	if ok {
		e.cancel(why)
	}
	return ok
}

// finish takes a Build that ran out of the line. With again it waits once more; with gone it is
// not there any more.
func (l *line) finish(e *entry, again *entry, gone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := e.name
	if l.running[name] == e {
		delete(l.running, name)
	}
	if gone {
		l.exchange(e, nil)
	}
	switch _, other := l.waiting[name]; {
	case again != nil && !other:
		l.waiting[name] = again
	case again == nil && !gone:
		l.over[name] = e.uid
	}
	l.kick()
}

// kick has the line looked at.
func (l *line) kick() {
	select {
	case l.kicked <- struct{}{}:
	default:
	}
}

// started is a Build that runs from now on, until ctx ends.
type started struct {
	*entry
	ctx   context.Context
	began time.Time
}

// next gives the Builds that start now, which run from then on, and when to look again.
func (l *line) next(ctx context.Context, limits queue.Limits, fleetSize int) (builds, fleet []started, wake time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var running []queue.Item
	busy := l.busy()
	for _, e := range l.running {
		if !e.rebase {
			running = append(running, e.item)
		}
	}
	lanes := map[bool][]queue.Item{}
	for _, e := range l.heads() {
		if !busy[e.item.Image] {
			lanes[e.rebase] = append(lanes[e.rebase], e.item)
		}
	}
	now := time.Now()
	start, wake := queue.Next(lanes[false], running, limits, l.history, now, limits.Total)
	builds = l.begin(ctx, start)
	if l.fleets < maxFleets {
		start, soon := queue.Next(lanes[true], nil, queue.Limits{}, l.history, now, fleetSize)
		if fleet = l.begin(ctx, start); len(fleet) > 0 {
			l.fleets++
		}
		if wake.IsZero() || !soon.IsZero() && soon.Before(wake) {
			wake = soon
		}
	}
	l.hold()
	return builds, fleet, wake
}

// busy gives the Images of which something runs.
func (l *line) busy() map[string]bool {
	busy := make(map[string]bool, len(l.running))
	for _, e := range l.running {
		busy[e.item.Image] = true
	}
	return busy
}

// hold notes which Images that are busy have more that waits: of the others an end starts nothing, and with
// thousands that wait a look at the line is not free.
func (l *line) hold() {
	l.held = map[string]bool{}
	busy := l.busy()
	for _, e := range l.waiting {
		if busy[e.item.Image] {
			l.held[e.item.Image] = true
		}
	}
}

// heads gives the first of each Image that waits.
func (l *line) heads() map[string]*entry {
	heads := make(map[string]*entry, len(l.waiting))
	for _, e := range l.waiting {
		if first, ok := heads[e.item.Image]; !ok || e.item.Number < first.item.Number {
			heads[e.item.Image] = e
		}
	}
	return heads
}

// begin moves the items from those that wait to those that run.
func (l *line) begin(ctx context.Context, start []queue.Item) []started {
	out := make([]started, len(start))
	for i, item := range start {
		name := types.NamespacedName{Namespace: item.Namespace, Name: item.Name[len(item.Namespace)+1:]}
		out[i].entry = l.waiting[name]
		delete(l.waiting, name)
		out[i].ctx, out[i].cancel = context.WithCancelCause(ctx)
		out[i].began = time.Now()
		l.running[name] = out[i].entry
		l.history.Start(item)
	}
	return out
}

// landed says that a fleet is over.
func (l *line) landed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fleets--
	l.kick()
}
