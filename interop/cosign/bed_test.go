package cosign

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/keys"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
)

// bed is plimsoll's registry on loopback, cosign, and keys that cosign made.
type bed struct {
	t       *testing.T
	program string // cosign
	dir     string
	host    string
	session *oci.Session
	chain   *keys.Keychain
	pushed  int
}

func newBed(t *testing.T) *bed {
	t.Helper()
	r, err := registry.Open(context.Background(), registry.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return newBedOn(t, r, r.Handler())
}

// newBedOn gives a bed on an open registry, which is closed with it, as the handler shows it.
func newBedOn(t *testing.T, r *registry.Registry, handler http.Handler) *bed {
	t.Helper()
	t.Setenv("COSIGN_PASSWORD", "open sesame")
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.Close()
		_ = r.Close()
	})
	b := &bed{
		t: t, dir: t.TempDir(), host: strings.TrimPrefix(server.URL, "http://"),
		session: (&oci.Registries{Keys: authn.NewMultiKeychain()}).Session(), chain: keys.New(keys.Options{}),
	}
	out, err := exec.Command("go", "tool", "-n", "cosign").Output() // builds it, and says where
	if err != nil {
		t.Fatal(err)
	}
	b.program = strings.TrimSpace(string(out))
	for _, name := range []string{"image", "attestation", "stranger"} {
		b.must("generate-key-pair", "--output-key-prefix", filepath.Join(b.dir, name))
	}
	return b
}

// cosign runs the program and gives what it prints. Nothing of the machine's user is read.
func (b *bed) cosign(args ...string) (string, error) {
	cmd := exec.Command(b.program, args...)
	cmd.Dir, cmd.Env = b.dir, append(os.Environ(), "HOME="+b.dir, "DOCKER_CONFIG="+b.dir)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (b *bed) must(args ...string) string {
	b.t.Helper()
	out, err := b.cosign(args...)
	if err != nil {
		b.t.Fatalf("cosign %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// file writes a file of the bed.
func (b *bed) file(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) public(name string) string { return filepath.Join(b.dir, name+".pub") }

// signer opens a key that cosign made.
func (b *bed) signer(name string) *keys.Signer {
	b.t.Helper()
	s, err := b.chain.Signer(b.t.Context(), filepath.Join(b.dir, name+".key"))
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// image is one of the bed's images.
type image struct {
	ref  oci.Reference
	desc v1.Descriptor
}

// at gives its reference by digest, as cosign is given it.
func (i image) at() string { return i.ref.At(i.desc.Digest).String() }

// push makes an image that is like no other.
func (b *bed) push(repository string) image {
	b.t.Helper()
	b.pushed++
	ref := b.parse(b.host + "/" + repository + ":1")
	layer := fmt.Appendf(nil, "layer %d", b.pushed)
	config := fmt.Appendf(nil, `{"os":"linux","architecture":"amd64","config":{},"rootfs":{"type":"layers","diff_ids":[%q]}}`, describe(b.t, "", layer).Digest)
	for _, blob := range [][]byte{layer, config} {
		if _, err := b.session.PutBlob(b.t.Context(), ref, blob); err != nil {
			b.t.Fatal(err)
		}
	}
	raw, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: describe(b.t, types.OCIConfigJSON, config), Layers: []v1.Descriptor{describe(b.t, types.OCIUncompressedLayer, layer)},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.session.PutManifest(b.t.Context(), ref, types.OCIManifestSchema1, raw); err != nil {
		b.t.Fatal(err)
	}
	return image{ref, describe(b.t, types.OCIManifestSchema1, raw)}
}

func (b *bed) parse(text string) oci.Reference {
	b.t.Helper()
	ref, err := oci.Parse(text)
	if err != nil {
		b.t.Fatal(err)
	}
	return ref
}

func describe(t *testing.T, kind types.MediaType, data []byte) v1.Descriptor {
	t.Helper()
	digest, size, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return v1.Descriptor{MediaType: kind, Digest: digest, Size: size}
}

// predicates are claims of the types that cosign knows by these names.
var predicates = map[string]struct{ kind, text string }{
	"spdxjson": {artifact.PredicateSPDX, `{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","dataLicense":"CC0-1.0","name":"app",
		"documentNamespace":"https://example.com/app","creationInfo":{"created":"2026-01-01T00:00:00Z","creators":["Tool: test"]}}`},
	"cyclonedx": {artifact.PredicateCycloneDX, `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[]}`},
	"slsaprovenance1": {artifact.PredicateProvenance, `{"buildDefinition":{"buildType":"https://example.com/build","externalParameters":{},"resolvedDependencies":[]},
		"runDetails":{"builder":{"id":"https://example.com/builder"},"metadata":{}}}`},
}

// claims gives the evidence of all predicates about the image.
func claims(i image) []artifact.Evidence {
	var out []artifact.Evidence
	for _, p := range predicates {
		out = append(out, artifact.Evidence{Subject: i.desc.Digest.String(), PredicateType: p.kind, Predicate: json.RawMessage(p.text)})
	}
	return out
}

// issue signs and attests with plimsoll, each with its own key.
func (b *bed) issue(i image, evidence ...artifact.Evidence) {
	b.t.Helper()
	by := attest.Signers{Images: b.signer("image"), Attestations: b.signer("attestation")}
	if _, err := attest.Issue(b.t.Context(), b.session, i.ref, i.desc, evidence, by, attest.Options{}); err != nil {
		b.t.Fatal(err)
	}
}

// signed is an image with all that plimsoll issues.
func (b *bed) signed(repository string) image {
	b.t.Helper()
	i := b.push(repository)
	b.issue(i, append(claims(i), attest.Sign(i.desc.Digest))...)
	return i
}

// report is what plimsoll makes of all that is attached to the image.
func (b *bed) report(i image, want ...string) attest.Report {
	b.t.Helper()
	all, err := attest.List(b.t.Context(), b.session, i.ref, i.desc.Digest)
	if err != nil {
		b.t.Fatal(err)
	}
	trust := attest.Trust{
		Images:       attest.Trusted{Keys: []attest.Key{{Name: "image", Public: b.signer("image").PublicKey()}}},
		Attestations: attest.Trusted{Keys: []attest.Key{{Name: "attestation", Public: b.signer("attestation").PublicKey()}}},
	}
	return attest.Verify(i.desc.Digest, all, trust, want...)
}

// format is one of the two in which cosign keeps what it signs.
type format string

const (
	bundles format = "--new-bundle-format=true"
	older   format = "--new-bundle-format=false"
)

// verify has cosign verify the signature of the image.
func (b *bed) verify(f format, key, ref string) error {
	out, err := b.cosign("verify", "--key", b.public(key), "--insecure-ignore-tlog", "--allow-http-registry", string(f), ref)
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// verifyAttestation has cosign verify an attestation of that type.
func (b *bed) verifyAttestation(f format, key, kind, ref string) error {
	out, err := b.cosign("verify-attestation", "--key", b.public(key), "--type", kind, "--insecure-ignore-tlog", "--allow-http-registry", string(f), ref)
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
