package keys_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/keys"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// secret is a password that no error may show.
const secret = "open-sesame-17"

// unset gives an environment without passwords.
func unset(t *testing.T) {
	t.Helper()
	for _, name := range []string{"PLIMSOLL_KEY_PASSWORD", "COSIGN_PASSWORD"} {
		t.Setenv(name, "") // so that the variable is put back
		os.Unsetenv(name)
	}
}

func write(t *testing.T, text []byte, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "any.key")
	if err := os.WriteFile(path, text, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func pkcs8(t testing.TB, private any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// boxed encrypts as cosign does, with its quickest parameters.
func boxed(t testing.TB, der, password []byte) []byte {
	t.Helper()
	box, err := encrypted.EncryptWithCustomKDFParameters(der, password, encrypted.Legacy)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// verify checks by sigstore's own code that the signer signs, and that the signature is of
// the message alone.
func verify(t *testing.T, s *keys.Signer) {
	t.Helper()
	verifier, err := signature.LoadDefaultVerifier(s.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	message := []byte("a message")
	sig, err := s.Sign(t.Context(), message)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.VerifySignature(bytes.NewReader(sig), bytes.NewReader(message)); err != nil {
		t.Errorf("the signature does not verify: %v", err)
	}
	if verifier.VerifySignature(bytes.NewReader(sig), strings.NewReader("another message")) == nil {
		t.Error("the signature verifies for another message")
	}
}

func TestSignerReadsEveryForm(t *testing.T) {
	unset(t)
	p256 := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p384 := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	long := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	box := boxed(t, pkcs8(t, p384), []byte(secret))
	open := boxed(t, pkcs8(t, p256), nil)
	for _, c := range []struct {
		name, password string
		text           []byte
		private        crypto.Signer
	}{
		{"PKCS #8 of ECDSA", "", block("PRIVATE KEY", pkcs8(t, p256)), p256},
		{"PKCS #8 of Ed25519", "", block("PRIVATE KEY", pkcs8(t, edwards)), edwards},
		{"SEC 1", "", block("EC PRIVATE KEY", must[[]byte](t)(x509.MarshalECPrivateKey(p384))), p384},
		{"PKCS #1", "", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(long)), long},
		{"cosign's with a password", secret, block("ENCRYPTED SIGSTORE PRIVATE KEY", box), p384},
		{"cosign's older with the empty password", "", block("ENCRYPTED COSIGN PRIVATE KEY", open), p256},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.password != "" {
				t.Setenv("COSIGN_PASSWORD", c.password)
			}
			t.Setenv("A_KEY", string(c.text))
			for _, name := range []string{write(t, c.text, 0o600), "env://A_KEY"} {
				signer, err := keys.New(keys.Options{}).Signer(t.Context(), name)
				if err != nil {
					t.Fatal(err)
				}
				if err := cryptoutils.EqualKeys(signer.PublicKey(), c.private.Public()); err != nil {
					t.Error(err)
				}
				verify(t, signer)
			}
		})
	}
}

// TestRefusals holds every refusal to one line, with a hint where the user can do
// something, and without a word of the password or of the key.
func TestRefusals(t *testing.T) {
	unset(t)
	private := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := pkcs8(t, private)
	plain := block("PRIVATE KEY", der)
	box := block("ENCRYPTED SIGSTORE PRIVATE KEY", boxed(t, der, []byte(secret)))
	public := must[[]byte](t)(keys.PEM(private.Public()))
	odd := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	for _, c := range []struct {
		name, key string
		set       string // COSIGN_PASSWORD
		kind      fault.Kind
		says      string // why, so that a case fails for its own reason
	}{
		{"no name", "", "", fault.Usage, "empty"},
		{"no file", filepath.Join(t.TempDir(), "none"), "", fault.NotFound, "no such file"},
		{"no variable", "env://NOT_SET", "", fault.NotFound, "no such variable"},
		{"the key itself", string(plain), "", fault.Usage, "not the name of one"},
		{"a PIN in the name", "pkcs11:token=a?pin-value=" + secret, "", fault.Usage, "PIN"},
		{"pkcs11 and no more", "pkcs11:", "", fault.Usage, "neither a token nor a key"},
		{"a path as a scheme", "../evil://x", "", fault.Usage, "neither"},
		{"no such plugin", "nobody-has-this://x", "", fault.Usage, "PATH"},
		{"a folder", t.TempDir(), "", fault.Failed, "directory"},
		{"wrong password", write(t, box, 0o600), secret + "x", fault.Usage, "wrong"},
		{"no password", write(t, box, 0o600), "", fault.Usage, "needs a password"},
		{"public key", write(t, public, 0o600), "", fault.Usage, "cannot sign"},
		{"no PEM", write(t, []byte(secret), 0o600), "", fault.Usage, "PEM form"},
		{"not a key", write(t, block("PRIVATE KEY", []byte(secret)), 0o600), "", fault.Usage, "no private key"},
		{"a curve that is not used", write(t, block("PRIVATE KEY", pkcs8(t, odd)), 0o600), "", fault.Usage, "not used"},
		{"openssl's encryption", write(t, block("ENCRYPTED PRIVATE KEY", der), 0o600), "", fault.Usage, "not read"},
		{"too long", write(t, bytes.Repeat([]byte("a"), 1<<20), 0o600), "", fault.Usage, "too long"},
		{"hashivault: bad name", "hashivault://a/b?c", "", fault.Unavailable, "hashivault"},
		{"awskms: bad name", "awskms:///nothing", "", fault.Unavailable, "awskms"},
		{"gcpkms: bad name", "gcpkms://projects/a", "", fault.Unavailable, "gcpkms"},
		{"azurekms: bad name", "azurekms://a", "", fault.Unavailable, "azurekms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.set != "" {
				t.Setenv("COSIGN_PASSWORD", c.set)
			}
			_, err := keys.New(keys.Options{}).Signer(t.Context(), c.key)
			if err == nil {
				t.Fatal("it was taken")
			}
			text := err.Error() + fault.HintOf(err)
			if fault.KindOf(err) != c.kind || !strings.Contains(text, c.says) {
				t.Errorf("kind %d, %v; want kind %d, with %q", fault.KindOf(err), err, c.kind, c.says)
			}
			body, _, _ := strings.Cut(string(plain[30:]), "\n")
			if strings.ContainsAny(text, "\n\r") || strings.Contains(text, secret) || strings.Contains(text, body) {
				t.Errorf("it tells a secret or takes several lines: %q", text)
			}
		})
	}
}

func TestPasswordOfAPerson(t *testing.T) {
	unset(t)
	var asked []keys.Ask
	answer := []byte(secret)
	prompt := func(_ context.Context, ask keys.Ask) ([]byte, error) {
		asked = append(asked, ask)
		return bytes.Clone(answer), nil
	}
	path := filepath.Join(t.TempDir(), "mine.key")
	made, err := keys.New(keys.Options{Prompt: prompt}).Generate(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	chain := keys.New(keys.Options{Prompt: prompt})
	for range 2 { // the second time it is held
		signer, err := chain.Signer(t.Context(), path)
		if err != nil || signer.Hint() != made.Hint() {
			t.Fatalf("%v, %v; want the key made", signer, err)
		}
	}
	if want := []keys.Ask{{Key: path, New: true}, {Key: path}}; len(asked) != 2 || asked[0] != want[0] || asked[1] != want[1] {
		t.Errorf("asked %v, want %v", asked, want)
	}
	answer = []byte("wrong")
	if _, err := keys.New(keys.Options{Prompt: prompt}).Signer(t.Context(), path); err == nil || !strings.Contains(err.Error(), "wrong") {
		t.Errorf("wrong password: %v", err)
	}
	gone := func(context.Context, keys.Ask) ([]byte, error) { return nil, context.Canceled }
	if _, err := keys.New(keys.Options{Prompt: gone}).Signer(t.Context(), path); fault.KindOf(err) != fault.Canceled {
		t.Errorf("a person who gives up: %v", err)
	}
}

func TestWarnsOfKeysThatOthersRead(t *testing.T) {
	unset(t)
	private := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o400: 0, 0o640: 1, 0o644: 1} {
		var said []string
		chain := keys.New(keys.Options{Warn: func(line string) { said = append(said, line) }})
		if _, err := chain.Signer(t.Context(), write(t, block("PRIVATE KEY", pkcs8(t, private)), mode)); err != nil {
			t.Fatal(err)
		}
		if len(said) != want {
			t.Errorf("mode %v: said %q, want %d lines", mode, said, want)
		}
	}
}

// TestKeysOfAGroup: what somebody else owns, such as a secret that Kubernetes mounts, is read by its
// group, and not said to be others'.
func TestKeysOfAGroup(t *testing.T) {
	unset(t)
	if os.Geteuid() != 0 {
		t.Fatal("only root gives files away: run the tests as root, such as with sudo make test")
	}
	private := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	for mode, want := range map[os.FileMode]int{0o440: 0, 0o444: 1} {
		path := write(t, block("PRIVATE KEY", pkcs8(t, private)), mode)
		if err := os.Chown(path, 65532, 65532); err != nil {
			t.Fatal(err)
		}
		said := 0
		chain := keys.New(keys.Options{Warn: func(string) { said++ }})
		if _, err := chain.Signer(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if said != want {
			t.Errorf("mode %v: said %d lines, want %d", mode, said, want)
		}
	}
}

// TestPublicOfPrivate: whoever signs here can verify here, whether or not the public key
// stands beside the private one.
func TestPublicOfPrivate(t *testing.T) {
	unset(t)
	der := func(private *ecdsa.PrivateKey) []byte { return pkcs8(t, private) }
	private := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	plain := block("PRIVATE KEY", der(private))
	box := block("ENCRYPTED SIGSTORE PRIVATE KEY", boxed(t, der(private), []byte(secret)))
	public := must[[]byte](t)(keys.PEM(private.Public()))
	for _, c := range []struct {
		name     string
		text     []byte
		beside   []byte // the .pub
		password string
		refused  bool
	}{
		{"plain", plain, nil, "", false},
		{"encrypted, with the password", box, nil, secret, false},
		{"encrypted, with the public key beside it", box, public, "", false},
		{"encrypted, with the public key and another password", box, public, "other", false},
		{"encrypted, with neither", box, nil, "", true},
		{"encrypted, with something else beside it", box, []byte("x"), "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.password != "" {
				t.Setenv("PLIMSOLL_KEY_PASSWORD", c.password)
			}
			t.Setenv("A_KEY", string(c.text))
			path := write(t, c.text, 0o600)
			names := []string{path}
			if c.beside == nil {
				names = append(names, "env://A_KEY")
			} else if err := os.WriteFile(keys.PublicPath(path), c.beside, 0o644); err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				got, err := keys.New(keys.Options{}).Public(t.Context(), name)
				if (err != nil) != c.refused || err == nil && keys.Hint(got) != keys.Hint(private.Public()) {
					t.Errorf("%s: %v, %v", name, got, err)
				}
			}
		})
	}
}

func TestPublicRefuses(t *testing.T) {
	weak := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	chain := keys.New(keys.Options{})
	for name, text := range map[string][]byte{
		"certificate": block("CERTIFICATE", []byte("x")),
		"no PEM":      []byte("x"),
		"not a key":   block("PUBLIC KEY", []byte("x")),
		"damaged":     block("PRIVATE KEY", []byte("x")),
		"weak":        must[[]byte](t)(keys.PEM(weak.Public())),
	} {
		if public, err := chain.Public(t.Context(), write(t, text, 0o600)); fault.KindOf(err) != fault.Usage || err == nil {
			t.Errorf("%s: %v, %v; want a refusal", name, public, err)
		}
	}
}

// TestFingerprint holds both names of a key against openssl's idea of its DER form.
func TestFingerprint(t *testing.T) {
	private := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	text := must[[]byte](t)(keys.PEM(private.Public()))
	openssl := testbed.Tool(t, "openssl")
	der := exec.Command(openssl, "pkey", "-pubin", "-outform", "DER")
	der.Stdin = bytes.NewReader(text)
	sum := exec.Command(openssl, "dgst", "-sha256", "-r")
	sum.Stdin = bytes.NewReader(must[[]byte](t)(der.Output()))
	hex, _, _ := strings.Cut(string(must[[]byte](t)(sum.Output())), " ")
	if got := keys.Fingerprint(private.Public()); got != "sha256:"+hex {
		t.Errorf("%s, openssl says %s", got, hex)
	}
}

func FuzzKeyFile(f *testing.F) {
	private := must[*ecdsa.PrivateKey](f)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	f.Add(block("PRIVATE KEY", pkcs8(f, private)))
	f.Add(block("EC PRIVATE KEY", must[[]byte](f)(x509.MarshalECPrivateKey(private))))
	f.Add(must[[]byte](f)(keys.PEM(private.Public())))
	f.Add(block("ENCRYPTED SIGSTORE PRIVATE KEY", []byte(`{"kdf":{"name":"scrypt","params":{"N":1,"r":8,"p":1},"salt":""},"cipher":{"name":"nacl/secretbox","nonce":""},"ciphertext":""}`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		chain := keys.New(keys.Options{})
		if signer, err := chain.Signer(t.Context(), path); err == nil {
			verify(t, signer)
		}
		if public, err := chain.Public(t.Context(), path); err == nil && keys.Hint(public) == "" {
			t.Error("a public key without a hint")
		}
	})
}
