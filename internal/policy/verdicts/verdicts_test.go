package verdicts_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
)

// bubble runs a test whose clock stands still until all wait.
func bubble(t *testing.T, test func(t *testing.T)) { synctest.Test(t, test) }

func TestVerdictIsDecidedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger(signedOnly)
		k := open(t, t.TempDir(), l, newShelf(), verdicts.Options{})
		one := l.put(image(1))
		two := l.put(unsigned(image(2)))
		l.set(func(l *ledger) { l.hold = make(chan struct{}) })
		var asking sync.WaitGroup
		for range 20 {
			asking.Go(func() { want(t, k, one, artifact.ActionAllow) })
		}
		synctest.Wait()
		close(l.hold)
		asking.Wait()
		want(t, k, one, artifact.ActionAllow)
		if n := l.times(one); n != 1 {
			t.Errorf("gathered %d times", n)
		}
		want(t, k, two, artifact.ActionDeny)
	})
}

func TestVerdictWaitsAsLongAsItMay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger(signedOnly)
		k := open(t, t.TempDir(), l, newShelf(), verdicts.Options{})
		one := l.put(image(1))
		l.set(func(l *ledger) { l.hold = make(chan struct{}) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := k.Verdict(ctx, one); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%v, want it to be unavailable", err)
		}
		close(l.hold)
		want(t, k, one, artifact.ActionAllow)
		if n := l.times(one); n != 1 {
			t.Errorf("gathered %d times: who gives up must not end the work for others", n)
		}
	})
}

func TestVerdictOnWhatIsNot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger(signedOnly)
		k := open(t, t.TempDir(), l, newShelf(), verdicts.Options{})
		gone := verdicts.Image{Repository: "shop", Digest: digestOf(9)}
		if _, err := k.Verdict(t.Context(), gone); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%v, want not found", err)
		}
		for _, bad := range []verdicts.Image{{}, {"shop", "latest"}, {"a b", digestOf(1)}, {"a\nc shop", digestOf(1)}, {"shop", digestOf(1) + "\n"}, {strings.Repeat("x", 600), digestOf(1)}} {
			if _, err := k.Verdict(t.Context(), bad); fault.KindOf(err) != fault.Usage {
				t.Errorf("%q: %v, want it refused", bad, err)
			}
			if err := k.Changed(bad.Repository, bad.Digest); fault.KindOf(err) != fault.Usage {
				t.Errorf("%q: %v, want the change refused", bad, err)
			}
		}
		l.put(image(9))
		want(t, k, gone, artifact.ActionAllow)
	})
}

func TestFactsOfAnotherImageAreNotBelieved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger(signedOnly)
		k := open(t, t.TempDir(), l, newShelf(), verdicts.Options{})
		one := verdicts.Image{Repository: "shop", Digest: digestOf(1)}
		l.set(func(l *ledger) { l.there[one] = image(2) })
		if v := want(t, k, one, artifact.ActionDeny); !v.Results[0].Missing {
			t.Errorf("denied for %q", v.Results[0].Why)
		}
	})
}

func TestChanged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger(signedOnly)
		s := newShelf()
		k := open(t, t.TempDir(), l, s, verdicts.Options{})
		one := l.put(image(1))
		want(t, k, one, artifact.ActionAllow)
		l.put(unsigned(image(1)))
		l.set(func(l *ledger) { l.hold = make(chan struct{}) })
		if err := k.Changed("shop", one.Digest); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if v, err := k.Verdict(ctx, one); err == nil {
			t.Fatalf("the old verdict was given: %+v", v)
		}

		// What is being gathered is old when it comes, too.
		l.put(image(1))
		if err := k.Changed("shop", one.Digest); err != nil {
			t.Fatal(err)
		}
		close(l.hold)
		want(t, k, one, artifact.ActionAllow)
		if n := l.times(one); n != 3 {
			t.Errorf("gathered %d times, want 3", n)
		}

		// Nobody need ask.
		l.put(unsigned(image(1)))
		if err := k.Changed("shop", one.Digest); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if action, _ := s.at(one); action != artifact.ActionDeny {
			t.Errorf("the store has %s", action)
		}
	})
}

// TestOldFactsInAStream holds that facts read before a change decide nothing after it.
func TestOldFactsInAStream(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger(signedOnly)
		k := open(t, t.TempDir(), l, newShelf(), verdicts.Options{})
		one := l.put(image(1))
		want(t, k, one, artifact.ActionAllow)
		synctest.Wait()
		l.set(func(l *ledger) { l.slow = make(chan struct{}) })
		var recomputing sync.WaitGroup
		recomputing.Go(func() {
			if _, err := k.Recompute(t.Context()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		l.put(unsigned(image(1)))
		if err := k.Changed("shop", one.Digest); err != nil {
			t.Fatal(err)
		}
		want(t, k, one, artifact.ActionDeny)
		close(l.slow)
		recomputing.Wait()
		want(t, k, one, artifact.ActionDeny)
	})
}

// TestAllAtOnce changes images while all is decided again and again: whoever has said that an image
// changed is never given what was before.
func TestAllAtOnce(t *testing.T) {
	l := newLedger(signedOnly)
	var p told
	k := open(t, t.TempDir(), l, newShelf(), verdicts.Options{Publish: p.publish})
	children := []int{}
	for n := range 8 {
		l.put(image(n))
		children = append(children, n)
	}
	all := l.put(index(100, children...))
	want(t, k, all, artifact.ActionAllow)
	var changing, reloading sync.WaitGroup
	done := make(chan struct{})
	reloading.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := k.Reload(t.Context()); err != nil {
				t.Error(err)
			}
			k.FindingsChanged(all)
			k.Expiring(time.Hour)
		}
	})
	for _, n := range children {
		changing.Go(func() {
			for range 20 {
				one := l.put(unsigned(image(n)))
				if err := k.Changed("shop", one.Digest); err != nil {
					t.Error(err)
				}
				want(t, k, one, artifact.ActionDeny)
				want(t, k, all, artifact.ActionDeny)
				l.put(image(n))
				if err := k.Changed("shop", one.Digest); err != nil {
					t.Error(err)
				}
				want(t, k, one, artifact.ActionAllow)
			}
		})
	}
	changing.Wait()
	close(done)
	reloading.Wait()
	want(t, k, all, artifact.ActionAllow)
}

func TestFindingsChanged(t *testing.T) {
	for _, test := range []struct {
		name  string
		other int // images whose findings changed, too
	}{{"one by one", 0}, {"all in one stream", 600}} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l := newLedger(signedOnly)
				k := open(t, t.TempDir(), l, newShelf(), verdicts.Options{})
				one := l.put(image(1))
				want(t, k, one, artifact.ActionAllow)
				facts := image(1)
				facts.Findings = []artifact.Finding{{ID: "CVE-2026-1", Published: time.Now().AddDate(0, 0, -8)}}
				l.set(func(l *ledger) { l.kept[one] = facts })
				images := []verdicts.Image{one}
				for i := range test.other {
					other := verdicts.Image{Repository: "shop", Digest: digestOf(100 + i)}
					l.set(func(l *ledger) { l.kept[other] = image(100 + i) })
					images = append(images, other)
				}
				k.FindingsChanged(images...)
				want(t, k, one, artifact.ActionDeny)
				synctest.Wait()
				for _, image := range images {
					if got := want(t, k, image, map[bool]artifact.Action{true: artifact.ActionDeny, false: artifact.ActionAllow}[image == one]); got.Facts == "" {
						t.Fatal("decided on no facts")
					}
				}
				if n := l.times(one); n != 1 {
					t.Errorf("gathered %d times", n)
				}
			})
		})
	}
}

func TestReload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger(signedOnly)
		s := newShelf()
		k := open(t, t.TempDir(), l, s, verdicts.Options{})
		one, two := l.put(unsigned(image(1))), l.put(image(2))
		want(t, k, one, artifact.ActionDeny)
		before := want(t, k, two, artifact.ActionAllow)
		synctest.Wait()

		l.set(func(l *ledger) { l.rules = strings.Replace(signedOnly, "size(signatures)", "size(signature)", 1) })
		if _, err := k.Reload(t.Context()); fault.KindOf(err) != fault.Usage {
			t.Fatalf("%v, want it refused", err)
		}
		if diff := cmp.Diff(before, want(t, k, two, artifact.ActionAllow)); diff != "" {
			t.Errorf("a broken file changed a verdict\n%s", diff)
		}

		l.set(func(l *ledger) { l.rules = warnOnly })
		stats, err := k.Reload(t.Context())
		if err != nil || stats.Images != 2 || stats.Changed != 2 {
			t.Fatalf("%+v, %v", stats, err)
		}
		want(t, k, one, artifact.ActionWarn)
		if action, _ := s.at(one); action != artifact.ActionWarn {
			t.Errorf("the store has %s", action)
		}
		if l.times(one) != 1 || l.times(two) != 1 {
			t.Error("gathered again")
		}
	})
}

// TestReloadThatFails: policies that were taken up decide all images, though their facts could not
// be read at once.
func TestReloadThatFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger(warnOnly)
		k := open(t, t.TempDir(), l, newShelf(), verdicts.Options{})
		images := []verdicts.Image{l.put(unsigned(image(1))), l.put(unsigned(image(2))), l.put(unsigned(image(3)))}
		for _, image := range images {
			want(t, k, image, artifact.ActionWarn)
		}
		l.set(func(l *ledger) { l.rules, l.broken = signedOnly, errDown })
		if _, err := k.Reload(t.Context()); !errors.Is(err, errDown) {
			t.Fatalf("%v, want %v", err, errDown)
		}
		l.set(func(l *ledger) { l.broken = nil })
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, image := range images {
			want(t, k, image, artifact.ActionDeny)
		}
	})
}

// TestChangeThatCannotBeNoted: what changed counts no more, though that cannot be written down.
func TestChangeThatCannotBeNoted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, folder := newLedger(signedOnly), t.TempDir()
		k := open(t, folder, l, newShelf(), verdicts.Options{})
		one := l.put(image(1))
		want(t, k, one, artifact.ActionAllow)
		l.put(unsigned(image(1)))
		if err := k.Changed("shop", "sha384:"+strings.Repeat("a", 96), one.Digest); fault.KindOf(err) != fault.Usage {
			t.Errorf("%v, want to hear of the digest", err)
		}
		want(t, k, one, artifact.ActionDeny)
	})
}

func TestBrokenPoliciesAtStart(t *testing.T) {
	l := newLedger("kind: Poem")
	if k, err := verdicts.Open(t.Context(), t.TempDir(), l.load, l, newShelf(), verdicts.Options{}); err == nil {
		t.Error(k.Close(), "opened with broken policies")
	}
}

func TestOneKeeperAFolder(t *testing.T) {
	l, folder := newLedger(signedOnly), t.TempDir()
	if err := verdicts.Free(folder); err != nil || verdicts.Used(folder) {
		t.Errorf("nobody has kept it, and it is used or not free: %v", err)
	}
	first := open(t, folder, l, newShelf(), verdicts.Options{})
	if verdicts.Free(folder) == nil {
		t.Error("it is free while somebody keeps it")
	}
	if k, err := verdicts.Open(t.Context(), folder, l.load, l, newShelf(), verdicts.Options{}); err == nil {
		t.Error(k.Close(), "two keep one folder")
	}
	if err := errors.Join(first.Close(), verdicts.Free(folder)); err != nil || !verdicts.Used(folder) {
		t.Errorf("once kept it is free and used: %v", err)
	}
}

func TestTimePasses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger(signedOnly + exception(time.Now().Add(24*time.Hour)))
		var p told
		var announced []string
		k := open(t, t.TempDir(), l, newShelf(), verdicts.Options{Publish: p.publish, Announce: func(_ context.Context, e verdicts.Expiring) {
			announced = append(announced, e.Name)
		}})
		excused := l.put(unsigned(image(1)))
		facts := image(2)
		facts.Findings = []artifact.Finding{{ID: "CVE-2026-1", Published: time.Now().AddDate(0, 0, -6)}}
		eased := l.put(facts)
		want(t, k, excused, artifact.ActionAllow)
		want(t, k, eased, artifact.ActionWarn)
		if got := k.Expiring(time.Hour); len(got) != 0 {
			t.Errorf("%+v ends within an hour", got)
		}
		if diff := cmp.Diff([]verdicts.Expiring{{Name: "legacy", Owner: "shop", Reason: "it is old", Expires: time.Now().Add(24 * time.Hour), Images: []verdicts.Image{excused}}}, k.Expiring(25*time.Hour)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}

		time.Sleep(24*time.Hour - time.Nanosecond)
		want(t, k, excused, artifact.ActionAllow)
		want(t, k, eased, artifact.ActionWarn)
		time.Sleep(time.Nanosecond)
		want(t, k, excused, artifact.ActionDeny)
		want(t, k, eased, artifact.ActionDeny)
		synctest.Wait()
		if diff := cmp.Diff([]string{"legacy"}, announced); diff != "" {
			t.Errorf("announced (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]string{"→allow", "allow→deny"}, p.of(excused)); diff != "" {
			t.Errorf("told (-want +got)\n%s", diff)
		}
	})
}

func TestTimePassesThoughNobodyAsks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger(signedOnly + exception(time.Now().Add(72*time.Hour)))
		var p told
		announced := 0
		k := open(t, t.TempDir(), l, newShelf(), verdicts.Options{Publish: p.publish, Announce: func(context.Context, verdicts.Expiring) { announced++ }})
		one := l.put(unsigned(image(1)))
		want(t, k, one, artifact.ActionAllow)
		time.Sleep(72*time.Hour + 10*time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"→allow", "allow→deny"}, p.of(one)); diff != "" {
			t.Errorf("told (-want +got)\n%s", diff)
		}
		if announced != 3 {
			t.Errorf("announced %d times in three days", announced)
		}
	})
}

func TestVerdictIsDecidedAheadOfItsEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger(strings.Replace(signedOnly, "size(signatures) > 0", "size(signatures) > 0 && now.getSeconds() >= 0", 1))
		k := open(t, t.TempDir(), l, newShelf(), verdicts.Options{})
		one := l.put(image(1))
		first := want(t, k, one, artifact.ActionAllow)
		time.Sleep(55 * time.Second)
		want(t, k, one, artifact.ActionAllow)
		synctest.Wait()
		time.Sleep(30 * time.Second)
		if v := want(t, k, one, artifact.ActionAllow); !v.Decided.Equal(first.Decided.Add(55 * time.Second)) {
			t.Errorf("decided at %s, first at %s", v.Decided, first.Decided)
		}
	})
}

func TestIndex(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger(signedOnly)
		var p told
		k := open(t, t.TempDir(), l, newShelf(), verdicts.Options{Publish: p.publish})
		child := l.put(image(1))
		l.put(image(2))
		both := l.put(index(10, 1, 2))
		over := l.put(index(11, 10))
		want(t, k, over, artifact.ActionAllow)
		synctest.Wait() // else only the newest is told

		l.put(unsigned(image(1)))
		if err := k.Changed("shop", child.Digest); err != nil {
			t.Fatal(err)
		}
		v := want(t, k, over, artifact.ActionDeny)
		if why := v.Results[len(v.Results)-1].Why; !strings.Contains(why, "linux/amd64: signed") {
			t.Errorf("denied for %q", why)
		}
		want(t, k, both, artifact.ActionDeny)
		synctest.Wait()
		if diff := cmp.Diff([]string{"→allow", "allow→deny"}, p.of(over)); diff != "" {
			t.Errorf("told (-want +got)\n%s", diff)
		}
		if l.times(both) != 1 || l.times(over) != 1 {
			t.Error("indexes were gathered again for a child")
		}

		// By way of kept facts, too, and of policies.
		l.set(func(l *ledger) { l.kept[child] = image(1) })
		k.FindingsChanged(child)
		want(t, k, over, artifact.ActionAllow)
		l.set(func(l *ledger) { l.kept[child], l.rules = unsigned(image(1)), warnOnly })
		if _, err := k.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(t, k, over, artifact.ActionWarn)
	})
}

func TestHostileIndex(t *testing.T) {
	many := make([]int, 200)
	for i := range many {
		many[i] = i + 100
	}
	bad := index(10, 1)
	bad.Children = append(bad.Children, "sha256:../../1")
	for _, test := range []struct {
		name  string
		facts []artifact.Facts // the first is asked for
		why   string
	}{
		{"a child that is not there", []artifact.Facts{index(10, 1, 5)}, "there is no verdict on it"},
		{"a child that is no digest", []artifact.Facts{bad}, "there is no verdict on it"},
		{"too many children", []artifact.Facts{index(10, many...)}, "more than 128"},
		{"too deep", []artifact.Facts{index(10, 11), index(11, 12), index(12, 13), index(13, 14), index(14, 1)}, "more than 4 others"},
		{"itself", []artifact.Facts{index(10, 10)}, "there is no verdict on it"},
		{"a circle", []artifact.Facts{index(10, 11), index(11, 10)}, "there is no verdict on it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l := newLedger(signedOnly)
				k := open(t, t.TempDir(), l, newShelf(), verdicts.Options{})
				l.put(image(1))
				for _, facts := range test.facts {
					l.put(facts)
				}
				v := want(t, k, verdicts.Image{Repository: "shop", Digest: digestOf(10)}, artifact.ActionDeny)
				if why := v.Results[len(v.Results)-1].Why; !strings.Contains(why, test.why) {
					t.Errorf("denied for %q", why)
				}
			})
		})
	}
}

func TestGatherFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger(signedOnly)
		var p told
		s := newShelf()
		k := open(t, t.TempDir(), l, s, verdicts.Options{Publish: p.publish})
		one := l.put(image(1))
		want(t, k, one, artifact.ActionAllow)
		synctest.Wait()

		l.set(func(l *ledger) { l.failure = errDown })
		if err := k.Changed("shop", one.Digest); err != nil {
			t.Fatal(err)
		}
		v := want(t, k, one, artifact.ActionDeny)
		if r := v.Results[0]; !r.Missing || strings.Contains(r.Why, errDown.Error()) {
			t.Errorf("denied for %+v, want no word of what failed here", r)
		}
		want(t, k, one, artifact.ActionDeny)
		if n := l.times(one); n != 2 {
			t.Errorf("gathered %d times at once", n)
		}
		synctest.Wait()
		if action, _ := s.at(one); action != artifact.ActionAllow {
			t.Errorf("the store has %s after one failure", action)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := l.times(one); n < 4 || n > 8 {
			t.Errorf("gathered %d times in a minute", n)
		}
		if action, _ := s.at(one); action != artifact.ActionDeny {
			t.Errorf("the store has %s after a minute of failures", action)
		}

		l.set(func(l *ledger) { l.failure = nil })
		time.Sleep(5*time.Minute + 10*time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"→allow", "allow→deny", "deny→allow"}, p.of(one)); diff != "" {
			t.Errorf("told (-want +got)\n%s", diff)
		}
	})
}

func TestStoreFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, s := newLedger(signedOnly), newShelf()
		var p told
		k := open(t, t.TempDir(), l, s, verdicts.Options{Publish: p.publish})
		s.failure = errDown
		one := l.put(image(1))
		want(t, k, one, artifact.ActionAllow)
		synctest.Wait()
		if got := p.of(one); len(got) > 0 {
			t.Errorf("told %v before it was saved", got)
		}
		s.mu.Lock()
		s.failure = nil
		s.mu.Unlock()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"→allow"}, p.of(one)); diff != "" {
			t.Errorf("told (-want +got)\n%s", diff)
		}
	})
}

func TestPublishIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger(signedOnly)
		p := told{failure: errDown}
		k := open(t, t.TempDir(), l, newShelf(), verdicts.Options{Publish: p.publish})
		one := l.put(image(1))
		want(t, k, one, artifact.ActionAllow)
		time.Sleep(10 * time.Second)
		l.put(unsigned(image(1)))
		if err := k.Changed("shop", one.Digest); err != nil {
			t.Fatal(err)
		}
		want(t, k, one, artifact.ActionDeny)
		synctest.Wait()
		p.mu.Lock()
		p.failure, p.hold = nil, make(chan struct{})
		p.mu.Unlock()
		time.Sleep(time.Minute)
		// While the newest is told there comes a newer one: it is told next, not beside.
		l.put(image(1))
		if err := k.Changed("shop", one.Digest); err != nil {
			t.Fatal(err)
		}
		want(t, k, one, artifact.ActionAllow)
		synctest.Wait()
		close(p.hold)
		synctest.Wait()
		if diff := cmp.Diff([]string{"→deny", "deny→allow"}, p.of(one)); diff != "" {
			t.Errorf("told (-want +got)\n%s", diff)
		}
	})
}

// TestKilled goes on with what a keeper left that could not end anything.
func TestKilled(t *testing.T) {
	for _, test := range []struct {
		name   string
		killed func(l *ledger, k *verdicts.Keeper, p *told, one verdicts.Image) // then it is
		action artifact.Action
		told   []string
	}{
		{"between the store and those to be told", func(_ *ledger, _ *verdicts.Keeper, _ *told, _ verdicts.Image) {}, artifact.ActionAllow, []string{"→allow"}},
		{"between a change and gathering", func(l *ledger, k *verdicts.Keeper, p *told, one verdicts.Image) {
			close(p.hold)
			synctest.Wait()
			l.put(unsigned(image(1)))
			l.set(func(l *ledger) { l.hold = make(chan struct{}) })
			if err := k.Changed("shop", one.Digest); err != nil {
				panic(err)
			}
		}, artifact.ActionDeny, []string{"allow→deny"}},
		{"when nothing was left to do", func(_ *ledger, _ *verdicts.Keeper, p *told, _ verdicts.Image) { close(p.hold) }, artifact.ActionAllow, []string{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				l, s, folder, copied := newLedger(signedOnly), newShelf(), t.TempDir(), t.TempDir()
				p := told{hold: make(chan struct{})}
				k := open(t, folder, l, s, verdicts.Options{Publish: p.publish})
				one := l.put(image(1))
				want(t, k, one, artifact.ActionAllow)
				synctest.Wait()
				test.killed(l, k, &p, one)
				synctest.Wait()
				if err := os.CopyFS(copied, os.DirFS(folder)); err != nil {
					t.Fatal(err)
				}
				left := newLedger(signedOnly)
				left.kept, left.there = l.kept, l.there
				shelf := newShelf()
				shelf.kept = s.kept
				var after told
				again := open(t, copied, left, shelf, verdicts.Options{Publish: after.publish})
				want(t, again, one, test.action)
				synctest.Wait()
				if diff := cmp.Diff(test.told, after.of(one)); diff != "" {
					t.Errorf("told (-want +got)\n%s", diff)
				}
			})
		})
	}
}

func TestNothingStandsAfterAStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, s, folder := newLedger(signedOnly), newShelf(), t.TempDir()
		k := open(t, folder, l, s, verdicts.Options{})
		one := l.put(image(1))
		want(t, k, one, artifact.ActionAllow)
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		l.set(func(l *ledger) { l.kept[one] = unsigned(image(1)) }) // somebody else's work meanwhile
		var p told
		k = open(t, folder, l, s, verdicts.Options{Publish: p.publish})
		want(t, k, one, artifact.ActionDeny)
		synctest.Wait()
		if diff := cmp.Diff([]string{"allow→deny"}, p.of(one)); diff != "" {
			t.Errorf("told (-want +got)\n%s", diff)
		}
		if s.saves != 2 {
			t.Errorf("%d verdicts were saved, want 2", s.saves)
		}
	})
}

func TestClockSetBack(t *testing.T) {
	start := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	l, s, folder := newLedger(signedOnly+exception(start.Add(time.Hour))), newShelf(), t.TempDir()
	var mu sync.Mutex
	now := start
	opts := verdicts.Options{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }}
	set := func(to time.Time) { mu.Lock(); defer mu.Unlock(); now = to }
	k := open(t, folder, l, s, opts)
	one := l.put(unsigned(image(1)))
	want(t, k, one, artifact.ActionAllow)
	set(start.Add(time.Hour))
	want(t, k, one, artifact.ActionDeny)
	set(start)
	if err := k.Changed("shop", one.Digest); err != nil {
		t.Fatal(err)
	}
	want(t, k, one, artifact.ActionDeny)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	k = open(t, folder, l, s, opts)
	want(t, k, one, artifact.ActionDeny)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(filepath.Join(folder, "time"), []byte("yesterday\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if k, err := verdicts.Open(t.Context(), folder, l.load, l, s, opts); err == nil {
		t.Error(k.Close(), "opened with a mark that is none")
	}
}
