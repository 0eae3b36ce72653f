package facts

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/evidence/hardening"
	"plimsoll.dev/plimsoll/internal/evidence/sbom"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
)

// bed is a registry in process, and a key that is trusted.
type bed struct {
	session  *oci.Session
	ref      oci.Reference
	key      signer
	gatherer *Gatherer
}

type signer struct{ *ecdsa.PrivateKey }

func (s signer) Sign(_ context.Context, message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	return s.PrivateKey.Sign(rand.Reader, sum[:], crypto.SHA256)
}

func (s signer) PublicKey() crypto.PublicKey { return s.Public() }
func (s signer) Hint() string                { return "a key" }

func newKey(t testing.TB) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key}
}

func newBed(t testing.TB) *bed {
	t.Helper()
	r, err := registry.Open(t.Context(), registry.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	registries := &oci.Registries{Local: func(context.Context) (http.RoundTripper, error) { return r.Transport(), nil }}
	ref, err := oci.Parse("team/shop:1")
	if err != nil {
		t.Fatal(err)
	}
	return &bed{
		session: registries.Session(), ref: ref, key: newKey(t),
		gatherer: &Gatherer{Contents: sbom.New(sbom.Options{}), Hardening: hardening.New("")},
	}
}

// file is one of a layer.
type file struct {
	name, text string
	mode       int64
}

func layerOf(t testing.TB, files ...file) v1.Layer {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644 | f.mode, Size: int64(len(f.text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(out.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// shopImage gives an image of Debian with a shell below, and an application of npm above.
func shopImage(t testing.TB) v1.Image {
	t.Helper()
	const status = "Package: libc6\nStatus: install ok installed\nMaintainer: Jo <jo@example.com>\nArchitecture: amd64\nVersion: 2.41-12\nSource: glibc\nDescription: x\n\n"
	base := layerOf(t,
		file{name: "etc/os-release", text: "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\n"},
		file{name: "var/lib/dpkg/status", text: status}, file{name: "bin/sh", text: "\x7fELF", mode: 0o111})
	app := layerOf(t, file{name: "workspace/node_modules/lodash/package.json", text: `{"name":"lodash","version":"4.17.20","license":"MIT"}`})
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), base, app)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	diffIDs := config.RootFS.DiffIDs
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", "amd64", v1.Time{Time: morning}
	config.Config = v1.Config{
		User: "1000:1000", Entrypoint: []string{"/cnb/process/web"}, Cmd: []string{"--port", "8080"}, ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		Labels: map[string]string{"team": "ships", "io.buildpacks.lifecycle.metadata": fmt.Sprintf(`{"runImage":{"topLayer":%q}}`, diffIDs[0])},
	}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

var morning = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// push puts an image into the repository, and gives its descriptor.
func (b *bed) push(t testing.TB, image v1.Image) v1.Descriptor {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		packed, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(packed)
		if err != nil {
			t.Fatal(err)
		}
		b.blob(t, data)
	}
	config, err := image.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	b.blob(t, config)
	raw, err := image.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	d, err := partial.Descriptor(image)
	if err != nil {
		t.Fatal(err)
	}
	b.manifest(t, d.MediaType, raw)
	return *d
}

func (b *bed) blob(t testing.TB, data []byte) v1.Descriptor {
	t.Helper()
	if _, err := b.session.PutBlob(t.Context(), b.ref, data); err != nil {
		t.Fatal(err)
	}
	return describe(t, "application/octet-stream", data)
}

func (b *bed) manifest(t testing.TB, kind types.MediaType, raw []byte) v1.Descriptor {
	t.Helper()
	d := describe(t, kind, raw)
	if _, err := b.session.PutManifest(t.Context(), b.ref.At(d.Digest), kind, raw); err != nil {
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

func (b *bed) signers() attest.Signers { return attest.Signers{Images: b.key, Attestations: b.key} }

// issue makes and signs all that plimsoll says of an image, and others' claims.
func (b *bed) issue(t testing.TB, d v1.Descriptor, image v1.Image, others ...artifact.Evidence) {
	t.Helper()
	issuer := &evidence.Issuer{Contents: b.gatherer.Contents, Hardening: b.gatherer.Hardening, Signers: b.signers()}
	if _, err := issuer.Issue(t.Context(), b.session, evidence.Subject{Ref: b.ref, Descriptor: d, Image: image, Others: others}); err != nil {
		t.Fatal(err)
	}
}

// sign signs claims alone.
func (b *bed) sign(t testing.TB, d v1.Descriptor, claims ...artifact.Evidence) {
	t.Helper()
	if _, err := attest.Issue(t.Context(), b.session, b.ref, d, claims, b.signers(), attest.Options{}); err != nil {
		t.Fatal(err)
	}
}

func saying(d v1.Descriptor, kind, predicate string) artifact.Evidence {
	return artifact.Evidence{Subject: d.Digest.String(), PredicateType: kind, Predicate: json.RawMessage(predicate)}
}

// verified gives what is attached, held against trust in a key.
func (b *bed) verified(t testing.TB, d v1.Descriptor, key signer) attest.Report {
	t.Helper()
	attached, err := attest.List(t.Context(), b.session, b.ref, d.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return attest.Verify(d.Digest, attached, attest.Trust{Images: attest.Trusted{Keys: []attest.Key{{Name: "release", Public: key.PublicKey()}}}})
}

// gather gathers all facts of what the descriptor describes.
func (b *bed) gather(t testing.TB, d v1.Descriptor) Gathered {
	t.Helper()
	out, err := b.gatherer.Gather(t.Context(), b.session, b.ref.At(d.Digest), Subject{Tags: []string{"2", "1"}, Pushed: morning, Report: b.verified(t, d, b.key)})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
