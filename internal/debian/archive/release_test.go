package archive

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
)

const (
	sumA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	head = "Suite: stable\nCodename: trixie\nDate: Sat, 09 Aug 2025 09:13:28 UTC\n"
)

func TestParseRelease(t *testing.T) {
	got, err := parseRelease([]byte("Origin: Debian\nLabel: Debian\nVersion: 13.0\n" + head + "Valid-Until: Sat, 16 Aug 2025 09:13:28 UTC\nAcquire-By-Hash: yes\n" +
		"MD5Sum:\n 0123 5 main/x\nSHA256:\n " + strings.ToUpper(sumA) + "  12 main/binary-amd64/Packages\n " + sumA + " 3456789 main/binary-amd64/Packages.xz\n"))
	if err != nil {
		t.Fatal(err)
	}
	date := time.Date(2025, 8, 9, 9, 13, 28, 0, time.UTC)
	want := &Release{
		Origin: "Debian", Label: "Debian", Suite: "stable", Codename: "trixie", Version: "13.0", ByHash: true,
		Date: date, ValidUntil: date.AddDate(0, 0, 7),
		Files: map[string]File{
			"main/binary-amd64/Packages":    {SHA256: sumA, Size: 12},
			"main/binary-amd64/Packages.xz": {SHA256: sumA, Size: 3456789},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseReleaseRefuses(t *testing.T) {
	files := "SHA256:\n " + sumA + " 1 x\n"
	tests := []struct{ name, text, says string }{
		{"empty", "", "Date"},
		{"no date", "Suite: s\n" + files, "Date"},
		{"bad date", "Date: yesterday\n" + files, "yesterday"},
		{"bad end", head + "Valid-Until: never\n" + files, "Valid-Until"},
		{"no sums", head, "SHA256"},
		{"only weak sums", head + "MD5Sum:\n 00 1 x\n", "SHA256"},
		{"two paragraphs", head + files + "\nSuite: other\n", "more than one paragraph"},
		{"short sum", head + "SHA256:\n abc 1 x\n", "malformed"},
		{"sum that is a path", head + "SHA256:\n " + strings.Repeat("../", 21) + "x 1 x\n", "malformed"},
		{"a word too many", head + "SHA256:\n " + sumA + " 1 x y\n", "malformed"},
		{"bad size", head + "SHA256:\n " + sumA + " many x\n", "size"},
		{"negative size", head + "SHA256:\n " + sumA + " -1 x\n", "size"},
		{"a file twice with two sums", head + files + " " + strings.Repeat("b", 64) + " 1 x\n", "twice"},
		{"a field twice", head + "Suite: other\n" + files, "twice"},
		{"no sums after a line without end", head + "X: " + strings.Repeat("x", 2<<20) + "\nSHA256:\n abc 1 x\n", "malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseRelease([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("want an error that says %q, got %v", tt.says, err)
			}
		})
	}
}

func TestReleaseNames(t *testing.T) {
	tests := []struct {
		suite, codename, asked string
		want                   bool
	}{
		{"stable", "trixie", "trixie", true},
		{"stable", "trixie", "stable", true},
		{"stable-security", "trixie-security", "trixie-security", true},
		{"stable-security", "trixie-security", "trixie", false},
		{"stable", "trixie", "trixie-security", false},
		{"", "buster", "buster/updates", true},
		{"stable", "trixie", "trix", false},
		{"", "", "trixie", false},
		{"", "", "", false},
	}
	for _, tt := range tests {
		r := Release{Suite: tt.suite, Codename: tt.codename}
		if got := r.names(tt.asked); got != tt.want {
			t.Errorf("suite %q, codename %q, asked for %q: want %v, got %v", tt.suite, tt.codename, tt.asked, tt.want, got)
		}
	}
}

func TestKeyringRefuses(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.gpg")
	if err := os.WriteFile(bad, []byte("no key"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{bad, bad + ".absent", t.TempDir()} {
		_, err := LoadKeyring(path)
		var f *fault.Error
		if !errors.As(err, &f) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: want a fault that names it, got %v", path, err)
		}
	}
}

func FuzzParseRelease(f *testing.F) {
	f.Add([]byte(head + "SHA256:\n " + sumA + " 1 main/binary-amd64/Packages\n"))
	f.Add([]byte("Date: \n\n\n:\n x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseRelease(text)
		if err != nil {
			return
		}
		if r.Date.IsZero() && !strings.Contains(string(text), "0001") {
			t.Error("a release without a date passed")
		}
		for name, file := range r.Files {
			if file.Size < 0 || strings.Trim(file.SHA256, "0123456789abcdef") != "" || len(file.SHA256) != 64 {
				t.Errorf("%q: %+v", name, file)
			}
		}
	})
}

func FuzzSources(f *testing.F) {
	f.Add([]byte("deb [arch=amd64 signed-by=/k] http://a/d trixie main # c\n"))
	f.Add([]byte("Types: deb\nURIs: http://a\nSuites: s\n t\nEnabled: no\n\n# c\nTypes: deb\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, s := range append(parseOneLine(text), parseDeb822(text)...) {
			if s.URI == "" || strings.ContainsAny(s.URI, " \t\n") {
				t.Errorf("bad address %q", s.URI)
			}
			if _, err := MirrorFor([]Source{s}, "trixie"); err != nil && fault.KindOf(err) != fault.Usage {
				t.Error(err)
			}
			if strings.Contains(Redact(s.URI), "secret@") {
				t.Errorf("%q keeps its credentials", s.URI)
			}
		}
	})
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSuite: x\n-----BEGIN PGP SIGNATURE-----\n\niQ==\n=aaaa\n-----END PGP SIGNATURE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := new(Keyring).Verify(text, time.Unix(1700000000, 0)); err == nil {
			t.Error("an empty keyring verified a signature")
		}
	})
}
