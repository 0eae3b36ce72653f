package attest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	plain "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
)

// signer is a key in memory; it signs as Sigstore's tools do.
type signer struct {
	crypto.Signer
	hint string
	hash crypto.Hash
}

func newSigner(t testing.TB, key crypto.Signer, hash crypto.Hash) signer {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return signer{key, base64.StdEncoding.EncodeToString(sum[:]), hash}
}

func p256(t testing.TB) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return newSigner(t, key, crypto.SHA256)
}

func (s signer) Sign(_ context.Context, message []byte) ([]byte, error) {
	if s.hash != 0 {
		h := s.hash.New()
		h.Write(message)
		message = h.Sum(nil)
	}
	// A nil source asks for the deterministic signature of RFC 6979.
	return s.Signer.Sign(nil, message, s.hash)
}

func (s signer) PublicKey() crypto.PublicKey { return s.Public() }
func (s signer) Hint() string                { return s.hint }

// trusts gives a trust in one key for each kind of thing.
func trusts(images, attestations signer) Trust {
	return Trust{
		Images:       Trusted{Keys: []Key{{Name: "image key", Public: images.PublicKey()}}},
		Attestations: Trusted{Keys: []Key{{Name: "attestation key", Public: attestations.PublicKey()}}},
	}
}

// harbour is a registry with an image in it.
type harbour struct {
	session *oci.Session
	ref     oci.Reference
	image   v1.Descriptor
}

// store is the local store in process, as commands use it.
func store(t testing.TB) *harbour {
	t.Helper()
	r, err := registry.Open(context.Background(), registry.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	registries := &oci.Registries{Local: func(context.Context) (http.RoundTripper, error) { return r.Transport(), nil }}
	return moor(t, registries, "team/app:1")
}

// withoutAPI is a registry that lists no referrers.
func withoutAPI(t testing.TB) *harbour {
	t.Helper()
	return served(t, plain.New(plain.Logger(log.New(t.Output(), "", 0))))
}

func served(t testing.TB, handler http.Handler) *harbour {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return moor(t, &oci.Registries{Keys: authn.NewMultiKeychain()}, strings.TrimPrefix(server.URL, "http://")+"/team/app:1")
}

func moor(t testing.TB, registries *oci.Registries, name string) *harbour {
	t.Helper()
	ref, err := oci.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	h := &harbour{session: registries.Session(), ref: ref}
	h.image = h.push(t, "one")
	return h
}

// push puts an image into the repository, which differs by its note.
func (h *harbour) push(t testing.TB, note string) v1.Descriptor {
	t.Helper()
	config := fmt.Appendf(nil, `{"os":"linux","architecture":"amd64","config":{"Labels":{"note":%q}},"rootfs":{"type":"layers","diff_ids":[]}}`, note)
	if _, err := h.session.PutBlob(t.Context(), h.ref, config); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: describe(t, types.OCIConfigJSON, config), Layers: []v1.Descriptor{},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := describe(t, types.OCIManifestSchema1, raw)
	if _, err := h.session.PutManifest(t.Context(), h.ref.At(d.Digest), d.MediaType, raw); err != nil {
		t.Fatal(err)
	}
	return d
}

func describe(t testing.TB, kind types.MediaType, data []byte) v1.Descriptor {
	t.Helper()
	digest, size, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return v1.Descriptor{MediaType: kind, Digest: digest, Size: size}
}

var morning = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// evidence gives the image's signature and claims of these types.
func (h *harbour) evidence(predicates ...string) []artifact.Evidence {
	out := []artifact.Evidence{Sign(h.image.Digest)}
	for _, p := range predicates {
		out = append(out, artifact.Evidence{Subject: h.image.Digest.String(), PredicateType: p, Predicate: json.RawMessage(`{"is":"` + p + `"}`)})
	}
	return out
}

func (h *harbour) issue(t testing.TB, evidence []artifact.Evidence, images, attestations Signer) Issued {
	t.Helper()
	out, err := Issue(t.Context(), h.session, h.ref, h.image, evidence, Signers{images, attestations}, Options{Now: morning})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (h *harbour) list(t testing.TB) []Attached {
	t.Helper()
	out, err := List(t.Context(), h.session, h.ref, h.image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// kinds gives a key of each kind, with the hash it signs by.
func kinds(t testing.TB) map[string]signer {
	t.Helper()
	out := map[string]signer{}
	for curve, hash := range map[elliptic.Curve]crypto.Hash{elliptic.P256(): crypto.SHA256, elliptic.P384(): crypto.SHA384, elliptic.P521(): crypto.SHA512} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		out[curve.Params().Name] = newSigner(t, key, hash)
		if hash == crypto.SHA384 {
			out["P-384 with SHA-256"] = newSigner(t, key, crypto.SHA256)
		}
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	out["Ed25519"] = newSigner(t, edwards, 0)
	numbers, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	out["RSA"] = newSigner(t, numbers, crypto.SHA256)
	return out
}
