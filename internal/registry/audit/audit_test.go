package audit_test

import (
	"bytes"
	"crypto"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/keys"
	"plimsoll.dev/plimsoll/internal/registry/audit"
	"plimsoll.dev/plimsoll/internal/registry/call"
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
