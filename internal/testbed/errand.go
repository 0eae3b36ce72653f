package testbed

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// errandVariable tells a test's own program what to do instead of testing.
const errandVariable = "PLIMSOLL_TEST_ERRAND"

// Errands runs the tests of a program, or where Send has started it, what it was sent for: a process
// that can be killed. It is for TestMain, and E is a struct that JSON keeps.
func Errands[E interface{ Do() error }](m *testing.M) {
	text, ok := os.LookupEnv(errandVariable)
	if !ok {
		os.Exit(m.Run())
	}
	var e E
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		panic(err)
	}
	if err := e.Do(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Send starts this program once more, for an errand. The process ends with this one at the latest.
func Send(t testing.TB, errand any) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(errand)
	if err != nil {
		t.Fatal(err)
	}
	process := exec.Command(os.Args[0])
	process.Env = append(os.Environ(), errandVariable+"="+string(text))
	process.Stderr = os.Stderr
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	return process
}
