package sources

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

// bed is a signed archive with source packages, below root/dists and root/pool.
type bed struct {
	root, keyring string
	key           *openpgp.Entity
	day           int // of the next Release: each is newer
}

func newBed(t testing.TB) *bed {
	t.Helper()
	key, err := openpgp.NewEntity("Test", "", "test@example.com", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return time.Now().AddDate(-1, 0, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b := &bed{root: filepath.Join(dir, "debian"), keyring: filepath.Join(dir, "key.pgp"), key: key}
	var public bytes.Buffer
	if err := key.Serialize(&public); err != nil {
		t.Fatal(err)
	}
	b.put(t, b.keyring, public.Bytes())
	return b
}

func (b *bed) put(t testing.TB, path string, text []byte) {
	t.Helper()
	if !filepath.IsAbs(path) {
		path = filepath.Join(b.root, path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// suite writes a suite of release 13 with the stanzas of its indexes.
func (b *bed) suite(t testing.TB, name, version, sourceStanzas, packageStanzas string) {
	t.Helper()
	b.day++
	files := map[string]string{"main/source/Sources": sourceStanzas, "main/binary-amd64/Packages": packageStanzas}
	text := fmt.Sprintf("Origin: Test\nSuite: %s\nCodename: %s\nVersion: %s\nDate: %s\nComponents: main\nSHA256:\n",
		name, name, version, time.Now().AddDate(0, 0, b.day-30).UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC"))
	for _, file := range slices.Sorted(maps.Keys(files)) {
		b.put(t, "dists/"+name+"/"+file, []byte(files[file]))
		text += fmt.Sprintf(" %s %d %s\n", sum([]byte(files[file])), len(files[file]), file)
	}
	var signed bytes.Buffer
	w, err := clearsign.Encode(&signed, b.key.PrivateKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(w, text)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	b.put(t, "dists/"+name+"/InRelease", signed.Bytes())
}

// source writes the packaging of a source package and gives its stanza.
func (b *bed) source(t testing.TB, name, version, file string, content []byte, more string) string {
	t.Helper()
	folder := "pool/" + name
	b.put(t, folder+"/"+file, content)
	return fmt.Sprintf("Package: %s\nVersion: %s\n%sChecksums-Sha256:\n %s 10 %s.dsc\n %s 20 %s.orig.tar.xz\n %s %d %s\nDirectory: %s\n\n",
		name, version, more, sum([]byte(name+version)), name, sum(nil), name, sum(content), len(content), file, folder)
}

// binary writes a .deb and gives its stanza.
func (b *bed) binary(t testing.TB, p debarchive.Package, padding int) string {
	t.Helper()
	p.Files = append(p.Files, debarchive.Regular("usr/share/padding", noise(padding)))
	text, err := p.Deb()
	if err != nil {
		t.Fatal(err)
	}
	b.put(t, p.Filename(), text)
	return p.Control() + fmt.Sprintf("Filename: %s\nSize: %d\nSHA256: %s\n\n", p.Filename(), len(text), sum(text))
}

// noise is text that does not compress.
func noise(n int) string {
	var out strings.Builder
	for i := 0; out.Len() < n; i++ {
		out.WriteString(sum([]byte{byte(i), byte(i >> 8)}))
	}
	return out.String()
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}

// packed gives a .tar.gz of one file.
func packed(t testing.TB, path, content string) []byte {
	t.Helper()
	plain, err := debarchive.Tar(debarchive.TarFile{Header: tar.Header{Name: path, Typeflag: tar.TypeReg, Mode: 0o644}, Content: content})
	if err != nil {
		t.Fatal(err)
	}
	return zipped(t, string(plain))
}

func zipped(t testing.TB, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := io.WriteString(w, text)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// changelog is one of a version, with a note to tell where it was found.
func changelog(name, version, note string) string {
	return fmt.Sprintf("%s (%s) trixie-security; urgency=high\n\n  * %s\n\n -- A <a@example.com>  Thu, 01 Jan 2026 00:00:00 +0000\n", name, version, note)
}

// reader reads the archive at its root, or at a server that counts.
type reader struct {
	options Options
	asked   *[]string
}

func (b *bed) reader(t testing.TB, suites ...string) *reader {
	t.Helper()
	var mu sync.Mutex
	asked := []string{}
	files := http.FileServer(http.Dir(b.root))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.Path)
		mu.Unlock()
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	dir := t.TempDir()
	o := Options{Suites: suites, Mirrors: map[string]string{}, Keyring: b.keyring, Cache: filepath.Join(dir, "cache"), State: filepath.Join(dir, "state"), Agent: "test"}
	for _, suite := range suites {
		o.Mirrors[suite] = web.URL
	}
	return &reader{options: o, asked: &asked}
}

// read gives what each changelog notes, by "name version", and what is missing.
func (r *reader) read(t *testing.T, have func(source, version, sum string) bool) (map[string]string, []string, error) {
	t.Helper()
	if have == nil {
		have = func(string, string, string) bool { return false }
	}
	a, err := Open(t.Context(), r.options)
	if err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex
	notes := map[string]string{}
	missing, err := a.Changelogs(t.Context(), have, func(source, version, _ string, text io.Reader) error {
		all, err := io.ReadAll(text)
		mu.Lock()
		defer mu.Unlock()
		_, note, _ := strings.Cut(string(all), "* ")
		notes[source+" "+version], _, _ = strings.Cut(note, "\n")
		return err
	})
	return notes, missing, err
}
