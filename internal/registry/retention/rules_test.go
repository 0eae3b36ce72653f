package retention

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// project gives settings with one project, "team", of which the text tells.
func project(t testing.TB, text string) *settings.Settings {
	t.Helper()
	s, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parse(text string) (*settings.Settings, error) {
	return settings.Parse([]byte("apiVersion: plimsoll.dev/v1alpha1\nkind: Registry\nmetadata: {name: here}\nspec:\n  projects:\n  - name: team\n"+text), "", Check)
}

func TestDecide(t *testing.T) {
	now := time.Date(2026, 6, 30, 12, 0, 0, 0, time.UTC)
	ago := func(days int) time.Time { return now.AddDate(0, 0, -days) }
	tags := []Tag{
		{Name: "v1", Pushed: ago(100), Pulled: ago(2)},
		{Name: "v2", Pushed: ago(90)},
		{Name: "v3", Pushed: ago(80), Deployed: true},
		{Name: "v4", Pushed: ago(5)},
		{Name: "pr-1", Pushed: ago(20)},
		{Name: "pr-2", Pushed: ago(3)},
	}
	cases := []struct {
		name, text string
		want       []string // that go
	}{
		{"the last ones", "    retention: [{keepLast: 2}]\n", []string{"pr-1", "v1", "v2"}},
		{"the last ones of each rule", "    retention: [{tags: [v*], keepLast: 1}, {tags: [pr-*], keepLast: 1}]\n", []string{"pr-1", "v1", "v2"}},
		{"no rule covers the rest", "    retention: [{tags: [pr-*], keepLast: 1}]\n", []string{"pr-1"}},
		{"pushed within", "    retention: [{keepPushedWithin: 10d}]\n", []string{"pr-1", "v1", "v2"}},
		{"pulled within", "    retention: [{keepPulledWithin: 72h}]\n", []string{"pr-1", "pr-2", "v2", "v4"}},
		{"one keeping is enough", "    retention: [{keepPulledWithin: 3d}, {keepLast: 1}]\n", []string{"pr-1", "v2", "v4"}},
		{"another repository", "    retention: [{repositories: [team/other], keepLast: 1}]\n", nil},
		{"below", "    retention: [{repositories: ['team/**'], keepLast: 6}]\n", nil},
		{"immutable", "    immutableTags: [v*]\n    retention: [{keepLast: 1}]\n", []string{"pr-1"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			rules, problem := compile(project(t, c.text).Project("team"), "")
			if problem != nil {
				t.Fatal(problem)
			}
			var got []string
			for _, d := range rules.decide("team/app", tags, now) {
				if !d.Keep {
					got = append(got, d.Tag.Name)
				}
				if d.Why == "" {
					t.Errorf("%s: nothing says why", d.Tag.Name)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWrongRules(t *testing.T) {
	for text, want := range map[string]string{
		"    retention: [{}]\n":                          "line 7: spec.projects[0].retention[0]: it keeps nothing",
		"    retention: [{keepLast: -1}]\n":              "line 7: spec.projects[0].retention[0].keepLast: it cannot be negative",
		"    retention: [{keepPushedWithin: soon}]\n":    "line 7: spec.projects[0].retention[0].keepPushedWithin: want a time",
		"    retention: [{keepLast: 1, tags: [a***]}]\n": "line 7: spec.projects[0].retention[0].tags[0]:",
		"    immutableTags: ['']\n":                      "line 7: spec.projects[0].immutableTags[0]:",
		"  keeping: {schedule: daily}\n":                 "line 7: spec.keeping.schedule:",
		"  keeping: {schedule: '@every 1s'}\n":           "line 7: spec.keeping.schedule:",
		"  keeping: {schedule: 'TZ=UTC 0 3 * * *'}\n":    "line 7: spec.keeping.schedule:",
		"  keeping: {untagged: never}\n":                 "line 7: spec.keeping.untagged: want a time",
	} {
		if _, err := parse(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s…", text, err, want)
		}
	}
}

func TestDue(t *testing.T) {
	s := project(t, "  keeping: {schedule: '0 3 * * *'}\n")
	k := New(nil, func() *settings.Settings { return s }, nil, Options{})
	at := func(hour, minute int) time.Time { return time.Date(2026, 6, 30, hour, minute, 0, 0, time.UTC) }
	for _, c := range []struct {
		last, now time.Time
		want      bool
	}{
		{at(2, 0), at(2, 59), false},
		{at(2, 0), at(3, 0), true},
		{at(2, 0), at(9, 0), true},
		{at(3, 0), at(3, 1), false},
		{at(9, 0).In(time.FixedZone("there", -7*3600)), at(9, 30), false},
	} {
		if got := k.due(c.last, c.now); got != c.want {
			t.Errorf("last %v, now %v: %t, want %t", c.last, c.now, got, c.want)
		}
	}
	s = nil
	if k.due(at(2, 0), at(9, 0)) {
		t.Error("without settings there is no schedule")
	}
}

func pulled(p *Pulls, digest string, at time.Time) {
	p.Hear(&call.Record{
		Time: at, Method: http.MethodGet, Status: 200, Digest: digest,
		Endpoint: call.Endpoint{Kind: call.KindManifest, Repository: "team/app"},
	})
}

func TestPullsSurviveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pulls")
	p, err := OpenPulls(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	since := p.Last("team/app", "sha256:never")
	if time.Since(since) > time.Minute {
		t.Errorf("pulls are known since %v, want now", since)
	}
	tomorrow := time.Now().Add(24 * time.Hour)
	pulled(p, "sha256:a", tomorrow)
	pulled(p, "sha256:a", time.Now())
	pulled(p, "sha256:b", time.Now().Add(-time.Hour*24*7))
	for _, r := range []call.Record{
		{Method: "HEAD", Status: 200, Digest: "sha256:c"}, {Method: "GET", Status: 403, Digest: "sha256:c"},
	} {
		r.Time, r.Endpoint = tomorrow, call.Endpoint{Kind: call.KindManifest, Repository: "team/app"}
		p.Hear(&r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.Run(ctx) // saves at the end
	again, err := OpenPulls(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	day := tomorrow.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	for digest, want := range map[string]time.Time{
		"sha256:a": day, "sha256:b": since.Truncate(time.Second), "sha256:c": since.Truncate(time.Second), "sha256:never": since.Truncate(time.Second),
	} {
		if got := again.Last("team/app", digest); !got.Equal(want) {
			t.Errorf("%s was pulled until %v, want %v", digest, got, want)
		}
	}
}

func TestBrokenPullsAreNoReasonToRemove(t *testing.T) {
	for _, text := range []string{"", "x\n", pullsHeader + "2026-01-01T00:00:00Z\nx\n", pullsHeader + "2026-01-01T00:00:00Z\n2026-01-01 x\n"} {
		path := filepath.Join(t.TempDir(), "pulls")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenPulls(path, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func FuzzPulls(f *testing.F) {
	f.Add([]byte(pullsHeader + "2026-01-01T00:00:00Z\n2026-01-02 team/app@sha256:a\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		since, days, err := parsePulls(text)
		if err != nil {
			return
		}
		p := &Pulls{path: filepath.Join(t.TempDir(), "pulls"), since: since, days: days, dirty: true}
		if err := p.Save(); err != nil {
			t.Fatal(err)
		}
		written, err := os.ReadFile(p.path)
		if err != nil {
			t.Fatal(err)
		}
		_, again, err := parsePulls(written)
		if err != nil {
			t.Fatalf("%q became %q: %v", text, written, err)
		}
		if diff := cmp.Diff(fmt.Sprint(days), fmt.Sprint(again)); diff != "" {
			t.Fatal(diff)
		}
	})
}
