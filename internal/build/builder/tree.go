package builder

import (
	"archive/tar"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// epoch is the time of all that is made here, as in every image of a lifecycle.
var epoch = time.Date(1980, time.January, 1, 0, 0, 1, 0, time.UTC)

// tree is the files of a layer by path, absolute and clean.
type tree map[string]file

// file is one of them. A mode with fs.ModeDir is a folder's, with fs.ModeSymlink a link's.
type file struct {
	mode     fs.FileMode
	uid, gid int
	link     string // target of a symbolic link
	text     []byte // of a file made here
	from     string // path of a file read when the layer is written
}

// put adds the file, and the folders above it where they are not there yet.
func (t tree) put(name string, f file) {
	for above := path.Dir(name); above != "/"; above = path.Dir(above) {
		if _, ok := t[above]; ok {
			break
		}
		t[above] = file{mode: fs.ModeDir | 0o755}
	}
	t[name] = f
}

// putText adds a file with the text.
func (t tree) putText(name, text string) { t.put(name, file{mode: 0o644, text: []byte(text)}) }

// putFolder adds a folder of the owner.
func (t tree) putFolder(name string, uid, gid int) {
	t.put(name, file{mode: fs.ModeDir | 0o755, uid: uid, gid: gid})
}

// putAll adds what is in the folder on disk, below the path in the layer, owned by root.
// Only whether somebody may execute a file is kept of its mode.
func (t tree) putAll(at, folder string) error {
	return filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		f, err := read(name, entry)
		if err != nil {
			return err
		}
		t.put(path.Join(at, filepath.ToSlash(below)), f)
		return nil
	})
}

func read(name string, entry fs.DirEntry) (file, error) {
	info, err := entry.Info()
	if err != nil {
		return file{}, err
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return file{mode: fs.ModeDir | 0o755}, nil
	case mode.IsRegular() && mode&0o111 != 0:
		return file{mode: 0o755, from: name}, nil
	case mode.IsRegular():
		return file{mode: 0o644, from: name}, nil
	case mode&fs.ModeSymlink != 0:
		target, err := os.Readlink(name)
		return file{mode: fs.ModeSymlink | 0o777, link: target}, err
	}
	return file{}, fmt.Errorf("%s is neither a file, a folder nor a link", name)
}

// write streams the tree as a tar whose bytes depend on the tree alone (OCI image-spec,
// layer.md).
func (t tree) write(w io.Writer) error {
	type named struct {
		name string
		file
	}
	var all []named
	for name, f := range t {
		all = append(all, named{name, f})
	}
	slices.SortFunc(all, func(a, b named) int { return cmp.Compare(a.name, b.name) })
	out := tar.NewWriter(w)
	for _, f := range all {
		if err := f.writeTo(out, strings.TrimPrefix(f.name, "/")); err != nil {
			return err
		}
	}
	return out.Close()
}

func (f file) writeTo(out *tar.Writer, name string) error {
	h := &tar.Header{Name: name, Mode: int64(f.mode.Perm()), Uid: f.uid, Gid: f.gid, ModTime: epoch, Typeflag: tar.TypeReg}
	switch {
	case f.mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case f.mode&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
	case f.from != "":
		return f.copyTo(out, h)
	}
	h.Size = int64(len(f.text))
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err := out.Write(f.text)
	return err
}

func (f file) copyTo(out *tar.Writer, h *tar.Header) error {
	in, err := os.Open(f.from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	h.Size = info.Size()
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return err
}
