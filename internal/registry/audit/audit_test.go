package audit_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/keys"
	"plimsoll.dev/plimsoll/internal/registry/audit"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

func signer(t testing.TB) *keys.Signer {
	t.Helper()
	t.Setenv("COSIGN_PASSWORD", "")
	s, err := keys.New(keys.Options{}).Generate(t.Context(), filepath.Join(t.TempDir(), "audit.key"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t testing.TB, dir string, o audit.Options) *audit.Log {
	t.Helper()
	l, err := audit.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func push(i int) *call.Record {
	return &call.Record{
		Time: time.Now(), Method: http.MethodPut, Path: "/v2/team/app/manifests/v1", Status: http.StatusCreated,
		Endpoint: call.Endpoint{Kind: call.KindManifest, Repository: "team/app", Reference: fmt.Sprint("v", i)},
		Client:   "192.0.2.1", Principal: "robot+ci", Digest: "sha256:" + strings.Repeat("a", 64), Tags: []string{fmt.Sprint("v", i)},
	}
}

// written gives a closed log of n pushes in segments of a few records each.
func written(t testing.TB, s *keys.Signer, n int) string {
	t.Helper()
	dir := t.TempDir()
	o := audit.Options{CheckpointEvery: 3, SegmentBytes: 2500}
	if s != nil {
		o.Signer = s
	}
	for i := range n { // a new log each time: batches of one, so that segments end
		l, err := audit.Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		l.Hear(push(i))
		if i < n-1 {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := l.Append(t.Context(), audit.Entry{Action: audit.ActionRetention, Outcome: audit.Done, Repository: "team/old"}); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func verify(t testing.TB, dir string, o audit.VerifyOptions) audit.Report {
	t.Helper()
	report, err := audit.Verify(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func segments(t testing.TB, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "audit-*.jsonl"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	return found
}

func TestKeepsWhatMatters(t *testing.T) {
	manifest := call.Endpoint{Kind: call.KindManifest, Repository: "team/app", Reference: "v1"}
	blob := call.Endpoint{Kind: call.KindBlob, Repository: "team/app", Reference: "sha256:b"}
	upload := call.Endpoint{Kind: call.KindUpload, Repository: "team/app", Reference: "id"}
	cases := []struct {
		name   string
		record call.Record
		reads  audit.Reads
		want   []string // action and outcome
	}{
		{"push", call.Record{Method: "PUT", Endpoint: manifest, Status: 201}, "none", []string{"push done"}},
		{"push refused", call.Record{Method: "PUT", Endpoint: manifest, Status: 403}, "none", []string{"push refused"}},
		{"push of something broken", call.Record{Method: "PUT", Endpoint: manifest, Status: 400}, "none", []string{"push failed"}},
		{"upload ends", call.Record{Method: "PUT", Endpoint: upload, Status: 201}, "none", []string{"upload done"}},
		{"upload goes on", call.Record{Method: "PATCH", Endpoint: upload, Status: 202}, "none", nil},
		{"delete", call.Record{Method: "DELETE", Endpoint: manifest, Status: 202}, "none", []string{"delete done"}},
		{"pull refused", call.Record{Method: "GET", Endpoint: blob, Status: 403, Verdict: "deny"}, "none", []string{"pull refused"}},
		{"too many pulls", call.Record{Method: "GET", Endpoint: blob, Status: 429}, "none", []string{"pull refused"}},
		{"asked who one is", call.Record{Method: "GET", Path: "/v2/", Status: 401}, "none", nil},
		{"wrong password", call.Record{Method: "GET", Path: "/v2/", Status: 401, Why: "wrong password"}, "none", []string{"login refused"}},
		{"token", call.Record{Method: "GET", Path: "/token", Status: 200, Principal: "ann"}, "none", []string{"login done"}},
		{"metrics", call.Record{Method: "GET", Path: "/metrics", Status: 200}, "all", nil},
		{"pull", call.Record{Method: "GET", Endpoint: manifest, Status: 200, Digest: "sha256:a"}, "none", nil},
		{"first pull", call.Record{Method: "GET", Endpoint: manifest, Status: 200, Digest: "sha256:a"}, "first", []string{"pull done"}},
		{"blob", call.Record{Method: "GET", Endpoint: blob, Status: 200, Digest: "sha256:b"}, "first", nil},
		{"every blob", call.Record{Method: "GET", Endpoint: blob, Status: 200, Digest: "sha256:b"}, "all", []string{"pull done", "pull done"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir, audit.Options{Reads: c.reads})
			c.record.Time = time.Now()
			l.Hear(&c.record)
			if c.reads == "first" || c.reads == "all" {
				l.Hear(&c.record) // again
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			var got []string
			err := audit.Read(t.Context(), dir, audit.Filter{}, func(e *audit.Entry, _ []byte) error {
				got = append(got, string(e.Action)+" "+string(e.Outcome))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFilters(t *testing.T) {
	dir := written(t, nil, 4)
	for _, c := range []struct {
		filter audit.Filter
		want   int
	}{
		{audit.Filter{}, 5},
		{audit.Filter{Principal: "robot+ci"}, 4},
		{audit.Filter{Principal: "ann"}, 0},
		{audit.Filter{Repository: "team/o*"}, 1},
		{audit.Filter{Repository: "**"}, 5},
		{audit.Filter{Refused: true}, 0},
		{audit.Filter{Since: time.Now().Add(time.Hour)}, 0},
		{audit.Filter{Until: time.Now().Add(time.Hour)}, 5},
	} {
		n := 0
		if err := audit.Read(t.Context(), dir, c.filter, func(*audit.Entry, []byte) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		if n != c.want {
			t.Errorf("%+v takes %d records, want %d", c.filter, n, c.want)
		}
	}
}

// What an attacker may do to a log's files, and that it shows at the first line that is wrong.
func TestVerifyShowsMeddling(t *testing.T) {
	s := signer(t)
	whole := written(t, s, 12)
	names := segments(t, whole)
	if len(names) < 3 {
		t.Fatalf("want three segments at least, got %d", len(names))
	}
	trusted := []crypto.PublicKey{s.PublicKey()}
	if report := verify(t, whole, audit.VerifyOptions{Keys: trusted}); !report.Holds || report.Open != 0 || report.First != 1 {
		t.Fatalf("an untouched log: %+v", report)
	}
	edit := func(file int, change func(lines [][]byte) [][]byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := segments(t, dir)[file]
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines := change(bytes.SplitAfter(text, []byte("\n")))
			if err := os.WriteFile(path, bytes.Join(lines, nil), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name func(dir string) string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(name(dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
	const anyLine = -1 // it depends on the signatures' lengths where the segment ends
	cases := []struct {
		name   string
		meddle func(t *testing.T, dir string)
		line   int    // that is named; 0: none can be
		why    string // part of it
	}{
		{"edited", edit(1, func(l [][]byte) [][]byte {
			l[1] = bytes.Replace(l[1], []byte("robot+ci"), []byte("robot+xx"), 1)
			return l
		}), 3, "does not follow"},
		{"deleted", edit(1, func(l [][]byte) [][]byte { return append(l[:1:1], l[2:]...) }), 2, "lines were removed"},
		{"inserted", edit(1, func(l [][]byte) [][]byte {
			return append(append(l[:2:2], bytes.Replace(l[1], []byte("team/app"), []byte("team/abc"), 1)), l[2:]...)
		}), 3, "put in"},
		{"reordered", edit(1, func(l [][]byte) [][]byte { l[1], l[2] = l[2], l[1]; return l }), 2, "moved"},
		{"no record", edit(1, func(l [][]byte) [][]byte { l[1] = []byte("{}}\n"); return l }), 2, "no record"},
		{"field added", edit(1, func(l [][]byte) [][]byte {
			l[1] = bytes.Replace(l[1], []byte(`{"seq"`), []byte(`{"x":1,"seq"`), 1)
			return l
		}), 2, "no record"},
		{"endless line", edit(1, func(l [][]byte) [][]byte { l[1] = bytes.Repeat([]byte("x"), 1<<20); return l }), 2, "longer"},
		{"torn in the middle", edit(1, func(l [][]byte) [][]byte { return append(l, []byte("x")) }), anyLine, "not whole"},
		{"tail truncated", edit(len(names)-1, func(l [][]byte) [][]byte { return l[:1] }), 0, "newest checkpoint"},
		{"tail truncated in a line", edit(len(names)-1, func(l [][]byte) [][]byte {
			l[len(l)-2] = l[len(l)-2][:20]
			return l
		}), 0, "newest checkpoint"},
		{"last segment removed", remove(func(dir string) string { n := segments(t, dir); return n[len(n)-1] }), 0, "newest checkpoint"},
		{"segment removed", remove(func(dir string) string { return segments(t, dir)[1] }), 1, "missing"},
		{"first segment removed", remove(func(dir string) string { return segments(t, dir)[0] }), 1, "missing"},
		{"newest checkpoint removed", remove(func(dir string) string { return filepath.Join(dir, "head") }), 0, "no signed checkpoint"},
		{"written anew", func(t *testing.T, dir string) { rewrite(t, dir, signer(t)) }, 1, "no trusted key"},
		{"written anew without signatures", func(t *testing.T, dir string) { rewrite(t, dir, nil) }, 1, "no trusted key"},
		{"segment of another log", func(t *testing.T, dir string) {
			other, err := os.ReadFile(segments(t, written(t, s, 12))[1])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(segments(t, dir)[1], other, 0o600); err != nil {
				t.Fatal(err)
			}
		}, 1, "does not follow"},
		{"a checkpoint's time changed", edit(1, func(l [][]byte) [][]byte {
			l[0] = bytes.Replace(l[0], []byte(`"time":"2`), []byte(`"time":"1`), 1)
			return l
		}), 1, "no trusted key"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			c.meddle(t, dir)
			report := verify(t, dir, audit.VerifyOptions{Keys: trusted})
			if report.Holds || report.Wrong == nil {
				t.Fatalf("it holds: %+v", report)
			}
			if !strings.Contains(report.Wrong.Why, c.why) || c.line != anyLine && report.Wrong.Line != c.line {
				t.Errorf("got line %d: %v, want line %d: …%s…", report.Wrong.Line, report.Wrong, c.line, c.why)
			}
		})
	}
}

// rewrite makes the log anew as somebody without the key would: hashes right, another story.
func rewrite(t *testing.T, dir string, s *keys.Signer) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(written(t, s, 12))); err != nil {
		t.Fatal(err)
	}
}

func TestCheckpointKeptElsewhereShowsASetBackLog(t *testing.T) {
	s := signer(t)
	dir, before := t.TempDir(), filepath.Join(t.TempDir(), "before")
	var kept []audit.Checkpoint
	o := audit.Options{Signer: s, CheckpointEvery: 2, Checkpointed: func(c audit.Checkpoint) { kept = append(kept, c) }}
	write := func(n int) {
		l := open(t, dir, o)
		for i := range n {
			l.Hear(push(i))
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write(5)
	if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	write(5)
	for _, c := range kept {
		if report := verify(t, dir, audit.VerifyOptions{Keys: []crypto.PublicKey{s.PublicKey()}, Contains: &c}); !report.Holds {
			t.Errorf("it does not hold %+v: %v", c, report.Wrong)
		}
	}
	newest := kept[len(kept)-1]
	if report := verify(t, before, audit.VerifyOptions{}); !report.Holds {
		t.Fatalf("by itself the old folder should hold: %v", report.Wrong)
	}
	if report := verify(t, before, audit.VerifyOptions{Contains: &newest}); report.Holds {
		t.Error("the set back log holds a checkpoint that was made later")
	}
}

func TestArchivedBeginning(t *testing.T) {
	s := signer(t)
	dir := written(t, s, 12)
	if err := os.Remove(segments(t, dir)[0]); err != nil {
		t.Fatal(err)
	}
	o := audit.VerifyOptions{Keys: []crypto.PublicKey{s.PublicKey()}, Archived: true}
	if report := verify(t, dir, o); !report.Holds || report.First == 1 {
		t.Errorf("%+v: %v", report, report.Wrong)
	}
	open(t, dir, audit.Options{Signer: s})
}

// A line that a killed writer left is cut off and told, whatever it is.
func TestTornLine(t *testing.T) {
	for _, left := range []string{"x", `{"seq":9`, strings.Repeat("\x00", 4096), strings.Repeat("y", 1<<20)} {
		dir := written(t, nil, 3)
		names := segments(t, dir)
		f, err := os.OpenFile(names[len(names)-1], os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, left)
		f.Close()
		if len(left) < 1<<20 { // a longer one is no torn line before it is cut off
			if report := verify(t, dir, audit.VerifyOptions{}); !report.Holds || report.Torn != int64(len(left)) {
				t.Errorf("%+v: %v", report, report.Wrong)
			}
		}
		l := open(t, dir, audit.Options{})
		l.Hear(push(9))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		told := ""
		err = audit.Read(t.Context(), dir, audit.Filter{}, func(e *audit.Entry, _ []byte) error {
			if e.Action == audit.ActionRecovered {
				told = e.Why
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%d bytes", len(left)); !strings.HasPrefix(told, want) {
			t.Errorf("it tells %q, want %q", told, want)
		}
		if report := verify(t, dir, audit.VerifyOptions{}); !report.Holds || report.Torn != 0 {
			t.Errorf("%+v: %v", report, report.Wrong)
		}
	}
}

func TestSegmentThatNeverGotALine(t *testing.T) {
	dir := written(t, nil, 3)
	for _, name := range []string{"audit-00000000000000000099.jsonl"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, dir, audit.Options{})
	l.Hear(push(1))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if report := verify(t, dir, audit.VerifyOptions{}); !report.Holds {
		t.Error(report.Wrong)
	}
}

func TestRefusesToGoOnAfterTruncation(t *testing.T) {
	dir := written(t, nil, 12)
	names := segments(t, dir)
	if err := os.Remove(names[len(names)-1]); err != nil {
		t.Fatal(err)
	}
	_, err := audit.Open(dir, audit.Options{})
	if fault.KindOf(err) != fault.Denied {
		t.Errorf("got %v, want it denied", err)
	}
}

// While records cannot be written, nothing may be changed; what was recorded comes when they can.
func TestDoorWhileTheLogCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{})
	door := l.Door(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }))
	ask := func(method string) int {
		w := httptest.NewRecorder()
		door.ServeHTTP(w, httptest.NewRequest(method, "/v2/team/app/manifests/v1", nil))
		return w.Code
	}
	if got := ask("PUT"); got != 201 {
		t.Fatalf("a log that can be written lets nothing through: %d", got)
	}
	// A log of which the end is gone is one.
	segment := segments(t, dir)[0]
	text, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(segment, 3); err != nil {
		t.Fatal(err)
	}
	l.Hear(push(1))
	until(t, func() bool { return l.Ready() != nil })
	if got := ask("PUT"); got != 503 {
		t.Errorf("a push was let through: %d", got)
	}
	if got := ask("GET"); got != 201 {
		t.Errorf("a pull was refused: %d", got)
	}
	if err := os.WriteFile(segment, text, 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return l.Ready() == nil && ask("PUT") == 201 })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if report := verify(t, dir, audit.VerifyOptions{}); !report.Holds || report.Last < 2 {
		t.Errorf("%+v: %v", report, report.Wrong)
	}
}

func until(t *testing.T, what func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !what(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come")
		}
	}
}

// Several writers, in one process and in others, make one chain.
func TestManyWriters(t *testing.T) {
	dir := t.TempDir()
	const writers, each = 4, 200
	var all sync.WaitGroup
	for range writers {
		l := open(t, dir, audit.Options{SegmentBytes: 20_000, CheckpointEvery: 50})
		all.Go(func() {
			for i := range each {
				l.Hear(push(i))
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	stop := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() { // beside them the log holds at any time
		for {
			select {
			case <-stop:
				return
			default:
			}
			if report, err := audit.Verify(context.Background(), dir, audit.VerifyOptions{}); err != nil || !report.Holds {
				t.Errorf("%v: %v", report.Wrong, err)
				return
			}
		}
	})
	all.Wait()
	close(stop)
	reading.Wait()
	n := 0
	if err := audit.Read(t.Context(), dir, audit.Filter{}, func(*audit.Entry, []byte) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	if n != writers*each {
		t.Errorf("%d records, want %d", n, writers*each)
	}
}

const helperDir = "PLIMSOLL_AUDIT_TEST_DIR"

// TestMain also is the program that TestKilled kills.
func TestMain(m *testing.M) {
	dir := os.Getenv(helperDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	l, err := audit.Open(dir, audit.Options{SegmentBytes: 50_000, CheckpointEvery: 7})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		if err := l.Append(context.Background(), audit.Entry{Action: audit.ActionPush, Outcome: audit.Done, Reference: fmt.Sprint(i)}); err != nil {
			os.Exit(1)
		}
		fmt.Println(i)
	}
}

// What was said to be on the disk is there after a kill, and the log goes on.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	for round := range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := make([]byte, 200*(round+1))
		n := 0
		for n < len(said) {
			m, err := out.Read(said[n:])
			if err != nil {
				t.Fatal(err, string(said[:n]))
			}
			n += m
		}
		cmd.Process.Kill()
		_ = cmd.Wait()
		lines := strings.Split(string(said), "\n")
		want, last := lines[len(lines)-2], ""
		err = audit.Read(t.Context(), dir, audit.Filter{}, func(e *audit.Entry, _ []byte) error {
			if e.Action == audit.ActionPush && e.Reference == want {
				last = e.Reference
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if last != want {
			t.Fatalf("round %d: record %q was said to be on the disk, and is not", round, want)
		}
		if report := verify(t, dir, audit.VerifyOptions{}); !report.Holds {
			t.Fatalf("round %d: %v", round, report.Wrong)
		}
	}
}

func TestWrongSettings(t *testing.T) {
	for text, want := range map[string]string{
		"{reads: some}":         `line 4: spec.audit.reads: want first, all or none, got "some"`,
		"{checkpointEvery: -1}": "line 4: spec.audit.checkpointEvery: it cannot be negative",
		"{segmentSize: 1k}":     "line 4: spec.audit.segmentSize: want at least 64Ki",
		"{segmentSize: 1Mi}":    "",
	} {
		_, err := settings.Parse([]byte("apiVersion: plimsoll.dev/v1alpha1\nkind: Registry\nmetadata: {name: here}\nspec: {audit: "+text+"}\n"), "", audit.Check)
		if got := fmt.Sprint(err); got != want && (err != nil || want != "") {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// Nothing of what a client sends makes two lines of one, or a line that is too long.
func TestHostileRecords(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{})
	r := push(1)
	r.Agent, r.Principal, r.Why = strings.Repeat("\n\x00\u2028<", 1000), "a\n{\"seq\":1}", strings.Repeat("\xff", 5000)
	for range 1000 {
		r.Tags = append(r.Tags, strings.Repeat("\"", 2000))
	}
	l.Hear(r)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if report := verify(t, dir, audit.VerifyOptions{}); !report.Holds || report.Records != 3 {
		t.Errorf("%+v: %v", report, report.Wrong)
	}
	if len(r.Tags[1]) != 2000 {
		t.Error("it changed the record, which belongs to others as well")
	}
}

func FuzzVerify(f *testing.F) {
	dir := written(f, nil, 2)
	text, err := os.ReadFile(segments(f, dir)[0])
	if err != nil {
		f.Fatal(err)
	}
	head, err := os.ReadFile(filepath.Join(dir, "head"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, head)
	f.Add([]byte("{}\n"), []byte("{}"))
	f.Add([]byte(`{"seq":1,"previous":"","time":"2026-01-01T00:00:00Z","action":"checkpoint","outcome":"done","checkpoint":{}}`+"\n"), []byte(""))
	f.Fuzz(func(t *testing.T, log, head []byte) {
		dir := t.TempDir()
		for name, content := range map[string][]byte{"audit-00000000000000000001.jsonl": log, "head": head, "lock": nil} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		report := verify(t, dir, audit.VerifyOptions{})
		if report.Holds == (report.Wrong != nil) {
			t.Fatalf("%+v", report)
		}
		if bytes.HasPrefix(log, text) || !report.Holds {
			return
		}
		// What holds is lines that each are a record, whatever they say.
		for line := range bytes.Lines(log[:int64(len(log))-report.Torn]) {
			if err := json.Unmarshal(line, &audit.Entry{}); err != nil {
				t.Fatalf("%q holds: %v", line, err)
			}
		}
		l, err := audit.Open(dir, audit.Options{})
		if err != nil {
			var told *fault.Error
			if !errors.As(err, &told) {
				t.Fatal(err)
			}
			return
		}
		l.Hear(push(1))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if report := verify(t, dir, audit.VerifyOptions{}); !report.Holds {
			t.Fatal(report.Wrong)
		}
	})
}

// BenchmarkHear prints what a request pays, and how many records a second reach the disk.
func BenchmarkHear(b *testing.B) {
	l, err := audit.Open(b.TempDir(), audit.Options{})
	if err != nil {
		b.Fatal(err)
	}
	r := push(1)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Hear(r)
		}
	})
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
