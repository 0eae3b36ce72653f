package executortest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
)

// writerFunc is an io.Writer.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// stream ends a step that has no end of its own when its first line has arrived.
func (s *suite) stream(t *testing.T) {
	for _, to := range []string{"1", "2"} {
		ctx, cancel := context.WithCancel(t.Context())
		arrived := until("first", cancel)
		r, err := s.exec.Run(ctx, s.step("echo first >&"+to+"; sleep 1000"), arrived, arrived)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("descriptor %s: %+v, %v: the first line did not arrive before the step's end", to, r, err)
		}
		cancel()
	}
	// Programs open their output by name, too.
	for _, uid := range s.uids() {
		_, o := s.run(t, s.step("echo out > /dev/stdout; echo err > /dev/stderr", as(uid, uid)))
		if got := o.out.String() + o.err.String(); got != "out\nerr\n" {
			t.Errorf("as %d, by name: %q", uid, got)
		}
	}
}

// counter hashes what is written and notes the largest heap on the way.
type counter struct {
	mu   sync.Mutex
	sum  hash.Hash
	n    int64
	heap uint64
}

func (c *counter) count() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func (c *counter) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before := c.n; before>>22 != (before+int64(len(p)))>>22 {
		c.heap = max(c.heap, heap())
	}
	c.n += int64(len(p))
	return c.sum.Write(p)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// volume has a step print much on both descriptors at once: all of it arrives, faster than
// a megabyte a second, and none of it is kept.
func (s *suite) volume(t *testing.T) {
	const size = 32 << 20
	want := sha256.New()
	line := "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n"
	for range size / len(line) {
		io.WriteString(want, line)
	}
	runtime.GC()
	before := heap()
	out, errs := &counter{sum: sha256.New()}, &counter{sum: sha256.New()}
	script := fmt.Sprintf("yes %[1]s | head -c %[2]d & yes %[1]s | head -c %[2]d >&2; wait", strings.TrimSpace(line), size)
	r, err := s.exec.Run(t.Context(), s.step(script), out, errs)
	if err != nil || !r.OK() {
		t.Fatalf("%+v, %v", r, err)
	}
	for name, c := range map[string]*counter{"stdout": out, "stderr": errs} {
		if c.n != size || string(c.sum.Sum(nil)) != string(want.Sum(nil)) {
			t.Errorf("%s: %d bytes of %d arrived, or not the same", name, c.n, size)
		}
		if grown := int64(c.heap) - int64(before); grown > 16<<20 {
			t.Errorf("%s: memory grew by %d bytes", name, grown)
		}
	}
	if rate := 2 * size / r.Duration.Seconds(); rate < 1<<20 {
		t.Errorf("%.0f bytes a second", rate)
	}
}

func (s *suite) brokenWriter(t *testing.T) {
	broken := errors.New("disk full")
	fail := writerFunc(func([]byte) (int, error) { return 0, broken })
	mark, m := marked()
	if r, err := s.exec.Run(t.Context(), s.step("yes; true", m), fail, nil); !errors.Is(err, broken) {
		t.Errorf("got %+v, %v, want the writer's error", r, err)
	}
	s.clean(t, mark)
}

// stubborn ignores what can be ignored, and leaves a daemon behind that does, too.
const stubborn = `trap '' TERM INT HUP PIPE
(setsid sh -c 'trap "" TERM INT HUP PIPE; sh -c "while :; do echo >> /w/beat; sleep 0.02; done" $0 $0 &' "$1" &)
while [ ! -e /w/beat ]; do sleep 0.02; done
echo ready
while :; do sleep 1; done`

func (s *suite) timeout(t *testing.T) {
	dir, w := s.shared(t)
	mark, m := marked()
	r, _ := s.run(t, s.step(stubborn, w, m, limit(executor.Limits{Wall: time.Second})))
	if r.Reason != executor.TimedOut || r.ExitCode == 0 || r.Enforced.Wall != executor.Timer {
		t.Errorf("got %+v, want it to time out", r)
	}
	if r.Duration < time.Second || r.Duration > 20*time.Second {
		t.Errorf("a limit of 1 s took %v", r.Duration)
	}
	s.ended(t, dir, mark)
}

func (s *suite) cancel(t *testing.T) {
	for _, c := range []struct {
		name string
		want error
		ctx  func(context.Context) (context.Context, context.CancelFunc)
		wait bool // cancel when the step is ready
	}{
		{"before", context.Canceled, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, false},
		{"during", context.Canceled, context.WithCancel, true},
		{"deadline", context.DeadlineExceeded, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 300*time.Millisecond)
		}, false},
	} {
		dir, w := s.shared(t)
		mark, m := marked()
		ctx, cancel := c.ctx(t.Context())
		var out io.Writer
		if c.wait {
			out = until("ready", cancel)
		}
		if _, err := s.exec.Run(ctx, s.step(stubborn, w, m), out, nil); !errors.Is(err, c.want) || fault.KindOf(err) != fault.Canceled {
			t.Errorf("%s: got %v (kind %d), want %v", c.name, err, fault.KindOf(err), c.want)
		}
		cancel()
		s.ended(t, dir, mark)
	}
}

// ended says that nothing of a stubborn step is left: its daemon's heart stands still while
// another step runs.
func (s *suite) ended(t *testing.T, dir, mark string) {
	t.Helper()
	s.clean(t, mark)
	beat := func() int64 {
		st, err := os.Stat(filepath.Join(dir, "beat"))
		if err != nil {
			return 0
		}
		return st.Size()
	}
	before := beat()
	s.must(t, "sleep 0.1")
	if after := beat(); after != before {
		t.Errorf("the daemon still runs: %d beats, then %d", before, after)
	}
}

// background processes end with the command.
func (s *suite) background(t *testing.T) {
	mark, m := marked()
	r, o := s.run(t, s.step("sleep 1000 & (setsid sleep 1000 &); echo done", m))
	if !r.OK() || o.out.String() != "done\n" || r.Duration > 30*time.Second {
		t.Errorf("got %+v, %q", r, o.out.String())
	}
	s.clean(t, mark)
}

func (s *suite) parallel(t *testing.T) {
	const n = 12
	var right atomic.Int32
	done := make(chan error, n)
	mark, m := marked()
	for i := range n {
		go func() {
			var o output
			want := fmt.Sprintf("step %d", i)
			r, err := s.exec.Run(t.Context(), s.step(`echo $N > /tmp/n; cat /tmp/n; exit 9`, m,
				func(s *executor.Step) { s.Env = append(s.Env, "N="+want) }), &o.out, &o.err)
			if err == nil && r.ExitCode == 9 && o.out.String() == want+"\n" {
				right.Add(1)
			}
			done <- err
		}()
	}
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := right.Load(); got != n {
		t.Errorf("%d of %d steps went right", got, n)
	}
	s.clean(t, mark)
}
