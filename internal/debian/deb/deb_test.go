package deb

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

// packed gives a .deb of raw members.
func packed(members ...debarchive.Member) []byte { return debarchive.Ar(members...) }

var version = debarchive.Member{Name: "debian-binary", Data: []byte("2.0\n")}

// gz compresses, as fast as can be.
func gz(t testing.TB, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func tarOf(t testing.TB, files ...debarchive.TarFile) []byte {
	t.Helper()
	text, err := debarchive.Tar(files...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func file(name, content string) debarchive.TarFile {
	return debarchive.TarFile{Header: tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, Content: content}
}

func control(t testing.TB) debarchive.Member {
	return debarchive.Member{Name: "control.tar.gz", Data: gz(t, tarOf(t, file("./control", "Package: x\n")))}
}

func data(t testing.TB, files ...debarchive.TarFile) debarchive.Member {
	return debarchive.Member{Name: "data.tar.gz", Data: gz(t, tarOf(t, files...))}
}

func TestReadsEveryForm(t *testing.T) {
	for _, compression := range []string{"gz", "xz", "zst", "none"} {
		t.Run(compression, func(t *testing.T) {
			big := strings.Repeat("plimsoll ", 40_000)
			text, err := debarchive.Package{
				Name: "x", Compression: compression, Conffiles: []string{"/etc/x.conf"}, Scripts: map[string]string{"postinst": "#!/bin/sh\n"},
				Files: []debarchive.File{
					{Path: "usr/bin/x", Content: big, Mode: 0o4755},
					debarchive.Hardlink("usr/bin/y", "usr/bin/x"),
					debarchive.Symlink("usr/bin/z", "../lib/z"),
					debarchive.Dir("var/x", 0o1777),
					{Path: "etc/x.conf", Content: "a=b\n", User: "nobody", UID: 65534, Group: "adm", GID: 4},
					{Path: "usr/bin/cap", Content: "c", Xattr: map[string]string{"security.capability": "\x01\x00\x00\x02\x80\xff"}},
				},
			}.Deb()
			if err != nil {
				t.Fatal(err)
			}
			p, err := Read(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(p.Control["conffiles"]) + string(p.Control["postinst"]); got != "/etc/x.conf\n#!/bin/sh\n" {
				t.Errorf("control files: %q", got)
			}
			want := []Entry{
				{Path: "usr", Type: tar.TypeDir, Mode: 0o755, User: "root", Group: "root", MTime: debarchive.MTime},
				{Path: "usr/bin", Type: tar.TypeDir, Mode: 0o755, User: "root", Group: "root", MTime: debarchive.MTime},
				{Path: "usr/bin/x", Type: tar.TypeReg, Mode: 0o4755, User: "root", Group: "root", Size: int64(len(big)), MTime: debarchive.MTime},
				{Path: "usr/bin/y", Type: tar.TypeLink, Mode: 0o644, User: "root", Group: "root", Link: "usr/bin/x", MTime: debarchive.MTime},
				{Path: "usr/bin/z", Type: tar.TypeSymlink, Mode: 0o777, User: "root", Group: "root", Link: "../lib/z", MTime: debarchive.MTime},
				{Path: "var", Type: tar.TypeDir, Mode: 0o755, User: "root", Group: "root", MTime: debarchive.MTime},
				{Path: "var/x", Type: tar.TypeDir, Mode: 0o1777, User: "root", Group: "root", MTime: debarchive.MTime},
				{Path: "etc", Type: tar.TypeDir, Mode: 0o755, User: "root", Group: "root", MTime: debarchive.MTime},
				{Path: "etc/x.conf", Type: tar.TypeReg, Mode: 0o644, User: "nobody", UID: 65534, Group: "adm", GID: 4, Size: 4, MTime: debarchive.MTime},
				{Path: "usr/bin/cap", Type: tar.TypeReg, Mode: 0o644, User: "root", Group: "root", Size: 1, MTime: debarchive.MTime, Xattr: map[string][]byte{"security.capability": []byte("\x01\x00\x00\x02\x80\xff")}},
			}
			for range 2 { // Data may be asked for again
				got, contents := walkAll(t, p)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				if contents["usr/bin/x"] != big || contents["etc/x.conf"] != "a=b\n" {
					t.Error("the bytes are not those that were packed")
				}
			}
		})
	}
}

func walkAll(t *testing.T, p *Package) ([]Entry, map[string]string) {
	t.Helper()
	stream, err := p.Data()
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var entries []Entry
	contents := map[string]string{}
	if err := Walk(stream, func(e Entry, r io.Reader) error {
		text, err := io.ReadAll(r)
		contents[e.Path] = string(text)
		entries = append(entries, e)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return entries, contents
}

func TestReadRefuses(t *testing.T) {
	many := make([]debarchive.TarFile, maxControlFiles+1)
	for i := range many {
		many[i] = debarchive.TarFile{Header: tar.Header{Name: "./d", Typeflag: tar.TypeDir}}
	}
	controlOf := func(files ...debarchive.TarFile) debarchive.Member {
		return debarchive.Member{Name: "control.tar.gz", Data: gz(t, tarOf(t, files...))}
	}
	// skipped carries a negative size that leads back to itself.
	skipped := append(packed(version), "_x              1700000000  0     0     100644  -60       `\n"...)
	tests := []struct {
		name, reason, says string
		text               []byte
	}{
		{"empty", "no ar archive", "not a .deb", nil},
		{"text", "no ar archive", "not a .deb", []byte("hello, this is no package")},
		{"ar alone", "no member", "debian-binary", packed()},
		{"wrong first member", "deb(5) wants the order", "debian-binary", packed(control(t), version, data(t))},
		{"format 3", "unknown to us", "format 2", packed(debarchive.Member{Name: "debian-binary", Data: []byte("3.0\n")}, control(t), data(t))},
		{"data before control", "deb(5) wants the order", "control.tar", packed(version, data(t), control(t))},
		{"no control archive", "nothing is known of it", "control.tar", packed(version)},
		{"no data", "nothing to install", "data.tar", packed(version, control(t))},
		{"a stranger between", "only names with an underscore may stand there", "extra", packed(version, debarchive.Member{Name: "extra", Data: []byte("x")}, control(t), data(t))},
		{"no control file", "no stanza", "no control file", packed(version, controlOf(file("./postinst", "x")), data(t))},
		{"empty control file", "no stanza", "no control file", packed(version, controlOf(file("./control", "")), data(t))},
		{"huge control file", "it would fill the memory", "too large", packed(version, controlOf(file("./control", strings.Repeat("x", maxControl+1))), data(t))},
		{"many control files", "they would fill the memory", "more than", packed(version, controlOf(many...), data(t))},
		{"broken control archive", "gzip ends early", "control", packed(version, debarchive.Member{Name: "control.tar.gz", Data: control(t).Data[:30]}, data(t))},
		{"unknown compression", "nobody can read it", "compression", packed(version, debarchive.Member{Name: "control.tar.lz", Data: []byte("x")}, data(t))},
		{"a negative size", "the archive would be read for ever", "size", skipped},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Read(bytes.NewReader(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: want an error that says %q, got %v", tt.reason, tt.says, err)
			}
		})
	}
}

func TestUnderscoredMembersArePassedOver(t *testing.T) {
	extra := debarchive.Member{Name: "_gpgorigin", Data: []byte("odd")}
	p, err := Read(bytes.NewReader(packed(version, extra, control(t), extra, data(t, file("./x", "y")))))
	if err != nil {
		t.Fatal(err)
	}
	if _, contents := walkAll(t, p); contents["x"] != "y" {
		t.Errorf("got %v", contents)
	}
}

func TestWalkRefuses(t *testing.T) {
	entry := func(h tar.Header) debarchive.TarFile { return debarchive.TarFile{Header: h} }
	tests := []struct {
		name, reason, says string
		file               debarchive.TarFile
	}{
		{"up", "it leaves the root", "leaves the root", file("../etc/passwd", "x")},
		{"up in the middle", "it leaves the root", "leaves the root", file("./usr/../../etc/passwd", "x")},
		{"up at the end", "it leaves the root", "leaves the root", entry(tar.Header{Name: "./usr/..", Typeflag: tar.TypeDir})},
		{"hard link up", "it would link to a file of the host", "leaves the root", entry(tar.Header{Name: "./x", Typeflag: tar.TypeLink, Linkname: "../../etc/shadow"})},
		{"character device", "no image may hold one", "special file", entry(tar.Header{Name: "./dev/mem", Typeflag: tar.TypeChar})},
		{"block device", "no image may hold one", "special file", entry(tar.Header{Name: "./dev/sda", Typeflag: tar.TypeBlock})},
		{"pipe", "no package ships one", "special file", entry(tar.Header{Name: "./run/pipe", Typeflag: tar.TypeFifo})},
		{"line break", "it would forge lines of inventories", "line break", file("./a\nb", "x")},
		{"no UTF-8", "inventories and PAX records are UTF-8", "UTF-8", debarchive.TarFile{Header: tar.Header{Name: "./caf\xe9", Typeflag: tar.TypeReg, Format: tar.FormatGNU}}},
		{"symlink to nothing", "it leads nowhere", "no path", entry(tar.Header{Name: "./x", Typeflag: tar.TypeSymlink, Linkname: ""})},
		{"symlink with a line break", "it would forge lines of inventories", "no path", entry(tar.Header{Name: "./x", Typeflag: tar.TypeSymlink, Linkname: "a\nb"})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Walk(bytes.NewReader(tarOf(t, file("./first", ""), tt.file)), func(e Entry, _ io.Reader) error {
				if e.Path != "first" {
					t.Errorf("%s: it was given to the visitor: %+v", tt.reason, e)
				}
				return nil
			})
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: want an error that says %q, got %v", tt.reason, tt.says, err)
			}
		})
	}
}

func TestWalkCleansPaths(t *testing.T) {
	text := tarOf(t,
		debarchive.TarFile{Header: tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}},
		file("/etc/absolute", "x"), file("no/dot", "x"), file(".//twice//slashed", "x"), file("./a/./b", "x"),
		debarchive.TarFile{Header: tar.Header{Name: "./folder/", Typeflag: tar.TypeDir}},
		debarchive.TarFile{Header: tar.Header{Name: "./link", Typeflag: tar.TypeLink, Linkname: "/etc/absolute"}},
	)
	var got []string
	if err := Walk(bytes.NewReader(text), func(e Entry, _ io.Reader) error {
		got = append(got, strings.TrimSuffix(e.Path+" "+e.Link, " "))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"etc/absolute", "no/dot", "twice/slashed", "a/b", "folder", "link etc/absolute"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// sparse gives the tar of a file that claims to be huge and holds nothing.
func sparse(t testing.TB) []byte {
	t.Helper()
	records := "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n24 GNU.sparse.name=big\n39 GNU.sparse.realsize=1152921504606\n"
	// archive/tar does not write such records, so they are laid by hand in a PAX header.
	lay := func(name string, kind byte, body string) []byte {
		one := tarOf(t, debarchive.TarFile{Header: tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Format: tar.FormatUSTAR}, Content: body})
		one = one[:len(one)-1024] // without the end of the archive
		one[156] = kind
		for i := range 8 {
			one[148+i] = ' '
		}
		sum := 0
		for _, b := range one[:512] {
			sum += int(b)
		}
		copy(one[148:], []byte{byte('0' + sum>>15&7), byte('0' + sum>>12&7), byte('0' + sum>>9&7), byte('0' + sum>>6&7), byte('0' + sum>>3&7), byte('0' + sum&7), 0, ' '})
		return one
	}
	table := "0\n" + strings.Repeat("\x00", 510)
	return bytes.Join([][]byte{lay("pax", 'x', fixLengths(records)), lay("GNUSparseFile.0/big", '0', table), make([]byte, 1024)}, nil)
}

// fixLengths sets each PAX record's own length (pax Interchange Format, POSIX.1).
func fixLengths(records string) string {
	var out strings.Builder
	for line := range strings.Lines(records) {
		_, body, _ := strings.Cut(line, " ")
		n := len(body) + 3 // two digits and a space
		out.WriteString(string([]byte{byte('0' + n/10), byte('0' + n%10)}) + " " + body)
	}
	return out.String()
}

func TestSparseBombIsRefused(t *testing.T) {
	h, err := tar.NewReader(bytes.NewReader(sparse(t))).Next()
	if err != nil || h.Size != 1152921504606 {
		t.Fatalf("the test's own bomb is none: %+v, %v", h, err)
	}
	err = Walk(bytes.NewReader(sparse(t)), func(Entry, io.Reader) error {
		t.Error("it was given to the visitor")
		return nil
	})
	if err == nil {
		t.Error("a terabyte of nothing passed")
	}
}

func FuzzRead(f *testing.F) {
	for _, compression := range []string{"gz", "xz", "zst", "none"} {
		text, err := debarchive.Package{Name: "x", Compression: compression, Files: []debarchive.File{
			debarchive.Regular("usr/bin/x", "x"), debarchive.Hardlink("usr/bin/y", "usr/bin/x"), debarchive.Symlink("z", "usr"),
		}}.Deb()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add(append(packed(version), "_x              1700000000  0     0     100644  -60       `\n"...))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		if len(p.Control["control"]) == 0 {
			t.Error("no control file")
		}
		stream, err := p.Data()
		if err != nil {
			return
		}
		defer stream.Close()
		_ = Walk(io.LimitReader(stream, 1<<24), func(e Entry, r io.Reader) error {
			checkEntry(t, e)
			_, err := io.Copy(io.Discard, r)
			return err
		})
	})
}

func FuzzWalk(f *testing.F) {
	f.Add(tarOf(f, file("./a/b", "x"), debarchive.TarFile{Header: tar.Header{Name: "./l", Typeflag: tar.TypeLink, Linkname: "./a/b"}}))
	f.Add(sparse(f))
	f.Fuzz(func(t *testing.T, text []byte) {
		_ = Walk(bytes.NewReader(text), func(e Entry, _ io.Reader) error {
			checkEntry(t, e)
			return nil
		})
	})
}

func checkEntry(t *testing.T, e Entry) {
	for _, path := range []string{e.Path, e.Link} {
		if e.Type == tar.TypeSymlink && path == e.Link {
			continue
		}
		if strings.HasPrefix(path, "/") || strings.HasPrefix(path+"/", "../") || strings.Contains(path, "/../") || strings.ContainsAny(path, "\x00\n") {
			t.Errorf("%+v leaves the root", e)
		}
	}
	if e.Path == "" || e.Path == "." || e.Size < 0 || e.Mode&^0o7777 != 0 {
		t.Errorf("malformed: %+v", e)
	}
}
