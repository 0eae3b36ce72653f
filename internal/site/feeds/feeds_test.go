package feeds

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/inventory/query"
	"plimsoll.dev/plimsoll/internal/site/home"
)

func open(t *testing.T, folder string, o home.Options) *home.Home {
	t.Helper()
	h := home.New(folder, nil, o)
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func sync(t *testing.T, h *home.Home) error {
	t.Helper()
	f, err := Open(h)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Sync(t.Context(), SyncOptions{})
	return err
}

// TestSyncIsCompletedByTheNext: a new database whose match fails is matched by the next sync,
// though no feed has changed since.
func TestSyncIsCompletedByTheNext(t *testing.T) {
	folder, osv := t.TempDir(), t.TempDir()
	address := ""
	h := open(t, folder, home.Options{Getenv: func(string) string { return address }})
	config := fmt.Sprintf("feeds:\n- {name: osv, kind: osv, url: %s, ecosystems: [PyPI]}\n", osv)
	if err := os.WriteFile(filepath.Join(folder, "feeds.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	update := func(fixed ...string) error {
		records := map[string]string{}
		for i, version := range fixed {
			id := fmt.Sprintf("CVE-2026-%04d", i+1)
			records[id] = fmt.Sprintf(`{"id":%q,"modified":"2026-01-0%dT00:00:00Z","affected":[{"package":{"ecosystem":"PyPI","name":"pyyaml"},`+
				`"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":%q}]}]}]}`, id, i+1, version)
		}
		writeArchive(t, filepath.Join(osv, "PyPI", "all.zip"), records)
		return sync(t, h)
	}
	affected := func() int {
		t.Helper()
		index, err := h.Inventory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
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
	if err := update("1.0"); err != nil {
		t.Fatal(err)
	}
	image := inventory.Image{Reference: "shop:1", Contents: artifact.Contents{
		Image: "sha256:" + strings.Repeat("a", 64), Platform: "linux/amd64", Layers: []string{"sha256:" + strings.Repeat("b", 64)},
		Packages: []artifact.Package{{Type: "pypi", Name: "PyYAML", Version: "2.0", Layer: "sha256:" + strings.Repeat("b", 64)}},
	}}
	if err := Put(t.Context(), h, image); err != nil {
		t.Fatal(err)
	}
	if n := affected(); n != 0 {
		t.Fatalf("%d findings before there is an advisory", n)
	}
	address = "sqlite:" + filepath.Join(folder, "feeds.yaml", "nowhere")
	if err := update("1.0", "3.0"); err == nil {
		t.Fatal("the inventory could not be opened, and nobody said so")
	}
	address = ""
	if err := update("1.0", "3.0"); err != nil {
		t.Fatal(err)
	}
	if n := affected(); n != 1 {
		t.Errorf("%d findings, want the one of the sync that failed", n)
	}
	if err := update("1.0", "3.0", "4.0"); err != nil {
		t.Fatal(err)
	}
	if n := affected(); n != 2 {
		t.Errorf("%d findings, want that of the newest record too", n)
	}
}

// TestOthersMatch: of two homes with one inventory the one whose advisories are old, or none, leaves what
// is new to the other.
func TestOthersMatch(t *testing.T) {
	folder, osv := t.TempDir(), t.TempDir()
	leads := open(t, folder, home.Options{})
	config := fmt.Sprintf("feeds:\n- {name: osv, kind: osv, url: %s, ecosystems: [PyPI]}\n", osv)
	if err := os.WriteFile(leads.FeedsFile(), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	writeArchive(t, filepath.Join(osv, "PyPI", "all.zip"), map[string]string{
		"CVE-2026-0001": `{"id":"CVE-2026-0001","modified":"2026-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"PyPI","name":"pyyaml"},` +
			`"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]}]}`,
	})
	if err := sync(t, leads); err != nil {
		t.Fatal(err)
	}
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	others := true
	follows := open(t, old, home.Options{Getenv: func(string) string { return leads.InventoryAddress() }}).MatchedByOthers(func() bool { return others })
	put := func(version string) {
		t.Helper()
		image := inventory.Image{Reference: "shop:1", Contents: artifact.Contents{
			Image: "sha256:" + strings.Repeat(version, 64), Platform: "linux/amd64", Layers: []string{"sha256:" + strings.Repeat(version, 64)},
			Packages: []artifact.Package{{Type: "pypi", Name: "PyYAML", Version: version, Layer: "sha256:" + strings.Repeat(version, 64)}},
		}}
		if err := Put(t.Context(), follows, image); err != nil {
			t.Fatal(err)
		}
	}
	unmatched := func(want int64) {
		t.Helper()
		index, err := leads.Inventory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if stats, err := index.Stats(t.Context()); err != nil || stats.Unmatched != want {
			t.Errorf("%d packages wait, %v; want %d", stats.Unmatched, err, want)
		}
	}
	put("1")
	unmatched(1)
	if err := Match(t.Context(), leads); err != nil {
		t.Fatal(err)
	}
	unmatched(0)
	others = false // it leads now
	put("2")
	unmatched(0)
}

// TestScoresAreKeptCurrent: what is known of an image has the EPSS scores of the last sync,
// though no package has changed by it.
func TestScoresAreKeptCurrent(t *testing.T) {
	folder, files := t.TempDir(), t.TempDir()
	h := open(t, folder, home.Options{})
	config := fmt.Sprintf("feeds:\n- {name: osv, kind: osv, url: %s, ecosystems: [PyPI]}\n- {name: epss, kind: epss, url: %s/epss.csv}\n", files, files)
	if err := os.WriteFile(h.FeedsFile(), []byte(config), 0o600); err != nil {
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
	if err := Put(t.Context(), h, image); err != nil {
		t.Fatal(err)
	}
	for day, score := range []string{"0.1", "0.9", "0.2"} {
		text := fmt.Sprintf("#model_version:v1,score_date:2026-01-0%dT00:00:00+0000\ncve,epss,percentile\nCVE-2026-0001,%s,0.5\n", day+1, score)
		if err := os.WriteFile(filepath.Join(files, "epss.csv"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := sync(t, h); err != nil {
			t.Fatal(err)
		}
		index, err := h.Inventory(t.Context())
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
	}
}

// TestTwoFailuresAreTwoLines: the second is the error, of one line, and the first a warning.
func TestTwoFailuresAreTwoLines(t *testing.T) {
	folder, osv := t.TempDir(), t.TempDir()
	var said []string
	h := open(t, folder, home.Options{
		Getenv: func(string) string { return "sqlite:" + filepath.Join(folder, "feeds.yaml", "nowhere") },
		Warn:   func(line, _ string) { said = append(said, line) },
	})
	config := fmt.Sprintf("feeds:\n- {name: osv, kind: osv, url: %s, ecosystems: [PyPI, npm]}\n", osv)
	if err := os.WriteFile(h.FeedsFile(), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	writeArchive(t, filepath.Join(osv, "PyPI", "all.zip"), map[string]string{"CVE-2026-0001": `{"id":"CVE-2026-0001","modified":"2026-01-01T00:00:00Z"}`})
	err := sync(t, h)
	if err == nil || !strings.Contains(err.Error(), "nowhere") || strings.Contains(err.Error(), "\n") {
		t.Errorf("want the inventory's error alone, got %v", err)
	}
	if diff := cmp.Diff([]string{"sync feed: osv/npm: the feed has no such file"}, said); diff != "" {
		t.Errorf("of the feed it says (-want +got)\n%s", diff)
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
