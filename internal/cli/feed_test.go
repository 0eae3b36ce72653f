package cli

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/inventory/query"
	"plimsoll.dev/plimsoll/internal/vuln/feed"
)

// TestSyncIsCompletedByTheNext: a new database whose match fails is matched by the next sync,
// though no feed has changed since.
func TestSyncIsCompletedByTheNext(t *testing.T) {
	home, osv := t.TempDir(), t.TempDir()
	address := ""
	env := &Env{Out: io.Discard, Err: io.Discard, Version: "test", Home: home, Getenv: func(string) string { return address }}
	config := fmt.Sprintf("feeds:\n- {name: osv, kind: osv, url: %s, ecosystems: [PyPI]}\n", osv)
	if err := os.WriteFile(filepath.Join(home, "feeds.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	sync := func(fixed ...string) error {
		records := map[string]string{}
		for i, version := range fixed {
			id := fmt.Sprintf("CVE-2026-%04d", i+1)
			records[id] = fmt.Sprintf(`{"id":%q,"modified":"2026-01-0%dT00:00:00Z","affected":[{"package":{"ecosystem":"PyPI","name":"pyyaml"},`+
				`"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":%q}]}]}]}`, id, i+1, version)
		}
		writeArchive(t, filepath.Join(osv, "PyPI", "all.zip"), records)
		return runFeedSync(t.Context(), env, false)
	}
	affected := func() int {
		t.Helper()
		index, err := env.inventory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer index.Close()
		question, err := query.Parse("what is affected by anything")
		if err != nil {
			t.Fatal(err)
		}
		result, err := index.Query(t.Context(), question, inventory.Page{})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, image := range result.Images {
			n += len(image.Matches)
		}
		return n
	}
	if err := sync("1.0"); err != nil {
		t.Fatal(err)
	}
	image := inventory.Image{Reference: "shop:1", Contents: artifact.Contents{
		Image: "sha256:" + strings.Repeat("a", 64), Platform: "linux/amd64", Layers: []string{"sha256:" + strings.Repeat("b", 64)},
		Packages: []artifact.Package{{Type: "pypi", Name: "PyYAML", Version: "2.0", Layer: "sha256:" + strings.Repeat("b", 64)}},
	}}
	if err := env.record(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	if n := affected(); n != 0 {
		t.Fatalf("%d findings before there is an advisory", n)
	}
	address = "sqlite:" + filepath.Join(home, "feeds.yaml", "nowhere")
	if err := sync("1.0", "3.0"); err == nil {
		t.Fatal("the inventory could not be opened, and nobody said so")
	}
	address = ""
	if err := sync("1.0", "3.0"); err != nil {
		t.Fatal(err)
	}
	if n := affected(); n != 1 {
		t.Errorf("%d findings, want the one of the sync that failed", n)
	}
	if err := sync("1.0", "3.0", "4.0"); err != nil {
		t.Fatal(err)
	}
	if n := affected(); n != 2 {
		t.Errorf("%d findings, want that of the newest record too", n)
	}
}

// TestScoresAreKeptCurrent: what is known of an image has the EPSS scores of the last sync,
// though no package has changed by it.
func TestScoresAreKeptCurrent(t *testing.T) {
	home, files := t.TempDir(), t.TempDir()
	env := &Env{Out: io.Discard, Err: io.Discard, Version: "test", Home: home, Getenv: func(string) string { return "" }}
	config := fmt.Sprintf("feeds:\n- {name: osv, kind: osv, url: %s, ecosystems: [PyPI]}\n- {name: epss, kind: epss, url: %s/epss.csv}\n", files, files)
	if err := os.WriteFile(env.feedsFile(), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	writeArchive(t, filepath.Join(files, "PyPI", "all.zip"), map[string]string{
		"CVE-2026-0001": `{"id":"CVE-2026-0001","modified":"2026-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"PyPI","name":"pyyaml"},` +
			`"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]}]}`,
	})
	image := inventory.Image{Reference: "shop:1", Contents: artifact.Contents{
		Image: "sha256:" + strings.Repeat("a", 64), Platform: "linux/amd64", Layers: []string{"sha256:" + strings.Repeat("b", 64)},
		Packages: []artifact.Package{{Type: "pypi", Name: "PyYAML", Version: "2.0", Layer: "sha256:" + strings.Repeat("b", 64)}},
	}}
	if err := env.record(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	for day, score := range []string{"0.1", "0.9", "0.2"} {
		text := fmt.Sprintf("#model_version:v1,score_date:2026-01-0%dT00:00:00+0000\ncve,epss,percentile\nCVE-2026-0001,%s,0.5\n", day+1, score)
		if err := os.WriteFile(filepath.Join(files, "epss.csv"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := runFeedSync(t.Context(), env, false); err != nil {
			t.Fatal(err)
		}
		index, err := env.inventory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		question, err := query.Parse("images where epss = " + score)
		if err != nil {
			t.Fatal(err)
		}
		result, err := index.Query(t.Context(), question, inventory.Page{})
		if err != nil || len(result.Images) != 1 {
			t.Errorf("%d images are scored %s, %v", len(result.Images), score, err)
		}
		if err := index.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTwoFailuresAreTwoLines: the second is the error, of one line, and the first a warning.
func TestTwoFailuresAreTwoLines(t *testing.T) {
	home, osv := t.TempDir(), t.TempDir()
	var errs bytes.Buffer
	env := &Env{Out: io.Discard, Err: &errs, Version: "test", Home: home, Getenv: func(string) string { return "sqlite:" + filepath.Join(home, "feeds.yaml", "nowhere") }}
	config := fmt.Sprintf("feeds:\n- {name: osv, kind: osv, url: %s, ecosystems: [PyPI, npm]}\n", osv)
	if err := os.WriteFile(env.feedsFile(), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	writeArchive(t, filepath.Join(osv, "PyPI", "all.zip"), map[string]string{"CVE-2026-0001": `{"id":"CVE-2026-0001","modified":"2026-01-01T00:00:00Z"}`})
	err := runFeedSync(t.Context(), env, false)
	if err == nil || !strings.Contains(err.Error(), "nowhere") || strings.Contains(err.Error(), "\n") {
		t.Errorf("want the inventory's error alone, got %v", err)
	}
	if text := errs.String(); !strings.HasSuffix(text, "\nwarning: sync feed: osv/npm: the feed has no such file\n") { // below the progress
		t.Errorf("of the feed it says %q", text)
	}
}

func writeArchive(t *testing.T, path string, records map[string]string) {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for id, text := range records {
		f, err := w.Create(id + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestFeedsAreShownWithoutCredentials: they stand in feeds.yaml, and nowhere else.
func TestFeedsAreShownWithoutCredentials(t *testing.T) {
	for _, form := range []format{"", "json", "yaml"} {
		var out bytes.Buffer
		env := &Env{Out: &out, Err: &out, Home: t.TempDir(), Getenv: func(string) string { return "" }, format: form}
		err := changeFeeds(env, func([]feed.Feed) ([]feed.Feed, error) {
			return []feed.Feed{
				{Name: "osv", Kind: feed.OSV, URL: "https://me:hidden@mirror.example.com/osv?token=hidden", Ecosystems: []string{"Go"}},
				{Name: "debian", Kind: feed.Debian, Mirrors: map[string]string{"trixie": "https://me:hidden@mirror.example.com/debian"}},
			}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if text := out.String(); strings.Contains(text, "hidden") || !strings.Contains(text, "mirror.example.com/osv") {
			t.Errorf("-o %q prints\n%s", form, text)
		}
		if info, err := os.Stat(env.feedsFile()); err != nil || info.Mode() != 0o600 {
			t.Errorf("others may read it: %v, %v", info.Mode(), err)
		}
		kept, _, err := feed.Load(env.feedsFile())
		if err != nil || len(kept) != 2 || !strings.Contains(kept[0].URL, "me:hidden@") || !strings.Contains(kept[1].Mirrors["trixie"], "me:hidden@") {
			t.Errorf("kept are %+v, %v", kept, err)
		}
	}
}
