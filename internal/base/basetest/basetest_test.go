package basetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

// recorder is a test that only notes its failures.
type recorder struct {
	testing.TB
	failed []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, _ ...any) { r.failed = append(r.failed, format) }

func entry(name string, kind byte, mode int64, link, text string) debarchive.TarFile {
	return debarchive.TarFile{Header: tar.Header{Name: name, Typeflag: kind, Mode: mode, Linkname: link}, Content: text}
}

// layer packs the entries and puts them in the tree.
func layer(t *testing.T, tree Tree, name string, owned bool, files ...debarchive.TarFile) error {
	t.Helper()
	text, err := debarchive.Tar(files...)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = tree.add(static.NewLayer(packed.Bytes(), types.OCILayer), name, owned)
	return err
}

// TestUnsoundLayersAreSeen is the proof that the checker can fail.
func TestUnsoundLayersAreSeen(t *testing.T) {
	dir, file := entry("a/", tar.TypeDir, 0o755, "", ""), entry("a/b", tar.TypeReg, 0o644, "", "b")
	tests := []struct {
		name, says string
		files      []debarchive.TarFile
	}{
		{"a path twice", "twice", []debarchive.TarFile{dir, file, file}},
		{"no folder", "before its folder", []debarchive.TarFile{file}},
		{"up", "clean path", []debarchive.TarFile{entry("../x", tar.TypeReg, 0o644, "", "")}},
		{"absolute", "clean path", []debarchive.TarFile{entry("/x", tar.TypeReg, 0o644, "", "")}},
		{"below a file", "no folder", []debarchive.TarFile{dir, file, entry("a/b/c", tar.TypeReg, 0o644, "", "")}},
		{"a link to nothing", "no file that stands before", []debarchive.TarFile{dir, entry("a/l", tar.TypeLink, 0o644, "a/b", "")}},
		{"a link of another mode", "would change the target", []debarchive.TarFile{dir, file, entry("a/l", tar.TypeLink, 0o4755, "a/b", "")}},
		{"a device", "type", []debarchive.TarFile{dir, entry("a/d", tar.TypeChar, 0o644, "", "")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := layer(t, Tree{}, "x", true, tt.files...); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("want an error that says %q, got %v", tt.says, err)
			}
		})
	}
	tree := Tree{}
	if err := layer(t, tree, "one", true, dir, file); err != nil {
		t.Fatal(err)
	}
	if err := layer(t, tree, "two", true, entry("a/", tar.TypeDir, 0o700, "", "")); err == nil || !strings.Contains(err.Error(), "is 0755 0:0 in layer one") {
		t.Errorf("a folder with two modes: %v", err)
	}
}

func TestOrphansAreSeen(t *testing.T) {
	const sumOfB = "92eb5ffee6ae2fec3ad71c777531578f" // of "b"
	dirs, all := []debarchive.TarFile{}, "/.\n"
	for _, at := range []string{"a", "var", "var/lib", "var/lib/dpkg", "var/lib/dpkg/status.d", "var/lib/dpkg/info"} {
		dirs = append(dirs, entry(at+"/", tar.TypeDir, 0o755, "", ""))
		all += "/" + at + "\n"
	}
	all += "/var/lib/dpkg/status.d/p.md5sums\n/var/lib/dpkg/info/p.list\n"
	const file, link = "/a/b\n", "/a/l\n"
	tests := []struct {
		name, sums, list string
		fails            bool
	}{
		{"sound", sumOfB + "  a/b\n", all + file + link, false},
		{"no sum", "", all + file + link, true},
		{"an orphan", sumOfB + "  a/b\n", all + link, true},
		{"an orphaned link", sumOfB + "  a/b\n", all + file, true},
		{"an orphaned folder", sumOfB + "  a/b\n", strings.Replace(all, "/a\n", "", 1) + file + link, true},
		{"an orphaned list", sumOfB + "  a/b\n", strings.Replace(all, "/var/lib/dpkg/info/p.list\n", "", 1) + file + link, true},
		{"no root", sumOfB + "  a/b\n", strings.TrimPrefix(all, "/.\n") + file + link, true},
		{"another sum", strings.Repeat("0", 32) + "  a/b\n", all + file + link, true},
		{"a sum of a file that is not there", sumOfB + "  a/b\n" + sumOfB + "  a/c\n", all + file + link, true},
		{"a listed file that is not there", sumOfB + "  a/b\n", all + file + link + "/a/c\n", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree := Tree{}
			files := append(slices.Clone(dirs), entry("a/b", tar.TypeReg, 0o644, "", "b"), entry("a/l", tar.TypeSymlink, 0o777, "b", ""),
				entry("var/lib/dpkg/status.d/p.md5sums", tar.TypeReg, 0o644, "", tt.sums), entry("var/lib/dpkg/info/p.list", tar.TypeReg, 0o644, "", tt.list))
			if err := layer(t, tree, "p", true, files...); err != nil {
				t.Fatal(err)
			}
			r := &recorder{TB: t}
			tree.CheckInventory(r)
			if got := len(r.failed) > 0; got != tt.fails {
				t.Errorf("failed: %v, want %v: %q", got, tt.fails, r.failed)
			}
		})
	}
}

func TestMadeOrphansAreSeen(t *testing.T) {
	const sumOfB = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
	dirs, all := []debarchive.TarFile{}, ""
	for _, at := range []string{"a", "var", "var/lib", "var/lib/plimsoll", "var/lib/plimsoll/base"} {
		dirs = append(dirs, entry(at+"/", tar.TypeDir, 0o755, "", ""))
		all += "dir  /" + at + "\n"
	}
	const self, file = "list  /var/lib/plimsoll/base/files\n", sumOfB + "  /a/b\n"
	tests := []struct {
		name, list string
		fails      bool
	}{
		{"sound", all + self + file, false},
		{"a file that no list has", all + self, true},
		{"a list that does not list itself", all + file, true},
		{"another file as a list", all + self + file + "list  /a/b\n", true},
		{"an orphaned folder", strings.Replace(all, "dir  /a\n", "", 1) + self + file, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree := Tree{}
			files := append(slices.Clone(dirs), entry("a/b", tar.TypeReg, 0o644, "", "b"), entry("var/lib/plimsoll/base/files", tar.TypeReg, 0o644, "", tt.list))
			if err := layer(t, tree, "base", false, files...); err != nil {
				t.Fatal(err)
			}
			r := &recorder{TB: t}
			if tree.CheckInventory(r); len(r.failed) > 0 != tt.fails {
				t.Errorf("failed: %v, want %v", r.failed, tt.fails)
			}
		})
	}
}
