// Package deb takes a .deb file and gives its control files and the stream of its data:
// the format of deb(5), read without dpkg and without running anything.
package deb

import (
	"archive/tar"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
	ar "pault.ag/go/debian/deb"
)

// maxControl bounds one control file, and all of them together by four times that.
const maxControl = 16 << 20

// maxControlFiles bounds how many there are; debhelper knows of some thirty.
const maxControlFiles = 1 << 10

// Package is an open .deb.
type Package struct {
	Control map[string][]byte // by name: "control", "postinst", "conffiles", "md5sums", …

	data member
}

// member is one compressed tar inside the archive.
type member struct {
	suffix string
	bytes  *io.SectionReader
}

// Read reads a .deb from r, which must stay readable while the Package is used.
func Read(r io.ReaderAt) (*Package, error) {
	archive, err := ar.LoadAr(r)
	if err != nil {
		return nil, fmt.Errorf("not a .deb: %w", err)
	}
	version, err := archive.Next()
	if err != nil || version.Name != "debian-binary" || version.Size < 0 {
		return nil, errors.New("not a .deb: its first member is not debian-binary")
	}
	text, err := io.ReadAll(io.LimitReader(version.Data, 16))
	if err != nil || !strings.HasPrefix(string(text), "2.") {
		return nil, fmt.Errorf("not a .deb of format 2: %q", text)
	}
	control, err := nextMember(archive, "control.tar")
	if err != nil {
		return nil, err
	}
	p := &Package{}
	if p.Control, err = readControl(control); err != nil {
		return nil, err
	}
	if p.data, err = nextMember(archive, "data.tar"); err != nil {
		return nil, err
	}
	return p, nil
}

// Data gives the uncompressed tar stream of the files. The caller closes it.
func (p *Package) Data() (io.ReadCloser, error) {
	return p.data.open()
}

// nextMember gives the next member, which must have the name; members whose names start
// with an underscore may be passed over (deb(5), "FORMAT").
func nextMember(archive *ar.Ar, name string) (member, error) {
	for {
		entry, err := archive.Next()
		if err != nil {
			return member{}, fmt.Errorf("it has no %s: %w", name, err)
		}
		if entry.Size < 0 {
			return member{}, fmt.Errorf("member %q has the size %d", entry.Name, entry.Size)
		}
		if strings.HasPrefix(entry.Name, "_") {
			continue
		}
		suffix, ok := strings.CutPrefix(entry.Name, name)
		if !ok {
			return member{}, fmt.Errorf("member %q stands where %s should", entry.Name, name)
		}
		return member{suffix: suffix, bytes: entry.Data}, nil
	}
}

func (m member) open() (io.ReadCloser, error) {
	in := io.NewSectionReader(m.bytes, 0, m.bytes.Size())
	switch m.suffix {
	case "":
		return io.NopCloser(in), nil
	case ".gz":
		return gzip.NewReader(in)
	case ".xz":
		r, err := xz.NewReader(in, xz.DefaultDictMax)
		return io.NopCloser(r), err
	case ".zst":
		r, err := zstd.NewReader(in, zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, err
		}
		return r.IOReadCloser(), nil
	case ".bz2":
		return io.NopCloser(bzip2.NewReader(in)), nil
	}
	return nil, fmt.Errorf("unknown compression %q", m.suffix)
}

func readControl(m member) (map[string][]byte, error) {
	stream, err := m.open()
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	files, left := map[string][]byte{}, int64(4*maxControl)
	r := tar.NewReader(stream)
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read its control files: %w", err)
		}
		if n == maxControlFiles {
			return nil, fmt.Errorf("it has more than %d control files", maxControlFiles)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if left -= h.Size; h.Size > maxControl || left < 0 {
			return nil, fmt.Errorf("its control file %q is too large: %d bytes", h.Name, h.Size)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return nil, fmt.Errorf("read its control file %q: %w", h.Name, err)
		}
		files[strings.TrimPrefix(h.Name, "./")] = text
	}
	if len(files["control"]) == 0 {
		return nil, errors.New("it has no control file")
	}
	return files, nil
}
