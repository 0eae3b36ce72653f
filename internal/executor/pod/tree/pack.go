package tree

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// Packer writes members of a tar. Close it.
type Packer struct {
	ctx context.Context
	out *tar.Writer
	buf []byte
}

// NewPacker gives a Packer that writes to w.
func NewPacker(ctx context.Context, w io.Writer) *Packer {
	return &Packer{ctx: ctx, out: tar.NewWriter(w), buf: make([]byte, 256<<10)}
}

// Close writes the tar's end.
func (p *Packer) Close() error { return p.out.Close() }

// Dir writes an empty folder.
func (p *Packer) Dir(name string, mode fs.FileMode) error {
	return p.out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: tarMode(mode)})
}

// Data writes a file with the content.
func (p *Packer) Data(name string, mode fs.FileMode, content []byte) error {
	if err := p.out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: tarMode(mode), Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := p.out.Write(content)
	return err
}

// Folder writes all that lies in root, below name.
func (p *Packer) Folder(name string, root *os.Root) error {
	seen := map[stamp]string{}
	return walk(root, false, func(at string, info fs.FileInfo) error {
		return p.member(root, member{at: at, name: path.Join(name, at), info: info}, seen, false)
	})
}

// File writes the file of that name in root as name.
func (p *Packer) File(name string, root *os.Root, at string) error {
	info, err := root.Stat(at)
	if err != nil {
		return err
	}
	return p.member(root, member{at: at, name: name, info: info}, nil, false)
}

// member is one thing to be written.
type member struct {
	at   string // in its root
	name string // in the tar
	info fs.FileInfo
}

// member writes one thing. seen holds where files with several names were written.
func (p *Packer) member(root *os.Root, m member, seen map[stamp]string, force bool) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	h := &tar.Header{Name: m.name, Mode: tarMode(m.info.Mode()), ModTime: m.info.ModTime().Truncate(time.Second), Uname: fraction(m.info.ModTime())}
	switch mode := m.info.Mode(); {
	case mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, m.name+"/"
		return p.out.WriteHeader(h)
	case mode&fs.ModeSymlink != 0:
		target, err := root.Readlink(m.at)
		if err != nil {
			return err
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, target
		return p.out.WriteHeader(h)
	case !mode.IsRegular():
		return nil
	}
	if links(m.info) > 1 && seen != nil {
		if first, ok := seen[stampOf(m.info)]; ok {
			h.Typeflag, h.Linkname = tar.TypeLink, first
			return p.out.WriteHeader(h)
		}
		seen[stampOf(m.info)] = m.name
	}
	return p.content(root, m, h, force)
}

func (p *Packer) content(root *os.Root, m member, h *tar.Header, force bool) error {
	if force && m.info.Mode()&0o400 == 0 {
		_ = root.Chmod(m.at, m.info.Mode().Perm()|0o400) // else opening it says so
	}
	// Another may be there by now, such as a pipe that nobody writes to.
	f, err := root.OpenFile(m.at, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%q changes while it is read", m.at)
	}
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := p.out.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{p.out}, struct{ io.Reader }{io.LimitReader(f, h.Size)}, p.buf)
	if err == nil && n < h.Size {
		err = fmt.Errorf("%q changes while it is read", m.at)
	}
	return err
}

func tarMode(mode fs.FileMode) int64 {
	m := int64(mode.Perm())
	if mode&fs.ModeSticky != 0 {
		m |= 0o1000
	}
	return m
}
