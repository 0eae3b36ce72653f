package settings_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

const header = "apiVersion: plimsoll.dev/v1alpha1\nkind: Registry\nmetadata: {name: site}\n"

func TestReadNamesTheLine(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no header", "spec: {}", "apiVersion"},
		{"another kind", strings.Replace(header, "Registry", "Image", 1) + "spec: {}", "line 2: kind"},
		{"unknown field", header + "spec:\n  project: []", "line 5: spec.project: unknown field"},
		{"bad name", header + "spec:\n  projects:\n  - name: Team\n", "line 6: spec.projects[0].name"},
		{"dots", header + "spec:\n  projects:\n  - name: team/../other\n", "line 6: spec.projects[0].name"},
		{"twice", header + "spec:\n  projects:\n  - name: team\n  - name: team\n", "line 7: spec.projects[1].name"},
		{"URL with a path", header + "spec:\n  externalURL: https://a/b\n", "line 5: spec.externalURL"},
		{"URL with a user", header + "spec:\n  externalURL: https://a@b\n", "line 5: spec.externalURL"},
		{"not a URL", header + "spec:\n  externalURL: example.com\n", "line 5: spec.externalURL"},
	} {
		path := filepath.Join(t.TempDir(), "registry.yaml")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := settings.Open(path, slog.New(slog.DiscardHandler))
		if fault.KindOf(err) != fault.Usage || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestProjectOf(t *testing.T) {
	s, err := settings.Parse([]byte(header+"spec:\n  projects: [{name: team}, {name: team/secret}, {name: a/b}]"), "")
	if err != nil {
		t.Fatal(err)
	}
	for repository, want := range map[string]string{
		"team": "team", "team/app": "team", "team/app/sub": "team", "team/secretary": "team",
		"team/secret": "team/secret", "team/secret/app": "team/secret", "a/b/c": "a/b",
		"teams/app": "", "tea": "", "a": "", "a/bc": "", "": "", "other/team": "",
	} {
		got := ""
		if p := s.ProjectOf(repository); p != nil {
			got = p.Name
		}
		if got != want {
			t.Errorf("%q is of %q, want %q", repository, got, want)
		}
	}
}

func TestFileThatBreaksOrGoesLeavesWhatWasSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registry.yaml")
	var log strings.Builder
	f, err := settings.Open(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if f.Now() != nil {
		t.Fatal("something is said without a file")
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write(header + "spec:\n  projects: [{name: one}]")
	if f.Now().Project("one") == nil {
		t.Error("a new file was not taken up")
	}
	write(header + "spec:\n  projects: [{name: TWO}]")
	if f.Now().Project("one") == nil || !strings.Contains(log.String(), "line 5") {
		t.Errorf("a broken file was taken up, or silently not: %s", log.String())
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if s := f.Now(); s == nil || s.Project("one") == nil {
		t.Error("without the file nothing is said any more")
	}
}

func TestPeriod(t *testing.T) {
	for text, want := range map[string]time.Duration{"90d": 90 * 24 * time.Hour, "36h": 36 * time.Hour, "0d": 0} {
		if got, err := settings.Period(text); err != nil || got != want {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "d", "-1d", "-1h", "1.5d", "99999999d", "year"} {
		if got, err := settings.Period(bad); err == nil {
			t.Errorf("%q: got %s", bad, got)
		}
	}
}
