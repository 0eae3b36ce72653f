package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// item gives a Build that has waited for so many minutes, of an Image of its own.
func item(name, team string, priority v1alpha1.BuildPriority, minutes int) Item {
	return Item{Name: name, Image: name, Number: 1, Namespace: team, Team: team, Priority: priority, Since: noon.Add(-time.Duration(minutes) * time.Minute)}
}

func (i Item) of(image string, number int64) Item {
	i.Image, i.Number = image, number
	return i
}

func (i Item) in(namespace string) Item {
	i.Namespace = namespace
	return i
}

func (i Item) notBefore(minutes int) Item {
	i.NotBefore = noon.Add(time.Duration(minutes) * time.Minute)
	return i
}

const (
	security = v1alpha1.PrioritySecurity
	commit   = v1alpha1.PriorityCommit
	routine  = v1alpha1.PriorityRoutine
)

func TestNext(t *testing.T) {
	var thrice History
	for range 3 {
		thrice.Start(item("x", "c", commit, 0))
	}
	for _, test := range []struct {
		name             string
		waiting, running []Item
		limits           Limits
		history          History
		n                int
		want             []string
		wake             time.Duration // after noon
	}{
		{name: "nothing waits", n: 3},
		{
			name:    "the most urgent goes first, however long others have waited",
			waiting: []Item{item("a", "a", routine, 20), item("b", "a", commit, 10), item("c", "a", security, 0)},
			n:       3, want: []string{"c", "b", "a"},
		},
		{
			name:    "of one team and priority the oldest goes first",
			waiting: []Item{item("a", "a", commit, 1), item("b", "a", commit, 3), item("c", "a", commit, 2)},
			n:       3, want: []string{"b", "c", "a"},
		},
		{
			name:    "teams take turns, whoever was there first",
			waiting: []Item{item("a1", "a", commit, 9), item("a2", "a", commit, 8), item("a3", "a", commit, 7), item("b1", "b", commit, 1)},
			n:       3, want: []string{"a1", "b1", "a2"},
		},
		{
			name:    "a team that has something running waits for one that has not",
			waiting: []Item{item("a1", "a", commit, 9), item("b1", "b", commit, 1)},
			running: []Item{item("a0", "a", commit, 10)},
			n:       1, want: []string{"b1"},
		},
		{
			name:    "of teams that have as much running the one goes that was served longest ago",
			waiting: []Item{item("c1", "c", commit, 9), item("d1", "d", commit, 1)},
			history: thrice,
			n:       1, want: []string{"d1"},
		},
		{
			name:    "the total is bounded",
			waiting: []Item{item("a1", "a", commit, 9), item("a2", "a", commit, 9)},
			running: []Item{item("b", "b", commit, 9)},
			limits:  Limits{Total: 2},
			n:       9, want: []string{"a1"},
		},
		{
			name:    "a team at its bound leaves room for others, even less urgent ones",
			waiting: []Item{item("a1", "a", security, 9), item("a2", "a", security, 8), item("b1", "b", routine, 1)},
			limits:  Limits{PerTeam: 1},
			n:       9, want: []string{"a1", "b1"},
		},
		{
			name:    "a namespace at its bound holds back its own only",
			waiting: []Item{item("a1", "a", commit, 9).in("x"), item("a2", "a", commit, 8).in("x"), item("a3", "a", commit, 7).in("y")},
			limits:  Limits{PerNamespace: 1},
			n:       9, want: []string{"a1", "a3"},
		},
		{
			name:    "two of one image never run at a time, and the lower number is first",
			waiting: []Item{item("a2", "a", security, 9).of("i", 2), item("a1", "a", routine, 1).of("i", 1), item("b2", "a", commit, 1).of("j", 2)},
			running: []Item{item("b1", "a", commit, 9).of("j", 1)},
			n:       9, want: []string{"a1"},
		},
		{
			name:    "what may not be tried yet says when it may",
			waiting: []Item{item("a", "a", commit, 9).notBefore(5), item("b", "a", commit, 9).notBefore(3), item("c", "a", commit, 9).notBefore(-1)},
			n:       9, want: []string{"c"}, wake: 3 * time.Minute,
		},
		{
			name:    "every fourth start goes to the oldest that has lost patience",
			waiting: []Item{item("old", "a", routine, 31), item("young", "a", routine, 29), item("new", "a", security, 0)},
			history: thrice,
			n:       2, want: []string{"old", "new"},
		},
		{
			name:    "nobody has lost patience yet",
			waiting: []Item{item("old", "a", routine, 29), item("new", "a", security, 0)},
			history: thrice,
			n:       1, want: []string{"new"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			start, wake := Next(test.waiting, test.running, test.limits, test.history, noon, test.n)
			var got []string
			for _, item := range start {
				got = append(got, item.Name)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("started (-want +got):\n%s", diff)
			}
			want := time.Time{}
			if test.wake > 0 {
				want = noon.Add(test.wake)
			}
			if !wake.Equal(want) {
				t.Errorf("wake is %v, want %v", wake, want)
			}
		})
	}
}

// TestNextKeepsItsPromises plays many random days: at every turn some Builds arrive, some start as
// Next says, and some end.
func TestNextKeepsItsPromises(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { newDay(seed).play(t) })
	}
}

type day struct {
	*rand.Rand
	limits           Limits
	history          History
	waiting, running []Item
	now              time.Time
	made             int
}

func newDay(seed uint64) *day {
	r := rand.New(rand.NewPCG(seed, 1))
	return &day{Rand: r, now: noon, limits: Limits{Total: 1 + r.IntN(6), PerTeam: r.IntN(4), PerNamespace: r.IntN(3), Patience: 20 * time.Minute}}
}

func (d *day) play(t *testing.T) {
	for range 300 {
		d.now = d.now.Add(time.Minute)
		for range d.IntN(4) {
			d.arrive()
		}
		d.turn(t)
		d.running = slices.DeleteFunc(d.running, func(Item) bool { return d.IntN(3) == 0 })
	}
	// Nobody comes any more: what waits must all get its turn.
	for range 10 * d.made {
		if len(d.waiting) == 0 {
			return
		}
		d.now = d.now.Add(time.Minute)
		d.turn(t)
		d.running = nil
	}
	t.Fatalf("%d of %d starve, the first of them %+v", len(d.waiting), d.made, d.waiting[0])
}

func (d *day) arrive() {
	d.made++
	team := string(rune('a' + d.IntN(4)))
	one := item(fmt.Sprint("build", d.made), team, []v1alpha1.BuildPriority{security, commit, routine}[d.IntN(3)], 0).
		of(fmt.Sprint("image", d.IntN(12)), int64(d.made)).in(fmt.Sprint(team, d.IntN(2)))
	one.Since = d.now
	if d.IntN(5) == 0 {
		one.NotBefore = d.now.Add(time.Duration(d.IntN(10)) * time.Minute)
	}
	d.waiting = append(d.waiting, one)
}

// turn starts what Next says and holds it against every promise.
func (d *day) turn(t *testing.T) {
	t.Helper()
	before := slices.Clone(d.waiting)
	start, wake := Next(d.waiting, d.running, d.limits, d.history, d.now, 1+d.IntN(8))
	if !slices.Equal(before, d.waiting) {
		t.Fatal("it changed who waits")
	}
	if !wake.IsZero() && !wake.After(d.now) {
		t.Fatalf("it wants to be woken at %v, which is past", wake)
	}
	for _, one := range start {
		at := slices.Index(d.waiting, one)
		if at < 0 {
			t.Fatalf("%s does not wait, or was started twice", one.Name)
		}
		if one.NotBefore.After(d.now) {
			t.Fatalf("%s was started too early", one.Name)
		}
		for _, other := range d.waiting {
			if other.Image == one.Image && other.Number < one.Number {
				t.Fatalf("%s was started before %s of the same image", one.Name, other.Name)
			}
		}
		if slices.ContainsFunc(d.running, func(other Item) bool { return other.Image == one.Image }) {
			t.Fatalf("two of %s run", one.Image)
		}
		d.waiting = slices.Delete(d.waiting, at, at+1)
		d.running = append(d.running, one)
		d.history.Start(one)
	}
	d.bounded(t)
}

func (d *day) bounded(t *testing.T) {
	t.Helper()
	teams, namespaces := map[string]int{}, map[string]int{}
	for _, one := range d.running {
		teams[one.Team]++
		namespaces[one.Namespace]++
		if n := d.limits.PerTeam; n > 0 && teams[one.Team] > n {
			t.Fatalf("%d of team %s run, bound is %d", teams[one.Team], one.Team, n)
		}
		if n := d.limits.PerNamespace; n > 0 && namespaces[one.Namespace] > n {
			t.Fatalf("%d of namespace %s run, bound is %d", namespaces[one.Namespace], one.Namespace, n)
		}
	}
	if len(d.running) > d.limits.Total {
		t.Fatalf("%d run, bound is %d", len(d.running), d.limits.Total)
	}
}

// TestAFloodOfOneTeamDoesNotDrownAnother has one slot, and a team with a thousand Builds before
// one with ten.
func TestAFloodOfOneTeamDoesNotDrownAnother(t *testing.T) {
	var waiting []Item
	for i := range 1000 {
		waiting = append(waiting, item(fmt.Sprintf("flood%04d", i), "flood", commit, 25))
	}
	for i := range 10 {
		waiting = append(waiting, item(fmt.Sprintf("few%02d", i), "few", commit, 0))
	}
	var history History
	few := 0
	for range 20 {
		start, _ := Next(waiting, nil, Limits{Total: 1}, history, noon, 1)
		history.Start(start[0])
		waiting = slices.DeleteFunc(waiting, func(one Item) bool { return one.Name == start[0].Name })
		if start[0].Team == "few" {
			few++
		}
	}
	if few != 10 {
		t.Errorf("of twenty starts %d were the small team's, want all its ten", few)
	}
}

// TestAFloodOfUrgentBuildsLeavesAQuarter to those that wait too long.
func TestAFloodOfUrgentBuildsLeavesAQuarter(t *testing.T) {
	var waiting []Item
	for i := range 10 {
		waiting = append(waiting, item(fmt.Sprint("old", i), "a", routine, 60))
	}
	var history History
	old := 0
	for turn := range 40 {
		waiting = append(waiting, item(fmt.Sprint("urgent", turn), "a", security, 0))
		start, _ := Next(waiting, nil, Limits{Total: 1}, history, noon, 1)
		history.Start(start[0])
		waiting = slices.DeleteFunc(waiting, func(one Item) bool { return one.Name == start[0].Name })
		if start[0].Priority == routine {
			old++
		}
	}
	if old != 10 {
		t.Errorf("of forty starts %d were of those that had waited too long, want ten", old)
	}
}

// TestNextDoesNotDependOnTheOrderOfItsInput, which is that of a map.
func TestNextDoesNotDependOnTheOrderOfItsInput(t *testing.T) {
	d := newDay(7)
	for range 200 {
		d.arrive()
	}
	names := func() (out []string) {
		start, _ := Next(d.waiting, nil, Limits{}, History{}, d.now.Add(time.Hour), len(d.waiting))
		for _, one := range start {
			out = append(out, one.Name)
		}
		return out
	}
	want := names()
	for range 20 {
		d.Shuffle(len(d.waiting), func(i, j int) { d.waiting[i], d.waiting[j] = d.waiting[j], d.waiting[i] })
		if diff := cmp.Diff(want, names()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}

// BenchmarkNext chooses a fleet of 500 out of 10,000 of 50 teams.
func BenchmarkNext(b *testing.B) {
	var waiting []Item
	for i := range 10_000 {
		waiting = append(waiting, item(fmt.Sprint("build", i), fmt.Sprint("team", i%50), security, i%20))
	}
	for b.Loop() {
		if start, _ := Next(waiting, nil, Limits{}, History{}, noon, 500); len(start) != 500 {
			b.Fatal(len(start))
		}
	}
}
