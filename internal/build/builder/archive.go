package builder

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// What an archive may unpack to: far more than any buildpack, far less than a disk.
const (
	maxArchiveBytes   = 8 << 30
	maxArchiveEntries = 200_000
)

// unpackFile unpacks the .tgz or .tar into the folder.
func unpackFile(name, folder string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	start, err := in.Peek(2)
	if err != nil {
		return errors.New("it is no archive: it is too short")
	}
	if start[0] != 0x1f || start[1] != 0x8b { // RFC 1952, section 2.3.1
		return unpack(in, folder, "")
	}
	plain, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	return unpack(plain, folder, "")
}

// unpack writes what is below the prefix in the tar into the folder. Nothing is written
// outside of it, whatever names and links say.
func unpack(r io.Reader, folder, prefix string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	in := tar.NewReader(io.LimitReader(r, maxArchiveBytes))
	for n := 0; ; n++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n == maxArchiveEntries {
			return fmt.Errorf("it has more than %d entries", maxArchiveEntries)
		}
		name := path.Clean("/" + h.Name)[1:]
		if strings.Contains("/"+h.Name+"/", "/../") {
			return fmt.Errorf("%q leaves the archive", h.Name)
		}
		name, below := strings.CutPrefix(name, prefix)
		if !below || name == "" {
			continue
		}
		if err := unpackEntry(root, name, prefix, h, in); err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

func unpackEntry(root *os.Root, name, prefix string, h *tar.Header, r io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, 0o755)
	case tar.TypeReg:
		f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, h.FileInfo().Mode().Perm()|0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		return root.Link(strings.TrimPrefix(path.Clean("/" + h.Linkname)[1:], prefix), name)
	case tar.TypeXGlobalHeader:
		return nil
	}
	return fmt.Errorf("it is of type %q: only files, folders and links are unpacked: %w", h.Typeflag, fs.ErrInvalid)
}
