package verdicts_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
)

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
