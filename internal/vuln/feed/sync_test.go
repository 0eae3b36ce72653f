package feed

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
)

func TestReadsFoldersAndServers(t *testing.T) {
	records := some(30)
	e := newExport(t, records)
	for _, url := range []string{e.dir, "file://" + e.dir, e.serve(t, nil).URL, e.serve(t, nil).URL + "/"} {
		s := newSite(t, url)
		s.mustSync(t)
		if diff := cmp.Diff(records, s.have(t)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", url, diff)
		}
		got := s.status()
		want := Status{
			Feed: "test", Kind: OSV, Part: "Go", URL: url, Records: 30, Digest: got.Digest,
			Newest: day(1), Synced: day(20), Age: 24 * time.Hour,
		}
		if diff := cmp.Diff(want, got); diff != "" || len(got.Digest) != 64 {
			t.Errorf("%s: status: -want +got:\n%s", url, diff)
		}
		if diff := cmp.Diff([]string{"Go/records-1.zst", "Go/state.json", "lock"}, s.files(t)); diff != "" {
			t.Errorf("%s: files: -want +got:\n%s", url, diff)
		}
	}
}

func TestFetchesOnlyWhatChanged(t *testing.T) {
	records := some(30)
	e := newExport(t, records)
	web := e.serve(t, nil)
	s := newSite(t, web.URL)
	steps := []struct {
		name   string
		change func()
		asked  []string
	}{
		{"all of it", func() {}, []string{"GET /Go/all.zip 200"}},
		{"the list, once", func() {}, []string{"GET /Go/modified_id.csv 200"}},
		{"nothing", func() {}, []string{"GET /Go/modified_id.csv 304"}},
		{"one changed, one new", func() {
			records["T-0007"], records["T-0099"] = record("T-0007", 3), record("T-0099", 4)
			e.write(t, records)
		}, []string{"GET /Go/T-0007.json 200", "GET /Go/T-0099.json 200", "GET /Go/modified_id.csv 200"}},
		{"too many for single files", func() {
			for id := range some(80) {
				records[id] = record(id, 5)
			}
			e.write(t, records)
		}, []string{"GET /Go/all.zip 200", "GET /Go/modified_id.csv 200"}},
		{"a list that lacks one of ours is no list of changes", func() {
			delete(records, "T-0003")
			e.write(t, records)
		}, []string{"GET /Go/all.zip 200", "GET /Go/modified_id.csv 200"}},
		{"a feed without a list", func() {
			e.remove(t, "Go/modified_id.csv")
		}, []string{"GET /Go/all.zip 304", "GET /Go/modified_id.csv 404"}},
	}
	for _, step := range steps {
		step.change()
		s.mustSync(t)
		asked, _ := web.took()
		if diff := cmp.Diff(step.asked, asked); diff != "" {
			t.Errorf("%s: asked: -want +got:\n%s", step.name, diff)
		}
		if diff := cmp.Diff(records, s.have(t)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", step.name, diff)
		}
	}
}

func TestDigestIsOfTheRecords(t *testing.T) {
	records := some(3)
	e := newExport(t, records)
	a, b := newSite(t, e.dir), newSite(t, e.dir)
	a.mustSync(t)
	b.mustSync(t)
	if a.status().Digest != b.status().Digest {
		t.Error("the same records have two digests")
	}
	records["T-0001"] = record("T-0001", 2)
	e.write(t, records)
	b.mustSync(t)
	if a.status().Digest == b.status().Digest {
		t.Error("other records have the same digest")
	}
}

func TestSingleRecordsNeverGoBack(t *testing.T) {
	records := some(30)
	records["T-0005"] = record("T-0005", 9)
	e := newExport(t, records)
	e.remove(t, "Go/modified_id.csv")
	s := newSite(t, e.dir)
	s.mustSync(t)

	records["T-0005"], records["T-0006"] = record("T-0005", 2), record("T-0006", 10)
	e.write(t, records)
	s.mustSync(t)
	got := s.have(t)
	if fixed := got["T-0005"].Affected[0].Ranges[0].Events[1].Fixed; fixed != "1.9.0" {
		t.Errorf("an older record took the place of a newer: fixed in %s", fixed)
	}
	if !got["T-0006"].Modified.Equal(day(10)) {
		t.Error("the rest was not taken")
	}
}

func TestKeepsWhatCannotBeRead(t *testing.T) {
	records := some(30)
	e := newExport(t, records)
	s := newSite(t, e.dir)
	s.mustSync(t)

	broken := some(30)
	broken["T-0004"].Affected[0].Ranges[0].Type = "CALVER"
	broken["T-0029"].Affected[0].Ranges[0].Type = "CALVER"
	broken["T-0099"] = record("T-0099", 2)
	e.write(t, broken)
	e.remove(t, "Go/modified_id.csv")
	s.mustSync(t)

	records["T-0099"] = broken["T-0099"]
	if diff := cmp.Diff(records, s.have(t)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := s.status(); got.Rejected != 2 || !strings.Contains(got.RejectedWhy, "T-0004") {
		t.Errorf("want two rejected, the first T-0004; got %d, %q", got.Rejected, got.RejectedWhy)
	}
}

// TestResumes breaks each answer off after a third of the archive.
func TestResumes(t *testing.T) {
	t.Parallel()
	records := some(400)
	e := newExport(t, records)
	info, err := os.Stat(filepath.Join(e.dir, "Go/all.zip"))
	if err != nil {
		t.Fatal(err)
	}
	web := e.serve(t, breakOff(info.Size()/3))
	s := newSite(t, web.URL)
	s.mustSync(t)
	if diff := cmp.Diff(records, s.have(t)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	asked, sent := web.took()
	if len(asked) < 3 || !slices.Contains(asked, "GET /Go/all.zip 206") {
		t.Errorf("it was not resumed: %q", asked)
	}
	if sent > info.Size() {
		t.Errorf("%d bytes were fetched for %d", sent, info.Size())
	}
}

// TestResumesInTheNextSync breaks off for good, then serves the rest, then another version.
func TestResumesInTheNextSync(t *testing.T) {
	t.Parallel()
	records := some(400)
	e := newExport(t, records)
	info, err := os.Stat(filepath.Join(e.dir, "Go/all.zip"))
	if err != nil {
		t.Fatal(err)
	}
	broken := e.serve(t, breakOff(info.Size()/20))
	s := newSite(t, broken.URL)
	if err := s.sync(t); err == nil {
		t.Fatal("a broken feed was read")
	}
	_, first := broken.took()

	broken.Close()
	whole := e.serve(t, nil)
	s.feed.URL = whole.URL
	s.mustSync(t)
	if _, rest := whole.took(); rest+first > info.Size() {
		t.Errorf("%d bytes and then %d were fetched for %d", first, rest, info.Size())
	}

	again := newSite(t, e.serve(t, breakOff(info.Size()/20)).URL)
	if err := again.sync(t); err == nil {
		t.Fatal("a broken feed was read")
	}
	records["T-0001"] = record("T-0001", 2)
	e.write(t, records)
	again.feed.URL = whole.URL
	again.mustSync(t)
	if diff := cmp.Diff(records, again.have(t)); diff != "" {
		t.Errorf("two versions were put together: -want +got:\n%s", diff)
	}
}

// breakOff ends each answer of an archive after limit bytes.
func breakOff(limit int64) func(http.Handler) http.Handler {
	return func(files http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, ".zip") {
				w = &breaker{ResponseWriter: w, left: limit}
			}
			files.ServeHTTP(w, r)
		})
	}
}

type breaker struct {
	http.ResponseWriter
	left int64
}

func (b *breaker) Write(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		if _, err := b.ResponseWriter.Write(p[:b.left]); err != nil {
			return 0, err
		}
		_ = http.NewResponseController(b.ResponseWriter).Flush() // what was sent is to arrive
		panic(http.ErrAbortHandler)
	}
	b.left -= int64(len(p))
	return b.ResponseWriter.Write(p)
}

// Unwrap lets the response controller through.
func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func TestStopsWhenAsked(t *testing.T) {
	records := some(30)
	e := newExport(t, records)
	s := newSite(t, e.dir)
	s.mustSync(t)
	records["T-0001"] = record("T-0001", 2)
	e.write(t, records)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := s.status()
	if err := s.Sync(ctx, []Feed{s.feed}, s.options); fault.KindOf(err) != fault.Canceled {
		t.Errorf("want it canceled, got %v", err)
	}
	if diff := cmp.Diff(before, s.status()); diff != "" {
		t.Errorf("the feed is said to have failed: -before +after:\n%s", diff)
	}
	if got := s.have(t)["T-0001"]; !got.Modified.Equal(day(1)) {
		t.Error("a part of the sync came to count")
	}
	s.mustSync(t)
}

// TestReadersNeverSeeAPart reads while the feed changes between two states.
func TestReadersNeverSeeAPart(t *testing.T) {
	t.Parallel()
	e := newExport(t, some(50))
	s := newSite(t, e.dir)
	s.mustSync(t)
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				seen := map[time.Time]int{}
				for r, err := range s.Advisories(s.feed) {
					if err != nil {
						t.Error(err)
						return
					}
					seen[r.Modified]++
				}
				if len(seen) != 1 {
					t.Errorf("records of %d states at once: %v", len(seen), seen)
					return
				}
			}
		})
	}
	for n := 2; n < 6; n++ {
		all := some(50)
		for id := range all {
			all[id] = record(id, n)
		}
		e.write(t, all)
		s.mustSync(t)
	}
	close(done)
	readers.Wait()
}

func TestSweepsWhatKilledOnesLeft(t *testing.T) {
	e := newExport(t, some(5))
	s := newSite(t, e.dir)
	s.mustSync(t)
	old := time.Now().Add(-48 * time.Hour)
	for _, name := range []string{"records-77.zst", ".aside-1"} {
		path := filepath.Join(s.folder(s.feed), "Go", name)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	s.mustSync(t)
	if diff := cmp.Diff([]string{"Go/records-1.zst", "Go/state.json", "lock"}, s.files(t)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDamageIsFoundAndMended(t *testing.T) {
	records := some(300)
	e := newExport(t, records)
	s := newSite(t, e.dir)
	s.mustSync(t)
	path := filepath.Join(s.folder(s.feed), "Go", "records-1.zst")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 0x40
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	var found error
	for _, err := range s.Advisories(s.feed) {
		found = err
	}
	if found == nil {
		t.Fatal("damage was read as records")
	}
	records["T-0001"] = record("T-0001", 2)
	e.write(t, records)
	s.mustSync(t)
	if diff := cmp.Diff(records, s.have(t)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSecretsStayIn(t *testing.T) {
	e := newExport(t, some(5))
	web := e.serve(t, nil)
	s := newSite(t, strings.Replace(web.URL, "http://", "http://me:hunter2@", 1))
	s.mustSync(t)
	e.remove(t, "Go")
	err := s.sync(t)
	if err == nil {
		t.Fatal("it is gone, and was read")
	}
	web.Close()
	away := s.sync(t)
	state, readErr := os.ReadFile(filepath.Join(s.folder(s.feed), "Go", "state.json"))
	if readErr != nil {
		t.Fatal(readErr)
	}
	for _, text := range []string{err.Error(), away.Error(), string(state), s.status().URL, s.status().Error} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("the password is in %q", text)
		}
	}
}

func TestAdvisoriesOfNothing(t *testing.T) {
	s := newSite(t, "/nowhere")
	for range s.Advisories(s.feed) {
		t.Error("a feed that was never synced has records")
	}
	want := Status{Feed: "test", Kind: OSV, Part: "Go", URL: "/nowhere"}
	if diff := cmp.Diff(want, s.status()); diff != "" {
		t.Errorf("status: -want +got:\n%s", diff)
	}
}
