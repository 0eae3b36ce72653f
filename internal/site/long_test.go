package site

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/internal/build/rebase"
	"plimsoll.dev/plimsoll/internal/site/ledger"
)

// TestLongLife: two hundred pieces of work in one process leave neither goroutines nor open files
// nor folders behind, and memory does not grow with them.
func TestLongLife(t *testing.T) {
	b := newBed(t)
	items := b.fleet(18)
	work := func(round int) {
		for i, o := range b.rebase(items) {
			if o.Status != rebase.StatusRebased {
				t.Fatalf("%s: %s, %v", i, o.Status, o.Err)
			}
		}
		b.built(b.request("shop:1", fmt.Sprint("text of round ", round/5)))
		if o := b.rebase(items[:1])["fleet/app:0"]; o.Status != rebase.StatusUnchanged {
			t.Fatalf("%s, %v", o.Status, o.Err)
		}
	}
	b.run("warm")
	work(0)
	b.run("1") // what the builder knows
	work(0)
	before := measure(b)
	for round := range 10 { // 20 pieces each
		b.run(fmt.Sprint(round))
		work(round)
	}
	until(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before.goroutines })
	after := measure(b)
	if after.files > before.files {
		t.Errorf("%d files are open, and before were %d", after.files, before.files)
	}
	if diff := slices.DeleteFunc(after.folders, func(f string) bool { return slices.Contains(before.folders, f) }); len(diff) > 0 {
		t.Errorf("left behind: %q", diff)
	}
	const most = 16 << 20 // bytes: caches of what was read, which are bounded
	if grown := int64(after.heap) - int64(before.heap); grown > most {
		t.Errorf("memory has grown by %d bytes", grown)
	}
	t.Logf("heap %d kB, then %d kB; %d goroutines, %d files", before.heap>>10, after.heap>>10, after.goroutines, after.files)
}

// measured is what a process holds.
type measured struct {
	goroutines, files int
	heap              uint64
	folders           []string // in the home, but for what is kept by content
}

func measure(b *bed) measured {
	b.Helper()
	m := measured{goroutines: runtime.NumGoroutine()}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		b.Fatal(err)
	}
	m.files = len(open)
	runtime.GC()
	runtime.GC() // what finalizers let go
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	m.heap = stats.HeapAlloc
	m.folders = leftIn(b, b.Folder)
	return m
}

// kept are the folders of a home that hold what is kept by its content.
var kept = []string{"registry", "cache/contents", "cache/hardening", "cache/layers", "cache/content", "cache/roots"}

// leftIn gives the paths in a home that are not kept by their content.
func leftIn(t testing.TB, folder string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(folder, path)
		if slices.Contains(kept, name) {
			return filepath.SkipDir
		}
		paths = append(paths, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// childVariable tells the test's own program that it is the one to be killed, and of which home.
const childVariable = "PLIMSOLL_TEST_KILLED"

// TestKilled: a process that is killed while it builds and rebases leaves no tag without its
// evidence, and nothing in the way of the next.
func TestKilled(t *testing.T) {
	if folder := os.Getenv(childVariable); folder != "" {
		busy(open(t, folder))
		return
	}
	b := newBed(t)
	items := b.fleet(6)
	for round := range 6 {
		b.run(fmt.Sprint("before kill ", round))
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
		child.Env = append(os.Environ(), childVariable+"="+b.Folder)
		says, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fscanln(says, new(string)) // it has begun
		time.AfterFunc(time.Duration(round)*150*time.Millisecond, func() { _ = child.Process.Kill() })
		if err := child.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("it was to be killed: %v", err)
		}
		l, err := ledger.Open(t.Context(), b.Home, ledger.Options{}) // as whoever works next
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		for i, item := range items {
			b.vouched(item.Tag)
			b.knows(item.Tag)
			if other := fmt.Sprintf("other/app:%d", i); b.head(other) != "" {
				b.vouched(other)
			}
		}
	}
	for tag, o := range b.rebase(items) {
		if o.Status == rebase.StatusFailed {
			t.Errorf("%s: %v", tag, o.Err)
		}
		b.vouched(tag)
	}
	b.built(b.request("shop:1", "after all")) // sweeps what builds have left
	b.vouched("shop:1")
	for _, path := range leftIn(t, b.Folder) {
		if strings.HasPrefix(path, "cache/work/") || strings.HasPrefix(path, "untold/") || strings.Contains(filepath.Base(path), "copy-") {
			t.Errorf("left behind: %s", path)
		}
	}
}

// knows fails unless the inventory knows what the tag names.
func (b *bed) knows(tag string) {
	b.Helper()
	index, err := b.Inventory(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if missing, err := index.Missing(b.Context(), []string{b.head(tag)}); err != nil || len(missing) > 0 {
		b.Errorf("the inventory does not know what %s names, %v", tag, err)
	}
}

// busy works until it is killed.
func busy(b *bed) {
	var items []RebaseItem
	for i := range 6 {
		items = append(items, RebaseItem{Tag: fmt.Sprintf("fleet/app:%d", i), AdditionalTags: []string{fmt.Sprintf("other/app:%d", i)}})
	}
	fmt.Println("begun")
	building := make(chan struct{})
	go func() {
		defer close(building)
		for i := 0; ; i++ {
			b.built(b.request("shop:1", fmt.Sprint("text ", i)))
		}
	}()
	for i := 0; ; i++ {
		b.rebase(items)
		b.run(fmt.Sprint("while killed ", i))
	}
}
