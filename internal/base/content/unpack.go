package content

import (
	"archive/tar"
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/s2"

	"plimsoll.dev/plimsoll/internal/base/ldcache"
	"plimsoll.dev/plimsoll/internal/debian/deb"
)

// maxText bounds the files whose bytes are kept within the Content.
const maxText = 256 << 10

// maxLibrary bounds the shared libraries that are read whole into memory to be scanned.
const maxLibrary = 512 << 20

// unpack reads all of the package and writes its regular files to w.
func unpack(p *deb.Package, w io.Writer, architecture string) (*Content, error) {
	content := &Content{Control: string(p.Control["control"]), Scripts: map[string]string{}}
	for _, name := range []string{"preinst", "postinst", "triggers", "templates"} {
		if text, ok := p.Control[name]; ok {
			content.Scripts[name] = string(text)
		}
	}
	for line := range strings.Lines(string(p.Control["conffiles"])) {
		if file, ok := strings.CutPrefix(strings.TrimSpace(line), "/"); ok {
			content.Conffiles = append(content.Conffiles, file)
		}
	}
	data, err := p.Data()
	if err != nil {
		return nil, err
	}
	defer data.Close()
	sum := sha256.New()
	packed := s2.NewWriter(io.MultiWriter(w, sum), s2.WriterConcurrency(1))
	defer packed.Close()
	files := tar.NewWriter(packed)
	err = deb.Walk(data, func(e deb.Entry, r io.Reader) error {
		entry, err := keep(e, r, files, architecture)
		content.Entries = append(content.Entries, entry)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(files.Close(), packed.Close()); err != nil {
		return nil, err
	}
	content.Data = hex.EncodeToString(sum.Sum(nil))
	return content, nil
}

// keep writes one regular file and learns what can be learnt of it on the way.
func keep(e deb.Entry, r io.Reader, files *tar.Writer, architecture string) (Entry, error) {
	entry := Entry{Entry: e}
	if e.Type != tar.TypeReg {
		return entry, nil
	}
	if err := files.WriteHeader(&tar.Header{Name: e.Path, Size: e.Size, Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
		return entry, err
	}
	strong, weak := sha256.New(), md5.New()
	var kept bytes.Buffer
	sinks := []io.Writer{files, strong, weak}
	isText := declares(e.Path) && e.Size <= maxText
	isLibrary := architecture != "all" && ldcache.Candidate(e.Path) && e.Size <= maxLibrary
	if isText || isLibrary {
		kept.Grow(int(e.Size))
		sinks = append(sinks, &kept)
	}
	if _, err := io.Copy(io.MultiWriter(sinks...), r); err != nil {
		return entry, fmt.Errorf("read %q: %w", e.Path, err)
	}
	entry.SHA256, entry.MD5 = hex.EncodeToString(strong.Sum(nil)), hex.EncodeToString(weak.Sum(nil))
	if isText {
		entry.Text = kept.Bytes()
	}
	if isLibrary {
		info, err := ldcache.Scan(bytes.NewReader(kept.Bytes()), architecture)
		if err != nil {
			return entry, err
		}
		if info.IsLibrary() {
			entry.Library = &info
		}
	}
	return entry, nil
}

// declarations are folders whose small files say what should be, instead of doing it.
var declarations = []string{
	"usr/share/ca-certificates/", "usr/local/share/ca-certificates/",
	"etc/ld.so.conf", // the file and its folder
	"usr/lib/sysusers.d/", "usr/lib/tmpfiles.d/",
	"usr/share/base-files/", // copied to /etc and /root by its script
}

// declares tells whether the file's text takes part in composition.
func declares(file string) bool {
	for _, prefix := range declarations {
		if strings.HasPrefix(file, prefix) {
			return true
		}
	}
	return strings.HasPrefix(file, "usr/lib/jvm/.") && strings.HasSuffix(file, ".jinfo")
}

// walk reads back what unpack wrote.
func walk(packed io.Reader, content *Content, visit func(path string, r io.Reader) error) error {
	sum := sha256.New()
	teed := io.TeeReader(packed, sum)
	for files := tar.NewReader(s2.NewReader(teed)); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := visit(h.Name, files); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, teed); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != content.Data {
		return fmt.Errorf("its unpacked files have the SHA-256 %s, not %s", got, content.Data)
	}
	return nil
}

// intact tells whether the kept files are still those that were unpacked.
func intact(packed io.ReadSeeker, content *Content) bool {
	sum := sha256.New()
	if _, err := packed.Seek(0, io.SeekStart); err != nil {
		return false
	}
	_, err := io.Copy(sum, packed)
	return err == nil && hex.EncodeToString(sum.Sum(nil)) == content.Data
}
