package feed

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/fault"
)

// vouch writes SHA256SUMS of the export as sha256sum does, and gives its own sum.
func (e *export) vouch(t testing.TB) string {
	t.Helper()
	sum, err := sumOf(filepath.Join(e.dir, "Go/all.zip"))
	if err != nil {
		t.Fatal(err)
	}
	text := sum + "  ./Go/all.zip\n"
	e.put(t, sumsFile, []byte(text))
	own := sha256.Sum256([]byte(text))
	return hex.EncodeToString(own[:])
}

// signer signs as openssl does, and says where its public key lies.
func signer(t testing.TB, key crypto.Signer) (path string, sign func(text []byte) []byte) {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "feed.pub")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	return path, func(text []byte) []byte {
		digest, hash := text, crypto.Hash(0)
		if _, isECDSA := key.(*ecdsa.PrivateKey); isECDSA {
			sum := sha256.Sum256(text)
			digest, hash = sum[:], crypto.SHA256
		}
		signature, err := key.Sign(rand.Reader, digest, hash)
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
}

func TestTamperedFeedIsCaught(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// pinned and signed make a feed vouched for, once and after each change of its keeper's.
	pinned := func(t testing.TB, e *export, f *Feed) { f.Checksums = e.vouch(t) }
	signed := func(key crypto.Signer, inText bool) func(testing.TB, *export, *Feed) {
		return func(t testing.TB, e *export, f *Feed) {
			e.vouch(t)
			path, sign := signer(t, key)
			text, err := os.ReadFile(filepath.Join(e.dir, sumsFile))
			if err != nil {
				t.Fatal(err)
			}
			signature := sign(text)
			if inText {
				signature = []byte(base64.StdEncoding.EncodeToString(signature) + "\n")
			}
			e.put(t, sumsFile+".sig", signature)
			f.Key = path
		}
	}
	change := func(name string) func(testing.TB, *export) {
		return func(t testing.TB, e *export) {
			text, err := os.ReadFile(filepath.Join(e.dir, name))
			if err != nil {
				t.Fatal(err)
			}
			text[len(text)/2] ^= 1
			e.put(t, name, text)
		}
	}
	otherRecords := func(t testing.TB, e *export) {
		records := some(30)
		records["T-0001"] = record("T-0001", 8)
		e.write(t, records)
	}
	tests := []struct {
		name   string
		vouch  func(testing.TB, *export, *Feed)
		tamper func(testing.TB, *export)
	}{
		{"pinned, other records", pinned, otherRecords},
		{"pinned, other records and sums", pinned, func(t testing.TB, e *export) { otherRecords(t, e); e.vouch(t) }},
		{"pinned, no sums", pinned, func(t testing.TB, e *export) { otherRecords(t, e); e.remove(t, sumsFile) }},
		{"pinned, a byte of the sums", pinned, change(sumsFile)},
		{"signed by ECDSA, other records", signed(ec, false), otherRecords},
		{"signed by ECDSA, other records and sums", signed(ec, false), func(t testing.TB, e *export) { otherRecords(t, e); e.vouch(t) }},
		{"signed by ECDSA in base64, a byte of the sums", signed(ec, true), change(sumsFile)},
		{"signed by Ed25519, other records and sums", signed(ed, false), func(t testing.TB, e *export) { otherRecords(t, e); e.vouch(t) }},
		{"signed by Ed25519, a byte of the signature", signed(ed, false), change(sumsFile + ".sig")},
		{"signed, no signature", signed(ed, false), func(t testing.TB, e *export) { e.remove(t, sumsFile+".sig") }},
		{"signed, sums that do not list it", signed(ed, false), func(t testing.TB, e *export) {
			e.put(t, sumsFile, []byte(fmt.Sprintf("%064d  other\n", 0)))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := newExport(t, some(30))
			s := newSite(t, e.dir)
			tt.vouch(t, e, &s.feed)
			s.mustSync(t)
			if len(s.have(t)) != 30 {
				t.Fatal("the untampered feed was not read")
			}
			tt.tamper(t, e)
			err := s.sync(t)
			if kind := fault.KindOf(err); err == nil || kind != fault.Denied && kind != fault.NotFound {
				t.Errorf("want it denied, got %v", err)
			}
			if got := s.have(t)["T-0001"]; !got.Modified.Equal(day(1)) {
				t.Error("a tampered record was taken")
			}
			// What its keeper vouches for is taken again.
			otherRecords(t, e)
			tt.vouch(t, e, &s.feed)
			s.mustSync(t)
			if got := s.have(t)["T-0001"]; !got.Modified.Equal(day(8)) {
				t.Error("the feed was not mended")
			}
		})
	}
}

func TestKeysThatAreNone(t *testing.T) {
	e := newExport(t, some(3))
	e.vouch(t)
	e.put(t, sumsFile+".sig", []byte("x"))
	for _, text := range []string{"", "no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"} {
		s := newSite(t, e.dir)
		s.feed.Key = filepath.Join(t.TempDir(), "key")
		if text != "" {
			if err := os.WriteFile(s.feed.Key, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.sync(t); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), s.feed.Key) {
			t.Errorf("%q: want a usage fault that names the key, got %v", text, err)
		}
	}
}

func FuzzSums(f *testing.F) {
	f.Add([]byte(fmt.Sprintf("%064d  Go/all.zip\n%064d *./npm/all.zip\r\n\n", 1, 2)))
	f.Fuzz(func(t *testing.T, text []byte) {
		sums, err := parseSums(text)
		for file, sum := range sums {
			if err != nil || file == "" || len(sum) != 64 || sums.check(file, sum) != nil {
				t.Errorf("%q: %q, %v", file, sum, err)
			}
		}
	})
}
