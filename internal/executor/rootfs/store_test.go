package rootfs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/rootfs"
	"plimsoll.dev/plimsoll/internal/fault"
)

func rawOf(t testing.TB, l executor.Layer) []byte {
	t.Helper()
	r, err := l.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// many gives a layer of n small files.
func many(t testing.TB, prefix string, n, size int) executor.Layer {
	var members []member
	for i := range n {
		members = append(members, member{"file", fmt.Sprintf("%s/%d/%d", prefix, i%37, i), strings.Repeat(string(rune('a'+i%26)), size)})
	}
	return layerOf(t, members...)
}

// TestShared has many goroutines want roots of overlapping layers at once: each layer is
// unpacked once, and its files are the same inodes everywhere.
func TestShared(t *testing.T) {
	dir := t.TempDir()
	var opened atomic.Int32
	counted := func(l executor.Layer) executor.Layer {
		open := l.Open
		l.Open = func() (io.ReadCloser, error) { opened.Add(1); return open() }
		return l
	}
	a, b, c := counted(many(t, "a", 300, 10)), counted(many(t, "b", 300, 10)), counted(many(t, "c", 300, 10))
	sets := [][]executor.Layer{{a}, {a, b, a}, {a, b, c}, {c, a}} // real images repeat their empty layer
	done := make(chan error)
	for i := range 24 {
		go func() {
			s, err := rootfs.Open(dir, rootfs.Options{}) // each as a process of its own would
			if err != nil {
				done <- err
				return
			}
			root, err := s.Root(t.Context(), sets[i%4], nil)
			if err == nil {
				_, err = os.Stat(filepath.Join(root.Path(), "a/0/0"))
				root.Release()
			}
			done <- err
		}()
	}
	for range 24 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := opened.Load(); n != 3 {
		t.Errorf("3 layers were read %d times", n)
	}
	found, err := filepath.Glob(dir + "/v1-0/roots/*/fs/a/0/0")
	if err != nil || len(found) != 4 {
		t.Fatalf("%d roots, %v", len(found), err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(found[0], &st); err != nil || st.Nlink != 5 {
		t.Errorf("%d links, %v, want the layer's and four roots'", st.Nlink, err)
	}
}

func TestPrune(t *testing.T) {
	s := openStore(t, rootfs.Options{})
	root := func(layers ...executor.Layer) *rootfs.Root {
		r, err := s.Root(t.Context(), layers, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	a, b, c := many(t, "a", 100, 4096), many(t, "b", 100, 4096), many(t, "c", 100, 4096)
	root(a, b).Release()
	held := root(c)
	root(a).Release() // a is used later than b
	all, err := s.Prune(t.Context(), 1<<40)
	if err != nil || all.Roots+all.Layers != 0 || all.Left < 3*100*4096 {
		t.Fatalf("a large bound: %+v, %v", all, err)
	}
	some, err := s.Prune(t.Context(), all.Left-1)
	if err != nil || some.Roots != 1 || some.Layers != 0 {
		t.Errorf("one byte less: %+v, %v, want the oldest root gone", some, err)
	}
	some, err = s.Prune(t.Context(), some.Left-1)
	if err != nil || some.Roots != 0 || some.Layers != 1 {
		t.Errorf("one byte less again: %+v, %v, want the layer that only it had gone", some, err)
	}
	rest, err := s.Prune(t.Context(), 0)
	if err != nil || rest.Roots != 1 || rest.Layers != 1 {
		t.Errorf("to nothing: %+v, %v, want all gone but what is held", rest, err)
	}
	if _, err := os.Stat(filepath.Join(held.Path(), "c/0/0")); err != nil {
		t.Errorf("the held root: %v", err)
	}
	held.Release()
	if last, err := s.Prune(t.Context(), 0); err != nil || last.Left != 0 || last.Roots != 1 || last.Layers != 1 {
		t.Errorf("after its release: %+v, %v", last, err)
	}
	root(a, b, c).Release() // and all can be had again
}

// TestPruneInterrupted: who is interrupted leaves nothing behind that the next one does not find.
func TestPruneInterrupted(t *testing.T) {
	dir := t.TempDir()
	s, err := rootfs.Open(dir, rootfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		r, err := s.Root(t.Context(), []executor.Layer{many(t, name, 100, 10)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Release()
	}
	for looks := 0; ; looks++ { // interrupted at each point at which somebody looks
		ctx := &looked{Context: t.Context(), left: looks}
		_, err := s.Prune(ctx, 0)
		if err == nil {
			break
		}
		if fault.KindOf(err) != fault.Canceled {
			t.Fatal(err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "tmp", "*"))
	if entries, _, heldErr := s.Held(); err != nil || heldErr != nil || entries != 0 || len(left) != 0 {
		t.Errorf("left are %d entries and %v, %v, %v", entries, left, err, heldErr)
	}
}

// looked is done once it was looked at so often.
type looked struct {
	context.Context
	left int
}

func (c *looked) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestPruneRace prunes all the time while others use the store.
func TestPruneRace(t *testing.T) {
	s := openStore(t, rootfs.Options{})
	a, b := many(t, "a", 50, 10), many(t, "b", 50, 10)
	ctx, cancel := context.WithCancel(t.Context())
	pruned := make(chan error)
	go func() {
		var err error
		for ctx.Err() == nil && err == nil {
			_, err = s.Prune(t.Context(), 0)
		}
		pruned <- err
	}()
	for range 40 {
		root, err := s.Root(t.Context(), []executor.Layer{a, b}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(root.Path(), "b/1/1")); err != nil {
			t.Error(err)
		}
		root.Release()
	}
	cancel()
	if err := <-pruned; err != nil {
		t.Error(err)
	}
}

const crashDir = "PLIMSOLL_TEST_CRASH_DIR"

// TestCrashVictim is the process that TestCrash kills.
func TestCrashVictim(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		return // started by itself there is nothing to do
	}
	a, b := many(t, "a", 2000, 100), many(t, "b", 2000, 100)
	fmt.Println("victim ready")
	for {
		s, err := rootfs.Open(dir, rootfs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		root, err := s.Root(t.Context(), []executor.Layer{a, b}, nil)
		if err != nil {
			t.Fatal(err)
		}
		root.Release()
		if _, err := s.Prune(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCrash kills a process that unpacks, joins and prunes at points all over its course.
// Whatever is there afterwards is whole, and the next start clears the rest.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	a, b := many(t, "a", 2000, 100), many(t, "b", 2000, 100)
	fresh, err := openStore(t, rootfs.Options{}).Root(t.Context(), []executor.Layer{a, b}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Release()
	want := len(listing(t, fresh.Path()))
	unfinished := 0
	for range 30 {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestCrashVictim$", "-test.v")
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAtLeast(out, make([]byte, 64), 30); err != nil {
			t.Fatal(err)
		}
		// Not a wait for anything: the point of the kill is what is varied.
		<-time.After(time.Duration(mathrand.IntN(500)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the victim ended by itself")
		}
		if temps, err := filepath.Glob(dir + "/v1-0/tmp/*"); err == nil && len(temps) > 0 {
			unfinished++
		}
		roots, err := filepath.Glob(dir + "/v1-0/roots/*/fs")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range roots {
			if got := len(listing(t, r)); got != want {
				t.Errorf("a root has %d of %d entries", got, want)
			}
		}
	}
	if unfinished == 0 {
		t.Error("no kill hit anything unfinished: the test proves nothing")
	}
	s, err := rootfs.Open(dir, rootfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(dir + "/v1-0/tmp/*"); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
	root, err := s.Root(t.Context(), []executor.Layer{a, b}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Release()
	if got := len(listing(t, root.Path())); got != want {
		t.Errorf("%d of %d entries after all the kills", got, want)
	}
}

func TestReadErrorAndCancel(t *testing.T) {
	s := openStore(t, rootfs.Options{})
	good := many(t, "a", 10, 10)
	offline := fault.Newf(fault.Unavailable, "fetch", "layer", "connection reset")
	bad := good
	bad.Open = func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader(string(rawOf(t, good)[:600])), failing{offline})), nil
	}
	if _, err := s.Root(t.Context(), []executor.Layer{bad}, nil); !errors.Is(err, offline) || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a broken connection: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Root(ctx, []executor.Layer{good}, nil); !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	root, err := s.Root(t.Context(), []executor.Layer{good}, nil)
	if err != nil {
		t.Fatalf("afterwards: %v", err)
	}
	root.Release()
}

// TestPowerCut has a layer whose file lost its content while the machine went down.
func TestPowerCut(t *testing.T) {
	dir := t.TempDir()
	l := layerOf(t, member{"file", "a", "content"})
	get := func() string {
		t.Helper()
		s, err := rootfs.Open(dir, rootfs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		root, err := s.Root(t.Context(), []executor.Layer{l}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Release()
		raw, err := os.ReadFile(filepath.Join(root.Path(), "a"))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	get()
	marks, err := filepath.Glob(dir + "/v1-0/*/*/boot")
	if err != nil || len(marks) != 2 {
		t.Fatalf("%q, %v, want the layer's and the root's", marks, err)
	}
	blob := filepath.Join(filepath.Dir(marks[0]), "f/0/1")
	if err := errors.Join(os.Truncate(blob, 0), os.WriteFile(marks[0], []byte("earlier"), 0o600), os.WriteFile(marks[1], nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if got := get(); got != "content" {
		t.Errorf("after the next boot: %q", got)
	}
	// What Prune has settled stays.
	s, err := rootfs.Open(dir, rootfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prune(t.Context(), 1<<40); err != nil {
		t.Fatal(err)
	}
	if marks, _ := filepath.Glob(dir + "/v1-0/*/*/boot"); len(marks) != 0 {
		t.Errorf("not settled: %q", marks)
	}
	if got := get(); got != "content" {
		t.Errorf("settled: %q", got)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
