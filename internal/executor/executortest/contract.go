package executortest

import (
	"archive/tar"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
)

func (s *suite) exit(t *testing.T) {
	for _, c := range []struct {
		script string
		code   int
		signal int
		reason executor.Reason
	}{
		{"exit 0", 0, 0, executor.Exited},
		{"exit 3", 3, 0, executor.Exited},
		{"exit 127", 127, 0, executor.Exited},
		{"exit 255", 255, 0, executor.Exited},
		{"kill -TERM $$", 143, 15, executor.Signaled},
		{"kill -KILL $$", 137, 9, executor.Signaled},
		{"kill -SEGV $$", 139, 11, executor.Signaled},
		{"sh -c 'exit 4'; exit $?", 4, 0, executor.Exited},
	} {
		r, _ := s.run(t, s.step(c.script))
		if r.ExitCode != c.code || int(r.Signal) != c.signal || r.Reason != c.reason {
			t.Errorf("%q: got %+v, want code %d, signal %d, %s", c.script, r, c.code, c.signal, c.reason)
		}
		if r.Duration <= 0 {
			t.Errorf("%q: took %v", c.script, r.Duration)
		}
	}
}

func (s *suite) refusals(t *testing.T) {
	type refusal struct {
		name string
		want fault.Kind
		edit func(*executor.Step)
	}
	cases := []refusal{
		{"no layers", fault.Usage, func(s *executor.Step) { s.Layers = nil }},
		{"no digest", fault.Usage, func(s *executor.Step) { s.Layers[0].DiffID = "../x" }},
		{"no command", fault.Usage, func(s *executor.Step) { s.Command = nil }},
		{"command with NUL", fault.Usage, func(s *executor.Step) { s.Command = []string{"sh", "\x00"} }},
		{"unknown command", fault.NotFound, func(s *executor.Step) { s.Command = []string{"no-such-program"} }},
		{"unknown path", fault.NotFound, func(s *executor.Step) { s.Command = []string{"/no/such"} }},
		{"a folder as command", fault.NotFound, func(s *executor.Step) { s.Command = []string{"/etc"} }},
		{"environment without =", fault.Usage, func(s *executor.Step) { s.Env = []string{"A"} }},
		{"environment twice", fault.Usage, func(s *executor.Step) { s.Env = []string{"A=1", "A=2"} }},
		{"relative folder", fault.Usage, func(s *executor.Step) { s.Dir = "etc" }},
		{"missing folder", fault.Usage, func(s *executor.Step) { s.Dir = "/nowhere" }},
		{"uid of nobody's", fault.Usage, as(math.MaxUint32, 0)},
		{"gid out of range", fault.Usage, as(0, executor.MaxID+1)},
		{"negative limit", fault.Usage, limit(executor.Limits{Memory: -1})},
		{"mount on /", fault.Usage, mount(executor.Mount{Kind: executor.Tmpfs, Target: "/x/.."})},
		{"relative mount", fault.Usage, mount(executor.Mount{Kind: executor.Tmpfs, Target: "x"})},
		{"relative source", fault.Usage, mount(executor.Mount{Source: "x", Target: "/x"})},
		{"missing source", fault.NotFound, mount(executor.Mount{Source: "/no/such/folder", Target: "/x"})},
		{"a device as source", fault.Usage, mount(executor.Mount{Source: "/dev/null", Target: "/x"})},
		{"a folder on a file", fault.Usage, mount(executor.Mount{Kind: executor.Tmpfs, Target: "/etc/passwd"})},
		{"wrong digest", fault.Denied, func(s *executor.Step) { s.Layers[0].DiffID = "sha256:" + strings.Repeat("0", 64) }},
	}
	if s.opt.NonRoot {
		cases = append(cases, refusal{"root where nobody is", fault.Usage, as(0, 0)})
	}
	for _, c := range cases {
		r, err := s.exec.Run(t.Context(), s.step("true", c.edit), nil, nil)
		if err == nil || fault.KindOf(err) != c.want {
			t.Errorf("%s: got %+v and %v (kind %d), want kind %d", c.name, r, err, fault.KindOf(err), c.want)
		}
	}
}

func (s *suite) environment(t *testing.T) {
	t.Setenv("PLIMSOLL_SUITE_SECRET", "must not be inherited")
	env := []string{"EMPTY=", "PATH=/bin", "SPACE=a b  c", "UTF8=hällo", "EQUALS=a=b=c", "LINES=one\ntwo", "QUOTE='\"$HOME`x`\\"}
	r, o := s.run(t, s.step("", func(s *executor.Step) { s.Command, s.Env = []string{"env", "-0"}, env }))
	if o.out.Len() == 0 { // an old busybox has no -0
		r, o = s.run(t, s.step("", func(s *executor.Step) { s.Command, s.Env = []string{"cat", "/proc/self/environ"}, env }))
	}
	got := slices.DeleteFunc(strings.Split(o.out.String(), "\x00"), func(e string) bool { return e == "" || e == "PWD=/" })
	slices.Sort(got)
	slices.Sort(env)
	if diff := cmp.Diff(env, got); diff != "" {
		t.Errorf("%+v: environment (-want +got):\n%s", r, diff)
	}
}

func (s *suite) folder(t *testing.T) {
	for dir, want := range map[string]string{"": "/", "/": "/", "/etc": "/etc", "/home/app/..": "/home"} {
		if got := s.must(t, "pwd", func(s *executor.Step) { s.Dir = dir }); got != want {
			t.Errorf("in %q: got %q, want %q", dir, got, want)
		}
	}
}

func (s *suite) user(t *testing.T) {
	for _, c := range [][2]uint32{{0, 0}, {AppUID, AppUID}, {1, 2}, {executor.MaxID, executor.MaxID}} {
		if s.opt.NonRoot && c[0] == 0 {
			continue // refused, as Refusals sees
		}
		want := fmt.Sprintf("%d %d 22", c[0], c[1])
		if got := s.must(t, `echo $(id -u) $(id -g) $(umask | tr -d 0)`, as(c[0], c[1])); got != want {
			t.Errorf("as %v: got %q, want %q", c, got, want)
		}
	}
	if !s.opt.OwnIDs {
		return
	}
	for _, c := range []struct {
		uid    uint32
		script string
		reason string
	}{
		{AppUID, "cat /home/app/own && ! cat /etc/shadow", "the app's files are the app's, root's are not"},
		{0, "cat /etc/shadow && ! cat /home/app/own", "root without capabilities is like any user"},
		{7, "! cat /etc/shadow && ! cat /home/app/own", "a third user reads neither"},
		{7, `[ "$(stat -c %u:%g /etc/shadow /home/app | tr '\n' ' ')" = "0:0 1000:1000 " ]`, "owners are seen as the layers have them"},
	} {
		if s.opt.NonRoot && c.uid == 0 {
			continue
		}
		if r, o := s.run(t, s.step(c.script, as(c.uid, c.uid))); !r.OK() {
			t.Errorf("%s: %+v\n%s%s", c.reason, r, o.out.String(), o.err.String())
		}
	}
}

func (s *suite) input(t *testing.T) {
	if got := s.must(t, "cat; echo end"); got != "end" {
		t.Errorf("standard input: got %q", got)
	}
}

// descriptors looks for files of the executor's that the step has inherited.
func (s *suite) descriptors(t *testing.T) {
	got := s.must(t, `for fd in /proc/self/fd/*; do readlink $fd || true; done`)
	for line := range strings.Lines(got) {
		line = strings.TrimSpace(line)
		if line != "/dev/null" && !strings.HasPrefix(line, "pipe:") && !strings.HasPrefix(line, "/proc/") {
			t.Errorf("the step holds %q", line)
		}
	}
}

func (s *suite) layers(t *testing.T) {
	upper := TarLayer(t, []tar.Header{
		{Name: "etc/.wh.shadow", Typeflag: tar.TypeReg},
		{Name: "home/.wh..wh..opq", Typeflag: tar.TypeReg},
		{Name: "home/new", Typeflag: tar.TypeReg, Mode: 0o644, Size: 4},
		{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644, Size: 6},
	}, map[string]string{"home/new": "new\n", "etc/passwd": "upper\n"})
	both := func(step *executor.Step) { step.Layers = []executor.Layer{s.base, upper} }
	if got := s.must(t, "ls /etc /home; cat /etc/passwd", both); got != "/etc:\n"+s.listing("/etc", "passwd")+"\n\n/home:\nnew\nupper" {
		t.Errorf("joined: got %q", got)
	}
	if got := s.must(t, "ls /etc /home; head -n 1 /etc/passwd"); got != "/etc:\n"+s.listing("/etc", "passwd", "shadow")+"\n\n/home:\napp\nroot:x:0:0::/:/bin/sh" {
		t.Errorf("the lower layer alone, afterwards: got %q", got)
	}
}
