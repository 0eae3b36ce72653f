package truststore

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pavlo-v-chernykh/keystore-go/v4"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// mozilla gives the certificate files Debian's ca-certificates installed on this machine.
func mozilla(t testing.TB) []File {
	t.Helper()
	paths, err := filepath.Glob("/usr/share/ca-certificates/mozilla/*.crt")
	if err != nil || len(paths) < 50 {
		t.Fatalf("ca-certificates is not installed (%d files, %v): run `make setup`", len(paths), err)
	}
	var files []File
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, File{Path: p, Data: data})
	}
	return files
}

func load(t testing.TB, files []File) []Certificate {
	t.Helper()
	certs, err := Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

var key = func() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}()

// issue makes a self-signed certificate with the DER of a subject name.
func issue(t testing.TB, name []byte, notAfter time.Time) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		RawSubject:   name,
		NotBefore:    notAfter.AddDate(-1, 0, 0),
		NotAfter:     notAfter,
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func issueCN(t testing.TB, cn string) []byte {
	t.Helper()
	name, err := asn1.Marshal(pkix.Name{CommonName: cn, Organization: []string{"Plimsoll"}}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	return issue(t, name, time.Now().AddDate(1, 0, 0))
}

// opensslHash gives what openssl prints for the certificate, or "" when it refuses it.
func opensslHash(t *testing.T, data []byte) string {
	t.Helper()
	cmd := exec.Command(testbed.Tool(t, "openssl"), "x509", "-noout", "-subject_hash")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return ""
	} else if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func TestHashOfDebiansCertificates(t *testing.T) {
	for _, c := range load(t, mozilla(t)) {
		if want := opensslHash(t, c.data); c.Hash() != want {
			t.Errorf("%s: hash %s, openssl says %s", c.Path(), c.Hash(), want)
		}
	}
}

// debianMakes runs Debian's own update-ca-certificates on the files in a folder and gives
// the bundle and the links, with the folder's name taken off.
func debianMakes(t *testing.T, files []File) ([]byte, []Link) {
	t.Helper()
	dir := t.TempDir()
	certs, etc, hooks, empty := filepath.Join(dir, "certs"), filepath.Join(dir, "etc"), filepath.Join(dir, "hooks"), filepath.Join(dir, "local")
	for _, d := range []string{certs, etc, hooks, empty} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(certs+f.Path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(certs+f.Path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(dir, "conf")
	if err := os.WriteFile(conf, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(testbed.Tool(t, "update-ca-certificates"), "--default", "--certsconf", conf,
		"--certsdir", certs, "--localcertsdir", empty, "--etccertsdir", etc, "--hooksdir", hooks)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("update-ca-certificates: %v\n%s", err, out)
	}
	bundle, err := os.ReadFile(filepath.Join(etc, "ca-certificates.crt"))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(etc)
	if err != nil {
		t.Fatal(err)
	}
	var links []Link
	for _, e := range entries {
		if e.Type()&os.ModeSymlink == 0 {
			continue
		}
		target, err := os.Readlink(filepath.Join(etc, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		links = append(links, Link{Name: e.Name(), Target: strings.TrimPrefix(target, certs)})
	}
	return bundle, links
}

func TestAgreesWithUpdateCACertificates(t *testing.T) {
	files := mozilla(t)
	for i, cn := range []string{"Same Name", "same  name", " SAME NAME "} { // one hash for the three
		files = append(files, File{Path: fmt.Sprintf("/usr/share/ca-certificates/site/root (%d), new.crt", i), Data: issueCN(t, cn)})
	}
	bare := bytes.TrimSpace(issueCN(t, "No newline at the end"))
	files = append(files, File{Path: "/usr/share/ca-certificates/site/bare.crt", Data: bare})
	certs := load(t, files)
	bundle, links := debianMakes(t, files)
	if !bytes.Equal(Bundle(certs), bundle) {
		t.Errorf("the bundle has %d bytes, Debian's %d", len(Bundle(certs)), len(bundle))
	}
	if diff := cmp.Diff(links, HashLinks(certs)); diff != "" {
		t.Errorf("links (-Debian +ours):\n%s", diff)
	}
	if got, want := len(links), 2*len(files); got != want {
		t.Errorf("%d links for %d files", got, len(files))
	}
}

func TestAdministratorsCertificatesComeLast(t *testing.T) {
	local := File{Path: "/usr/local/share/ca-certificates/a.crt", Data: issueCN(t, "Local")}
	distribution := File{Path: "/usr/share/ca-certificates/mozilla/b.crt", Data: issueCN(t, "Distribution")}
	got := Bundle(load(t, []File{local, distribution}))
	if !bytes.Equal(got, slices.Concat(distribution.Data, local.Data)) {
		t.Error("the administrator's certificate is not the last of the bundle")
	}
}

func TestOrderOfInputDoesNotMatter(t *testing.T) {
	files := mozilla(t)
	first := load(t, files)
	slices.Reverse(files)
	second := load(t, files)
	a, err := JavaKeystore(first)
	if err != nil {
		t.Fatal(err)
	}
	b, err := JavaKeystore(second)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) || !bytes.Equal(Bundle(first), Bundle(second)) || !cmp.Equal(HashLinks(first), HashLinks(second)) {
		t.Error("the order of the files changes the result")
	}
}

func TestLoadRefuses(t *testing.T) {
	good := issueCN(t, "Good")
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, tt := range []struct {
		name, reason string
		files        []File
		which, why   string
	}{
		{"empty", "no block", []File{{"/b/x.crt", nil}}, "/b/x.crt", "no PEM"},
		{"damaged", "base64 is broken", []File{{"/b/x.crt", bytes.Replace(good, []byte("MII"), []byte("M!I"), 1)}}, "/b/x.crt", "damaged"},
		{"cut", "the end is missing", []File{{"/b/x.crt", good[:len(good)/2]}}, "/b/x.crt", "damaged"},
		{"not DER", "the block is not a certificate", []File{{"/b/x.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("hello")})}}, "/b/x.crt", "X.509"},
		{"trailing DER", "something follows the certificate", []File{{"/b/x.crt", withTail(good)}}, "/b/x.crt", "X.509"},
		{"key", "a secret would become public", []File{{"/b/x.crt", private}}, "/b/x.crt", "PRIVATE KEY"},
		{"key behind", "a secret would become public", []File{{"/b/x.crt", slices.Concat(good, private)}}, "/b/x.crt", "2 PEM blocks"},
		{"damaged second", "OpenSSL would stop reading the bundle there", []File{{"/b/x.crt", slices.Concat(good, []byte("-----BEGIN CERTIFICATE-----\n"))}}, "/b/x.crt", "2 PEM blocks"},
		{"trusted form", "Java and GnuTLS do not read it", []File{{"/b/x.crt", bytes.ReplaceAll(good, []byte("CERTIFICATE"), []byte("TRUSTED CERTIFICATE"))}}, "/b/x.crt", "TRUSTED"},
		{"same twice", "a second copy", []File{{"/a/x.crt", good}, {"/b/y.crt", good}}, "/b/y.crt", "/a/x.crt"},
		{"same name", "both would be x.pem", []File{{"/a/x.crt", good}, {"/b/x.crt", issueCN(t, "Other")}}, "/b/x.crt", "/a/x.crt"},
		{"same alias", "Java's aliases have no case", []File{{"/a/X.crt", good}, {"/b/x.crt", issueCN(t, "Other")}}, "/b/x.crt", "/a/X.crt"},
		{"relative path", "no link could name it", []File{{"b/x.crt", good}}, "b/x.crt", "absolute"},
		{"path with dots", "no link should leave the image", []File{{"/b/../x.crt", good}}, "/b/../x.crt", "clean"},
		{"path not text", "Java could not name it", []File{{"/b/\xff.crt", good}}, "/b/\xff.crt", "UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(tt.files)
			var f *fault.Error
			if !errors.As(err, &f) {
				t.Fatalf("%s: error = %v", tt.reason, err)
			}
			if f.Which != tt.which || !strings.Contains(f.Why.Error(), tt.why) {
				t.Errorf("%s: error = %v, want %q named and %q said", tt.reason, err, tt.which, tt.why)
			}
		})
	}
}

func withTail(data []byte) []byte {
	block, _ := pem.Decode(data)
	block.Bytes = append(block.Bytes, 0x05, 0x00)
	return pem.EncodeToMemory(block)
}

func TestExpired(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	name := oddName(t, asn1.RawValue{Tag: 12, Bytes: []byte("Root")})
	certs := load(t, []File{
		{"/old.crt", issue(t, name, now.Add(-time.Second))},
		{"/good.crt", issue(t, name, now.Add(time.Hour))},
		{"/early.crt", issue(t, name, now.AddDate(1, 0, 1))},
		{"/far.crt", issue(t, name, time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC))},
	})
	if diff := cmp.Diff([]string{"/early.crt", "/far.crt", "/old.crt"}, Expired(certs, now)); diff != "" {
		t.Error(diff)
	}
}

func TestKeytoolReadsTheKeystore(t *testing.T) {
	keytool := testbed.Tool(t, "keytool")
	files := append(mozilla(t),
		File{Path: "/usr/local/share/ca-certificates/Ünser Ürsprung.crt", Data: issueCN(t, "Local")},
		File{Path: "/usr/local/share/ca-certificates/ship 🚢.crt", Data: issueCN(t, "Ship")})
	certs := load(t, files)
	store, err := JavaKeystore(certs)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cacerts")
	if err := os.WriteFile(file, store, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(keytool, "-J-Dfile.encoding=UTF-8", "-J-Dstdout.encoding=UTF-8", "-list", "-keystore", file, "-storepass", "changeit")
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("keytool: %v\n%s", err, out)
	}
	got := map[string]string{}
	alias := ""
	for line := range strings.Lines(string(out)) {
		if name, _, ok := strings.Cut(line, ", "); ok && strings.Contains(line, "trustedCertEntry") {
			alias = name
		}
		if _, print, ok := strings.Cut(line, "(SHA-256): "); ok {
			got[alias] = strings.ReplaceAll(strings.TrimSpace(print), ":", "")
		}
	}
	want := map[string]string{}
	for _, c := range certs {
		want["debian:"+strings.ToLower(c.PEMName())] = fmt.Sprintf("%X", sha256.Sum256(c.der))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +keytool):\n%s", diff)
	}
	if !strings.Contains(string(out), "Keystore type: JKS") {
		t.Error("keytool does not see a JKS store")
	}
	reread := keystore.New()
	if err := reread.Load(bytes.NewReader(store), []byte("changeit")); err != nil {
		t.Errorf("the store's own digest does not hold: %v", err)
	}
}

// FuzzLoad holds that any file is read or refused, and that what is read hashes and
// bundles without fail.
func FuzzLoad(f *testing.F) {
	f.Add(issueCN(f, "Seed"))
	f.Add(issueCN(f, "  Größe \t X"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		certs, err := Load([]File{{Path: "/a.crt", Data: data}})
		if err != nil {
			return
		}
		if len(HashLinks(certs)) != 2 || !bytes.HasSuffix(Bundle(certs), []byte("\n")) {
			t.Fatal("a certificate was read but not written")
		}
		if _, err := JavaKeystore(certs); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzCanonicalName holds that any name is folded or refused, and that folding a folded
// name changes nothing.
func FuzzCanonicalName(f *testing.F) {
	for _, value := range []asn1.RawValue{{Tag: 12, Bytes: []byte(" A  b ")}, {Tag: 30, Bytes: []byte("\x00A")}, {Tag: 20, Bytes: []byte("\xe4")}} {
		f.Add(oddName(f, value)[2:])
	}
	f.Fuzz(func(t *testing.T, name []byte) {
		once, err := canonicalName(name)
		if err != nil {
			return
		}
		twice, err := canonicalName(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("folded once %x, twice %x (%v)", once, twice, err)
		}
	})
}
