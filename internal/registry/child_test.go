package registry_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/registry"
)

// childRoot names the store a child process serves, childConfig its configuration, if
// any; childGrace makes it collect garbage all the while.
const (
	childRoot   = "PLIMSOLL_TEST_CHILD_ROOT"
	childConfig = "PLIMSOLL_TEST_CHILD_CONFIG"
	childGrace  = "PLIMSOLL_TEST_CHILD_GRACE"
)

// TestMain lets the test binary be a server in a process of its own.
func TestMain(m *testing.M) {
	if root := os.Getenv(childRoot); root != "" {
		if err := beChild(root, os.Getenv(childGrace)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func beChild(root, grace string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	reg, err := registry.Open(ctx, registry.Options{Root: root, Config: os.Getenv(childConfig)})
	if err != nil {
		return err
	}
	if grace != "" {
		d, err := time.ParseDuration(grace)
		if err != nil {
			return err
		}
		go func() {
			for range time.Tick(100 * time.Millisecond) {
				if _, err := reg.Collect(ctx, registry.CollectOptions{Grace: d, Untagged: true}); err != nil && ctx.Err() == nil {
					fmt.Fprintln(os.Stderr, err)
				}
			}
		}()
	}
	return reg.Serve(ctx, registry.ServeOptions{Addr: "127.0.0.1:0", Ready: func(a net.Addr) { fmt.Println(a) }})
}

// child starts a server on the store in a process of its own, with more settings as
// KEY=value, and gives its address.
func child(t testing.TB, root, grace string, more ...string) (addr string, process *exec.Cmd) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), childRoot+"="+root, childGrace+"="+grace), more...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the child gave no address: %v", lines.Err())
	}
	return lines.Text(), cmd
}
