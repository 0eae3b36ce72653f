package rootfs_test

import (
	"archive/tar"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/executortest"
	"plimsoll.dev/plimsoll/internal/executor/rootfs"
	"plimsoll.dev/plimsoll/internal/fault"
)

// member is a tar member in short: "name" or "name -> target", with the content of a file.
type member struct {
	what    string // dir, file, link, hard, fifo, char
	name    string
	content string // or the target of a link
}

func layerOf(t testing.TB, members ...member) executor.Layer {
	t.Helper()
	kinds := map[string]byte{"dir": tar.TypeDir, "file": tar.TypeReg, "link": tar.TypeSymlink, "hard": tar.TypeLink, "fifo": tar.TypeFifo, "char": tar.TypeChar}
	var headers []tar.Header
	files := map[string]string{}
	for _, m := range members {
		h := tar.Header{Name: m.name, Typeflag: kinds[m.what], Mode: 0o644, ModTime: time.Unix(1e9, 0), Format: tar.FormatPAX}
		switch m.what {
		case "dir":
			h.Mode = 0o755
		case "file":
			h.Size, files[m.name] = int64(len(m.content)), m.content
		default:
			h.Linkname = m.content
		}
		headers = append(headers, h)
	}
	return executortest.TarLayer(t, headers, files)
}

func openStore(t testing.TB, opt rootfs.Options) *rootfs.Store {
	t.Helper()
	s, err := rootfs.Open(t.TempDir(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Folders that shut out their owner are more than t.TempDir can remove.
		if _, err := s.Prune(context.Background(), 0); err != nil {
			t.Error(err)
		}
	})
	return s
}

// listing gives every path below dir with what it is.
func listing(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		switch d.Type() {
		case 0:
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name += "=" + string(raw)
		case fs.ModeSymlink:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			name += "->" + to
		case fs.ModeDir:
			name += "/"
		case fs.ModeNamedPipe:
			name += "|"
		}
		out = append(out, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestJoin(t *testing.T) {
	dir := func(name string) member { return member{"dir", name, ""} }
	file := func(name, content string) member { return member{"file", name, content} }
	link := func(name, to string) member { return member{"link", name, to} }
	for _, c := range []struct {
		name   string
		layers [][]member
		want   []string
	}{
		{"last wins", [][]member{{file("a", "1"), file("b", "1")}, {file("a", "2")}}, []string{"a=2", "b=1"}},
		{"folders merge", [][]member{{dir("d"), file("d/a", "1")}, {dir("d"), file("d/b", "2")}}, []string{"d/", "d/a=1", "d/b=2"}},
		{"whiteout of a file", [][]member{{file("a", "1"), file("b", "1")}, {file(".wh.a", "")}}, []string{"b=1"}},
		{"whiteout of a folder", [][]member{{file("d/e/a", "1"), file("f", "")}, {file(".wh.d", "")}}, []string{"f="}},
		{"whiteout hides lower layers only, wherever it stands", [][]member{{file("a", "1")}, {file("a", "2"), file(".wh.a", "")}}, []string{"a=2"}},
		{"whiteout of what is not there", [][]member{{file("a", "1")}, {file("x/y/.wh.z", ""), file("a/.wh.b", "")}}, []string{"a=1"}},
		{"opaque", [][]member{{file("d/a", "1"), file("d/e/b", "1"), file("c", "1")}, {file("d/n", "2"), file("d/.wh..wh..opq", "")}}, []string{"c=1", "d/", "d/n=2"}},
		{"opaque root", [][]member{{file("a", "1")}, {file(".wh..wh..opq", ""), file("b", "2")}}, []string{"b=2"}},
		{"aufs leftovers", [][]member{{dir(".wh..wh.plnk"), file("a", "1")}}, []string{"a=1"}},
		{"a whiteout, then again", [][]member{{file("a", "1")}, {file(".wh.a", "")}, {file("a", "3")}}, []string{"a=3"}},
		{"file becomes folder", [][]member{{file("a", "1")}, {dir("a"), file("a/b", "2")}}, []string{"a/", "a/b=2"}},
		{"folder becomes file", [][]member{{file("a/b", "1")}, {file("a", "2")}}, []string{"a=2"}},
		{"folder becomes link", [][]member{{file("a/b", "1"), file("c/d", "1")}, {link("a", "c")}}, []string{"a->c", "c/", "c/d=1"}},
		{"usr-merge: a link below is followed", [][]member{{dir("usr"), dir("usr/bin"), link("bin", "usr/bin")}, {file("bin/sh", "2")}}, []string{"bin->usr/bin", "usr/", "usr/bin/", "usr/bin/sh=2"}},
		{"absolute and climbing links stay inside", [][]member{{link("a", "/../../x"), link("b", "../../../y"), file("a/f", "1"), file("b/f", "1")}}, []string{"a->/../../x", "b->../../../y", "x/", "x/f=1", "y/", "y/f=1"}},
		{"a folder in the upper layer replaces a link", [][]member{{dir("t"), link("a", "t")}, {dir("a"), file("a/f", "2")}}, []string{"a/", "a/f=2", "t/"}},
		{"whiteout through a link", [][]member{{file("usr/bin/sh", "1"), link("bin", "usr/bin")}, {file("bin/.wh.sh", "")}}, []string{"bin->usr/bin", "usr/", "usr/bin/"}},
		{"hard link in a layer", [][]member{{file("a", "1"), {"hard", "b", "a"}, {"hard", "d/c", "/b"}}}, []string{"a=1", "b=1", "d/", "d/c=1"}},
		{"hard link to a lower layer", [][]member{{file("a", "1")}, {{"hard", "b", "a"}}}, []string{"a=1", "b=1"}},
		{"hard link outlives its first name", [][]member{{file("a", "1"), {"hard", "b", "a"}}, {file(".wh.a", "")}}, []string{"b=1"}},
		{"hard link to a link", [][]member{{link("a", "x"), {"hard", "b", "a"}}}, []string{"a->x", "b->x"}},
		{"pipe", [][]member{{{"fifo", "p", ""}}}, []string{"p|"}},
		{"leading slash and dots", [][]member{{dir("./"), file("/a", "1"), file("././d//b", "2")}}, []string{"a=1", "d/", "d/b=2"}},
		{"devices in /dev are left out", [][]member{{dir("dev"), {"char", "dev/null", ""}}}, []string{"dev/"}},
		{"names that look odd", [][]member{{file("..a", "1"), file("a\nb", "2"), file("-rf", "3"), file("ü", "4")}}, []string{"-rf=3", "..a=1", "a\nb=2", "ü=4"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var layers []executor.Layer
			for _, l := range c.layers {
				layers = append(layers, layerOf(t, l...))
			}
			root, err := openStore(t, rootfs.Options{}).Root(t.Context(), layers, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Release()
			if diff := cmp.Diff(c.want, listing(t, root.Path())); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestHostile has layers that try to get out of their root, or to be too much. All are
// refused, and nothing outside the store's folder is touched.
func TestHostile(t *testing.T) {
	long := strings.Repeat("x", 256)
	deep := strings.Repeat("d/", 2000)
	for _, c := range []struct {
		name    string
		members []member
		named   string // what the refusal must name
	}{
		{"climbing name", []member{{"file", "../escape", "x"}}, "../escape"},
		{"climbing in the middle", []member{{"file", "a/../../escape", "x"}}, "a/../../escape"},
		{"climbing folder", []member{{"dir", "..", ""}}, ".."},
		{"climbing whiteout", []member{{"file", "../.wh.escape", ""}}, "../.wh.escape"},
		{"whiteout of ..", []member{{"file", ".wh...", ""}}, ".wh..."},
		{"whiteout of .", []member{{"file", "a/.wh..", ""}}, "a/.wh.."},
		{"whiteout of nothing", []member{{"file", ".wh.", ""}}, ".wh."},
		{"hard link outside", []member{{"hard", "a", "../../etc/passwd"}}, "../../etc/passwd"},
		{"hard link to what the host has", []member{{"hard", "a", "/etc/passwd"}}, "etc/passwd"},
		{"hard link through a link outside", []member{{"link", "l", "/etc"}, {"hard", "a", "l/passwd"}}, "l/passwd"},
		{"hard link to a folder", []member{{"dir", "d", ""}, {"hard", "a", "d"}}, "a"},
		{"hard link to itself", []member{{"hard", "a", "a"}}, "a"},
		{"device", []member{{"char", "sda", ""}}, "sda"},
		{"device named like /dev", []member{{"char", "device/null", ""}}, "device/null"},
		{"file as a folder", []member{{"file", "a", "x"}, {"file", "a/b", "x"}}, "a/b"},
		{"links in a circle", []member{{"link", "a", "b"}, {"link", "b", "a"}, {"file", "a/f", "x"}}, "a/f"},
		{"long part", []member{{"file", long, "x"}}, long[:40]},
		{"long name", []member{{"file", deep + deep + "f", "x"}}, deep[:40]},
		{"long by links", []member{{"dir", deep, ""}, {"link", "l", deep}, {"file", "l/" + deep + "f", "x"}}, "l/"},
		{"root is a file", []member{{"file", ".", "x"}}, "."},
		{"root is a link", []member{{"link", ".", "/etc"}}, "."},
		{"more entries than allowed", slices.Repeat([]member{{"dir", "a", ""}}, 1001), "a"},
		{"more bytes than allowed", []member{{"file", "big", strings.Repeat("x", 2<<20)}}, "big"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := rootfs.Open(filepath.Join(dir, "store"), rootfs.Options{MaxLayerBytes: 1 << 20, MaxLayerEntries: 1000})
			if err != nil {
				t.Fatal(err)
			}
			root, err := s.Root(t.Context(), []executor.Layer{layerOf(t, c.members...)}, nil)
			if err == nil {
				root.Release()
				t.Fatalf("accepted: %q", listing(t, root.Path()))
			}
			if fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), c.named) {
				t.Errorf("got %v (kind %d), want a refusal that names %q", err, fault.KindOf(err), c.named)
			}
			if got := listing(t, dir); slices.ContainsFunc(got, func(s string) bool {
				return strings.Contains(s, "escape") || strings.Contains(s, "tmp/") && !strings.HasSuffix(s, "tmp/")
			}) {
				t.Errorf("left: %q", got)
			}
		})
	}
}

// TestTar has bytes that are no proper layer.
func TestTar(t *testing.T) {
	whole := rawOf(t, layerOf(t, member{"file", "a", strings.Repeat("x", 4096)}))
	for name, raw := range map[string][]byte{
		"truncated":         whole[:1024],
		"cut in the header": whole[:300],
		"bad checksum":      append(append([]byte{}, whole[:100]...), append([]byte{9}, whole[101:]...)...),
		"no tar":            []byte(strings.Repeat("no tar at all", 1000)),
		"gzip":              append([]byte{0x1f, 0x8b, 8}, whole...),
	} {
		if _, err := openStore(t, rootfs.Options{}).Root(t.Context(), []executor.Layer{executortest.BytesLayer(raw)}, nil); fault.KindOf(err) != fault.Denied {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// What follows the end is part of the digest, and is bounded too.
	trailing := executortest.BytesLayer(append(append([]byte{}, whole...), make([]byte, 1<<20)...))
	root, err := openStore(t, rootfs.Options{}).Root(t.Context(), []executor.Layer{trailing}, nil)
	if err != nil {
		t.Fatalf("trailing zeroes: %v", err)
	}
	root.Release()
	if _, err := openStore(t, rootfs.Options{MaxLayerBytes: 100_000}).Root(t.Context(), []executor.Layer{trailing}, nil); fault.KindOf(err) != fault.Denied {
		t.Errorf("a megabyte of zeroes past 100 kB: %v", err)
	}
}

func TestMetadata(t *testing.T) {
	when := time.Unix(1_600_000_000, 5000)
	l := executortest.TarLayer(t, []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o751, ModTime: when, Format: tar.FormatPAX},
		{Name: "dir/", Typeflag: tar.TypeDir, Mode: 0o1777, Uid: 3, Gid: 4, ModTime: when, Format: tar.FormatPAX},
		{Name: "dir/shut/", Typeflag: tar.TypeDir, Mode: 0o000, ModTime: when, Format: tar.FormatPAX},
		{Name: "dir/shut/in", Typeflag: tar.TypeReg, Mode: 0o000, ModTime: when, Format: tar.FormatPAX},
		{Name: "file", Typeflag: tar.TypeReg, Mode: 0o6754, Uid: 1000, Gid: 1001, ModTime: when, Format: tar.FormatPAX,
			PAXRecords: map[string]string{"SCHILY.xattr.user.note": "kept", "SCHILY.xattr.trusted.overlay.opaque": "y"}},
		{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "file", Uid: 9, Gid: 9, ModTime: when, Format: tar.FormatPAX},
		{Name: "far", Typeflag: tar.TypeReg, Mode: 0o644, Uid: 1 << 20, Gid: 1 << 20, ModTime: when, Format: tar.FormatPAX},
	}, nil)
	const base = 0x70000000
	opt := rootfs.Options{}
	if os.Getuid() == 0 {
		opt.IDBase = base
	}
	root, err := openStore(t, opt).Root(t.Context(), []executor.Layer{l}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Release()
	for _, c := range []struct {
		name     string
		mode     uint32
		uid, gid uint32
	}{
		{".", 0o751, 0, 0}, {"dir", 0o1777, 3, 4}, {"dir/shut", 0, 0, 0}, {"file", 0o6754, 1000, 1001},
		{"link", 0o777, 9, 9}, {"far", 0o644, executor.MaxID, executor.MaxID},
	} {
		var st syscall.Stat_t
		if err := syscall.Lstat(filepath.Join(root.Path(), c.name), &st); err != nil {
			t.Fatal(err)
		}
		if st.Mode&0o7777 != c.mode || st.Mtim.Nano() != when.UnixNano() {
			t.Errorf("%s: mode %o, time %d", c.name, st.Mode&0o7777, st.Mtim.Nano())
		}
		want := [2]uint32{base + c.uid, base + c.gid}
		if opt.IDBase == 0 {
			want = [2]uint32{uint32(os.Getuid()), uint32(os.Getgid())}
		}
		if got := [2]uint32{st.Uid, st.Gid}; got != want {
			t.Errorf("%s: owner %v, want %v", c.name, got, want)
		}
	}
	buf := make([]byte, 100)
	n, err := syscall.Getxattr(filepath.Join(root.Path(), "file"), "user.note", buf)
	if err != nil || string(buf[:n]) != "kept" {
		t.Errorf("user.note: %q, %v", buf[:max(n, 0)], err)
	}
	if _, err := syscall.Getxattr(filepath.Join(root.Path(), "file"), "trusted.overlay.opaque", buf); err == nil {
		t.Error("another machine's overlay attribute was kept")
	}
}

func TestPoints(t *testing.T) {
	l := layerOf(t, member{"dir", "usr/bin", ""}, member{"link", "bin", "usr/bin"}, member{"link", "etc/resolv.conf", "../run/resolv.conf"}, member{"file", "etc/f", "x"})
	s := openStore(t, rootfs.Options{})
	points := []rootfs.Point{{Path: "/bin/new"}, {Path: "/etc/resolv.conf"}, {Path: "/work/deep", Dir: true}, {Path: "/bin", Dir: true}, {Path: "/etc/f"}}
	root, err := s.Root(t.Context(), []executor.Layer{l}, points)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Release()
	want := []string{"bin->usr/bin", "etc/", "etc/f=x", "etc/resolv.conf->../run/resolv.conf", "run/", "run/resolv.conf=", "usr/", "usr/bin/", "usr/bin/new=", "work/", "work/deep/"}
	if diff := cmp.Diff(want, listing(t, root.Path())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for asked, want := range map[string]string{"/bin/new": "/usr/bin/new", "/etc/resolv.conf": "/run/resolv.conf", "/work/deep": "/work/deep", "/bin": "/usr/bin"} {
		if got := root.Point(asked); got != want {
			t.Errorf("%s lies at %q, want %q", asked, got, want)
		}
	}
	plain, err := s.Root(t.Context(), []executor.Layer{l}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Release()
	if got := fmt.Sprint(listing(t, plain.Path())); strings.Contains(got, "work") {
		t.Errorf("another root's mount points: %s", got)
	}
	for _, p := range []rootfs.Point{{Path: "/etc", Dir: false}, {Path: "/etc/f", Dir: true}, {Path: "/etc/f/x", Dir: true}} {
		if _, err := s.Root(t.Context(), []executor.Layer{l}, []rootfs.Point{p}); fault.KindOf(err) != fault.Usage {
			t.Errorf("%+v: %v", p, err)
		}
	}
}
