package cosign

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
)

// provider is an OpenID Connect provider: its keys, and tokens that say who asks.
type provider struct {
	url string
	key *ecdsa.PrivateKey
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"authorization_endpoint":%[1]q,"token_endpoint":%[1]q,
			"response_types_supported":["code"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["ES256"]}`, p.url, p.url+"/keys")
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		point, err := key.PublicKey.Bytes() // 4, x, y
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprintf(w, `{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"1","x":%q,"y":%q}]}`, raw64(point[1:33]), raw64(point[33:]))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

func raw64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// token names the holder of that address.
func (p *provider) token(address string) (string, error) {
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": p.url, "aud": "sigstore", "sub": address, "email": address, "email_verified": true,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
	if err != nil {
		return "", err
	}
	signed := raw64([]byte(`{"alg":"ES256","kid":"1","typ":"JWT"}`)) + "." + raw64(claims)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, digest[:])
	if err != nil {
		return "", err
	}
	var both [64]byte
	r.FillBytes(both[:32])
	s.FillBytes(both[32:])
	return signed + "." + raw64(both[:]), nil
}

// start runs one of the module's tools until the test ends, and waits for its address.
func start(t *testing.T, tool, address string, args ...string) {
	t.Helper()
	program, err := exec.Command("go", "tool", "-n", tool).Output()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(strings.TrimSpace(string(program)), args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if answer, err := http.Get(address); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", tool, said.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not answer", tool)
}

// free gives a port that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// sigstore is a Fulcio and a timestamp authority on loopback, with the root to trust them by.
type sigstore struct {
	fulcio, tsa string
	root        *root.TrustedRoot
}

func newSigstore(t *testing.T, p *provider) sigstore {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "fulcio.yaml")
	text := fmt.Sprintf("oidc-issuers:\n  %[1]s:\n    issuer-url: %[1]s\n    client-id: sigstore\n    type: email\n", p.url)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	port := free(t)
	s := sigstore{fulcio: "http://127.0.0.1:" + port}
	start(t, "fulcio", s.fulcio+"/healthz", "serve", "--ca", "ephemeralca", "--ct-log-url", "", "--config-path", config, "--host", "127.0.0.1", "--port", port,
		"--grpc-host", "127.0.0.1", "--grpc-port", free(t), "--metrics-port", free(t), "--legacy-unix-domain-socket", filepath.Join(dir, "socket"))
	port = free(t)
	s.tsa = "http://127.0.0.1:" + port + "/api/v1/timestamp"
	start(t, "timestamp-server", s.tsa+"/certchain", "serve", "--host", "127.0.0.1", "--port", port, "--scheme", "http",
		"--timestamp-signer", "memory", "--disable-ntp-monitoring", "--include-chain-in-response")
	var bundle struct {
		Chains []struct{ Certificates []string }
	}
	if err := json.Unmarshal(get(t, s.fulcio+"/api/v2/trustBundle"), &bundle); err != nil {
		t.Fatal(err)
	}
	authority := certificates(t, []byte(strings.Join(bundle.Chains[0].Certificates, "\n")))
	times := certificates(t, get(t, s.tsa+"/certchain"))
	var err error
	s.root, err = root.NewTrustedRoot(root.TrustedRootMediaType01,
		[]root.CertificateAuthority{&root.FulcioCertificateAuthority{
			Root: authority[len(authority)-1], Intermediates: authority[:len(authority)-1], URI: s.fulcio, ValidityPeriodStart: time.Now().Add(-time.Hour),
		}}, nil,
		[]root.TimestampingAuthority{&root.SigstoreTimestampingAuthority{
			Root: times[len(times)-1], Intermediates: times[1 : len(times)-1], Leaf: times[0], URI: s.tsa, ValidityPeriodStart: time.Now().Add(-time.Hour),
		}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func get(t *testing.T, address string) []byte {
	t.Helper()
	answer, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", address, answer.Status, err)
	}
	return body
}

func certificates(t *testing.T, text []byte) []*x509.Certificate {
	t.Helper()
	var out []*x509.Certificate
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return out
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out, text = append(out, c), rest
	}
}

// TestKeyless signs with certificates of a real Fulcio and times of a real authority.
// cosign verifies that, and plimsoll what cosign signs so.
func TestKeyless(t *testing.T) {
	b := newBed(t)
	p := newProvider(t)
	s := newSigstore(t, p)
	text, err := s.root.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	b.file("root.json", string(text))
	i := b.push("app")
	keyless := &attest.Keyless{Fulcio: s.fulcio, TSA: s.tsa, Token: func(context.Context) (string, error) { return p.token("ann@example.com") }}
	issued, err := attest.Issue(t.Context(), b.session, i.ref, i.desc, append(claims(i), attest.Sign(i.desc.Digest)), attest.Signers{}, attest.Options{Keyless: keyless})
	if want := "ann@example.com (" + p.url + ")"; err != nil || issued.Identity != want {
		t.Fatalf("%q, %v; want it signed for %q", issued.Identity, err, want)
	}
	named := func(who string, verb ...string) error {
		args := append(verb, "--certificate-identity", who, "--certificate-oidc-issuer", p.url, "--trusted-root", "root.json",
			"--use-signed-timestamps", "--insecure-ignore-tlog", "--insecure-ignore-sct", "--allow-http-registry", i.at())
		out, err := b.cosign(args...)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	for _, f := range []format{bundles, older} {
		if err := named("ann@example.com", "verify", string(f)); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		if named("eve@example.com", "verify", string(f)) == nil {
			t.Errorf("%s: it is verified as someone else's", f)
		}
		for kind := range predicates {
			if err := named("ann@example.com", "verify-attestation", "--type", kind, string(f)); err != nil {
				t.Errorf("%s: %s: %v", f, kind, err)
			}
		}
	}
	trust := func(who string) attest.Trust {
		return attest.Trust{Root: s.root, Images: attest.Trusted{Identities: []attest.Identity{{Issuer: p.url, Subject: who}}}}
	}
	attached, err := attest.List(t.Context(), b.session, i.ref, i.desc.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := attest.Verify(i.desc.Digest, attached, trust("ann@example.com"), all...).Err(i.at()); err != nil {
		t.Error(err)
	}
	for _, check := range attest.Verify(i.desc.Digest, attached, trust("eve@example.com")).Checks {
		if check.Verified {
			t.Errorf("%s in %s is verified as someone else's", check.Predicate, check.Forms)
		}
	}
	b.theirs(t, p, s, trust("bob@example.com"))
}

// theirs has cosign sign with a certificate, and plimsoll verify it.
func (b *bed) theirs(t *testing.T, p *provider, s sigstore, trust attest.Trust) {
	t.Helper()
	token, err := p.token("bob@example.com")
	if err != nil {
		t.Fatal(err)
	}
	b.file("token", token)
	for _, f := range []format{bundles, older} {
		i := b.push("theirs")
		b.must("sign", "--yes", "--identity-token", "token", "--fulcio-url", s.fulcio, "--timestamp-server-url", s.tsa, "--trusted-root", "root.json",
			"--tlog-upload=false", "--use-signing-config=false", "--allow-http-registry", string(f), i.at())
		attached, err := attest.List(t.Context(), b.session, i.ref, i.desc.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if err := attest.Verify(i.desc.Digest, attached, trust, artifact.PredicateSignature).Err(string(f)); err != nil {
			t.Error(err)
		}
	}
}
