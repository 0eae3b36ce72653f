// Package executortest takes an Executor and gives the proof that it keeps the contract of
// package executor: every adapter runs this suite against the real thing.
package executortest

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Options says what an adapter can be held to besides the contract.
type Options struct {
	// Leftovers gives what is still there of steps that have ended: processes whose
	// arguments hold the mark, mounts, cgroups, temporary files. Required.
	Leftovers func(t *testing.T, mark string) []string
	// OwnIDs says that files of the layers keep their owners inside, so that what is
	// root's alone is closed to others. Executors run by an ordinary user cannot do this.
	OwnIDs bool
	// NonRoot says that a step of uid 0 is refused, as Usage.
	NonRoot bool
	// Copies says that a ReadWrite folder is a copy of the machine's: what a step writes is
	// there when it has ended, and not before.
	Copies bool
	// Added are the names that steps find in every root filesystem although no layer has
	// them, besides /dev, /proc, /run and /tmp: "sys", "etc/hosts".
	Added []string
	// Listen gives the address of a TCP server that greets with "hello", such as a step
	// with the network on reaches. Default: one on this machine's loopback.
	Listen func(t *testing.T) string
	// Folder gives a new folder that a step may be given by mount. Default: t.TempDir.
	Folder func(t *testing.T) string
}

// Run holds the executors that newExecutor gives against the contract.
func Run(t *testing.T, newExecutor func(t *testing.T) executor.Executor, opt Options) {
	if opt.Listen == nil {
		opt.Listen = func(t *testing.T) string { return Greeter(t, "127.0.0.1") }
	}
	if opt.Folder == nil {
		opt.Folder = func(t *testing.T) string { return t.TempDir() }
	}
	s := &suite{new: newExecutor, opt: opt, base: Busybox(t)}
	s.exec = newExecutor(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"Exit", s.exit}, {"Refusals", s.refusals}, {"Environment", s.environment}, {"Folder", s.folder},
		{"User", s.user}, {"Input", s.input}, {"Descriptors", s.descriptors}, {"Layers", s.layers},
		{"HostFiles", s.hostFiles}, {"HostProcesses", s.hostProcesses}, {"OtherSteps", s.otherSteps},
		{"ReadOnlyRoot", s.readOnlyRoot}, {"ReadOnlyMount", s.readOnlyMount}, {"Privileges", s.privileges},
		{"NetworkOff", s.networkOff}, {"NetworkOn", s.networkOn},
		{"WritableMount", s.writableMount}, {"SharedFolder", s.sharedFolder}, {"MountPoints", s.mountPoints}, {"Secret", s.secret}, {"Tmpfs", s.tmpfs},
		{"Stream", s.stream}, {"Volume", s.volume}, {"BrokenWriter", s.brokenWriter},
		{"Timeout", s.timeout}, {"Cancel", s.cancel}, {"Background", s.background}, {"Parallel", s.parallel},
		{"Memory", s.memory}, {"Pids", s.pids}, {"ForkBomb", s.forkBomb}, {"CPU", s.cpu},
	} {
		t.Run(part.name, part.run)
	}
}

type suite struct {
	new  func(*testing.T) executor.Executor
	exec executor.Executor
	base executor.Layer
	opt  Options
}

// output is what a step printed.
type output struct{ out, err bytes.Buffer }

// step gives a shell step that any edit may change.
func (s *suite) step(script string, edits ...func(*executor.Step)) executor.Step {
	step := executor.Step{
		Layers:  []executor.Layer{s.base},
		Command: []string{"sh", "-c", script},
		Env:     []string{"PATH=/bin"},
		UID:     AppUID, GID: AppUID,
		Limits: executor.Limits{Wall: time.Minute},
	}
	for _, edit := range edits {
		edit(&step)
	}
	return step
}

// run runs a step that must be able to run.
func (s *suite) run(t *testing.T, step executor.Step) (executor.Result, *output) {
	t.Helper()
	var o output
	r, err := s.exec.Run(t.Context(), step, &o.out, &o.err)
	if err != nil {
		t.Fatalf("run %q: %v\nhint: %s\nstderr: %s", step.Command, err, fault.HintOf(err), o.err.String())
	}
	return r, &o
}

// must runs a script that must end well and gives what it printed, without space around.
func (s *suite) must(t *testing.T, script string, edits ...func(*executor.Step)) string {
	t.Helper()
	r, o := s.run(t, s.step(script, edits...))
	if !r.OK() {
		t.Fatalf("%q: %+v\nstdout: %s\nstderr: %s", script, r, o.out.String(), o.err.String())
	}
	return strings.TrimSpace(o.out.String())
}

// clean fails the test when anything of the marked steps is left.
func (s *suite) clean(t *testing.T, mark string) {
	t.Helper()
	if left := s.opt.Leftovers(t, mark); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// uids gives those that a step is tried as, where it may matter.
func (s *suite) uids() []uint32 {
	if s.opt.NonRoot {
		return []uint32{AppUID}
	}
	return []uint32{0, AppUID}
}

// listing gives what ls says of a folder of the root filesystem that holds the names.
func (s *suite) listing(dir string, names ...string) string {
	for _, added := range s.opt.Added {
		if path.Join("/", path.Dir(added)) == dir {
			names = append(names, path.Base(added))
		}
	}
	slices.Sort(names)
	return strings.Join(names, "\n")
}

// until gives a writer that calls found once, when the text has been written to it.
func until(text string, found func()) io.Writer {
	var seen []byte
	return writerFunc(func(p []byte) (int, error) {
		if seen = append(seen, p...); found != nil && bytes.Contains(seen, []byte(text)) {
			found()
			found = nil
		}
		return len(p), nil
	})
}

// marked gives a mark and an edit that puts it among a step's arguments, where the
// processes that the step forks keep it.
func marked() (string, func(*executor.Step)) {
	mark := "mark-" + rand.Text()
	return mark, func(s *executor.Step) { s.Command = append(s.Command, mark, mark) }
}

func as(uid, gid uint32) func(*executor.Step) {
	return func(s *executor.Step) { s.UID, s.GID = uid, gid }
}

func mount(m executor.Mount) func(*executor.Step) {
	return func(s *executor.Step) { s.Mounts = append(s.Mounts, m) }
}

func limit(l executor.Limits) func(*executor.Step) {
	return func(s *executor.Step) { s.Limits = l }
}

// shared gives a folder that both the test and the step, at /w, write in.
func (s *suite) shared(t *testing.T) (string, func(*executor.Step)) {
	dir := s.opt.Folder(t)
	return dir, mount(executor.Mount{Kind: executor.ReadWrite, Source: dir, Target: "/w"})
}

// waitFor polls until the condition holds.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited 30 s for %s", what)
		case <-tick.C:
		}
	}
}

func exists(names ...string) bool {
	_, err := os.Lstat(filepath.Join(names...))
	return err == nil
}

func write(t *testing.T, content string, names ...string) string {
	t.Helper()
	name := filepath.Join(names...)
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// Greeter serves "hello" at a host of this machine until the test ends, and gives its address.
func Greeter(t *testing.T, host string) string {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello\n") // a client that is gone again has failed its own test
			c.Close()
		}
	}()
	return l.Addr().String()
}
