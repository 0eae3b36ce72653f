package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/executor/pod/tree"
	"plimsoll.dev/plimsoll/internal/executor/pod/wire"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// asPod runs the agents of a pod in namespaces like a pod's: one for the network, and one
// for the processes of the second container. The arguments are the agent and the volumes.
const asPod = `"$0" serve "$1" &
("$0" hold && exec bwrap --unshare-pid --as-pid-1 --dev-bind / / --proc /proc "$0" step) &
exec "$0" pipe`

// peer is the executor's end of a pod that is none.
type peer struct {
	conn *wire.Conn
	in   io.Closer
	cmd  *exec.Cmd
	dir  string
}

func newPod(t *testing.T) *peer {
	t.Helper()
	bwrap, dir := testbed.Tool(t, "bwrap"), t.TempDir()
	agent := filepath.Join(t.TempDir(), "agent")
	if out, err := exec.Command("go", "build", "-o", agent, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(bwrap, "--unshare-net", "--unshare-pid", "--die-with-parent", "--dev-bind", "/", "/", "--proc", "/proc", "--", "sh", "-c", asPod, agent, dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	p := &peer{conn: wire.New(out, in), in: in, cmd: cmd, dir: dir}
	if kind, _, err := p.conn.Read(); kind != wire.Beat || err != nil {
		t.Fatalf("at first: %q, %v", kind, err)
	}
	return p
}

// give sends a job and its folder "w", which holds a file.
func (p *peer) give(t *testing.T, job wire.Job) {
	t.Helper()
	var input bytes.Buffer
	packer := tree.NewPacker(t.Context(), &input)
	if err := errors.Join(
		packer.Dir("w", 0o755), packer.Data("w/given", 0o644, []byte("as given")), packer.Close(),
		p.conn.SendJSON(wire.Setup, job), p.conn.Send(wire.Input, input.Bytes()), p.conn.Send(wire.InputEnd, nil)); err != nil {
		t.Fatal(err)
	}
}

// shell gives the job of a script.
func shell(script string, args ...string) wire.Job {
	return wire.Job{Command: append([]string{"sh", "-c", script}, args...), Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/", Isolate: true, MaxFiles: 100, MaxBytes: 1 << 20}
}

// heard is all that came from the agents.
type heard struct {
	out     string
	removed []string
	changed []byte
	end     wire.End
	problem *wire.Problem
}

// hear listens until the step is over and its folders are there.
func (p *peer) hear(t *testing.T, job wire.Job) heard {
	t.Helper()
	var h heard
	for folders := 0; ; {
		kind, payload, err := p.conn.Read()
		if err != nil {
			t.Fatalf("after %+v: %v", h, err)
		}
		switch kind {
		case wire.Stdout, wire.Stderr:
			h.out += string(payload)
			err = p.conn.SendCredit(len(payload))
		case wire.Removed:
			h.removed = append(h.removed, string(payload))
		case wire.Output:
			h.changed = append(h.changed, payload...)
		case wire.Exit:
			err = json.Unmarshal(payload, &h.end)
		case wire.OutputEnd:
			folders++
		case wire.Failure:
			h.problem = &wire.Problem{}
			err = json.Unmarshal(payload, h.problem)
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.problem != nil || (kind == wire.Exit || kind == wire.OutputEnd) && folders == len(job.Returned) {
			if err := p.conn.Send(wire.Bye, nil); err != nil {
				t.Fatal(err)
			}
			return h
		}
	}
}

func TestAStepComesAndGoes(t *testing.T) {
	p := newPod(t)
	job := shell(fmt.Sprintf("cd %s/w && cat given && rm given && echo new > made && echo done; (setsid sleep 1000 &); exit 7", p.dir))
	job.Returned = []string{"w"}
	p.give(t, job)
	h := p.hear(t, job)
	if h.out != "as givendone\n" || h.end.Code != 7 || h.end.Duration <= 0 || h.problem != nil {
		t.Errorf("got %q, %+v, %v", h.out, h.end, h.problem)
	}
	back, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if err := tree.Unpack(t.Context(), back, bytes.NewReader(h.changed), tree.Bounds{}); err != nil {
		t.Fatal(err)
	}
	if made, err := back.ReadFile("made"); string(made) != "new\n" || err != nil || fmt.Sprint(h.removed) != "[given]" {
		t.Errorf("made %q, %v, and removed %q", made, err, h.removed)
	}
}

func TestHowStepsEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		job  wire.Job
		is   func(heard) bool
	}{
		{"killed by a signal", shell("kill -TERM $$"), func(h heard) bool { return h.end.Code == 143 }},
		{"late", func() wire.Job { j := shell("sleep 1000"); j.Wall = 100 * time.Millisecond; return j }(), func(h heard) bool { return h.end.Late }},
		{"no such command", wire.Job{Command: []string{"no-such"}, Dir: "/"}, func(h heard) bool { return h.problem != nil && h.problem.Sort == wire.NoCommand }},
		{"no such folder", wire.Job{Command: []string{"sh"}, Dir: "/no/such"}, func(h heard) bool { return h.problem != nil && h.problem.Sort == wire.NoDir }},
		{"more than may come back", func() wire.Job { j := shell("truncate -s 1G w/x"); j.Returned = []string{"w"}; return j }(),
			func(h heard) bool { return h.problem != nil && h.problem.Sort == wire.Refused }},
		{"few processes", func() wire.Job {
			j := shell(`i=0; while [ $i -lt 40 ]; do sleep 100 & i=$((i+1)); echo; done`)
			j.Pids = 16
			return j
		}(), func(h heard) bool { return h.end.Code != 0 && h.end.Pids == "seccomp" && len(h.out) >= 8 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPod(t)
			if c.job.Returned != nil {
				c.job.Dir = p.dir
			}
			p.give(t, c.job)
			if h := p.hear(t, c.job); !c.is(h) {
				t.Errorf("got %q, %+v, %v", h.out, h.end, h.problem)
			}
		})
	}
}

// TestStepsEndWithTheirStream: whoever goes, the step's processes go, too.
func TestStepsEndWithTheirStream(t *testing.T) {
	for name, lose := range map[string]func(*peer) error{
		"closed": func(p *peer) error { return p.in.Close() },
		"killed": func(p *peer) error { return p.conn.Send(wire.Kill, nil) },
		"broken": func(p *peer) error { return p.conn.Send(wire.Stdout, make([]byte, wire.MaxPiece+1)) },
	} {
		t.Run(name, func(t *testing.T) {
			p, mark := newPod(t), "mark-"+rand.Text()
			p.give(t, shell(`trap "" TERM HUP; (setsid sh -c 'sleep 1000; :' "$0" &); echo ready; sleep 1000; :`, mark))
			for kind := wire.Kind(0); kind != wire.Stdout; {
				var err error
				if kind, _, err = p.conn.Read(); err != nil {
					t.Fatal(err)
				}
			}
			if len(marked(t, mark)) == 0 {
				t.Fatal("the step does not run")
			}
			if err := lose(p); err != nil {
				t.Fatal(err)
			}
			deadline := time.Now().Add(20 * time.Second)
			for left := marked(t, mark); len(left) > 0; left = marked(t, mark) {
				if time.Now().After(deadline) {
					t.Fatalf("20 s later: %q", left)
				}
				<-time.After(10 * time.Millisecond)
			}
		})
	}
}

// marked gives the machine's living processes with the mark among their arguments.
func marked(t *testing.T, mark string) []string {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range list {
		if args, err := os.ReadFile(path); err == nil && strings.Contains(string(args), mark) {
			found = append(found, path)
		}
	}
	return found
}

// TestStepsOutsideAPod: the agent that ends all processes it sees does so nowhere else.
func TestStepsOutsideAPod(t *testing.T) {
	if err := step(t.Context()); err == nil {
		t.Error("it ran as any process")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := knock(ctx, piped); err == nil {
		t.Error("somebody was at the door")
	}
	if err := run(t.Context(), []string{"help"}); err == nil {
		t.Error("it is a program for people")
	}
}
