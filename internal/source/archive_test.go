package source_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/source"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// member is one of a tar made by hand.
type member struct {
	kind byte
	name string
	text string // content, or a link's target
}

func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	for _, m := range members {
		h := &tar.Header{Typeflag: m.kind, Name: m.name, Mode: 0o6755}
		if m.kind == tar.TypeReg {
			h.Size = int64(len(m.text))
		} else {
			h.Linkname = m.text
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if m.kind == tar.TypeReg {
			if _, err := w.Write([]byte(m.text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return raw.Bytes()
}

func zipOf(t testing.TB, mode fs.FileMode, names ...string) []byte {
	t.Helper()
	var raw bytes.Buffer
	w := zip.NewWriter(&raw)
	for _, name := range names {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(mode)
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("../outside")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return raw.Bytes()
}

func gzipOf(t testing.TB, raw []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// hostile are archives that no one who means well makes, and what their refusal must name.
func hostile(t testing.TB) map[string]struct {
	raw  []byte
	word string
} {
	file := member{tar.TypeReg, "top/ok", "x"}
	with := func(members ...member) []byte { return tarOf(t, append([]member{file}, members...)...) }
	return map[string]struct {
		raw  []byte
		word string
	}{
		"a name that leads up":            {with(member{tar.TypeReg, "top/../../x", ""}), "top/../../x"},
		"a name that leads up in the end": {with(member{tar.TypeReg, "top/..", ""}), "top/.."},
		"an absolute name":                {with(member{tar.TypeReg, "/etc/passwd", ""}), "/etc/passwd"},
		"a link to the outside":           {with(member{tar.TypeSymlink, "top/l", "../../etc"}), "../../etc"},
		"an absolute link":                {with(member{tar.TypeSymlink, "l", "/etc"}), `"l"`},
		"a file through a link":           {with(member{tar.TypeSymlink, "top/l", "."}, member{tar.TypeReg, "top/l/x", ""}), "top/l"},
		"a link over a folder":            {with(member{tar.TypeReg, "top/d/x", ""}, member{tar.TypeSymlink, "top/d", "."}), "top/d"},
		"a file over a link":              {with(member{tar.TypeSymlink, "top/l", "x"}, member{tar.TypeReg, "top/l", ""}), "top/l"},
		"a hard link to the outside":      {with(member{tar.TypeLink, "top/h", "../../etc/passwd"}), "../../etc/passwd"},
		"a hard link to all":              {with(member{tar.TypeLink, "top/h", "/etc/passwd"}), "/etc/passwd"},
		"a hard link to a link":           {with(member{tar.TypeSymlink, "top/l", "x"}, member{tar.TypeLink, "top/h", "top/l"}), "top/h"},
		"a device":                        {with(member{tar.TypeChar, "top/null", ""}), "top/null"},
		"a disk":                          {with(member{tar.TypeBlock, "top/sda", ""}), "top/sda"},
		"a pipe":                          {with(member{tar.TypeFifo, "top/p", ""}), "top/p"},
		"a name twice":                    {with(file), "twice"},
		"a name twice, by a detour":       {with(member{tar.TypeReg, "./top//ok", ""}), "twice"},
		"a line end in a name":            {with(member{tar.TypeReg, "top/a\nb", ""}), `a\nb`},
		"git's folder in capitals":        {with(member{tar.TypeReg, "top/.Git/config", ""}), ".Git"},
		"git's folder, short":             {with(member{tar.TypeReg, "GIT~1/config", ""}), "GIT~1"},
		"git's folder, dotted":            {with(member{tar.TypeReg, ".git. /config", ""}), ".git."},
		"git's folder, unseen":            {with(member{tar.TypeReg, ".g\u200cit/config", ""}), "config"},
		"git's folder, as a stream":       {with(member{tar.TypeReg, ".git::$INDEX_ALLOCATION/config", ""}), "INDEX"},
		"a long name":                     {with(member{tar.TypeReg, "top/" + strings.Repeat("n", 256), ""}), "255"},
		"a long path":                     {with(member{tar.TypeReg, strings.Repeat("long/", 300) + "x", ""}), "1024"},
		"a deep path":                     {with(member{tar.TypeReg, strings.Repeat("d/", 200) + "x", ""}), "deeper"},
		"a zip that leads up":             {zipOf(t, 0o644, "ok", "../x"), "../x"},
		"a zip with backslashes":          {zipOf(t, 0o644, `..\x`), "backslash"},
		"a zip with a link out":           {zipOf(t, fs.ModeSymlink|0o777, "l"), "outside"},
		"a zip with a device":             {zipOf(t, fs.ModeDevice|0o644, "d"), "a device"},
		"a zip with a pipe":               {zipOf(t, fs.ModeNamedPipe|0o644, "p"), "a pipe"},
		"a zip with a name twice":         {zipOf(t, 0o644, "a", "a"), "twice"},
	}
}

func TestArchiveRefuses(t *testing.T) {
	b := newBed(t)
	for name, tt := range hostile(t) {
		t.Run(name, func(t *testing.T) {
			b := &bed{T: t, dir: b.dir, env: b.env}
			b.write("a", string(tt.raw))
			b.refused(b.fetcher(), b.path("a"), source.Options{}, fault.Denied, tt.word)
		})
	}
	b.write("bomb", string(gzipOf(t, tarOf(t, member{tar.TypeReg, "top/zeros", strings.Repeat("\x00", 80<<20)}))))
	b.refused(b.fetcher(), b.path("bomb"), source.Options{}, fault.Denied, "unpacks to more")
	b.write("cut.tgz", string(gzipOf(t, tarOf(t, member{tar.TypeReg, "a", strings.Repeat("text", 999)}))[:60]))
	b.refused(b.fetcher(), b.path("cut.tgz"), source.Options{}, fault.Failed, "unexpected EOF")
	b.write("page.tgz", "<!DOCTYPE html><p>log in")
	b.refused(b.fetcher(), b.path("page.tgz"), source.Options{}, fault.Usage, "web page")
	b.write("empty.zip", string(zipOf(t, 0o644)))
	b.refused(b.fetcher(), b.path("empty.zip"), source.Options{}, fault.Usage, "no files")
	b.write("ok.tar", string(tarOf(t, member{tar.TypeReg, "a", "x"})))
	b.refused(b.fetcher(), b.path("ok.tar"), source.Options{Checksum: "sha256:" + strings.Repeat("0", 64)}, fault.Denied, "checksum is sha256:")
	b.refused(b.fetcher(), b.path("ok.tar"), source.Options{Checksum: "md5:1"}, fault.Usage, "sha256:")
	b.refused(b.fetcher(), b.path("ok.tar"), source.Options{Limits: source.Limits{Download: 100}}, fault.Denied, "100 bytes")
	secret := b.path("secret.zip")
	b.write("plain", "text")
	b.run(".", "zip", "-q", "-P", "password", secret, "plain")
	b.refused(b.fetcher(), secret, source.Options{}, fault.Denied, "encrypted")
}

func TestArchiveTakes(t *testing.T) {
	tests := []struct {
		name    string
		members []member
		options source.Options
		want    map[string]string
	}{
		{"one top folder is stripped", []member{{tar.TypeDir, "top/", ""}, {tar.TypeReg, "top/a", "#!"}}, source.Options{}, map[string]string{"a": "#!"}},
		{"unless told otherwise", []member{{tar.TypeReg, "top/a", "#!"}}, source.Options{KeepTop: true}, map[string]string{"top/a": "#!"}},
		{"two are kept", []member{{tar.TypeReg, "a/a", "#!"}, {tar.TypeReg, "b/a", "#!"}}, source.Options{}, map[string]string{"a/a": "#!", "b/a": "#!"}},
		{"a sub-path", []member{{tar.TypeReg, "top/a", "#!"}, {tar.TypeReg, "top/d/b", "#!"}, {tar.TypeSymlink, "top/d/l", "b"}}, source.Options{Subpath: "d"}, map[string]string{"b": "#!", "l": "->b"}},
		{"links before what they lead to", []member{{tar.TypeSymlink, "l", "d/a"}, {tar.TypeReg, "d/a", "#!"}}, source.Options{}, map[string]string{"l": "->d/a", "d/a": "#!"}},
		{"hard links are copied", []member{{tar.TypeReg, "a", "#!1"}, {tar.TypeLink, "d/b", "a"}}, source.Options{}, map[string]string{"a": "#!1", "d/b": "#!1"}},
		{"git's folder is left out", []member{{tar.TypeReg, "./.git/config", "x"}, {tar.TypeLink, ".git/b", ".git/config"}, {tar.TypeReg, "./a", "#!"}}, source.Options{}, map[string]string{"a": "#!"}},
		{"folders with nothing in them", []member{{tar.TypeDir, "e/f/", ""}, {tar.TypeReg, "a", "#!"}}, source.Options{}, map[string]string{"a": "#!"}},
		{"a link to the outside that is left out", []member{{tar.TypeReg, ".plimsollignore", "#!\nd/bad\n"}, {tar.TypeSymlink, "d/bad", "/etc"}, {tar.TypeReg, "d/a", "#!"}},
			source.Options{}, map[string]string{".plimsollignore": "#!\nd/bad\n", "d/a": "#!"}},
		{".gitignore says nothing of an archive", []member{{tar.TypeReg, ".gitignore", "#!\na\n"}, {tar.TypeReg, "a", "#!"}}, source.Options{}, map[string]string{".gitignore": "#!\na\n", "a": "#!"}},
		{"include", []member{{tar.TypeReg, "a/b", "#!"}, {tar.TypeReg, "c", "#!"}}, source.Options{Include: []string{"a/"}}, map[string]string{"a/b": "#!"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			b.write("a.tar", string(tarOf(t, tt.members...)))
			_, files := b.fetch(b.fetcher(), b.path("a.tar"), tt.options)
			if diff := cmp.Diff(tt.want, files); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDownload(t *testing.T) {
	b := newBed(t)
	raw := gzipOf(t, tarOf(t, member{tar.TypeReg, "app/a", "#!"}))
	digest := sha256.Sum256(raw)
	sum := "sha256:" + hex.EncodeToString(digest[:])
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(raw) }))
	defer plain.Close()
	authority, secure := testbed.TLSServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case r.URL.Path == "/plain.tgz":
			http.Redirect(w, r, plain.URL+"/a.tgz", http.StatusFound)
		case r.URL.Path == "/gone.tgz":
			http.NotFound(w, r)
		case r.URL.Path == "/down.tgz":
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/cut.tgz":
			w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
			_, _ = w.Write(raw[:10])
		case r.URL.Path == "/private.tgz" && (user != "ann" || password != "s3cret"):
			w.WriteHeader(http.StatusUnauthorized)
		default:
			_, _ = w.Write(raw)
		}
	}))
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(authority))
	f := b.fetcher()
	f.Client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}}
	login := strings.Replace(secure, "://", "://ann:s3cret@", 1)

	for location, o := range map[string]source.Options{
		secure + "/a.tgz?token=s3cret": {}, login + "/private.tgz": {}, secure + "/download?app=1": {Checksum: sum},
		plain.URL + "/a.tgz": {Checksum: sum}, secure + "/plain.tgz": {Checksum: sum},
	} {
		s, files := b.fetch(f, location, o)
		if cmp.Diff(map[string]string{"a": "#!"}, files) != "" || s.Revision != sum {
			t.Errorf("%s: %v, %+v", location, files, s)
		}
		if strings.Contains(fmt.Sprint(s), "s3cret") {
			t.Errorf("the source keeps the login: %+v", s)
		}
	}
	b.refused(f, plain.URL+"/a.tgz", source.Options{}, fault.Usage, "plain http")
	b.refused(f, secure+"/plain.tgz", source.Options{}, fault.Unavailable, "redirects to plain http")
	b.refused(f, secure+"/gone.tgz", source.Options{}, fault.NotFound, "404")
	b.refused(f, secure+"/down.tgz", source.Options{}, fault.Unavailable, "503")
	b.refused(f, secure+"/cut.tgz", source.Options{}, fault.Unavailable, "unexpected EOF")
	b.refused(f, secure+"/private.tgz", source.Options{}, fault.Denied, "401")
	b.refused(f, secure+"/a.tgz", source.Options{Checksum: "sha256:" + strings.Repeat("0", 64)}, fault.Denied, sum)
	b.refused(f, secure+"/a.tgz", source.Options{Limits: source.Limits{Download: 10}}, fault.Denied, "10 bytes")
	b.refused(b.fetcher(), secure+"/a.tgz", source.Options{}, fault.Unavailable, "certificate")
	plain.Close()
	for _, location := range []string{login + "/gone.tgz?token=s3cret", strings.Replace(plain.URL, "http://", "https://ann:s3cret@", 1) + "/a.tgz?token=s3cret"} {
		_, err := f.Fetch(t.Context(), location, source.Options{Checksum: sum}, b.path("x"))
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v", err)
		}
	}
}

// FuzzArchive unpacks arbitrary bytes. Whatever they hold, nothing is made outside of the
// folder, and what is refused leaves nothing.
func FuzzArchive(f *testing.F) {
	for _, tt := range hostile(f) {
		f.Add(tt.raw)
		f.Add(gzipOf(f, tt.raw))
	}
	f.Add(tarOf(f, member{tar.TypeReg, "top/a", "#!"}, member{tar.TypeSymlink, "top/l", "a"}, member{tar.TypeLink, "top/h", "top/a"}))
	limits := source.Limits{Bytes: 1 << 20, Entries: 1000}
	f.Fuzz(func(t *testing.T, raw []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a"), raw, 0o644); err != nil {
			t.Fatal(err)
		}
		inner := filepath.Join(dir, "one", "two")
		_, err := (&source.Fetcher{}).Fetch(t.Context(), filepath.Join(dir, "a"), source.Options{Limits: limits}, filepath.Join(inner, "tree"))
		for at, want := range map[string]int{dir: 2, filepath.Join(dir, "one"): 1, inner: 1} {
			if err != nil && at == inner {
				want = 0
			}
			if list, readErr := os.ReadDir(at); readErr != nil || len(list) != want {
				t.Errorf("%s holds %v, %v (%v)", at, list, readErr, err)
			}
		}
		if err == nil {
			(&bed{T: t}).inside(filepath.Join(inner, "tree"))
		}
	})
}

// inside checks that no link of a tree leads out of it.
func (b *bed) inside(dir string) {
	b.Helper()
	err := filepath.WalkDir(dir, func(at string, d os.DirEntry, err error) error {
		if err != nil || d.Type() != fs.ModeSymlink {
			return err
		}
		if real, err := filepath.EvalSymlinks(at); err == nil && real != dir && !strings.HasPrefix(real, dir+"/") {
			b.Errorf("%s leads to %s", at, real)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
