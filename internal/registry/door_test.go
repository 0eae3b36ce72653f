package registry_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry"
)

func TestServeExplainsWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("ann:$apr1$not$bcrypt\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	reg := open(t, registry.Options{})
	for _, c := range []struct {
		name string
		o    registry.ServeOptions
		kind fault.Kind
	}{
		{"port in use", registry.ServeOptions{Addr: taken.Addr().String()}, fault.Failed},
		{"no port", registry.ServeOptions{Addr: "nowhere"}, fault.Usage},
		{"key missing", registry.ServeOptions{TLSCert: bad}, fault.Usage},
		{"certificate bad", registry.ServeOptions{TLSCert: bad, TLSKey: bad}, fault.Usage},
		{"certificate missing", registry.ServeOptions{TLSCert: bad + ".not", TLSKey: bad}, fault.Usage},
	} {
		err := reg.Serve(context.Background(), c.o)
		if err == nil || fault.KindOf(err) != c.kind || fault.HintOf(err) == "" {
			t.Errorf("%s: got %v of kind %v with hint %q", c.name, err, fault.KindOf(err), fault.HintOf(err))
		}
	}
}

func TestOpenExplainsWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	for name, content := range map[string]string{
		"file": "", "empty.yaml": "version: 0.1\n",
		"unknown.yaml": "version: 0.1\nstorage:\n  floppy: {}\n",
		"s3.yaml":      "version: 0.1\nstorage:\n  s3:\n    bucket: images\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		o    registry.Options
		kind fault.Kind
	}{
		{"no folder", registry.Options{}, fault.Usage},
		{"a file is in the way", registry.Options{Root: filepath.Join(file, "store")}, fault.Failed},
		{"read-only and not there", registry.Options{Root: filepath.Join(dir, "not"), ReadOnly: true}, fault.NotFound},
		{"configuration missing", registry.Options{Root: dir, Config: file + ".not"}, fault.Usage},
		{"configuration empty", registry.Options{Root: dir, Config: filepath.Join(dir, "empty.yaml")}, fault.Usage},
		{"unknown storage", registry.Options{Root: dir, Config: filepath.Join(dir, "unknown.yaml")}, fault.Failed},
		{"storage without its region", registry.Options{Root: dir, Config: filepath.Join(dir, "s3.yaml")}, fault.Failed},
	} {
		reg, err := registry.Open(context.Background(), c.o)
		if err == nil {
			reg.Close()
		}
		if err == nil || fault.KindOf(err) != c.kind {
			t.Errorf("%s: got %v of kind %v, want kind %v", c.name, err, fault.KindOf(err), c.kind)
		}
	}
}

// TestConfiguredStorage: the storage of a configuration takes the place of the root.
func TestConfiguredStorage(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	elsewhere := filepath.Join(dir, "elsewhere")
	content := "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: " + elsewhere + "\n"
	if err := os.WriteFile(config, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	reg := open(t, registry.Options{Root: filepath.Join(dir, "unused"), Config: config})
	write(t, reg, "store.local/a:v1", image(t, 64, 1))
	if _, err := os.Stat(filepath.Join(elsewhere, "docker/registry/v2/repositories/a")); err != nil {
		t.Error(err)
	}
}

func TestReadOnly(t *testing.T) {
	root := t.TempDir()
	digest := write(t, open(t, registry.Options{Root: root}), "store.local/a:v1", image(t, 64, 1))
	stores := map[string]string{
		"opened": "http://" + serve(t, open(t, registry.Options{Root: root, ReadOnly: true}), registry.ServeOptions{}),
		"served": "http://" + serve(t, open(t, registry.Options{Root: root}), registry.ServeOptions{ReadOnly: true}),
	}
	for how, base := range stores {
		for request, want := range map[string]int{
			"GET /v2/a/manifests/v1": 200, "HEAD /v2/a/manifests/" + digest: 200, "GET /v2/a/tags/list": 200,
			"GET /v2/a/referrers/" + digest: 200, "GET /v2/_catalog": 200,
			"POST /v2/a/blobs/uploads/": 405, "PUT /v2/a/manifests/v2": 405, "DELETE /v2/a/manifests/v1": 405,
			"DELETE /v2/a/manifests/" + digest: 405, "GET /v2/a/blobs/uploads/x": 405, "PATCH /v2/a/blobs/uploads/x": 405,
		} {
			method, path, _ := strings.Cut(request, " ")
			if got := do(t, http.DefaultClient, method, base+path, "", nil).StatusCode; got != want {
				t.Errorf("%s: %s answers %d, want %d", how, request, got, want)
			}
		}
	}
}

func TestTLS(t *testing.T) {
	cert, key, pool := certificate(t, "first")
	addr := serve(t, open(t, registry.Options{}), registry.ServeOptions{TLSCert: cert, TLSKey: key})
	via := remote.WithTransport(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}})
	img := image(t, 1<<20, 2)
	if err := remote.Write(ref(t, addr+"/a:v1"), img, via); err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Image(ref(t, addr+"/a:v1"), via); err != nil {
		t.Error(err)
	}
	old := &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11}
	if conn, err := tls.Dial("tcp", addr, old); err == nil {
		conn.Close()
		t.Error("TLS 1.1 is served")
	}
	next, nextKey, nextPool := certificate(t, "second")
	for from, to := range map[string]string{next: cert, nextKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: nextPool})
	if err != nil {
		t.Fatalf("a renewed certificate is not taken up: %v", err)
	}
	conn.Close()
}

func certificate(t *testing.T, name string) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(cert, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600); err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(encoded)
	return cert, key, pool
}
