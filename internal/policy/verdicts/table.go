package verdicts

import (
	"hash/maphash"
	"maps"
	"math"
	"sync"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/policy"
)

const (
	// ahead is how long before a verdict ends it is decided again behind the back of whoever asks.
	ahead = 10 * time.Second

	// tellFailures is how often facts cannot be gathered before the denial is kept and told: until
	// then it is likely a registry that is being restarted.
	tellFailures = 3
)

// gates are the actions at each of them.
type gates = map[artifact.Gate]artifact.Action

// entry is what the table holds of an image.
type entry struct {
	verdict *artifact.Verdict // never changed once it is here; nil until it is decided
	sum     uint64            // of the verdict
	until   int64             // nanoseconds since 1970: from then on the verdict stands no more
	valid   bool              // nothing the verdict rests on has changed since
	gather  bool              // what is kept of the image is not what there is
	asked   bool              // it is being decided ahead of its end, or that did not move the end
	fails   int               // how often facts could not be gathered, in a row
	set     uint64            // the generation of the policies that decided it
	changed uint64            // the tick of the last change of what it rests on
	moved   uint64            // the tick at which it last became another

	saved uint64 // sum of what the store has; 0: not known
	told  gates  // what others were told last; nil: nothing, or not known

	platform string
	parents  map[Image]bool // indexes of which it is a child
}

// stands says that the verdict counts at this time.
func (e *entry) stands(now time.Time) bool { return e.valid && now.UnixNano() < e.until }

// failing says that the verdict is that nothing is known, and that nobody is to be told yet.
func (e *entry) failing() bool { return e.fails > 0 && e.fails < tellFailures }

// table holds an entry for each image. Ticks order changes: a verdict counts only if nothing it
// rests on has changed since the tick at which its facts were read.
type table struct {
	mu      sync.RWMutex
	entries map[Image]*entry
	flights map[Image]*flight
	tick    uint64

	policies *policy.Set
	set      uint64 // their generation

	due     map[Image]bool // to be decided without anybody asking
	wake    chan struct{}  // holds something while due does
	unsaved map[Image]bool

	seed   maphash.Seed
	shared map[[4]artifact.Action]gates
}

func newTable(set *policy.Set) *table {
	return &table{
		entries: map[Image]*entry{}, flights: map[Image]*flight{}, policies: set, set: 1,
		due: map[Image]bool{}, wake: make(chan struct{}, 1), unsaved: map[Image]bool{},
		seed: maphash.MakeSeed(), shared: map[[4]artifact.Action]gates{},
	}
}

// standing gives the verdict that stands at this time, or nil. refresh says that it ends soon, and
// that the caller is to see to the next.
func (t *table) standing(image Image, now time.Time) (verdict *artifact.Verdict, refresh bool) {
	t.mu.RLock()
	if e := t.entries[image]; e != nil && e.stands(now) {
		verdict, refresh = e.verdict, !e.asked && !e.gather && e.until-now.UnixNano() < int64(ahead)
	}
	t.mu.RUnlock()
	if refresh {
		t.mu.Lock()
		defer t.mu.Unlock()
		e := t.entry(image)
		refresh, e.asked = !e.asked, true
	}
	return verdict, refresh
}

// remember takes what the store has of an image as what was told last. It stands for nothing:
// much may have happened since.
func (t *table) remember(v artifact.Verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(Image{v.Repository, v.Image})
	e.saved, e.told = sum(t.seed, &v), t.share(v.Gates)
}

// forgetTold says that nobody knows whether others were told: they will be once the images are
// decided.
func (t *table) forgetTold(images []Image) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, image := range images {
		e := t.entry(image)
		e.told, e.saved = nil, 0
	}
}

// entry gives the image's entry, made if there is none. The table is locked.
func (t *table) entry(image Image) *entry {
	e := t.entries[image]
	if e == nil {
		e = &entry{}
		t.entries[image] = e
	}
	return e
}

// invalidate makes the verdicts on images, and on every index they are in, stand no more. They
// become due if somebody is to see to them one by one.
func (t *table) invalidate(images []Image, gather, due bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, image := range images {
		t.tick++
		t.spoil(image, gather, due)
	}
}

func (t *table) spoil(image Image, gather, due bool) {
	e := t.entry(image)
	if e.changed == t.tick {
		return // the way led around in a circle
	}
	e.changed, e.valid, e.gather = t.tick, false, e.gather || gather
	if due {
		t.makeDue(image)
	}
	t.spoilParents(e)
}

func (t *table) spoilParents(e *entry) {
	for parent := range e.parents {
		t.spoil(parent, false, true)
	}
}

func (t *table) makeDue(image Image) {
	t.due[image] = true
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// takeDue gives an image that is to be decided without anybody asking.
func (t *table) takeDue() (Image, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for image := range t.due {
		delete(t.due, image)
		for other := range t.due {
			t.makeDue(other)
			break
		}
		return image, true
	}
	return Image{}, false
}

// basis is what a decision begins with.
type basis struct {
	tick   uint64
	set    uint64
	rules  *policy.Set
	gather bool
	fails  int
}

func (t *table) begin(image Image) basis {
	t.mu.RLock()
	defer t.mu.RUnlock()
	b := basis{tick: t.tick, set: t.set, rules: t.policies}
	if e := t.entries[image]; e != nil {
		b.gather, b.fails = e.gather, e.fails
	}
	return b
}

// outcome is what a decision came to.
type outcome struct {
	verdict  artifact.Verdict
	gathered bool    // its facts were gathered
	failed   bool    // they could not be
	platform string  // of the image
	children []Image // on whose verdicts it rests, too
}

// apply makes an outcome the verdict that stands, and ends the flight that brought it, if any. It
// does neither and says false where what it rests on has changed since its basis.
func (t *table) apply(image Image, b basis, o outcome, f *flight) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.holds(image, b, o) {
		return false
	}
	e := t.entry(image)
	t.compact(&o.verdict)
	before, until := e.sum, int64(math.MaxInt64)
	if o.verdict.Until != nil {
		until = o.verdict.Until.UnixNano()
	}
	e.asked = e.asked && until == e.until
	e.sum = sum(t.seed, &o.verdict)
	if e.sum == before && e.verdict != nil { // whoever has the last one shares its memory
		o.verdict.Results, o.verdict.Exceptions = e.verdict.Results, e.verdict.Exceptions
	}
	e.verdict, e.until, e.valid, e.set = &o.verdict, until, true, b.set
	e.gather, e.fails, e.platform = o.failed, 0, o.platform
	if o.failed {
		e.fails = b.fails + 1
	}
	for _, child := range o.children {
		t.entry(child).adoptedBy(image)
	}
	delete(t.due, image)
	delete(t.unsaved, image)
	if e.sum != e.saved && !e.failing() {
		t.unsaved[image] = true
	}
	t.tick++
	if o.gathered { // who read what was kept before has old facts
		e.changed = t.tick
	}
	if e.sum != before {
		e.moved = t.tick
		t.spoilParents(e)
	}
	if f != nil {
		f.verdict = e.verdict
		t.land(image, f)
	}
	return true
}

// platform gives the image's platform, "" where it is not known.
func (t *table) platform(image Image) string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if e := t.entries[image]; e != nil {
		return e.platform
	}
	return ""
}

// holds says whether what an outcome rests on is still what it was.
func (t *table) holds(image Image, b basis, o outcome) bool {
	if e := t.entry(image); b.set != t.set || e.changed > b.tick || e.gather && !o.gathered && !o.failed {
		return false
	}
	for _, child := range o.children {
		if e := t.entries[child]; e != nil && max(e.changed, e.moved) > b.tick {
			return false
		}
	}
	return true
}

func (e *entry) adoptedBy(parent Image) {
	if e.parents == nil {
		e.parents = map[Image]bool{}
	}
	e.parents[parent] = true
}

// drop forgets an image that does not exist and ends the flight, unless it came to be meanwhile.
func (t *table) drop(image Image, b basis, f *flight, why error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(image)
	if e.changed > b.tick {
		return false
	}
	delete(t.due, image)
	delete(t.unsaved, image)
	delete(t.entries, image)
	if len(e.parents) > 0 {
		t.entries[image] = &entry{parents: e.parents}
	}
	f.err = why
	t.land(image, f)
	return true
}

// adopt makes the set the one by which is decided from now on. What the last one decided stands
// until it is decided again.
func (t *table) adopt(set *policy.Set) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.policies = set
	t.set++
}

// leftOver makes due what the policies of today have not decided.
func (t *table) leftOver() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for image, e := range t.entries {
		if e.set != t.set && (!e.valid || e.fails == 0) {
			t.tick++
			t.spoil(image, false, true)
		}
	}
}

// compact makes a verdict share what many say alike. Nobody else has it yet.
func (t *table) compact(v *artifact.Verdict) {
	v.Gates = t.share(v.Gates)
	for i := range v.Results {
		v.Results[i].Gates = t.share(v.Results[i].Gates)
	}
}

// share gives one map for all that are equal. There are few, unless somebody invents gates.
func (t *table) share(g gates) gates {
	if g == nil {
		return nil
	}
	var key [4]artifact.Action
	n := 0
	for i, gate := range artifact.Gates() {
		if action, ok := g[gate]; ok {
			key[i] = action
			n++
		}
	}
	if n != len(g) {
		return g
	}
	if t.shared[key] == nil {
		t.shared[key] = maps.Clone(g)
	}
	return t.shared[key]
}

// sum gives a digest of what a verdict says: not of when it was decided, nor on which facts.
func sum(seed maphash.Seed, v *artifact.Verdict) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	text := func(parts ...string) {
		for _, part := range parts {
			_, _ = h.WriteString(part)
			_ = h.WriteByte(0)
		}
	}
	actions := func(g gates) {
		for _, gate := range artifact.Gates() {
			text(string(g[gate]))
		}
	}
	text(v.Policies)
	actions(v.Gates)
	for i := range v.Results {
		r := &v.Results[i]
		text(r.Policy, r.Rule, r.Why, r.Remedy, r.Excused)
		maphash.WriteComparable(&h, [2]bool{r.Passed, r.Missing})
		actions(r.Gates)
		if r.Deadline != nil {
			maphash.WriteComparable(&h, r.Deadline.UnixNano())
		}
	}
	for _, e := range v.Exceptions {
		text(e.Name, e.Owner, e.Reason)
		maphash.WriteComparable(&h, e.Expires.UnixNano())
		text(e.Rules...)
	}
	return h.Sum64()
}
