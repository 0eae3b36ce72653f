// Package clustertest takes a test and gives it a running Kubernetes of its own, which ends with
// the test. Nothing here ever skips: a machine that lacks something fails the test with the
// command that mends it.
package clustertest

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/cluster"
)

// Start gives a control plane without a node. Its API server, controllers and scheduler are the
// real ones; etcd does not wait for the disk. Tests of several packages may run at once.
func Start(t testing.TB) *cluster.Cluster {
	t.Helper()
	return start(t, cluster.Options{Forgetful: true})
}

// Node gives a cluster whose one node, this machine, runs pods.
func Node(t testing.TB, registries ...cluster.Registry) *cluster.Cluster {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("a node needs root: run the tests as root, such as with sudo make test")
	}
	return start(t, cluster.Options{Forgetful: true, Node: true, Registries: registries})
}

// Program gives the path of the kubernetes program in the repository's bin folder.
func Program(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "ROOMS")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("the test does not run in a clone of the repository")
		}
	}
	program := filepath.Join(dir, "bin", "kubernetes")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%s is not built: run `make bin/kubernetes`", program)
	}
	return program
}

func start(t testing.TB, opt cluster.Options) *cluster.Cluster {
	t.Helper()
	opt.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	c, err := cluster.Start(t.Context(), Program(t), t.TempDir(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, part := range c.Parts() {
				t.Logf("%s, which was started again %d times, wrote at last:\n%s", part.Name, part.Restarts, tail(part.Log))
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			t.Errorf("stop the cluster: %v", err)
		}
	})
	return c
}

// tail gives the last lines of a file.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}
