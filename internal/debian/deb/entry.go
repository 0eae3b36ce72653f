package deb

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"
)

// Entry is one path that a package ships.
type Entry struct {
	Path  string            // slash-separated, relative to the root, clean, never "."
	Type  byte              // tar.TypeReg, TypeDir, TypeSymlink or TypeLink
	Mode  int64             // permission bits with setuid, setgid and sticky
	User  string            // owner by name, which outweighs UID (dpkg does the same)
	Group string            //
	UID   int               //
	GID   int               //
	Link  string            // a symlink's text; a hard link's target as a Path
	Size  int64             // bytes of a regular file
	MTime int64             // seconds since 1970
	Xattr map[string][]byte // extended attributes, when the package carries any
}

const xattrPrefix = "SCHILY.xattr."

// What one package may ship at most; Debian's largest have some 50,000 files, and some
// 6 GB of them.
const (
	maxEntries = 1 << 20
	maxBytes   = 32 << 30
)

// Walk calls visit for each entry of the data stream in its order; r gives a regular
// file's bytes. Paths that leave the root, devices and other special files are refused.
func Walk(data io.Reader, visit func(e Entry, r io.Reader) error) error {
	r := tar.NewReader(data)
	left := int64(maxBytes)
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read its files: %w", err)
		}
		if left -= h.Size; n == maxEntries || h.Size > maxBytes || left < 0 {
			return fmt.Errorf("it ships more than %d files or %d bytes", maxEntries, int64(maxBytes))
		}
		e, err := entryOf(h)
		if err != nil {
			return err
		}
		if e.Path == "." {
			continue
		}
		if err := visit(e, r); err != nil {
			return err
		}
	}
}

func entryOf(h *tar.Header) (Entry, error) {
	e := Entry{
		Type: h.Typeflag, Mode: h.Mode & 0o7777, User: h.Uname, Group: h.Gname, UID: h.Uid, GID: h.Gid,
		Link: h.Linkname, Size: h.Size, MTime: h.ModTime.Unix(),
	}
	var err error
	if e.Path, err = cleanPath(h.Name); err != nil {
		return e, err
	}
	switch h.Typeflag {
	case tar.TypeReg:
	case tar.TypeSymlink:
		e.Size = 0
		if e.Link == "" || strings.ContainsAny(e.Link, "\x00\n") || !utf8.ValidString(e.Link) {
			return e, fmt.Errorf("it ships %q as a symlink to %q, which is no path", e.Path, e.Link)
		}
	case tar.TypeDir:
		e.Size = 0
	case tar.TypeLink:
		e.Size = 0
		if e.Link, err = cleanPath(h.Linkname); err != nil {
			return e, err
		}
	default:
		return e, fmt.Errorf("it ships %q as a special file (type %q), which no image may hold", e.Path, h.Typeflag)
	}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, xattrPrefix); ok {
			if e.Xattr == nil {
				e.Xattr = map[string][]byte{}
			}
			e.Xattr[name] = []byte(value)
		}
		if strings.HasPrefix(key, "GNU.sparse.") {
			return e, fmt.Errorf("it ships %q as a sparse file, which dpkg cannot read either", e.Path)
		}
	}
	return e, nil
}

func cleanPath(name string) (string, error) {
	if strings.ContainsAny(name, "\x00\n") || !utf8.ValidString(name) {
		return "", fmt.Errorf("it ships a path with a NUL, a line break or bytes that are no UTF-8 (Debian Policy 10.10): %q", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("it ships a path that leaves the root: %q", name)
		}
	}
	clean := path.Clean("/" + name)[1:]
	if clean == "" {
		clean = "."
	}
	return clean, nil
}
