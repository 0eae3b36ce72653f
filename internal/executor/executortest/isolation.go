package executortest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/executor"
)

func (s *suite) hostFiles(t *testing.T) {
	secret := write(t, "of the host", t.TempDir(), "secret")
	for _, uid := range s.uids() {
		got := s.must(t, fmt.Sprintf("! cat %s 2>/dev/null && ls /", secret), as(uid, uid))
		if want := s.listing("/", "bin", "dev", "etc", "home", "proc", "run", "tmp"); got != want {
			t.Errorf("as %d: / holds %q, want %q", uid, got, want)
		}
		// The host's disks and the folders around the root must be out of reach.
		s.must(t, "cd / && cd ../../.. && [ $(pwd) = / ] && [ -z \"$(ls -A /tmp; ls -A /run)\" ] && ! ls /proc/1/root/"+secret+" 2>/dev/null", as(uid, uid))
		s.must(t, "for n in sda vda mem kmsg kvm fuse loop0 net; do [ ! -e /dev/$n ] || exit 1; done", as(uid, uid))
	}
}

func (s *suite) hostProcesses(t *testing.T) {
	// The sandbox's first process, the shell, ls and wc: few, whatever the adapter adds.
	if got := s.must(t, "ls -d /proc/[0-9]* | wc -l"); len(got) != 1 {
		t.Errorf("the step sees %s processes", got)
	}
	r, _ := s.run(t, s.step(fmt.Sprintf("kill -0 %d", os.Getpid())))
	if r.OK() && os.Getpid() > 50 {
		t.Errorf("the step could signal process %d of the host", os.Getpid())
	}
	if got := s.must(t, "hostname; ipcs 2>/dev/null | grep -c ' 0x' || true"); strings.HasPrefix(got, hostname(t)+"\n") {
		t.Errorf("the step sees the host's name: %q", got)
	}
}

func hostname(t *testing.T) string {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// otherSteps has one step look for the secrets of another that runs at the same time under
// the same uid.
func (s *suite) otherSteps(t *testing.T) {
	secret := "secret-" + rand.Text()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	ready, beats, ended := make(chan struct{}), &counter{sum: sha256.New()}, make(chan error, 1)
	go func() {
		out := io.MultiWriter(until("ready", func() { close(ready) }), beats)
		r, err := s.exec.Run(ctx, s.step(`cp /key /tmp/copy; echo ready; while :; do echo beat; sleep 0.05; done`,
			mount(executor.Mount{Kind: executor.Data, Target: "/key", Content: []byte(secret)}),
			func(s *executor.Step) { s.Env = append(s.Env, "KEY="+secret) }), out, nil)
		ended <- fmt.Errorf("the other step: %+v, %w", r, err)
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	// [s]ecret, so that the search does not find itself.
	pattern := "[s]" + secret[1:]
	got := s.must(t, `grep -rs '`+pattern+`' /tmp /run /dev/shm /proc/[0-9]*/environ /proc/[0-9]*/cmdline; ls /key 2>/dev/null; kill -9 -1 2>/dev/null; echo looked`)
	if got != "looked" {
		t.Errorf("found of another step: %q", got)
	}
	if err := seenFromOutside(pattern[3:]); err != nil {
		t.Error(err)
	}
	before := beats.count()
	waitFor(t, "the other step to live on after kill -9 -1", func() bool { return beats.count() > before })
	end()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// seenFromOutside looks through the arguments of all the machine's processes, which anybody
// may read.
func seenFromOutside(secret string) error {
	list, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range list {
		args, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err == nil && strings.Contains(string(args), secret) {
			return fmt.Errorf("a secret is among the arguments of process %s", e.Name())
		}
	}
	return nil
}

func (s *suite) readOnlyRoot(t *testing.T) {
	before := s.must(t, "cat /etc/passwd; ls -l /bin/busybox")
	for _, uid := range s.uids() {
		for _, attempt := range []string{
			"touch /x", "touch /bin/x", "mkdir /etc/x", "rm -f /bin/ls", "echo x >> /etc/passwd", "echo x > /etc/passwd",
			"chmod 777 /etc/passwd", "mv /etc/passwd /etc/p", "ln /etc/passwd /tmp/p", "ln -s x /home/x",
			"truncate -s 0 /bin/busybox", "touch /etc/passwd", "mount -o remount,rw /", "touch /dev/x", "echo x > /proc/sys/kernel/hostname",
		} {
			if r, _ := s.run(t, s.step(attempt, as(uid, uid))); r.OK() {
				t.Errorf("as %d: %q worked", uid, attempt)
			}
		}
	}
	if after := s.must(t, "cat /etc/passwd; ls -l /bin/busybox"); after != before {
		t.Errorf("the root changed from\n%s\nto\n%s", before, after)
	}
}

func (s *suite) readOnlyMount(t *testing.T) {
	dir := s.opt.Folder(t)
	file := write(t, "as it was", dir, "file")
	for _, uid := range s.uids() {
		edits := []func(*executor.Step){
			as(uid, uid),
			mount(executor.Mount{Source: dir, Target: "/ro"}),
			mount(executor.Mount{Source: file, Target: "/etc/one"}),
		}
		if got := s.must(t, "cat /ro/file /etc/one", edits...); got != "as it wasas it was" {
			t.Errorf("read: got %q", got)
		}
		for _, attempt := range []string{
			"touch /ro/x", "echo x > /ro/file", "rm -f /ro/file", "chmod 777 /ro/file", "mkdir /ro/x",
			"mount -o remount,rw /ro", "mount -o remount,rw,bind /ro", "umount /ro", "umount -l /ro", "echo x > /etc/one",
		} {
			if r, _ := s.run(t, s.step(attempt, edits...)); r.OK() {
				t.Errorf("as %d: %q worked", uid, attempt)
			}
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "as it was" {
		t.Errorf("the file is now %q, %v", got, err)
	}
}

func (s *suite) privileges(t *testing.T) {
	for _, uid := range s.uids() {
		got := s.must(t, `grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs):' /proc/self/status`, as(uid, uid))
		for line := range strings.Lines(got) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
			if want := strings.Repeat("0", 16); key == "NoNewPrivs" && value != "1" || key != "NoNewPrivs" && value != want {
				t.Errorf("as %d: %s is %s", uid, key, value)
			}
		}
		for _, attempt := range []string{
			"mount -t tmpfs x /tmp", "mount --bind /etc /tmp", "umount /tmp", "mknod /tmp/n b 8 0", "chroot /home /bin/true",
			"unshare -r true", "unshare -m true", "unshare -n true", "unshare -U true", "chown 1 /tmp", "hostname x",
			"ip link set lo down", "date -s 2000-01-01; [ $(date +%Y) = 2000 ]", "nsenter -t 1 -m true", "echo 1 > /proc/sys/kernel/core_pattern",
			"dmesg", "renice -n -5 $$", "insmod x", "reboot -f", "swapoff -a", "pivot_root /tmp /tmp",
		} {
			if r, o := s.run(t, s.step(attempt, as(uid, uid))); r.OK() {
				t.Errorf("as %d: %q worked: %s", uid, attempt, o.out.String())
			}
		}
	}
	// A setuid-root program of the image stays what its caller is.
	if got := s.must(t, "ln -s /bin/setuid /tmp/id && exec /tmp/id -u"); got != "1000" {
		t.Errorf("a setuid program ran as %q", got)
	}
}

// greet connects to the address and prints what it is greeted with.
func greet(t *testing.T, addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("nc -w 5 %s %s", host, port)
}

func (s *suite) networkOff(t *testing.T) {
	if r, o := s.run(t, s.step(greet(t, s.opt.Listen(t)))); strings.Contains(o.out.String(), "hello") {
		t.Errorf("without the network: %+v, %q", r, o.out.String())
	}
	// An interface that is up at both ends leads somewhere.
	if got := s.must(t, "ip -o link | grep LOWER_UP | cut -d: -f2; ls /etc"); got != "lo\n"+s.listing("/etc", "passwd", "shadow") {
		t.Errorf("interfaces and /etc: %q", got)
	}
	// Its own loopback works: tests of applications need it.
	if got := s.must(t, "(echo mine | nc -l -p 8080 &) ; for i in 1 2 3 4 5 6 7 8 9; do nc -w 1 127.0.0.1 8080 </dev/null && exit; sleep 0.1; done; exit 1"); got != "mine" {
		t.Errorf("its own loopback: %q", got)
	}
}

func (s *suite) networkOn(t *testing.T) {
	on := func(s *executor.Step) { s.Network = true }
	if got := s.must(t, greet(t, s.opt.Listen(t)), on); got != "hello" {
		t.Errorf("with the network: %q", got)
	}
	s.must(t, "[ -s /etc/resolv.conf ] && grep -qw $(hostname) /etc/hosts", on) // its own name, too
	// It shares the network and nothing else.
	if r, _ := s.run(t, s.step("ip link set lo down || ip addr add 10.255.255.1/32 dev lo", on, as(s.uids()[0], 0))); r.OK() {
		t.Error("a step with the network could change it")
	}
}
