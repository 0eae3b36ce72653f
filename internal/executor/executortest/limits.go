package executortest

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/executor"
)

// enforced gives how limits are kept here. A limit that is not kept at all is a defect of
// the machine or the adapter, and no test of it may then run wild.
func (s *suite) enforced(t *testing.T, l executor.Limits) executor.Enforced {
	t.Helper()
	r, _ := s.run(t, s.step("true", limit(l)))
	for name, means := range map[string]executor.Means{"memory": r.Enforced.Memory, "pids": r.Enforced.Pids} {
		if means == executor.None {
			t.Fatalf("the %s limit is not kept here", name)
		}
	}
	return r.Enforced
}

func (s *suite) memory(t *testing.T) {
	l := executor.Limits{Memory: 48 << 20, Wall: time.Minute}
	means := s.enforced(t, l).Memory
	if means != executor.Cgroup && means != executor.Rlimit {
		t.Errorf("kept by %q", means)
	}
	mark, m := marked()
	hungry := `awk 'BEGIN{s="x"; while (length(s) < 400000000) s = s s; print length(s)}'; exit $?`
	r, o := s.run(t, s.step(hungry, m, limit(l)))
	if r.OK() || strings.TrimSpace(o.out.String()) != "" {
		t.Errorf("400 MB fitted into 48 MiB: %+v, %q", r, o.out.String())
	}
	if means == executor.Cgroup && r.Reason != executor.OutOfMemory {
		t.Errorf("got %+v, want OutOfMemory", r)
	}
	if means == executor.Cgroup {
		// A file in memory is memory.
		r, _ = s.run(t, s.step("head -c 200000000 /dev/zero > /tmp/x", m, limit(l)))
		if r.OK() || r.Reason != executor.OutOfMemory {
			t.Errorf("200 MB in /tmp: %+v", r)
		}
	}
	if r, _ := s.run(t, s.step("head -c 1000000 /dev/zero | tail -c 1000000 > /dev/null", m, limit(l))); !r.OK() {
		t.Errorf("one megabyte did not fit into 48 MiB: %+v", r)
	}
	s.clean(t, mark)
}

func (s *suite) pids(t *testing.T) {
	l := executor.Limits{Pids: 16, Wall: time.Minute}
	means := s.enforced(t, l).Pids
	mark, m := marked()
	r, o := s.run(t, s.step(`i=0; while [ $i -lt 64 ]; do sleep 100 & i=$((i+1)); echo $i; done; echo all`, m, limit(l)))
	lines := strings.Fields(o.out.String())
	if r.OK() || len(lines) == 0 || lines[len(lines)-1] == "all" {
		t.Errorf("64 processes went into 16 by %s: %+v\n%s", means, r, o.err.String())
	} else if n, err := strconv.Atoi(lines[len(lines)-1]); err != nil || n > 16 || n < 8 {
		t.Errorf("%s processes went into 16", lines[len(lines)-1])
	}
	s.clean(t, mark)
}

func (s *suite) forkBomb(t *testing.T) {
	l := executor.Limits{Pids: 40, Wall: 2 * time.Second}
	s.enforced(t, l)
	mark, m := marked()
	// The command itself forks once only, so that it is never the one to fail.
	bomb := `b() { while :; do (b) & done; }; trap '' TERM; b & while :; do :; done`
	r, _ := s.run(t, s.step(bomb, m, limit(l)))
	if r.Reason != executor.TimedOut {
		t.Errorf("got %+v, want it to run until its time is over", r)
	}
	if r.Duration > 30*time.Second {
		t.Errorf("it took %v to end", r.Duration)
	}
	s.clean(t, mark)
}

// cpu measures a busy loop's share of its own wall time.
func (s *suite) cpu(t *testing.T) {
	l := executor.Limits{MilliCPU: 200, Wall: time.Minute}
	r, o := s.run(t, s.step(`timeout 1 sh -c 'while :; do :; done'; cat /proc/uptime; times`, limit(l)))
	switch r.Enforced.CPU {
	case executor.None:
		return // said so, which is all that an ordinary user can do
	case executor.Cgroup:
	default:
		t.Fatalf("kept by %q", r.Enforced.CPU)
	}
	// The last line of times: user and system time of the children.
	lines := strings.Split(strings.TrimSpace(o.out.String()), "\n")
	used, err := time.ParseDuration(strings.Fields(strings.TrimSpace(lines[len(lines)-1]))[0])
	if err != nil {
		t.Fatal(err)
	}
	if share := used.Seconds() / r.Duration.Seconds(); share > 0.4 {
		t.Errorf("a limit of 0.2 processors let the step use %.2f (%v of %v)", share, used, r.Duration)
	}
}
