package update_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/update"
)

// The environment of a process that is an engine alone.
const (
	workerAddress = "PLIMSOLL_TEST_ENGINE"
	workerFolder  = "PLIMSOLL_TEST_QUAY"
)

// TestMain is an engine where a test has started it as one.
func TestMain(m *testing.M) {
	if os.Getenv(workerAddress) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := engineAlone(ctx, os.Getenv(workerAddress), os.Getenv(workerFolder)); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func engineAlone(ctx context.Context, address, folder string) error {
	inv, err := inventory.Open(ctx, address, inventory.Options{})
	if err != nil {
		return err
	}
	defer inv.Close()
	q := newQuay(folder, inv)
	q.delay = 5 * time.Millisecond
	engine, err := update.Open(ctx, inv, address, update.Options{
		Remedier: q, Tester: tester{}, Tick: 50 * time.Millisecond, Lease: 2 * time.Second, Rebases: 20, Parallel: 2,
	})
	if err != nil {
		return err
	}
	defer engine.Close()
	return engine.Run(ctx)
}

// worker starts an engine in a process of its own.
func worker(t *testing.T, address, folder string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), workerAddress+"="+address, workerFolder+"="+folder)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// TestKilled kills engines in the middle of a campaign, again and again: the campaign ends as
// if nothing had been, and nothing is done twice.
func TestKilled(t *testing.T) {
	const images, kills = 240, 6
	databases(t, func(t *testing.T, address string) {
		workers := 2 // which share the work
		inv := openInventory(t, address, time.Now)
		q := newQuay(t.TempDir(), inv)
		moor(t, inv, q, images)
		looking, err := update.Open(t.Context(), inv, address, update.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = looking.Apply(t.Context(), "ssl", v1alpha1.PatchSpec{
			Target: openssl, Waves: []v1alpha1.PatchWave{{Name: "canary", Share: share("10%")}},
			Tests: []v1alpha1.ImageTest{{Name: "starts", Command: []string{"/bin/true"}, Images: []string{"registry.example/team-1/*"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		running := make([]*exec.Cmd, workers)
		for i := range running {
			running[i] = worker(t, address, q.dir)
		}
		h := &harbour{TB: t, address: address, inv: inv, quay: q, engine: looking}
		for kill := range kills {
			done := int64((kill + 1) * images / (kills + 2))
			h.until("ssl", "so far", func(s update.Status) bool { return s.Counts.Done >= done })
			victim := running[kill%workers]
			if err := victim.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = victim.Wait() // it was killed
			running[kill%workers] = worker(t, address, q.dir)
		}
		s := h.ended("ssl")
		for _, cmd := range running {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("an engine that was asked to end: %v", err)
			}
		}
		if s.Phase != v1alpha1.PatchDone || s.Counts.Done != images {
			t.Errorf("%s %s: %+v", s.Phase, s.Why, s.Counts)
		}
		for line, n := range q.journal() {
			if n != 1 && line[:5] != "made " { // a candidate is nothing until a tag names it
				t.Errorf("%d times %s", n, line)
			}
		}
		proof(t, h, "ssl", images)
	})
}
