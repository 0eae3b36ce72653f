package verdicts_test

import (
	"context"
	"errors"
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
