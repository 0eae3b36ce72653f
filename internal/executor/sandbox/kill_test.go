package sandbox_test

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/executortest"
	"plimsoll.dev/plimsoll/internal/executor/sandbox"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/testbed"
)

const (
	victimDir  = "PLIMSOLL_TEST_VICTIM_DIR"
	victimMark = "PLIMSOLL_TEST_VICTIM_MARK"
)

// TestVictim is the process that TestKilledCaller kills: it runs steps until then.
func TestVictim(t *testing.T) {
	dir, mark := os.Getenv(victimDir), os.Getenv(victimMark)
	if dir == "" {
		return // started by itself there is nothing to do
	}
	s := open(t, dir)
	step := executor.Step{
		Layers:  []executor.Layer{executortest.Busybox(t)},
		Command: []string{"sh", "-c", `trap '' TERM HUP; (setsid sh -c "sleep 1000" $0 &); sleep 0.05; sleep 0.05`, mark},
		Env:     []string{"PATH=/bin"},
		Mounts:  []executor.Mount{{Kind: executor.Data, Target: "/key", Content: []byte("secret")}},
		Limits:  executor.Limits{Memory: 64 << 20, Pids: 32, MilliCPU: 500, Wall: time.Minute},
	}
	for n := 0; ; n++ {
		if n == 1 { // the layers are unpacked
			fmt.Println("victim ready")
		}
		if _, err := s.Run(t.Context(), step, io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKilledCaller kills a process that runs steps, without warning and at points all over
// their course: every process of the steps dies with it, and the next start clears the rest.
func TestKilledCaller(t *testing.T) {
	for _, uid := range []int{0, 54321} {
		if os.Getuid() != 0 && uid == 0 {
			continue // an ordinary user's steps are in the next round
		}
		tmp := t.TempDir()
		if os.Getuid() == 0 {
			if err := errors.Join(os.Chown(tmp, uid, uid), os.Chmod(filepath.Dir(tmp), 0o711)); err != nil {
				t.Fatal(err)
			}
		}
		var cgroups []string
		for range 25 {
			mark := "mark-" + rand.Text()
			cgroups = append(cgroups, killVictim(t, uid, tmp, mark)...)
			waitGone(t, mark)
		}
		open(t, tmp) // sweeps
		for _, dir := range cgroups {
			if _, err := os.Stat(dir); err == nil {
				t.Errorf("uid %d: cgroup %s is left", uid, dir)
			}
		}
		if left := leftovers(t, tmp, ""); len(left) > 0 {
			t.Errorf("uid %d: left behind: %q", uid, left)
		}
		if uid == 0 && len(cgroups) == 0 {
			t.Error("no kill hit a step with a cgroup: the test proves nothing")
		}
	}
}

// killVictim starts a victim, kills it a random moment after it is ready, and gives the
// cgroups that it had noted.
func killVictim(t *testing.T, uid int, dir, mark string) []string {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.Command("/proc/self/fd/3", "-test.run", "^TestVictim$", "-test.v")
	cmd.ExtraFiles, cmd.Dir = []*os.File{self}, dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, victimDir + "=" + dir, victimMark + "=" + mark}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "victim ready") {
	}
	// Not a wait for anything: the point of the kill is what is varied.
	<-time.After(time.Duration(mathrand.IntN(150_000)) * time.Microsecond)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(out) // ends when the victim does
	if err := cmd.Wait(); err == nil || strings.Contains(string(rest), "--- FAIL") {
		t.Fatalf("the victim ended by itself: %v\n%s", err, rest)
	}
	return cgroupsOf(t, dir)
}

func waitGone(t *testing.T, mark string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for left := processes(t, mark); len(left) > 0; left = processes(t, mark) {
		if time.Now().After(deadline) {
			t.Fatalf("10 s after their caller's death: %q", left)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func TestNoBubblewrap(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := sandbox.New(t.TempDir(), sandbox.Options{})
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.HintOf(err), "bubblewrap") {
		t.Errorf("got %v, hint %q", err, fault.HintOf(err))
	}
}

const barred = "PLIMSOLL_TEST_BARRED"

// TestBarred runs inside a user namespace that allows no further one.
func TestBarred(t *testing.T) {
	if os.Getenv(barred) == "" {
		return // started by itself there is nothing to do
	}
	_, err := open(t, t.TempDir()).Run(t.Context(), executor.Step{
		Layers: []executor.Layer{executortest.Busybox(t)}, Command: []string{"true"}, Env: []string{"PATH=/bin"},
	}, os.Stdout, os.Stdout)
	fmt.Printf("kind %d hint %q: %v\n", fault.KindOf(err), fault.HintOf(err), err)
}

func TestNoUserNamespaces(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(testbed.Tool(t, "bwrap"), "--dev-bind", "/", "/", "--unshare-user", "--uid", "1000", "--gid", "1000",
		"--disable-userns", "--setenv", barred, "1", "--", self, "-test.run", "^TestBarred$", "-test.v").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := fmt.Sprintf("kind %d hint \"let this user make user namespaces", fault.Unavailable)
	if !strings.Contains(string(out), want) {
		t.Errorf("got\n%s\nwant %s", out, want)
	}
}
