package build

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/image"
)

// mostUnwritten is how many attempts at a rebase find that something is away until that is written down:
// the others are over in a minute.
const mostUnwritten = 3

// Rebases are those that are in no API. It implements image.Rebases.
type Rebases struct{ runner *runner }

var _ image.Rebases = (*Rebases)(nil)

// Add implements image.Rebases.
func (r *Rebases) Add(b *v1alpha1.Build) {
	b = b.DeepCopy()
	b.UID, b.CreationTimestamp = uuid.NewUUID(), metav1.Now().Rfc3339Copy()
	b.Status.Phase, b.Status.Message = v1alpha1.BuildQueued, waits
	r.runner.plan(newEntry(b))
}

// Of implements image.Rebases.
func (r *Rebases) Of(image types.NamespacedName) []*v1alpha1.Build { return r.runner.of(image) }

// Remove implements image.Rebases.
func (r *Rebases) Remove(b *v1alpha1.Build) { r.runner.unplan(b) }

// Forget implements image.Rebases.
func (r *Rebases) Forget(image types.NamespacedName) { r.runner.forget(image) }

// Waiting gives those that wait or run. They are not to be changed.
func (r *Rebases) Waiting() []*v1alpha1.Build { return r.runner.unended() }

// stands says that a rebase may still be done: nothing else has taken its number since the Image asked.
// What has one as high or a higher one may have run already.
func (r *runner) stands(ctx context.Context, b started) (bool, error) {
	if !b.unwritten {
		return true, nil
	}
	highest, err := image.Highest(ctx, r.client, b.image)
	return highest < b.build.Spec.Number, err
}

// writeDown makes a Build in the API of a rebase that is in none: it has failed, or is away for long.
// false is that the API does not take it: then it waits, and is tried again.
func (r *runner) writeDown(b *started) bool {
	made := b.build.DeepCopy()
	made.UID, made.CreationTimestamp = "", metav1.Time{}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), writtenWithin)
	defer cancel()
	if err := r.client.Create(ctx, made); err != nil {
		log.FromContext(ctx).Error(err, "write down a rebase", "build", client.ObjectKeyFromObject(made))
		return false
	}
	e := newEntry(made)
	e.cancel = b.cancel
	r.written(b.entry, e)
	b.entry = e
	return true
}

// keep has in memory what has come of a rebase that is in no API, and tells its Image of one that has
// ended.
func (r *runner) keep(b started, change func(*v1alpha1.BuildStatus)) {
	now := *b.entry
	now.build = b.build.DeepCopy()
	change(&now.build.Status)
	if at := now.build.Status.RetryAt; at != nil {
		now.item.NotBefore = at.Time
	}
	if !r.replan(b.entry, &now) {
		return
	}
	if !now.build.Status.Phase.Ended() {
		return
	}
	r.options.Ended(now.build, time.Since(b.began))
	if !r.isEnding() { // else nobody writes it any more, and a queue that ends may wait for who takes this
		r.wake(now.image)
	}
}

// plan lines up a rebase that is in no API, and keeps it for its Image.
func (l *line) plan(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.ContainsFunc(l.planned[e.image], func(o *entry) bool { return o.build.Name == e.build.Name }) {
		return
	}
	l.planned[e.image] = append(l.planned[e.image], e)
	l.waiting[e.name] = e
	l.kick()
}

// of gives the rebases of an Image that are planned.
func (l *line) of(image types.NamespacedName) (out []*v1alpha1.Build) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.planned[image] {
		b := e.build
		if l.running[e.name] == e && e.unwritten {
			runs := *b
			runs.Status.Phase = v1alpha1.BuildRunning
			b = &runs
		}
		out = append(out, b)
	}
	return out
}

// unended gives all rebases that are planned and have not ended.
func (l *line) unended() (out []*v1alpha1.Build) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, these := range l.planned {
		for _, e := range these {
			if e.unwritten && !e.build.Status.Phase.Ended() {
				out = append(out, e.build)
			}
		}
	}
	return out
}

// unplan forgets a rebase, unless it runs.
func (l *line) unplan(b *v1alpha1.Build) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.planned[imageName(b)] {
		if e.uid != b.UID || l.running[e.name] == e { // what is shown of one that is written does not run itself
			continue
		}
		if l.waiting[e.name] == e {
			delete(l.waiting, e.name)
		}
		l.exchange(e, nil)
		return
	}
}

// forget ends and forgets all rebases of an Image.
func (l *line) forget(image types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.planned[image] {
		switch {
		case l.waiting[e.name] == e:
			delete(l.waiting, e.name)
		case l.running[e.name] == e:
			e.cancel(errGone)
		}
	}
	delete(l.planned, image)
}

// written puts in the place of a rebase that runs the Build that it is in the API now. Its Image is told
// that it waits, until the cache has it.
func (l *line) written(e, now *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, e.name)
	l.running[now.name] = now
	if known := l.waiting[now.name]; known != nil && known.uid == now.uid {
		delete(l.waiting, now.name) // the cache was first
	}
	shown := *now
	shown.build = now.build.DeepCopy() // who runs it changes his
	l.exchange(e, &shown)
}

// replan puts in the place of a rebase that ran what has become of it: it waits once more, or has ended.
// It says whether anybody wants to know.
func (l *line) replan(e, now *entry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running[e.name] == e {
		delete(l.running, e.name)
	}
	wanted := l.exchange(e, now)
	again := wanted && !now.build.Status.Phase.Ended()
	if again {
		l.waiting[e.name] = now
	}
	if again || l.held[e.item.Image] { // else nothing can start now that could not before
		l.kick()
	}
	return wanted
}

// exchange puts another in the place of what is planned; nil is nothing. It says whether that was there.
func (l *line) exchange(e, now *entry) bool {
	these := l.planned[e.image]
	at := slices.IndexFunc(these, func(o *entry) bool { return o.uid == e.uid })
	switch {
	case at < 0:
		return false
	case now != nil:
		these[at] = now
	case len(these) == 1:
		delete(l.planned, e.image)
	default:
		l.planned[e.image] = slices.Delete(these, at, at+1)
	}
	return true
}
