// Package figures takes the watch cache and what the runner of Builds tells, and gives figures: how many
// Images are in which state, what is built, what waits and for how long.
package figures

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// State is how a resource says that it is.
type State struct {
	Ready  metav1.ConditionStatus // "Unknown" of one that says nothing yet
	Reason string                 // of its condition Ready; "New" of one that says nothing yet
}

// Line is the Builds of one method and priority that wait.
type Line struct {
	Method   v1alpha1.BuildMethod
	Priority v1alpha1.BuildPriority
}

// Waiting is a Line.
type Waiting struct {
	Builds int
	Oldest time.Time // when the Build was made that waits longest
}

// Running is a Build from source that runs.
type Running struct {
	Namespace, Image, Build string
	Reason                  string // the gravest
	Since                   time.Time
}

// Figures are those of one moment.
type Figures struct {
	At       time.Time
	Images   map[State]int
	Verdicts map[string]int // Images by what the registry's gate does with them; "" where nobody has decided
	Bases    map[State]int
	Builders map[State]int

	Waiting  map[Line]Waiting
	Running  []Running // longest first, at most maxRunning
	Builds   int       // from source that run
	Feeds    []Feed
	Problems int // Images that are not ready and will not be without somebody
}

// Feed is how an AdvisoryFeed is.
type Feed struct {
	Name   string
	Ready  bool
	Synced time.Time // when it last brought something new; zero is never
}

// maxRunning bounds the Builds that are named.
const maxRunning = 50

// kept is how long figures are not counted anew: whoever asks all the time costs nothing.
const kept = 5 * time.Second

// Counter counts.
type Counter struct {
	cache    client.Reader
	unlisted func() []*v1alpha1.Build

	mu   sync.Mutex
	last Figures
}

// NewCounter gives one that reads the cache, of Images, Builds, BaseImages, Builders and AdvisoryFeeds.
// unlisted gives the rebases that wait and are in no API.
func NewCounter(cache client.Reader, unlisted func() []*v1alpha1.Build) *Counter {
	return &Counter{cache: cache, unlisted: unlisted}
}

// Count gives the figures of now, or of some seconds ago.
func (c *Counter) Count(ctx context.Context) (Figures, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.last.At) >= kept {
		f, err := count(ctx, c.cache, c.unlisted(), now)
		if err != nil {
			return Figures{}, err
		}
		c.last = f
	}
	return c.last, nil
}

func count(ctx context.Context, cache client.Reader, unlisted []*v1alpha1.Build, now time.Time) (Figures, error) {
	f := Figures{
		At: now, Images: map[State]int{}, Verdicts: map[string]int{}, Bases: map[State]int{}, Builders: map[State]int{},
		Waiting: map[Line]Waiting{},
	}
	var images v1alpha1.ImageList
	var builds v1alpha1.BuildList
	var bases v1alpha1.BaseImageList
	var builders v1alpha1.BuilderList
	var feeds v1alpha1.AdvisoryFeedList
	for _, list := range []client.ObjectList{&images, &builds, &bases, &builders, &feeds} {
		if err := cache.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return f, err
		}
	}
	for i := range images.Items {
		f.image(&images.Items[i])
	}
	for i := range builds.Items {
		f.build(&builds.Items[i])
	}
	for _, b := range unlisted {
		f.build(b)
	}
	slices.SortFunc(f.Running, func(a, b Running) int { return a.Since.Compare(b.Since) })
	f.Running = f.Running[:min(len(f.Running), maxRunning)]
	for i := range bases.Items {
		f.Bases[stateOf(bases.Items[i].Status.Conditions)]++
	}
	for i := range builders.Items {
		f.Builders[stateOf(builders.Items[i].Status.Conditions)]++
	}
	for i := range feeds.Items {
		feed := Feed{Name: feeds.Items[i].Name, Ready: stateOf(feeds.Items[i].Status.Conditions).Ready == metav1.ConditionTrue}
		if at := feeds.Items[i].Status.SyncedAt; at != nil {
			feed.Synced = at.Time
		}
		f.Feeds = append(f.Feeds, feed)
	}
	slices.SortFunc(f.Feeds, func(a, b Feed) int { return cmp.Compare(a.Name, b.Name) })
	return f, nil
}

func (f *Figures) image(i *v1alpha1.Image) {
	state := stateOf(i.Status.Conditions)
	f.Images[state]++
	if state.Ready == metav1.ConditionFalse {
		f.Problems++
	}
	action := ""
	if i.Status.Verdict != nil {
		action = i.Status.Verdict.Action
	}
	f.Verdicts[action]++
}

func (f *Figures) build(b *v1alpha1.Build) {
	switch {
	case b.Status.Phase.Ended():
		return
	case b.Status.Phase == v1alpha1.BuildRunning:
		f.Builds++
		r := Running{Namespace: b.Namespace, Image: string(b.Spec.Image.Name), Build: b.Name, Since: b.CreationTimestamp.Time}
		if at := b.Status.StartedAt; at != nil {
			r.Since = at.Time
		}
		if len(b.Spec.Reasons) > 0 {
			r.Reason = string(b.Spec.Reasons[0].Type)
		}
		f.Running = append(f.Running, r)
		return
	} // nothing is written of a rebase before its end: it waits until then
	line := Line{b.Spec.Method, b.Spec.Priority}
	w := f.Waiting[line]
	w.Builds++
	if made := b.CreationTimestamp.Time; w.Oldest.IsZero() || made.Before(w.Oldest) {
		w.Oldest = made
	}
	f.Waiting[line] = w
}

func stateOf(conditions []metav1.Condition) State {
	if c := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady); c != nil {
		return State{c.Status, c.Reason}
	}
	return State{metav1.ConditionUnknown, "New"}
}
