package debarchive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Package describes one binary package.
type Package struct {
	Name         string
	Version      string            // default "1.0-1"
	Architecture string            // default "all"
	Fields       map[string]string // further control fields: "Depends", "Source", "Multi-Arch", …

	Files     []File
	Conffiles []string          // absolute paths
	Scripts   map[string]string // "postinst", "triggers", …: further control files

	Compression string // of data.tar: "gz" (default), "xz", "zst" or "none"
}

// File is one path that a package ships. The folders above it are added.
type File struct {
	Path    string // with or without the leading slash
	Type    byte   // default tar.TypeReg
	Mode    int64  // default 0644, 0755 for folders, 0777 for symlinks
	Content string
	Link    string // a symlink's text; a hard link's target

	User, Group string // default "root"
	UID, GID    int
	Xattr       map[string]string
}

// Dir gives a folder.
func Dir(path string, mode int64) File { return File{Path: path, Type: tar.TypeDir, Mode: mode} }

// Regular gives a file with the content.
func Regular(path, content string) File { return File{Path: path, Content: content} }

// Symlink gives a symbolic link.
func Symlink(path, target string) File { return File{Path: path, Type: tar.TypeSymlink, Link: target} }

// Hardlink gives a hard link to a file of the same package that stands before it.
func Hardlink(path, target string) File { return File{Path: path, Type: tar.TypeLink, Link: target} }

// MTime is the time of every packaged file, in seconds since 1970.
const MTime = 1700000000

func (p Package) withDefaults() Package {
	if p.Version == "" {
		p.Version = "1.0-1"
	}
	if p.Architecture == "" {
		p.Architecture = "all"
	}
	if p.Compression == "" {
		p.Compression = "gz"
	}
	return p
}

// Control gives the package's stanza (deb-control(5)).
func (p Package) Control() string {
	p = p.withDefaults()
	var text strings.Builder
	fmt.Fprintf(&text, "Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: Test Bed <test@example.com>\n", p.Name, p.Version, p.Architecture)
	for _, name := range slices.Sorted(maps.Keys(p.Fields)) {
		fmt.Fprintf(&text, "%s: %s\n", name, p.Fields[name])
	}
	fmt.Fprintf(&text, "Description: synthetic package %s\n of the test bed\n", p.Name)
	return text.String()
}

// Deb gives the bytes of the .deb (deb(5)).
func (p Package) Deb() ([]byte, error) {
	p = p.withDefaults()
	data, err := p.dataTar()
	if err != nil {
		return nil, err
	}
	packed, suffix, err := pack(data, p.Compression)
	if err != nil {
		return nil, err
	}
	control, err := p.controlTar()
	if err != nil {
		return nil, err
	}
	squeezed, _, err := pack(control, "gz")
	if err != nil {
		return nil, err
	}
	return Ar(
		Member{Name: "debian-binary", Data: []byte("2.0\n")},
		Member{Name: "control.tar.gz", Data: squeezed},
		Member{Name: "data.tar" + suffix, Data: packed},
	), nil
}

// Member is one file of an ar archive.
type Member struct {
	Name string
	Data []byte
}

// Ar gives an ar archive in the form dpkg-deb writes.
func Ar(members ...Member) []byte {
	var out bytes.Buffer
	out.WriteString("!<arch>\n")
	for _, m := range members {
		fmt.Fprintf(&out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.Name, MTime, 0, 0, "100644", len(m.Data))
		out.Write(m.Data)
		if len(m.Data)%2 == 1 {
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}

// TarFile is one raw entry of a tar archive.
type TarFile struct {
	Header  tar.Header
	Content string
}

// Tar gives a tar archive of the entries as they are, hostile ones included.
func Tar(files ...TarFile) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		h := f.Header
		if h.Size == 0 {
			h.Size = int64(len(f.Content))
		}
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte(f.Content)); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (p Package) controlTar() ([]byte, error) {
	texts := map[string]string{"control": p.Control()}
	if len(p.Conffiles) > 0 {
		texts["conffiles"] = strings.Join(p.Conffiles, "\n") + "\n"
	}
	var sums strings.Builder
	for _, f := range p.Files {
		if f.Type == 0 && !slices.Contains(p.Conffiles, "/"+clean(f.Path)) {
			fmt.Fprintf(&sums, "%x  %s\n", md5.Sum([]byte(f.Content)), clean(f.Path))
		}
	}
	texts["md5sums"] = sums.String()
	maps.Copy(texts, p.Scripts)
	var files []TarFile
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		h := tar.Header{Name: "./" + name, Mode: 0o644, ModTime: time.Unix(MTime, 0), Uname: "root", Gname: "root", Format: tar.FormatGNU}
		files = append(files, TarFile{Header: h, Content: texts[name]})
	}
	return Tar(files...)
}

func (p Package) dataTar() ([]byte, error) {
	have := map[string]bool{".": true}
	files := []TarFile{{Header: Dir("", 0).header()}}
	var add func(f File)
	add = func(f File) {
		at := clean(f.Path)
		if dir := path.Dir(at); !have[dir] {
			add(Dir(dir, 0))
		}
		if f.Type == tar.TypeDir && have[at] {
			return
		}
		have[at] = true
		files = append(files, TarFile{Header: f.header(), Content: f.Content})
	}
	for _, f := range p.Files {
		add(f)
	}
	return Tar(files...)
}

func (f File) header() tar.Header {
	h := tar.Header{
		Name: "./" + clean(f.Path), Typeflag: f.Type, Mode: f.Mode, Size: int64(len(f.Content)), Linkname: f.Link,
		Uname: f.User, Gname: f.Group, Uid: f.UID, Gid: f.GID, ModTime: time.Unix(MTime, 0), Format: tar.FormatGNU,
	}
	defaultMode := int64(0o644)
	switch f.Type {
	case 0:
		h.Typeflag = tar.TypeReg
	case tar.TypeDir:
		h.Name, defaultMode = strings.TrimSuffix(h.Name, ".")+"/", 0o755
		h.Name = strings.ReplaceAll(h.Name, "//", "/")
	case tar.TypeSymlink:
		defaultMode = 0o777
	case tar.TypeLink:
		h.Linkname = "./" + clean(f.Link)
	}
	if h.Mode == 0 {
		h.Mode = defaultMode
	}
	if h.Uname == "" && f.UID == 0 {
		h.Uname = "root"
	}
	if h.Gname == "" && f.GID == 0 {
		h.Gname = "root"
	}
	for name, value := range f.Xattr {
		if h.PAXRecords == nil {
			h.PAXRecords, h.Format = map[string]string{}, tar.FormatPAX
		}
		h.PAXRecords["SCHILY.xattr."+name] = value
	}
	return h
}

func clean(file string) string {
	if file = strings.TrimPrefix(path.Clean("/"+file), "/"); file == "" {
		return "."
	}
	return file
}

// pack compresses data and gives the suffix that says how.
func pack(data []byte, compression string) ([]byte, string, error) {
	var out bytes.Buffer
	switch compression {
	case "none", "":
		return data, "", nil
	case "gz":
		w := gzip.NewWriter(&out)
		_, err := w.Write(data)
		err = errors.Join(err, w.Close())
		return out.Bytes(), ".gz", err
	case "xz":
		return storeXZ(data), ".xz", nil
	case "zst":
		w, err := zstd.NewWriter(nil)
		if err != nil {
			return nil, "", err
		}
		return w.EncodeAll(data, nil), ".zst", w.Close()
	}
	return nil, "", fmt.Errorf("unknown compression %q", compression)
}
