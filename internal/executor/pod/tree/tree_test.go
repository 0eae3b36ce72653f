package tree

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func open(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// looks gives each name in a folder with what can be seen of it.
func looks(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := fmt.Sprintf("%s %d", info.Mode(), links(info))
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %d %x %s", len(content), sha256.Sum256(content), info.ModTime().UTC().Format(time.RFC3339Nano))
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			what += " -> " + target
		default:
			what = info.Mode().String() + info.ModTime().UTC().Format(time.RFC3339Nano)
		}
		name, err := filepath.Rel(dir, path)
		out[name] = what
		return err
	}))
	return out
}

// sample fills a folder with one of each.
func sample(t testing.TB, dir string) {
	t.Helper()
	long := strings.Repeat("long-", 40)
	must(t,
		os.MkdirAll(filepath.Join(dir, "a/deep", long), 0o755),
		os.WriteFile(filepath.Join(dir, "a/file"), []byte("content"), 0o640),
		os.WriteFile(filepath.Join(dir, "a/deep", long, long), bytes.Repeat([]byte("x"), 1<<20), 0o444),
		os.WriteFile(filepath.Join(dir, "a/program"), []byte("#!"), 0o755),
		os.Link(filepath.Join(dir, "a/file"), filepath.Join(dir, "a/name")),
		os.Symlink("../nowhere/"+long, filepath.Join(dir, "link")),
		os.Symlink("/etc/passwd", filepath.Join(dir, "a/out")),
		os.Mkdir(filepath.Join(dir, "shared"), 0o777), os.Chmod(filepath.Join(dir, "shared"), 0o777|fs.ModeSticky),
		os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600),
		os.Mkdir(filepath.Join(dir, "closed"), 0o555),
		os.Chtimes(filepath.Join(dir, "a/file"), time.Unix(1e9, 123456789), time.Unix(1e9, 123456789)),
		os.Chtimes(filepath.Join(dir, "shared"), time.Unix(1e9, 1), time.Unix(1e9, 1)),
	)
}

func TestFoldersArriveAsTheyAre(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	sample(t, from)
	must(t, unix.Mkfifo(filepath.Join(from, "pipe"), 0o644), os.WriteFile(filepath.Join(from, "setuid"), nil, 0o755),
		os.Chmod(filepath.Join(from, "setuid"), 0o755|fs.ModeSetuid))
	want := looks(t, from)
	delete(want, "pipe")
	want["setuid"] = strings.Replace(want["setuid"], "urwx", "-rwx", 1)
	var stream bytes.Buffer
	p := NewPacker(t.Context(), &stream)
	must(t, p.Folder("disk/0", open(t, from)), p.Data("data/1", 0o400, []byte("secret")), p.Dir("tmp", 0o777|fs.ModeSticky), p.Close())
	must(t, Unpack(t.Context(), open(t, to), &stream, Bounds{Files: 30, Bytes: 2 << 20}))
	if diff := cmp.Diff(want, looks(t, filepath.Join(to, "disk/0"))); diff != "" {
		t.Errorf("(-sent +got):\n%s", diff)
	}
	if info, err := os.Stat(filepath.Join(to, "data/1")); err != nil || info.Mode() != 0o400 {
		t.Errorf("data: %v, %v", info, err)
	}
	if info, err := os.Stat(filepath.Join(to, "tmp")); err != nil || info.Mode() != 0o777|fs.ModeSticky|fs.ModeDir {
		t.Errorf("an empty folder: %v, %v", info, err)
	}
}

// TestChangesMakeTheSame has a copy of a folder changed in every way, and brings the changes
// back.
func TestChangesMakeTheSame(t *testing.T) {
	home, away := t.TempDir(), t.TempDir()
	sample(t, home)
	must(t, os.MkdirAll(filepath.Join(home, "was/full/of"), 0o755), os.WriteFile(filepath.Join(home, "was/full/of/files"), nil, 0o644),
		os.WriteFile(filepath.Join(home, "becomes-dir"), nil, 0o644), os.MkdirAll(filepath.Join(home, "becomes-file/x"), 0o755),
		os.WriteFile(filepath.Join(home, "shut"), []byte("old"), 0o644), os.WriteFile(filepath.Join(home, "closed2"), []byte("old"), 0o644))
	var stream bytes.Buffer
	p := NewPacker(t.Context(), &stream)
	must(t, p.Folder(".", open(t, home)), p.Close(), Unpack(t.Context(), open(t, away), &stream, Bounds{}))
	before, err := Snap(open(t, away))
	must(t, err)
	nothing, err := before.Changes(open(t, away), Bounds{Files: 1, Bytes: 1})
	must(t, err)
	if len(nothing.changed)+len(nothing.Removed) > 0 {
		t.Errorf("nothing was changed, but %v and %v", nothing.changed, nothing.Removed)
	}
	tick(t)
	at := func(name string) string { return filepath.Join(away, name) }
	must(t,
		os.RemoveAll(at("was")),
		os.Remove(at("becomes-dir")), os.MkdirAll(at("becomes-dir/new"), 0o750), os.WriteFile(at("becomes-dir/new/file"), []byte("n"), 0o644),
		os.RemoveAll(at("becomes-file")), os.WriteFile(at("becomes-file"), []byte("f"), 0o600),
		os.WriteFile(at("empty"), []byte("no more"), 0o600),
		os.Chmod(at("a/program"), 0o711),
		os.Remove(at("link")), os.Symlink("elsewhere", at("link")),
		os.Link(at("a/file"), at("a/third")),
		os.Chmod(at("closed"), 0o755), os.WriteFile(at("closed/in"), []byte("i"), 0o400), os.Chmod(at("closed"), 0o555),
		os.WriteFile(at("shut"), []byte("new"), 0o644), os.Chmod(at("shut"), 0),
		os.Mkdir(at("dark"), 0o755), os.WriteFile(at("dark/side"), nil, 0o644), os.Chmod(at("dark"), 0),
	)
	changes, err := before.Changes(open(t, away), Bounds{})
	must(t, err)
	if diff := cmp.Diff([]string{"becomes-file/x", "was"}, changes.Removed); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	stream.Reset()
	must(t, changes.Pack(t.Context(), &stream))
	if stream.Len() > 64<<10 {
		t.Errorf("%d bytes came back: the megabyte that did not change was among them", stream.Len())
	}
	want := looks(t, away)
	staged, err := Stage(t.Context(), open(t, home), changes.Removed, &stream, Bounds{Files: 100, Bytes: 1 << 20})
	must(t, err)
	if _, err := os.Stat(filepath.Join(home, "was")); err != nil {
		t.Errorf("before it was committed: %v", err)
	}
	must(t, staged.Commit())
	for name, what := range map[string]string{"shut": "----------", "dark": "d---------"} {
		info, err := os.Stat(filepath.Join(home, name))
		if err != nil || info.Mode().String() != what {
			t.Errorf("%s came back as %v, %v", name, info, err)
		}
	}
	// Changes opened them, to read.
	must(t, os.Chmod(filepath.Join(home, "shut"), 0o400), os.Chmod(filepath.Join(home, "dark"), 0o500))
	if diff := cmp.Diff(want, looks(t, home)); diff != "" {
		t.Errorf("(-away +home):\n%s", diff)
	}
}

// tick waits until the file system's clock has moved on.
func tick(t *testing.T) {
	t.Helper()
	now := func() int64 {
		path := filepath.Join(t.TempDir(), "now")
		must(t, os.WriteFile(path, nil, 0o600))
		info, err := os.Stat(path)
		must(t, err)
		return stampOf(info).changed
	}
	for first := now(); now() == first; {
	}
}

func TestMoreThanAllowed(t *testing.T) {
	dir := t.TempDir()
	root := open(t, dir)
	before, err := Snap(root)
	must(t, err)
	sparse, err := root.Create("giant")
	must(t, err)
	must(t, sparse.Truncate(1<<40), sparse.Close())
	if _, err := before.Changes(root, Bounds{Bytes: 1 << 30}); !errors.Is(err, ErrTooMuch) {
		t.Errorf("a terabyte of holes: %v", err)
	}
	must(t, root.Remove("giant"))
	for i := range 10 {
		must(t, root.WriteFile(fmt.Sprint(i), nil, 0o644))
	}
	if _, err := before.Changes(root, Bounds{Files: 10}); !errors.Is(err, ErrTooMuch) { // and the folder itself
		t.Errorf("eleven things for ten: %v", err)
	}
	must(t, root.MkdirAll(strings.Repeat("d/", maxDepth+1), 0o755))
	if _, err := before.Changes(root, Bounds{}); !errors.Is(err, ErrTooMuch) {
		t.Errorf("a deep folder: %v", err)
	}
	var giant bytes.Buffer
	must(t, tar.NewWriter(&giant).WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg, Size: 1 << 40}))
	if err := Unpack(t.Context(), open(t, t.TempDir()), &giant, Bounds{Bytes: 1 << 30}); !errors.Is(err, ErrTooMuch) {
		t.Errorf("a claim of a terabyte: %v", err)
	}
}

// hostile are streams that an agent of ours would never send.
func hostile() map[string][]tar.Header {
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644} }
	link := func(kind byte, name, to string) tar.Header {
		return tar.Header{Typeflag: kind, Name: name, Linkname: to}
	}
	return map[string][]tar.Header{
		"climbs":                     {file("../outside")},
		"climbs later":               {file("a/../../outside")},
		"absolute":                   {file("/outside")},
		"through a link":             {link(tar.TypeSymlink, "l", ".."), file("l/outside")},
		"through an absolute link":   {link(tar.TypeSymlink, "l", "/"), file("l/outside")},
		"through links":              {link(tar.TypeSymlink, "l", "m"), link(tar.TypeSymlink, "m", "../.."), file("l/outside")},
		"over a link":                {link(tar.TypeSymlink, "l", "../outside"), file("l")},
		"hard link out":              {link(tar.TypeLink, "l", "../sentinel")},
		"hard link through a link":   {link(tar.TypeSymlink, "l", ".."), link(tar.TypeLink, "h", "l/sentinel")},
		"device":                     {{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}},
		"pipe":                       {{Typeflag: tar.TypeFifo, Name: "pipe"}},
		"the folder as a link":       {link(tar.TypeSymlink, ".", "..")},
		"into what is staged":        {file(Staging + "/x")},
		"twice":                      {file("x"), file("x")},
		"a link to what is not here": {link(tar.TypeLink, "h", "none")},
	}
}

func stream(t testing.TB, members []tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range members {
		must(t, w.WriteHeader(&h))
	}
	must(t, w.Close())
	return out.Bytes()
}

// guarded gives a folder, and says whether anything outside of it has changed.
func guarded(t testing.TB) (string, func() string) {
	t.Helper()
	around := t.TempDir()
	must(t, os.WriteFile(filepath.Join(around, "sentinel"), []byte("as it was"), 0o640), os.Mkdir(filepath.Join(around, "in"), 0o755))
	before := looks(t, around)
	return filepath.Join(around, "in"), func() string {
		after := looks(t, around)
		for name := range after {
			if name == "in" || strings.HasPrefix(name, "in/") {
				delete(after, name)
			}
		}
		delete(before, "in")
		return cmp.Diff(before, after)
	}
}

func TestHostileStreamsAreRefused(t *testing.T) {
	for name, members := range hostile() {
		raw := stream(t, members)
		dir, changed := guarded(t)
		if _, err := Stage(t.Context(), open(t, dir), nil, bytes.NewReader(raw), Bounds{}); err == nil {
			t.Errorf("%s: it was staged", name)
		}
		if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
			t.Errorf("%s: left %v, %v", name, list, err)
		}
		if err := Unpack(t.Context(), open(t, dir), bytes.NewReader(raw), Bounds{}); err == nil {
			t.Errorf("%s: it was unpacked", name)
		}
		if diff := changed(); diff != "" {
			t.Errorf("%s: outside (-before +after):\n%s", name, diff)
		}
	}
	for _, name := range []string{"..", "../sentinel", "/etc", ".", "", "a/../..", Staging} {
		dir, changed := guarded(t)
		if _, err := Stage(t.Context(), open(t, dir), []string{name}, strings.NewReader(""), Bounds{}); err == nil {
			t.Errorf("%q was to be removed", name)
		}
		if diff := changed(); diff != "" {
			t.Errorf("%q: outside (-before +after):\n%s", name, diff)
		}
	}
}

// TestLinksInTheFolderLeadNowhere: what an earlier step left is as hostile as the stream.
func TestLinksInTheFolderLeadNowhere(t *testing.T) {
	dir, changed := guarded(t)
	must(t, os.Symlink("..", filepath.Join(dir, "up")))
	staged, err := Stage(t.Context(), open(t, dir), []string{"up/sentinel"}, bytes.NewReader(stream(t, nil)), Bounds{})
	must(t, err)
	if err := staged.Commit(); err == nil {
		t.Error("what a link leads to was removed")
	}
	raw := stream(t, []tar.Header{{Typeflag: tar.TypeReg, Name: "up/outside"}, {Typeflag: tar.TypeReg, Name: "up/sentinel"}})
	staged, err = Stage(t.Context(), open(t, dir), nil, bytes.NewReader(raw), Bounds{})
	must(t, err, staged.Commit()) // the link has become a folder
	if diff := changed(); diff != "" {
		t.Errorf("outside (-before +after):\n%s", diff)
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	sample(t, dir)
	if err := NewPacker(ctx, io.Discard).Folder(".", open(t, dir)); !errors.Is(err, context.Canceled) {
		t.Errorf("packed: %v", err)
	}
	raw := stream(t, []tar.Header{{Typeflag: tar.TypeReg, Name: "x"}})
	if err := Unpack(ctx, open(t, t.TempDir()), bytes.NewReader(raw), Bounds{}); !errors.Is(err, context.Canceled) {
		t.Errorf("unpacked: %v", err)
	}
}

func FuzzStage(f *testing.F) {
	for _, members := range hostile() {
		f.Add(stream(f, members), "x\x00up/sentinel")
	}
	f.Add(stream(f, []tar.Header{{Typeflag: tar.TypeDir, Name: "d/", Mode: 0}, {Typeflag: tar.TypeReg, Name: "d/f"}, {Typeflag: tar.TypeReg, Name: "up/f"}}), "d")
	f.Fuzz(func(t *testing.T, raw []byte, removed string) {
		dir, changed := guarded(t)
		must(t, os.Symlink("..", filepath.Join(dir, "up")), os.Mkdir(filepath.Join(dir, "d"), 0o755), os.WriteFile(filepath.Join(dir, "d/f"), nil, 0o600))
		root := open(t, dir)
		staged, err := Stage(t.Context(), root, strings.Split(removed, "\x00"), bytes.NewReader(raw), Bounds{Files: 100, Bytes: 1 << 20})
		if err == nil {
			err = staged.Commit()
		}
		if diff := changed(); diff != "" {
			t.Fatalf("%v: outside (-before +after):\n%s", err, diff)
		}
		must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if os.IsPermission(err) {
				return nil
			}
			if err == nil && d.Name() == Staging {
				t.Errorf("left %s", path)
			}
			if info, e := os.Lstat(path); e == nil && info.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeDevice|fs.ModeNamedPipe) != 0 {
				t.Errorf("%s is %s", path, info.Mode())
			}
			return err
		}))
	})
}
