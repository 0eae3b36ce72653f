package rootfs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/executortest"
	"plimsoll.dev/plimsoll/internal/executor/rootfs"
	"plimsoll.dev/plimsoll/internal/fault"
)

// FuzzLayers joins two arbitrary tars. Whatever they hold, nothing is made outside the
// store, and a root that is given can be walked.
func FuzzLayers(f *testing.F) {
	for _, ms := range [][]member{
		{{"dir", "d", ""}, {"file", "d/a", "x"}, {"link", "l", "/../d"}, {"file", "l/b", "y"}},
		{{"file", ".wh.d", ""}, {"file", "d/.wh..wh..opq", ""}, {"hard", "h", "d/a"}},
		{{"file", "../escape", "x"}, {"link", "e", "../../.."}, {"file", "e/escape", "x"}},
		{{"fifo", "p", ""}, {"char", "dev/null", ""}, {"link", "a", "a"}, {"file", "a/b", ""}},
	} {
		f.Add(rawOf(f, layerOf(f, ms...)), rawOf(f, layerOf(f, member{"file", "d/c", "z"}, member{"hard", "x", "d/a"})))
	}
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		dir := t.TempDir()
		s, err := rootfs.Open(filepath.Join(dir, "one", "two", "store"), rootfs.Options{MaxLayerBytes: 1 << 20, MaxLayerEntries: 1000})
		if err != nil {
			t.Fatal(err)
		}
		root, err := s.Root(t.Context(), []executor.Layer{executortest.BytesLayer(lower), executortest.BytesLayer(upper)}, []rootfs.Point{{Path: "/work", Dir: true}})
		if err == nil {
			root.Release()
		} else if k := fault.KindOf(err); k != fault.Denied && k != fault.Usage {
			t.Errorf("kind %d: %v", k, err)
		}
		for _, at := range []string{dir, filepath.Join(dir, "one"), filepath.Join(dir, "one", "two")} {
			if list, err := os.ReadDir(at); err != nil || len(list) != 1 {
				t.Errorf("outside the store: %v, %v", list, err)
			}
		}
		if _, err := s.Prune(t.Context(), 0); err != nil {
			t.Errorf("prune: %v", err)
		}
	})
}

// BenchmarkUnpack measures unpacking and joining a layer like a distribution's: many small
// files and some large ones; beside it, GNU tar unpacking the same bytes.
func BenchmarkUnpack(b *testing.B) {
	members := []member{}
	for i := range 4000 {
		members = append(members, member{"file", fmt.Sprintf("usr/share/%d/%d", i%100, i), strings.Repeat("x", 3000+i)})
	}
	for i := range 10 {
		members = append(members, member{"file", fmt.Sprintf("usr/lib/%d", i), strings.Repeat("y", 8<<20)})
	}
	l := layerOf(b, members...)
	raw := rawOf(b, l)
	b.Run("store", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			root, err := openStore(b, rootfs.Options{}).Root(b.Context(), []executor.Layer{l}, nil)
			if err != nil {
				b.Fatal(err)
			}
			root.Release()
		}
	})
	b.Run("tar", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			cmd := exec.Command("tar", "-x", "-C", b.TempDir())
			cmd.Stdin = strings.NewReader(string(raw))
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("warm", func(b *testing.B) {
		s := openStore(b, rootfs.Options{})
		for b.Loop() {
			root, err := s.Root(b.Context(), []executor.Layer{l}, nil)
			if err != nil {
				b.Fatal(err)
			}
			root.Release()
		}
	})
}
