package feed

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

// day is a day of January 2026.
func day(n int) time.Time { return time.Date(2026, 1, n, 12, 0, 0, 0, time.UTC) }

// record is a sound one, modified on the day.
func record(id string, n int) *osv.Record {
	return &osv.Record{ID: id, Modified: day(n), Affected: []osv.Affected{{
		Package: osv.Package{Ecosystem: "Go", Name: "example.com/" + strings.ToLower(id)},
		Ranges:  []osv.Range{{Type: osv.SEMVER, Events: []osv.Event{{Introduced: "0"}, {Fixed: fmt.Sprintf("1.%d.0", n)}}}},
	}}}
}

// some gives n records, modified on day 1.
func some(n int) map[string]*osv.Record {
	all := map[string]*osv.Record{}
	for i := range n {
		r := record(fmt.Sprintf("T-%04d", i), 1)
		all[r.ID] = r
	}
	return all
}

// export is a folder laid out as the public export is.
type export struct{ dir string }

func newExport(t testing.TB, records map[string]*osv.Record) *export {
	e := &export{t.TempDir()}
	e.write(t, records)
	return e
}

// write writes all.zip, the list of changes and the records of the ecosystem Go.
func (e *export) write(t testing.TB, records map[string]*osv.Record) {
	t.Helper()
	files, changes := map[string][]byte{}, ""
	for _, id := range slices.Sorted(maps.Keys(records)) {
		text, err := json.Marshal(records[id])
		if err != nil {
			t.Fatal(err)
		}
		files[id+".json"] = text
		changes += records[id].Modified.Format(time.RFC3339Nano) + "," + id + "\n"
		e.put(t, "Go/"+id+".json", text)
	}
	e.put(t, "Go/all.zip", zipOf(t, files))
	e.put(t, "Go/modified_id.csv", []byte(changes))
}

// put writes a file that no server takes for the one before.
func (e *export) put(t testing.TB, name string, text []byte) {
	t.Helper()
	path := filepath.Join(e.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	if info, err := os.Stat(path); err == nil {
		at = info.ModTime().Add(2 * time.Second)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func (e *export) remove(t testing.TB, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(e.dir, name)); err != nil {
		t.Fatal(err)
	}
}

func zipOf(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		addFile(t, w, name, files[name])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func addFile(t testing.TB, w *zip.Writer, name string, text []byte) {
	t.Helper()
	f, err := w.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(text); err != nil {
		t.Fatal(err)
	}
}

// server serves the export and remembers what it was asked.
type server struct {
	*httptest.Server

	mu    sync.Mutex
	asked []string // "GET /Go/all.zip 200"
	sent  int64    // bytes of bodies
}

func (e *export) serve(t testing.TB, wrap func(http.Handler) http.Handler) *server {
	s := &server{}
	var files http.Handler = http.FileServer(http.Dir(e.dir))
	if wrap != nil {
		files = wrap(files)
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		counted := &counter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.asked = append(s.asked, fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, counted.status))
			s.sent += counted.sent
		}()
		files.ServeHTTP(counted, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// took gives what was asked since the last time, sorted, and the bytes sent for it.
func (s *server) took() ([]string, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked, sent := s.asked, s.sent
	s.asked, s.sent = nil, 0
	slices.Sort(asked)
	return asked, sent
}

// counter counts what a handler writes.
type counter struct {
	http.ResponseWriter
	status int
	sent   int64
}

func (c *counter) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.sent += int64(n)
	return n, err
}

// site is one that syncs a feed.
type site struct {
	*Store
	feed    Feed
	options Options
}

func newSite(t testing.TB, url string) *site {
	return &site{
		Store:   Open(filepath.Join(t.TempDir(), "advisories")),
		feed:    Feed{Name: "test", Kind: OSV, URL: url, Ecosystems: []string{"Go"}},
		options: Options{Agent: "test", Now: func() time.Time { return day(20) }},
	}
}

func (s *site) sync(t testing.TB) error {
	return s.Sync(t.(*testing.T).Context(), []Feed{s.feed}, s.options)
}

func (s *site) mustSync(t testing.TB) {
	t.Helper()
	if err := s.sync(t); err != nil {
		t.Fatal(err)
	}
}

func (s *site) status() Status { return s.Status([]Feed{s.feed}, day(21))[0] }

// have gives the records by id.
func (s *site) have(t testing.TB) map[string]*osv.Record {
	t.Helper()
	all := map[string]*osv.Record{}
	for r, err := range s.Advisories(s.feed) {
		if err != nil {
			t.Fatal(err)
		}
		all[r.ID] = r
	}
	return all
}

// files lists what lies in the feed's folder.
func (s *site) files(t testing.TB) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(s.folder(s.feed), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, strings.TrimPrefix(path, s.folder(s.feed)+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
