package pods

import (
	"bufio"
	"crypto/rand"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/executortest"
	"plimsoll.dev/plimsoll/internal/executor/pod"
)

const (
	victimConfig = "PLIMSOLL_TEST_VICTIM_KUBECONFIG"
	victimImage  = "PLIMSOLL_TEST_VICTIM_IMAGE"
	victimMark   = "PLIMSOLL_TEST_VICTIM_MARK"
)

// TestVictim is the process that is killed while its step runs.
func TestVictim(t *testing.T) {
	if os.Getenv(victimConfig) == "" {
		return // started by itself there is nothing to do
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv(victimConfig))
	if err != nil {
		t.Fatal(err)
	}
	e, err := pod.New(config, fixed(os.Getenv(victimImage)), pod.Options{Owner: "victim"})
	if err != nil {
		t.Fatal(err)
	}
	// Each shell has a last command of its own to come back to, else it becomes sleep and loses its mark.
	s := step(t, "trap '' TERM HUP; (setsid sh -c 'sleep 1000; :' $0 &); echo ready; sleep 1000; :")
	s.Command = append(s.Command, os.Getenv(victimMark))
	_, err = e.Run(t.Context(), s, os.Stdout, os.Stderr)
	t.Fatalf("the step ended: %v", err)
}

// killed kills an executor's process without warning: its step's processes end by themselves,
// and the next start of the same owner, but no other, removes the pod.
func killed(t *testing.T, b *Bed) {
	ref, err := b.Images.Ref(t.Context(), []executor.Layer{executortest.Busybox(t)})
	if err != nil {
		t.Fatal(err)
	}
	mark := "mark-" + rand.Text()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestVictim$", "-test.v")
	cmd.Env = append(os.Environ(), victimConfig+"="+b.Cluster.Kubeconfig(), victimImage+"="+ref, victimMark+"="+mark)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, said := bufio.NewScanner(out), ""
	for !strings.Contains(said, "ready") {
		if !lines.Scan() {
			_ = cmd.Process.Kill() // it has ended, or closed its output
			t.Fatalf("the victim has ended: %v\n%s", cmd.Wait(), said)
		}
		said += lines.Text() + "\n"
	}
	other, again := b.Executor(t, pod.Options{Owner: "other"}), b.Executor(t, pod.Options{Owner: "victim"})
	if err := other.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(b.processes(t, mark)) == 0 || len(b.Pods(t)) != 1 {
		t.Fatalf("the victim's step does not run: %q, %q\n%s", b.processes(t, mark), b.Pods(t), said)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	deadline := time.Now().Add(20 * time.Second)
	for left := b.processes(t, mark); len(left) > 0; left = b.processes(t, mark) {
		if time.Now().After(deadline) {
			t.Fatalf("20 s after their executor's death: %q", left)
		}
		<-time.After(10 * time.Millisecond)
	}
	if err := other.Sweep(t.Context()); err != nil || len(b.Pods(t)) != 1 {
		t.Errorf("another owner's sweep: %v, and the pods are %q", err, b.Pods(t))
	}
	if err := again.Sweep(t.Context()); err != nil || len(b.Pods(t)) != 0 {
		t.Errorf("the owner's sweep: %v, and the pods are %q", err, b.Pods(t))
	}
}
