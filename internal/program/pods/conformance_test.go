package pods

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/executortest"
	"plimsoll.dev/plimsoll/internal/executor/pod"
)

// TestConformance runs the suite against a real kubelet and containerd.
func TestConformance(t *testing.T) {
	b := New(t)
	e := b.Executor(t, pod.Options{})
	executortest.Run(t, func(t *testing.T) executor.Executor { return e }, executortest.Options{
		Leftovers: b.leftovers, OwnIDs: true, NonRoot: true, Copies: true,
		Added:  []string{"sys", "etc/hostname", "etc/hosts", "etc/resolv.conf"},
		Listen: func(t *testing.T) string { return executortest.Greeter(t, b.Cluster.Address()) },
	})
}

// leftovers gives the processes with the mark, and the pods that nobody has deleted.
func (b *Bed) leftovers(t *testing.T, mark string) []string {
	return append(b.processes(t, mark), b.Pods(t)...)
}

// processes gives those of the node, which is this machine, that have the mark among their
// arguments.
func (b *Bed) processes(t *testing.T, mark string) []string {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, p := range list {
		args, err := os.ReadFile(p + "/cmdline")
		if err == nil && bytes.Contains(args, []byte(mark)) {
			found = append(found, fmt.Sprintf("process %s: %q", filepath.Base(p), args))
		}
	}
	return found
}
