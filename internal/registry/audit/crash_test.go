package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/audit"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

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

// What follows something that is no record may be records: nothing of it is cut off.
func TestJunkAmongRecordsIsKept(t *testing.T) {
	for _, junk := range []string{"junk\n", strings.Repeat("j", 1<<20)} {
		dir := written(t, nil, 3)
		names := segments(t, dir)
		last := names[len(names)-1]
		text, err := os.ReadFile(last)
		if err != nil {
			t.Fatal(err)
		}
		first := bytes.IndexByte(text, '\n') + 1
		meddled := slices.Concat(text[:first], []byte(junk), text[first:])
		if err := os.WriteFile(last, meddled, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := audit.Open(dir, audit.Options{}); fault.KindOf(err) != fault.Failed || err == nil {
			t.Errorf("it was opened: %v", err)
		}
		if after, err := os.ReadFile(last); err != nil || !bytes.Equal(after, meddled) {
			t.Errorf("it was changed: %v", err)
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
