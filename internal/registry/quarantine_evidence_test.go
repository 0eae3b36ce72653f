package registry_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/registry"
)

// signatureTag gives the tag below which cosign keeps what belongs to an image.
func signatureTag(d digest.Digest, ending string) string {
	return "sha256-" + d.Encoded() + "." + ending
}

func archive(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "run", Size: 3, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("run"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// textArchive gives an archive without a byte that is not plain text, as an attacker makes it.
func textArchive() []byte {
	header := bytes.Repeat([]byte(" "), 512)
	copy(header, "{"+strings.Repeat("a", 99))
	copy(header[100:], "0000755 0000000 0000000 00000000003 00000000000 ")
	copy(header[148:], "        0")
	sum := 0
	for _, c := range header {
		sum += int(c)
	}
	copy(header[148:], fmt.Sprintf("%06o  ", sum))
	return append(header, []byte("run"+strings.Repeat(" ", 509))...)
}

// TestEvidenceFollowsItsSubject, and nothing else does that claims to.
func TestEvidenceFollowsItsSubject(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(archive(t))
	z.Close()
	if _, err := tar.NewReader(bytes.NewReader(textArchive())).Next(); err != nil {
		t.Fatalf("the archive of text is none: %v", err)
	}
	statement := []byte("{\"payload\":\"ü\"}\n")
	for _, c := range []struct {
		name         string
		tag          string // ending; "" for a subject
		config, kind string
		layer        []byte
		follows      bool
	}{
		{"bundle", "", emptyType, bundleType, statement, true},
		{"bill of materials", "", emptyType, "application/spdx+json", statement, true},
		{"notation", "", "application/vnd.cncf.notary.signature", "application/jose+json", statement, true},
		{"signature below a tag", "sig", configType, simpleType, statement, true},
		{"attestation below a tag", "att", configType, "application/vnd.dsse.envelope.v1+json", statement, true},
		{"large", "", emptyType, "text/spdx", bytes.Repeat([]byte("Package: ü\n"), 50_000), true},
		{"image with a subject", "", configType, layerType, archive(t), false},
		{"image below a signature's tag", "sig", configType, layerType, archive(t), false},
		{"layer of no type", "", emptyType, "application/octet-stream", archive(t), false},
		{"image's configuration", "", configType, simpleType, statement, false},
		{"archive that claims to be a bundle", "", emptyType, bundleType, archive(t), false},
		{"compressed archive that claims to be one", "", emptyType, bundleType, zipped.Bytes(), false},
		{"archive of text", "", emptyType, "text/spdx", textArchive(), false},
		{"archive of text below a tag", "att", configType, "text/spdx", textArchive(), false},
		{"text with a NUL late in it", "", emptyType, "text/spdx", append(bytes.Repeat([]byte("a"), 200_000), 0), false},
		{"half a rune", "", emptyType, "text/spdx", []byte("a\xc3"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := openGated(t, registry.Options{})
			good, _ := g.image("a", "good", "good layer")
			bad, _ := g.image("a", "bad", "bad layer")
			g.gate.say("a", good, artifact.ActionAllow)
			g.gate.say("a", bad, artifact.ActionDeny)
			for subject, name := range map[digest.Digest]string{good: "good", bad: "bad"} {
				layer := append(bytes.Clone(c.layer), strings.Repeat(" ", len(name))...)
				tag, about := "", subject
				if c.tag != "" {
					tag, about = signatureTag(subject, c.tag), ""
				}
				d := g.attach("a", tag, about, c.config, c.kind, layer)
				want := 403
				if c.follows && subject == good {
					want = 200
				}
				paths := []string{"manifests/" + d.String(), "blobs/" + digest.FromBytes(layer).String()}
				if tag != "" {
					paths = append(paths, "manifests/"+tag)
				}
				for _, path := range paths {
					g.want("reader", "GET /v2/a/"+path, want)
				}
				g.want("reader", "GET /v2/a/blobs/"+blobOf("{}"), 200)
				if tag == "" && subject == good {
					listed := g.want("reader", "GET /v2/a/referrers/"+good.String(), 200)
					if strings.Contains(listed.body, d.String()) != c.follows {
						t.Errorf("listed %s", listed.body)
					}
				}
			}
			if listed := g.want("inspector", "GET /v2/a/referrers/"+good.String(), 200); c.tag == "" && !strings.Contains(listed.body, "artifactType") && !strings.Contains(listed.body, "sha256") {
				t.Errorf("who may inspect is shown %s", listed.body)
			}
		})
	}
}

// TestEvidenceOfMoreThanOne: a signature of a bill of materials of an image; a subject that is
// elsewhere; a tag that moves on.
func TestEvidenceOfMoreThanOne(t *testing.T) {
	g := openGated(t, registry.Options{})
	good, _ := g.image("a", "good", "good layer")
	g.gate.say("a", good, artifact.ActionAllow)
	bill := g.attach("a", "", good, emptyType, "application/spdx+json", []byte(`{"bill":1}`))
	signed := g.attach("a", "", bill, emptyType, bundleType, []byte(`{"sig":1}`))
	g.want("reader", "GET /v2/a/manifests/"+signed.String(), 200)
	g.want("reader", "GET /v2/a/blobs/"+blobOf(`{"sig":1}`), 200)

	// The subject is released where it is, but not here: there is no subject here.
	elsewhere := g.attach("b", "", good, emptyType, bundleType, []byte(`{"sig":2}`))
	g.want("reader", "GET /v2/b/manifests/"+elsewhere.String(), 403)
	g.want("reader", "GET /v2/b/blobs/"+blobOf(`{"sig":2}`), 403)
	if listed := g.want("reader", "GET /v2/b/referrers/"+good.String(), 200); strings.Contains(listed.body, elsewhere.String()) {
		t.Errorf("listed %s", listed.body)
	}
	g.gate.say("b", elsewhere, artifact.ActionAllow) // as content of its own
	g.want("reader", "GET /v2/b/manifests/"+elsewhere.String(), 200)

	tag := signatureTag(good, "sig")
	first := g.attach("a", tag, "", configType, simpleType, []byte(`{"sig":3}`))
	g.want("reader", "GET /v2/a/manifests/"+first.String(), 200)
	second := g.attach("a", tag, "", configType, simpleType, []byte(`{"sig":4}`))
	g.want("reader", "GET /v2/a/manifests/"+second.String(), 200)
	g.want("reader", "GET /v2/a/manifests/"+first.String(), 403) // nothing says any more what it is about

	if got := do(t, &http.Client{Transport: g.reg.Transport()}, http.MethodDelete, "http://store.local/v2/a/manifests/"+good.String(), "", nil); got.StatusCode != 202 {
		t.Fatal(got.Status)
	}
	g.want("reader", "GET /v2/a/manifests/"+second.String(), 403)
	g.want("reader", "GET /v2/a/blobs/"+blobOf("good layer"), 404)
}
