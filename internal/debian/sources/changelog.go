package sources

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/therootcompany/xz"

	"plimsoll.dev/plimsoll/internal/debian/deb"
)

const (
	maxFile      = 128 << 20 // bytes of a file that is fetched for a changelog
	maxChangelog = 64 << 20  // bytes of a changelog; linux's is 3 MB
	maxEntries   = 1 << 20   // of a tar archive
)

// open gives the changelog in the file, or nil when it holds none of the source's.
func (p place) open(file *os.File, s *source) (io.ReadCloser, error) {
	var text []byte
	var err error
	if p.binary != "" {
		text, err = fromBinary(file, p.binary, !strings.Contains(s.version, "-"))
	} else {
		text, err = fromSource(file, strings.HasSuffix(p.path, ".gz"))
	}
	if err != nil || !bytes.HasPrefix(text, []byte(s.name+" ("+s.version+") ")) {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(text)), nil
}

// fromBinary reads it from a .deb. A folder of documentation that is a link to another
// package's has none.
func fromBinary(file io.ReaderAt, name string, native bool) ([]byte, error) {
	opened, err := deb.Read(file)
	if err != nil {
		return nil, err
	}
	data, err := opened.Data()
	if err != nil {
		return nil, err
	}
	defer data.Close()
	wanted := "usr/share/doc/" + name + "/changelog.Debian.gz"
	if native {
		wanted = "usr/share/doc/" + name + "/changelog.gz"
	}
	packed, err := find(data, func(path string) bool { return path == wanted })
	if err != nil || packed == nil {
		return nil, err
	}
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return readAll(plain)
}

// fromSource reads debian/changelog, which a native package has in a folder of its own.
func fromSource(f io.Reader, gzipped bool) ([]byte, error) {
	var plain io.Reader
	var err error
	if gzipped {
		plain, err = gzip.NewReader(f)
	} else {
		plain, err = xz.NewReader(f, xz.DefaultDictMax)
	}
	if err != nil {
		return nil, err
	}
	return find(plain, func(name string) bool {
		_, below, _ := strings.Cut(name, "/")
		return name == "debian/changelog" || below == "debian/changelog"
	})
}

// find gives the first regular file of a tar archive with a path that is wanted, or nil.
func find(archive io.Reader, wanted func(path string) bool) ([]byte, error) {
	files := tar.NewReader(archive)
	for range maxEntries {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeReg && wanted(strings.TrimPrefix(path.Clean(h.Name), "./")) {
			return readAll(files)
		}
	}
	return nil, fmt.Errorf("it has more than %d files", maxEntries)
}

func readAll(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxChangelog+1))
	if err == nil && len(text) > maxChangelog {
		err = fmt.Errorf("its changelog is larger than %d bytes", maxChangelog)
	}
	return text, err
}
