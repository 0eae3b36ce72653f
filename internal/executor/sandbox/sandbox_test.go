package sandbox_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/executortest"
	"plimsoll.dev/plimsoll/internal/executor/sandbox"
	"plimsoll.dev/plimsoll/internal/testbed"
)

func open(t testing.TB, dir string) *sandbox.Sandbox {
	t.Helper()
	testbed.Tool(t, "bwrap")
	s, err := sandbox.New(dir, sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestConformance runs the suite as whoever runs the tests.
func TestConformance(t *testing.T) {
	dir := t.TempDir()
	executortest.Run(t, func(t *testing.T) executor.Executor { return open(t, dir) }, executortest.Options{
		Leftovers: func(t *testing.T, mark string) []string { return leftovers(t, dir, mark) },
		OwnIDs:    os.Getuid() == 0,
	})
}

// TestConformanceAsUser runs the suite as an ordinary user, when root runs the tests.
func TestConformanceAsUser(t *testing.T) {
	if os.Getuid() != 0 {
		return // TestConformance has just done that
	}
	out, err := asUser(t, "^TestConformance$")
	for line := range strings.Lines(out) {
		if verdict := strings.TrimSpace(line); strings.HasPrefix(verdict, "--- ") {
			t.Log(verdict)
		}
	}
	if err != nil || !strings.Contains(out, "--- PASS: TestConformance ") {
		t.Errorf("as an ordinary user: %v\n%s", err, out)
	}
}

// asUser runs tests of this binary as a user that owns nothing but a temporary folder.
func asUser(t *testing.T, tests string) (string, error) {
	const uid = 54321
	// The binary lies in a folder of root's: an open file is a way in.
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	tmp := t.TempDir()
	if err := os.Chown(tmp, uid, uid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(tmp), 0o711); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3", "-test.v", "-test.run", tests)
	cmd.ExtraFiles = []*os.File{self}
	cmd.Dir, cmd.Env = tmp, []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + tmp, "HOME=" + tmp}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Kill() }
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// leftovers looks for processes that carry the mark, for mounts below the sandbox's folder,
// and for the notes and temporary folders in it.
func leftovers(t *testing.T, dir, mark string) []string {
	t.Helper()
	left := processes(t, mark)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir) || strings.Contains(line, " - tmpfs plimsoll ") {
			left = append(left, line)
		}
	}
	notes, err := filepath.Glob(dir + "/steps/*")
	if err != nil {
		t.Fatal(err)
	}
	temps, err := filepath.Glob(dir + "/v1-*/tmp/*")
	if err != nil {
		t.Fatal(err)
	}
	return append(append(left, notes...), temps...)
}

// processes gives the machine's processes with the mark among their arguments.
func processes(t *testing.T, mark string) []string {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, p := range list {
		args, err := os.ReadFile(p + "/cmdline")
		if err == nil && mark != "" && strings.Contains(string(args), mark) {
			found = append(found, fmt.Sprintf("process %s: %q", filepath.Base(p), args))
		}
	}
	return found
}

// cgroupsOf gives the cgroups that the notes of running steps name.
func cgroupsOf(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := fs.WalkDir(os.DirFS(dir), "steps", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(filepath.Join(dir, name))
		out = append(out, strings.Fields(string(raw))...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
