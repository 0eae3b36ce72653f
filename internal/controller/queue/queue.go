// Package queue takes the Builds that wait and those that run and gives which start next: the
// most urgent first, teams in turn, nobody for ever last. It is a pure function of what it is
// given; who runs Builds keeps the state.
package queue

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// Item is a Build that waits or runs.
type Item struct {
	Name   string // unique: "namespace/name"
	Image  string // "namespace/name" of what it is of: two of one Image never run at a time
	Number int64  // of two of one Image the lower goes first

	Namespace string
	Team      string
	Priority  v1alpha1.BuildPriority

	Since     time.Time // when it began to wait
	NotBefore time.Time // it is not tried earlier; zero is at once
}

// Limits bound what runs at a time. A zero bound is none.
type Limits struct {
	Total        int
	PerTeam      int
	PerNamespace int

	// Patience is how long anything waits before it is old: every fourth start goes to the
	// oldest, whatever its priority, so that nothing starves and what is urgent keeps three
	// starts of four. 0 is 30 minutes.
	Patience time.Duration
}

// History is what was started so far: ties between teams go to the one that was served longest
// ago. The zero History is that of a process that has just begun.
type History struct {
	starts int
	served map[string]int // by team: which start was its last
}

// Start notes that the item was started.
func (h *History) Start(item Item) {
	if h.served == nil {
		h.served = map[string]int{}
	}
	h.starts++
	h.served[item.Team] = h.starts
}

func (h History) clone() History { return History{h.starts, maps.Clone(h.served)} }

// oldEvery is how often the oldest goes before the most urgent.
const oldEvery = 4

// Next gives at most n items of waiting that may start now beside those that run, in their order.
// wake is when one that may not be tried yet may be: zero when there is none.
func Next(waiting, running []Item, limits Limits, history History, now time.Time, n int) (start []Item, wake time.Time) {
	r := newRound(running, limits, history, now)
	wake = r.line(waiting)
	for len(start) < n {
		item, ok := r.pick()
		if !ok {
			break
		}
		start = append(start, item)
	}
	return start, wake
}

// round is one call of Next.
type round struct {
	limits  Limits
	history History
	now     time.Time

	total      int
	teams      map[string]int  // running, by team
	namespaces map[string]int  // running, by namespace
	busy       map[string]bool // images of which one runs

	lines [3]map[string][]Item // who waits, by rank and team, oldest first
}

func newRound(running []Item, limits Limits, history History, now time.Time) *round {
	limits.Patience = cmp.Or(limits.Patience, 30*time.Minute)
	r := &round{
		limits: limits, history: history.clone(), now: now,
		teams: map[string]int{}, namespaces: map[string]int{}, busy: map[string]bool{},
		lines: [3]map[string][]Item{{}, {}, {}},
	}
	for _, item := range running {
		r.occupy(item)
	}
	return r
}

func (r *round) occupy(item Item) {
	r.total++
	r.teams[item.Team]++
	r.namespaces[item.Namespace]++
	r.busy[item.Image] = true
}

// line lines up who may go, and gives when the next one may who may not yet.
func (r *round) line(waiting []Item) (wake time.Time) {
	first := map[string]Item{} // of each image
	for _, item := range waiting {
		if other, ok := first[item.Image]; !ok || item.Number < other.Number {
			first[item.Image] = item
		}
	}
	for _, item := range first {
		switch {
		case r.busy[item.Image]:
		case item.NotBefore.After(r.now):
			if wake.IsZero() || item.NotBefore.Before(wake) {
				wake = item.NotBefore
			}
		default:
			line := r.lines[rank(item.Priority)]
			line[item.Team] = append(line[item.Team], item)
		}
	}
	for _, lines := range r.lines {
		for _, line := range lines {
			slices.SortFunc(line, older)
		}
	}
	return wake
}

func rank(p v1alpha1.BuildPriority) int {
	switch p {
	case v1alpha1.PrioritySecurity:
		return 0
	case v1alpha1.PriorityCommit:
		return 1
	}
	return 2
}

func older(a, b Item) int {
	return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Name, b.Name))
}

// pick takes the next item out of its line.
func (r *round) pick() (Item, bool) {
	if r.limits.Total > 0 && r.total >= r.limits.Total {
		return Item{}, false
	}
	place, ok := r.urgent()
	if old, found := r.oldest(); found && r.history.starts%oldEvery == oldEvery-1 {
		place = old
	}
	if !ok {
		return Item{}, false
	}
	item := r.take(place)
	r.occupy(item)
	r.history.Start(item)
	return item, true
}

// take takes the item at the place out of its line. The first, which it mostly is, moves nobody.
func (r *round) take(p place) Item {
	line := r.lines[p.rank][p.team]
	item := line[p.index]
	switch {
	case len(line) == 1:
		delete(r.lines[p.rank], p.team)
	case p.index == 0:
		r.lines[p.rank][p.team] = line[1:]
	default:
		r.lines[p.rank][p.team] = slices.Delete(line, p.index, p.index+1)
	}
	return item
}

// place is where an item stands.
type place struct {
	rank  int
	team  string
	index int
}

// urgent gives the place of the most urgent item: of the team that has least running and was
// served longest ago.
func (r *round) urgent() (best place, ok bool) {
	for rank, lines := range r.lines {
		for team := range lines {
			index, free := r.free(rank, team)
			if free && (!ok || r.before(team, best.team)) {
				best, ok = place{rank, team, index}, true
			}
		}
		if ok {
			return best, true
		}
	}
	return best, false
}

// before says that the team's turn is before the other's.
func (r *round) before(team, other string) bool {
	return cmp.Or(
		cmp.Compare(r.teams[team], r.teams[other]),
		cmp.Compare(r.history.served[team], r.history.served[other]),
		cmp.Compare(team, other),
	) < 0
}

// oldest gives the place of the item that has waited longest, if that is too long.
func (r *round) oldest() (best place, ok bool) {
	var item Item
	for rank, lines := range r.lines {
		for team, line := range lines {
			index, free := r.free(rank, team)
			if free && r.now.Sub(line[index].Since) >= r.limits.Patience && (!ok || older(line[index], item) < 0) {
				best, item, ok = place{rank, team, index}, line[index], true
			}
		}
	}
	return best, ok
}

// free gives the first of the team's line whom no bound holds back.
func (r *round) free(rank int, team string) (index int, ok bool) {
	if r.limits.PerTeam > 0 && r.teams[team] >= r.limits.PerTeam {
		return 0, false
	}
	index = slices.IndexFunc(r.lines[rank][team], func(item Item) bool {
		return r.limits.PerNamespace == 0 || r.namespaces[item.Namespace] < r.limits.PerNamespace
	})
	return index, index >= 0
}
