package verdicts_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
)

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
