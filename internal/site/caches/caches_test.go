package caches

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/base/basetest"
	"plimsoll.dev/plimsoll/internal/base/spec"
	"plimsoll.dev/plimsoll/internal/cache"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/testbed"
	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

// pruning is the errand of pruning a home to nothing, slowly.
type pruning struct{ Home string }

func (p pruning) Do() error {
	_, err := Open(p.Home, 0, nil).Prune(context.Background(), PruneOptions{All: true, Pause: 20 * time.Millisecond})
	return err
}

func TestMain(m *testing.M) { testbed.Errands[pruning](m) }

// bed is a home, an archive, and the spec of a base of all its packages.
type bed struct {
	testing.TB
	image *v1alpha1.BaseImage
	home  string
	*Caches
}

func newBed(t testing.TB) *bed {
	t.Helper()
	bytesOf := rand.NewChaCha8([32]byte{1})
	all := []debarchive.Package{{Name: "base-files", Version: "13", Files: []debarchive.File{
		debarchive.Symlink("bin", "usr/bin"), debarchive.Symlink("lib", "usr/lib"), debarchive.Symlink("sbin", "usr/sbin"),
		debarchive.Dir("usr/bin", 0), debarchive.Dir("usr/lib", 0), debarchive.Dir("usr/sbin", 0), debarchive.Dir("etc", 0),
		debarchive.Regular("usr/lib/os-release", "ID=test\n"), debarchive.Symlink("etc/os-release", "../usr/lib/os-release"),
	}}}
	for i := range 12 {
		text := make([]byte, 200_000)
		_, _ = bytesOf.Read(text)
		all = append(all, debarchive.Package{
			Name: fmt.Sprintf("part%02d", i), Fields: map[string]string{"Source": fmt.Sprintf("source%02d", i)},
			Files: []debarchive.File{debarchive.Regular(fmt.Sprintf("usr/lib/part%02d", i), string(text))},
		})
	}
	a := debarchive.New(t, debarchive.Suite{Name: "test", Packages: all})
	text := fmt.Sprintf("apiVersion: plimsoll.dev/v1alpha1\nkind: BaseImage\nmetadata: {name: bed}\nspec:\n  archive: {suites: [test], mirror: %q, keyring: %q}\n  architectures: [amd64]\n  packages:\n", a.Root, a.Keyring)
	for _, p := range all {
		text += "  - " + p.Name + "\n"
	}
	image, err := spec.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	return &bed{t, image, home, Open(home, 0, nil)}
}

func (b *bed) build() (*base.Result, error) {
	builder := base.Builder{Home: b.home, Agent: "test"}
	return builder.Build(b.Context(), b.image, base.Options{})
}

// digest builds, reads all of the image's layers, and gives its digest.
func (b *bed) digest() string {
	b.Helper()
	result, err := b.build()
	if err != nil {
		b.Fatal(err)
	}
	basetest.Read(b, result.Images[0].Image)
	return result.Images[0].Digest
}

// held gives what all caches hold.
func (b *bed) held() (held cache.Held) {
	b.Helper()
	all, err := b.List(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range all {
		held.Entries += c.Entries
		held.Bytes += c.Bytes
	}
	return held
}

func TestWhatIsGoneIsMadeAgain(t *testing.T) {
	b := newBed(t)
	want, err := b.build()
	if err != nil {
		t.Fatal(err)
	}
	held := b.held()
	if held.Bytes < 6*200_000 {
		t.Fatalf("the caches hold %v: is anything kept?", held)
	}
	done, err := b.Prune(t.Context(), PruneOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	var removed cache.Held
	for _, c := range done {
		removed.Entries += c.Removed.Entries
		removed.Bytes += c.Removed.Bytes
	}
	if left := b.held(); left.Entries > 0 || removed != held {
		t.Errorf("of %v it removed %v; left are %v", held, removed, left)
	}
	basetest.Read(t, want.Images[0].Image) // it has hold of its layers
	if got := b.digest(); got != want.Images[0].Digest {
		t.Errorf("the base is %s, and was %s", got, want.Images[0].Digest)
	}
	if b.Due() {
		t.Error("it is to be pruned again on the day that it was")
	}
}

func TestRecentStays(t *testing.T) {
	b := newBed(t)
	b.digest()
	held := b.held()
	if _, err := b.Within(1).Prune(t.Context(), PruneOptions{}); err != nil {
		t.Fatal(err)
	}
	if left := b.held(); left != held {
		t.Errorf("of %v are left %v", held, left)
	}
	day := time.Now().Add(-24 * time.Hour)
	err := filepath.WalkDir(b.home, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chtimes(path, day, day)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b.digest() // reads the index, contents and layers, and needs no package
	if _, err := b.Within(1).Prune(t.Context(), PruneOptions{}); err != nil {
		t.Fatal(err)
	}
	all, err := b.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, c := range all {
		got[c.Name] = c.Entries
	}
	if got[Debian] != 1 || got[Content] != 13 || got[Layers] < 13 {
		t.Errorf("what was used stays, what was not goes; left are %v", got)
	}
}

// TestBuildsBesidePrunes: nothing is taken from under who builds.
func TestBuildsBesidePrunes(t *testing.T) {
	b := newBed(t)
	want := b.digest()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	removed := 0
	var pruner, builders sync.WaitGroup
	pruner.Go(func() {
		for ctx.Err() == nil {
			done, err := b.Prune(ctx, PruneOptions{All: true})
			if err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
			for _, c := range done {
				removed += c.Removed.Entries
			}
		}
	})
	for range 2 {
		builders.Go(func() {
			for range 5 {
				result, err := b.build()
				if err != nil {
					t.Error(err)
					return
				}
				if got := result.Images[0].Digest; got != want {
					t.Errorf("the base is %s, and was %s", got, want)
				}
				if err := readAll(result); err != nil {
					t.Error(err)
				}
			}
		})
	}
	builders.Wait()
	stop()
	pruner.Wait()
	if removed < 100 {
		t.Errorf("only %d entries were removed meanwhile", removed)
	}
}

// readAll reads the layers as they are pushed.
func readAll(result *base.Result) error {
	layers, err := result.Images[0].Image.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		packed, err := layer.Compressed()
		if err != nil {
			return err
		}
		var text bytes.Buffer
		if _, err = text.ReadFrom(packed); err != nil {
			return err
		}
		if err := packed.Close(); err != nil {
			return err
		}
	}
	return nil
}

func TestKilledPruneLeavesSoundCaches(t *testing.T) {
	b := newBed(t)
	want := b.digest()
	kept := filepath.Join(b.home, "cache", "builds", "one")
	if err := os.MkdirAll(filepath.Join(kept, "committed"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, after := range []int{1, 5, 20} {
		all := b.held().Entries
		process := testbed.Send(t, pruning{b.home})
		for deadline := time.Now().Add(20 * time.Second); b.held().Entries > all-after; {
			if time.Now().After(deadline) {
				t.Fatal("nothing is removed")
			}
		}
		if err := process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = process.Wait() // it was killed
		if left := b.held().Entries; left == 0 {
			t.Fatal("it was not killed on its way")
		}
		if got := b.digest(); got != want {
			t.Errorf("the base is %s, and was %s", got, want)
		}
	}
}

func TestTotalIsSharedOut(t *testing.T) {
	tests := []struct {
		text   string
		builds int64
		kind   fault.Kind
	}{
		{"", 10 << 30, 0},
		{"61Gi", 10 << 30, 0},
		{"6100M", 1_000_000_000, 0},
		{"-1", 0, fault.Usage},
		{"much", 0, fault.Usage},
	}
	for _, tt := range tests {
		total, err := Total(func(string) string { return tt.text })
		if err != nil {
			if fault.KindOf(err) != tt.kind || tt.kind == 0 {
				t.Errorf("%q: %v", tt.text, err)
			}
			continue
		}
		if got := Bound(Builds, total); tt.kind != 0 || got != tt.builds {
			t.Errorf("of %q builds have %d, not %d", tt.text, got, tt.builds)
		}
	}
}
