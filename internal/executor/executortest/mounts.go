package executortest

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"plimsoll.dev/plimsoll/internal/executor"
)

func (s *suite) writableMount(t *testing.T) {
	outside := write(t, "untouched", t.TempDir(), "outside")
	before, err := os.Stat(outside)
	if err != nil {
		t.Fatal(err)
	}
	dir, w := s.shared(t)
	if err := os.MkdirAll(filepath.Join(dir, "src/deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, "from outside", dir, "src/deep/file")
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	s.must(t, "cat /w/src/deep/file > /w/copy && echo ' and in' >> /w/src/deep/file && mkdir /w/src/deep/er && ! cat /w/link", w, as(s.uids()[0], 0))
	s.must(t, "rm /w/src/deep/file && rmdir /w/src/deep/er && echo -n '!' >> /w/copy", w)
	got, err := os.ReadFile(filepath.Join(dir, "copy"))
	if err != nil || string(got) != "from outside!" {
		t.Errorf("the step wrote %q, %v", got, err)
	}
	after, err := os.Stat(outside)
	if err != nil || !os.SameFile(before, after) || before.Mode() != after.Mode() || owner(before) != owner(after) {
		t.Errorf("what a link in the folder points to changed from %v to %v, %v", before, after, err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "src")); err != nil {
		t.Errorf("the caller cannot remove what it handed over: %v", err)
	}
}

// sharedFolder looks at what a step has written before it ends: it is there already, or not yet.
func (s *suite) sharedFolder(t *testing.T) {
	dir, w := s.shared(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var there bool
	out := until("written", func() { there = exists(dir, "file"); cancel() })
	if _, err := s.exec.Run(ctx, s.step("echo > /w/file; echo written; sleep 1000", w), out, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if there == s.opt.Copies {
		t.Errorf("before the step's end its file is there: %t; its folder is a copy: %t", there, s.opt.Copies)
	}
}

// mountPoints are made where the layers lack them, and only for the step that asked.
func (s *suite) mountPoints(t *testing.T) {
	dir := s.opt.Folder(t)
	write(t, "here", dir, "file")
	for _, target := range []string{"/deep/in/nowhere", "/etc/new", "/home/app", "/tmp/below", "/run/below/too", "/dev/shm/x"} {
		m := mount(executor.Mount{Source: dir, Target: target})
		if got := s.must(t, "cat "+target+"/file", m); got != "here" {
			t.Errorf("mounted on %s: got %q", target, got)
		}
	}
	s.must(t, "[ ! -e /deep ] && [ ! -e /etc/new ] && [ ! -e /tmp/below ]")
	// One above another, in whatever order they are given.
	got := s.must(t, "ls /a; cat /a/b/file", mount(executor.Mount{Source: dir, Target: "/a/b"}),
		mount(executor.Mount{Kind: executor.Tmpfs, Target: "/a"}))
	if got != "b\nhere" {
		t.Errorf("a mount in a mount: got %q", got)
	}
}

func (s *suite) secret(t *testing.T) {
	content := "line\n" + rand.Text() + "\x00\xff"
	data := func(target string) func(*executor.Step) {
		return mount(executor.Mount{Kind: executor.Data, Target: target, Content: []byte(content)})
	}
	for _, uid := range s.uids() {
		_, o := s.run(t, s.step("cat /run/secrets/token", data("/run/secrets/token"), as(uid, uid)))
		if o.out.String() != content {
			t.Errorf("as %d: got %q (%s), want %q", uid, o.out.String(), o.err.String(), content)
		}
	}
	if got := s.must(t, "stat -c '%a %u' /etc/token; ! echo x > /etc/token", data("/etc/token")); got != "400 1000" {
		t.Errorf("mode and owner: %q", got)
	}
	big := string(make([]byte, 1<<20)) // more than a pipe holds
	content = big
	if got := s.must(t, "wc -c < /big", data("/big")); got != "1048576" {
		t.Errorf("a large one has %s bytes", got)
	}
}

func (s *suite) tmpfs(t *testing.T) {
	m := mount(executor.Mount{Kind: executor.Tmpfs, Target: "/var/scratch", Size: 1 << 20})
	s.must(t, "head -c 500000 /dev/zero > /var/scratch/x", m)
	if r, _ := s.run(t, s.step("head -c 3000000 /dev/zero > /var/scratch/x", m)); r.OK() {
		t.Error("3 MB went into 1 MiB")
	}
	s.must(t, "[ -z \"$(ls /var/scratch)\" ]", m)
	s.must(t, "touch /tmp/x /dev/shm/x && stat -c %a /tmp /dev/shm | uniq | grep -x 1777")
}
