package source

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// unzip takes the members of a zip.
func (t *tree) unzip(ctx context.Context, f *os.File, size int64) error {
	z, err := zip.NewReader(f, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // names are checked below
		return err
	}
	for _, m := range z.File {
		if err := t.unzipMember(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) unzipMember(ctx context.Context, m *zip.File) error {
	const encrypted = 1 // a bit of the general purpose flag (APPNOTE 4.4.4)
	switch mode := m.Mode(); {
	case strings.Contains(m.Name, `\`):
		return t.refuse(m.Name, "its name holds a backslash, which is a folder's end to some and a letter to others")
	case mode.IsDir():
		return t.folder(m.Name)
	case m.Flags&encrypted != 0:
		return t.refuse(m.Name, "it is encrypted")
	case mode&fs.ModeSymlink != 0:
		return t.unzipLink(m)
	case !mode.IsRegular():
		return t.refuse(m.Name, "it is "+special(mode)+", not a file")
	case m.UncompressedSize64 > uint64(t.limits.Bytes):
		return t.bomb()
	}
	r, err := m.Open()
	if err != nil {
		return fmt.Errorf("%q: %w", m.Name, err)
	}
	defer r.Close()
	return t.file(ctx, m.Name, m.Mode()&0o100 != 0, r)
}

// unzipLink reads a link, whose content is its target.
func (t *tree) unzipLink(m *zip.File) error {
	r, err := m.Open()
	if err != nil {
		return fmt.Errorf("%q: %w", m.Name, err)
	}
	defer r.Close()
	target, err := io.ReadAll(io.LimitReader(r, int64(t.limits.Path)+1))
	if err != nil {
		return fmt.Errorf("%q: %w", m.Name, err)
	}
	return t.link(m.Name, string(target))
}
