package base_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/base/basetest"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

func TestTamperedArchiveGivesNothing(t *testing.T) {
	tests := []struct {
		name, pattern string
		change        func([]byte) []byte
		kind          fault.Kind
		says          []string
	}{
		{"release", "dists/test/InRelease", debarchive.Flip, fault.Denied, []string{"InRelease", "test"}},
		{"index", "dists/test/main/binary-amd64/by-hash/SHA256/*", debarchive.Flip, fault.Denied, []string{"Packages"}},
		{"package", "pool/main/app/*.deb", debarchive.Flip, fault.Denied, []string{"app_1.0-1_all.deb"}},
		{"package cut", "pool/main/app/*.deb", debarchive.Halve, fault.Denied, []string{"app_1.0-1_all.deb", "truncated"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, appAndLib("1")...)
			b.archive.Change(t, tt.pattern, tt.change)
			b.refuses(tt.kind, tt.says...)
			if layers, err := filepath.Glob(filepath.Join(b.home, "cache/layers/*/*")); err != nil || len(layers) > 0 {
				t.Errorf("layers were made: %v %v", layers, err)
			}
		})
	}
}

// TestNotADeb signs what is no package: the chain is sound, the file is not.
func TestNotADeb(t *testing.T) {
	b := newBed(t, pkg{Name: "evil", Files: []debarchive.File{reg("../../etc/passwd", "x")}})
	b.tree() // the test bed itself cleans its paths
	b = newBed(t, pkg{Name: "evil", Files: []debarchive.File{{Path: "dev/mem", Type: '3'}}})
	b.refuses(fault.Failed, "evil 1.0-1", "dev/mem", "special file")
}

func TestCancelLeavesNothingHalf(t *testing.T) {
	b := newVariedBed(t)
	for _, stage := range []string{"resolving architectures", "unpacking packages", "writing layers for amd64"} {
		t.Run(stage, func(t *testing.T) {
			b.home = t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			builder := b.builder()
			builder.Progress = func(at string, _, _ int) {
				if at == stage {
					cancel()
				}
			}
			_, err := builder.Build(ctx, b.image, base.Options{})
			if fault.KindOf(err) != fault.Canceled {
				t.Errorf("want Canceled, got %v", err)
			}
			noLeftovers(t, b.home)
			b.tree()
		})
	}
}

// TestCutConnection breaks off the download of one package: once, which is mended, and
// then always, which is said and leaves the next run unharmed.
func TestCutConnection(t *testing.T) {
	for _, tt := range []struct {
		name string
		cuts int32
	}{{"once", 1}, {"always", 100}} {
		t.Run(tt.name, func(t *testing.T) { cutConnection(t, tt.cuts) })
	}
}

func cutConnection(t *testing.T, cuts int32) {
	b := newVariedBed(t)
	var left atomic.Int32
	left.Store(cuts)
	server := b.archive.Serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "lib02") && left.Add(-1) >= 0 {
				w.Header().Set("Content-Length", "100000")
				_, _ = w.Write([]byte("!<arch>\n"))
				_ = http.NewResponseController(w).Flush() // else the client sees no answer, and asks again
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	})
	b.image.Spec.Archive.Mirror = server.URL
	if cuts > 1 {
		b.refuses(fault.Unavailable, "lib02", server.URL)
		left.Store(0)
	}
	b.tree()
}

func TestDamagedCaches(t *testing.T) {
	tests := []struct {
		name, pattern string
		says          string // "" where it must mend itself
	}{
		{"content", "cache/content/*/*.json", ""},
		{"layer's name", "cache/layers/gzip/*.json", ""},
		{"layer's bytes", "cache/layers/gzip/*.blob", ""},
		{"index", "cache/debian/index/*", ""},
		{"package", "cache/debian/deb/*", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newVariedBed(t)
			want := b.build().Images[0].Digest
			found, err := filepath.Glob(filepath.Join(b.home, tt.pattern))
			if err != nil || len(found) == 0 {
				t.Fatalf("nothing at %s (%v)", tt.pattern, err)
			}
			for _, path := range found {
				info, err := os.Stat(path)
				if err == nil {
					err = os.Truncate(path, info.Size()/2)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			result := b.build()
			if result.Images[0].Digest != want {
				t.Error("another digest")
			}
			basetest.Read(t, result.Images[0].Image)
		})
	}
	t.Run("kept files", func(t *testing.T) {
		b := newVariedBed(t)
		b.build()
		flipAll(t, filepath.Join(b.home, "cache/content/*/*.tar.s2"))
		if err := os.RemoveAll(filepath.Join(b.home, "cache/layers")); err != nil {
			t.Fatal(err)
		}
		b.refuses(fault.Failed, "damaged on the disk", "run the command again")
	})
}

// TestDamagedLayer turns a bit in every kept layer: whoever reads one hears of it, and the
// next build makes it again.
func TestDamagedLayer(t *testing.T) {
	b := newVariedBed(t)
	b.build()
	flipAll(t, filepath.Join(b.home, "cache/layers/gzip/*.blob"))
	layers, err := b.build().Images[0].Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err == nil {
			t.Error("a damaged layer was read without complaint")
		}
		r.Close()
	}
	basetest.Read(t, b.build().Images[0].Image)
}

// flipAll turns a bit in every file that the pattern names.
func flipAll(t *testing.T, pattern string) {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatal(pattern, found, err)
	}
	for _, path := range found {
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, debarchive.Flip(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// tmpfs gives a folder with room for size bytes. Only root may mount; that is what tests
// of a full disk need.
func tmpfs(t *testing.T, size int, flags uintptr) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatalf("mount a tmpfs of %d bytes: %v: run the tests as root (or in `unshare -rm`)", size, err)
	}
	t.Cleanup(func() {
		deadline := time.Now().Add(10 * time.Second)
		err := unix.Unmount(dir, 0)
		for errors.Is(err, unix.EBUSY) && time.Now().Before(deadline) {
			err = unix.Unmount(dir, 0)
		}
		if err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	noise := make([]byte, 128<<10)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	big := pkg{Name: "big", Files: []debarchive.File{reg("usr/lib/big", hex.EncodeToString(noise))}}
	b := newBed(t, big)
	// The deb and the index fit in none, the deb in the next, its content in the third.
	for _, size := range []int{4 << 10, 64 << 10, 200 << 10, 330 << 10} {
		b.home = tmpfs(t, size, 0)
		_, err := b.builder().Build(t.Context(), b.image, base.Options{})
		if err == nil {
			t.Errorf("%d bytes were enough", size)
			continue
		}
		wantFault(t, err, fault.Failed, "no space left on device")
		noLeftovers(t, b.home)
	}
	b.home = tmpfs(t, 4<<20, 0)
	b.tree()
}

func TestReadOnlyHome(t *testing.T) {
	b := newBed(t)
	b.home = tmpfs(t, 1<<20, unix.MS_RDONLY)
	_, err := b.builder().Build(t.Context(), b.image, base.Options{})
	wantFault(t, err, fault.Failed, b.home, "read-only")
}

func TestMirrorsAreTheMachines(t *testing.T) {
	b := newBed(t)
	root := t.TempDir()
	sources := fmt.Sprintf("deb [signed-by=%s] file://%s test main\n", b.archive.Keyring, b.archive.Root)
	if err := os.WriteFile(filepath.Join(root, "sources.list"), []byte(sources), 0o644); err != nil {
		t.Fatal(err)
	}
	b.image.Spec.Archive.Mirror = ""
	builder := b.builder()
	builder.AptSources = root
	if _, err := builder.Build(t.Context(), b.image, base.Options{}); err != nil {
		t.Error(err)
	}
	builder.AptSources = t.TempDir()
	_, err := builder.Build(t.Context(), b.image, base.Options{})
	wantFault(t, err, fault.Usage, "find mirror", "test")
	if !strings.Contains(fault.HintOf(err), "archive.mirror") {
		t.Errorf("the hint does not say what to do: %q", fault.HintOf(err))
	}
}
