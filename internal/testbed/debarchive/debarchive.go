// Package debarchive takes the description of tiny packages and gives a signed Debian
// archive of them in a folder: InRelease, Packages with by-hash, pool. Its knobs make the
// archives that an attacker, a broken mirror or a slow one would give.
package debarchive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Suite describes one suite of an archive.
type Suite struct {
	Name     string    // folder in dists, and Codename
	SignedAs string    // what Release calls it; default Name
	Date     time.Time // default: an hour ago
	Until    time.Time // Valid-Until; zero leaves the field out

	Architectures []string // default amd64
	Packages      []Package

	Forms    []string // of Packages: "xz", "gz", "none"; default xz and gz
	NoByHash bool     // neither says Acquire-By-Hash nor has the folder
	Unsigned bool     // InRelease is the bare Release
	Signer   *Key     // default: the archive's key
}

// Key signs archives.
type Key struct{ entity *openpgp.Entity }

// NewKey makes a key, valid since a year ago.
func NewKey() (*Key, error) {
	long := &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA,
		Time:      func() time.Time { return time.Now().AddDate(-1, 0, 0) },
	}
	entity, err := openpgp.NewEntity("Test Archive", "", "archive@example.com", long)
	return &Key{entity}, err
}

// Public gives the key as a binary keyring.
func (k *Key) Public() ([]byte, error) {
	var out bytes.Buffer
	err := k.entity.Serialize(&out)
	return out.Bytes(), err
}

func (k *Key) sign(text string, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	w, err := clearsign.Encode(&out, k.entity.PrivateKey, &packet.Config{Time: func() time.Time { return at }})
	if err != nil {
		return nil, err
	}
	_, err = w.Write([]byte(text))
	err = errors.Join(err, w.Close())
	return out.Bytes(), err
}

// Archive is one that was written.
type Archive struct {
	Root    string // folder that holds dists and pool
	Keyring string // path of the public key
	Key     *Key
}

// New writes an archive of the suites with a key of its own, or fails the test.
func New(t testing.TB, suites ...Suite) *Archive {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	a, err := Write(t.TempDir(), key, suites...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Write writes an archive of the suites into the folder, over what is there.
func Write(dir string, key *Key, suites ...Suite) (*Archive, error) {
	a := &Archive{Root: filepath.Join(dir, "debian"), Keyring: filepath.Join(dir, "archive.pgp"), Key: key}
	public, err := key.Public()
	if err != nil {
		return nil, err
	}
	if err := write(a.Keyring, public); err != nil {
		return nil, err
	}
	for _, s := range suites {
		if err := a.write(s); err != nil {
			return nil, fmt.Errorf("suite %s: %w", s.Name, err)
		}
	}
	return a, nil
}

// Rewrite writes the suites again, as an update of the archive does.
func (a *Archive) Rewrite(t testing.TB, suites ...Suite) {
	t.Helper()
	if _, err := Write(filepath.Dir(a.Root), a.Key, suites...); err != nil {
		t.Fatal(err)
	}
}

func (a *Archive) write(s Suite) error {
	if len(s.Architectures) == 0 {
		s.Architectures = []string{"amd64"}
	}
	if s.Forms == nil {
		s.Forms = []string{"xz", "gz"}
	}
	stanzas, err := a.pool(s)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, architecture := range s.Architectures {
		name := "main/binary-" + architecture + "/Packages"
		plain := []byte(strings.Join(stanzas[architecture], "\n"))
		line(&sums, name, plain)
		for _, form := range s.Forms {
			packed, suffix, err := pack(plain, form)
			if err != nil {
				return err
			}
			if suffix != "" {
				line(&sums, name+suffix, packed)
			}
			if err := a.index(s, name+suffix, packed); err != nil {
				return err
			}
		}
	}
	return a.release(s, sums.String())
}

// pool writes the packages and gives their stanzas by architecture.
func (a *Archive) pool(s Suite) (map[string][]string, error) {
	stanzas := map[string][]string{}
	for _, p := range s.Packages {
		p = p.withDefaults()
		text, err := p.Deb()
		if err != nil {
			return nil, err
		}
		if err := write(filepath.Join(a.Root, p.Filename()), text); err != nil {
			return nil, err
		}
		stanza := p.Control() + fmt.Sprintf("Filename: %s\nSize: %d\nSHA256: %s\n", p.Filename(), len(text), sum(text))
		for _, architecture := range s.Architectures {
			if p.Architecture == "all" || p.Architecture == architecture {
				stanzas[architecture] = append(stanzas[architecture], stanza)
			}
		}
	}
	return stanzas, nil
}

// Filename gives the path of the .deb, relative to the archive's root.
func (p Package) Filename() string {
	p = p.withDefaults()
	return fmt.Sprintf("pool/main/%s/%s_%s_%s.deb", p.Name, p.Name, strings.ReplaceAll(p.Version, ":", "%3a"), p.Architecture)
}

func (a *Archive) index(s Suite, name string, packed []byte) error {
	root := filepath.Join(a.Root, "dists", s.Name)
	if !s.NoByHash {
		if err := write(filepath.Join(root, path.Dir(name), "by-hash/SHA256", sum(packed)), packed); err != nil {
			return err
		}
	}
	return write(filepath.Join(root, name), packed)
}

func (a *Archive) release(s Suite, sums string) error {
	if s.SignedAs == "" {
		s.SignedAs = s.Name
	}
	if s.Date.IsZero() {
		s.Date = time.Now().Add(-time.Hour)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "Origin: Test\nLabel: Test\nSuite: %s\nCodename: %s\nDate: %s\n", s.SignedAs, s.SignedAs, stamp(s.Date))
	if !s.Until.IsZero() {
		fmt.Fprintf(&text, "Valid-Until: %s\n", stamp(s.Until))
	}
	if !s.NoByHash {
		text.WriteString("Acquire-By-Hash: yes\n")
	}
	fmt.Fprintf(&text, "Architectures: %s\nComponents: main\nSHA256:\n%s", strings.Join(s.Architectures, " "), sums)
	signed := []byte(text.String())
	if !s.Unsigned {
		key := s.Signer
		if key == nil {
			key = a.Key
		}
		var err error
		// An archive dated in the future is signed now, as one with a wrong clock is not.
		if signed, err = key.sign(text.String(), time.Now().Add(-time.Minute)); err != nil {
			return err
		}
	}
	return write(filepath.Join(a.Root, "dists", s.Name, "InRelease"), signed)
}

// Find gives the one file below the root that matches the pattern (path.Match), as a path
// relative to the root.
func (a *Archive) Find(t testing.TB, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(a.Root, filepath.FromSlash(pattern)))
	if err != nil || len(found) != 1 {
		t.Fatalf("want one file %s, got %q (%v)", pattern, found, err)
	}
	relative, err := filepath.Rel(a.Root, found[0])
	if err != nil {
		t.Fatal(err)
	}
	return filepath.ToSlash(relative)
}

// Change rewrites every file that matches the pattern by the function; a nil result
// removes the file. It fails the test when none matches.
func (a *Archive) Change(t testing.TB, pattern string, change func([]byte) []byte) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(a.Root, filepath.FromSlash(pattern)))
	if err != nil || len(found) == 0 {
		t.Fatalf("no file matches %s (%v)", pattern, err)
	}
	for _, file := range found {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if text = change(slices.Clone(text)); text == nil {
			err = os.Remove(file)
		} else {
			err = os.WriteFile(file, text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Flip is a change of one byte in the middle.
func Flip(text []byte) []byte {
	text[len(text)/2] ^= 1
	return text
}

// Halve is a change that cuts the second half off.
func Halve(text []byte) []byte { return text[:len(text)/2] }

// Lengthen is a change that adds a byte.
func Lengthen(text []byte) []byte { return append(text, '\n') }

// Remove is a change that takes the file away.
func Remove([]byte) []byte { return nil }

// Serve serves the archive on loopback until the test ends. wrap may stand in front, or be
// nil.
func (a *Archive) Serve(t testing.TB, wrap func(http.Handler) http.Handler) *httptest.Server {
	t.Helper()
	var files http.Handler = http.FileServer(http.Dir(a.Root))
	if wrap != nil {
		files = wrap(files)
	}
	server := httptest.NewServer(files)
	t.Cleanup(server.Close)
	return server
}

func line(sums *strings.Builder, name string, text []byte) {
	fmt.Fprintf(sums, " %s %8d %s\n", sum(text), len(text), name)
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}

func stamp(t time.Time) string { return t.UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC") }

func write(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}
