package source

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

// readArchiveFile unpacks an archive that is a file of this machine.
func (j *job) readArchiveFile(ctx context.Context, file string, s *artifact.Source) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, &cancelable{ctx, f})
	if err != nil {
		return err
	}
	return j.readArchive(ctx, f, size, "sha256:"+hex.EncodeToString(sum.Sum(nil)), s)
}

// readArchive checks an archive's digest and unpacks it.
func (j *job) readArchive(ctx context.Context, f *os.File, size int64, digest string, s *artifact.Source) error {
	if want := j.options.Checksum; want != "" && want != digest {
		return fault.Newf(fault.Denied, "check source", j.shown, "its checksum is "+digest+", not "+want).
			WithHint("find out who changed it; if the change is known, name the new checksum")
	}
	s.Revision, s.Clean = digest, true
	if err := j.unpackFile(ctx, f, size); err != nil {
		return j.unreadable(ctx, err)
	}
	return j.arrange(!j.options.KeepTop)
}

// unreadable says of a reader's error that the archive is broken.
func (j *job) unreadable(ctx context.Context, err error) error {
	_, known := errors.AsType[*fault.Error](err)
	_, ours := errors.AsType[*os.PathError](err)
	if known || ours || ctx.Err() != nil {
		return err
	}
	return fault.New(fault.Failed, "unpack source", j.shown, errors.New(visible(err.Error()))).
		WithHint("fetch or make the archive again; it is cut off or damaged")
}

// cancelable reads until its context ends.
type cancelable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancelable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// unpackFile unpacks what the first bytes say that a file is.
func (j *job) unpackFile(ctx context.Context, f *os.File, size int64) error {
	if err := j.tree.allow(size); err != nil {
		return err
	}
	var head [4]byte
	if n, err := f.ReadAt(head[:], 0); err == nil || n > 0 {
		if magic := string(head[:n]); magic == "PK\x03\x04" || magic == "PK\x05\x06" {
			return j.tree.unzip(ctx, f, size)
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return j.untar(ctx, f)
}

// allow sets how many bytes an archive of that size may unpack to.
func (t *tree) allow(size int64) error {
	if size > t.limits.Download {
		return t.refuse(t.shown, fmt.Sprintf("it has more than the %d bytes allowed", t.limits.Download))
	}
	t.limits.Bytes = min(t.limits.Bytes, max(slack, size*t.limits.Ratio))
	return nil
}

// untar unpacks a tar, compressed or not.
func (j *job) untar(ctx context.Context, r io.Reader) error {
	packed := bufio.NewReaderSize(&cancelable{ctx, r}, 64<<10)
	plain, err := j.expand(packed)
	if err != nil {
		return err
	}
	defer plain.Close()
	// The stream counts with its headers, the tree counts what files say they are.
	return j.tree.untar(ctx, &bounded{tree: j.tree, r: plain, left: j.tree.limits.Bytes})
}

// expand takes the compression off, as the first bytes say.
func (j *job) expand(packed *bufio.Reader) (io.ReadCloser, error) {
	const ustar = 257 // where a tar's header has its magic
	head, _ := packed.Peek(ustar + 5)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzip.NewReader(packed)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d, err := zstd.NewReader(packed, zstd.WithDecoderMaxMemory(256<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		d, err := xz.NewReader(packed, 256<<20)
		return io.NopCloser(d), err
	case bytes.HasPrefix(head, []byte("BZh")):
		return io.NopCloser(bzip2.NewReader(packed)), nil
	case bytes.HasSuffix(head, []byte("ustar")):
		return io.NopCloser(packed), nil
	}
	why := "it is neither a tar (plain or with gzip, zstd, xz or bzip2) nor a zip"
	if start := bytes.ToLower(bytes.TrimSpace(head)); bytes.HasPrefix(start, []byte("<!doctype")) || bytes.HasPrefix(start, []byte("<html")) {
		why = "it is a web page, not an archive"
	}
	return nil, fault.Newf(fault.Usage, "unpack source", j.shown, why).WithHint("name an archive, or a git repository by its URL")
}

// bounded fails, rather than ends, past its limit.
type bounded struct {
	tree *tree
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, b.tree.bomb()
	}
	return n, err
}

func (t *tree) bomb() error {
	return fault.Newf(fault.Denied, "read source", t.shown, fmt.Sprintf("it unpacks to more than the %d bytes allowed for its size", t.limits.Bytes)).
		WithHint("docs/sources.md lists the limits")
}

// untar takes the members of a tar.
func (t *tree) untar(ctx context.Context, r io.Reader) error {
	members := tar.NewReader(r)
	for {
		h, err := members.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeReg, '\x00', tar.TypeCont, tar.TypeGNUSparse:
			err = t.file(ctx, h.Name, h.Mode&0o100 != 0, members)
		case tar.TypeDir:
			err = t.folder(h.Name)
		case tar.TypeSymlink:
			err = t.link(h.Name, h.Linkname)
		case tar.TypeLink:
			err = t.hardlink(ctx, h.Name, h.Linkname)
		case tar.TypeXGlobalHeader:
		case tar.TypeFifo:
			err = t.refuse(h.Name, "it is a pipe, not a file")
		case tar.TypeChar, tar.TypeBlock:
			err = t.refuse(h.Name, "it is a device, not a file")
		default:
			err = t.refuse(h.Name, fmt.Sprintf("it is of the unknown kind %q", h.Typeflag))
		}
		if err != nil {
			return err
		}
	}
}

// hardlink copies the file that a hard link leads to: it must have come before.
func (t *tree) hardlink(ctx context.Context, name, target string) error {
	at, err := t.clean(target)
	if err != nil {
		return err
	}
	e := t.entries[at]
	if e == nil || e.kind == link {
		if skipped, err := t.clean(name); err == nil && skipped == "" {
			return nil
		}
		return t.refuse(name, fmt.Sprintf("it is a hard link to %q, which is no file that came before", target))
	}
	f, err := t.root.Open(at)
	if err != nil {
		return err
	}
	defer f.Close()
	return t.file(ctx, name, e.kind == program, f)
}
