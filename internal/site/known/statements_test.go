package known

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/keys"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/vuln/vex"
)

// vexBed is an index of one image in a registry, and a signer who is trusted.
type vexBed struct {
	t       *testing.T
	session *oci.Session
	ref     oci.Reference
	image   v1.Image
	index   v1.ImageIndex
	signer  *keys.Signer
	trust   attest.Trust
}

func newVEXBed(t *testing.T) *vexBed {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true)))
	t.Cleanup(server.Close)
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	ref, err := oci.Parse(strings.TrimPrefix(server.URL, "http://") + "/app:1")
	if err != nil {
		t.Fatal(err)
	}
	registries := &oci.Registries{Agent: "test"}
	if err := registries.PutIndex(t.Context(), ref, index); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PLIMSOLL_KEY_PASSWORD", "")
	signer, err := keys.New(keys.Options{}).Generate(t.Context(), filepath.Join(t.TempDir(), "ann.key"))
	if err != nil {
		t.Fatal(err)
	}
	trust := attest.Trust{Images: attest.Trusted{Keys: []attest.Key{{Name: "ann", Public: signer.PublicKey()}}}}
	return &vexBed{t, registries.Session(), ref, image, index, signer, trust}
}

// attach signs a document that calls the vulnerability harmless, and gives what is attached
// to its subject then.
func (b *vexBed) attach(subject partial.Describable, written, vulnerability string) (v1.Hash, []attest.Attached) {
	b.t.Helper()
	d, err := partial.Descriptor(subject)
	if err != nil {
		b.t.Fatal(err)
	}
	text := fmt.Sprintf(`{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.com/%s","author":"ann","timestamp":%q,"version":1,
		"statements":[{"vulnerability":{"name":%q},"status":"not_affected","justification":"component_not_present"}]}`, vulnerability, written, vulnerability)
	evidence := artifact.Evidence{Subject: d.Digest.String(), PredicateType: artifact.PredicateVEX, Predicate: json.RawMessage(text)}
	if _, err := attest.Issue(b.t.Context(), b.session, b.ref, *d, []artifact.Evidence{evidence}, attest.Signers{Images: b.signer}, attest.Options{}); err != nil {
		b.t.Fatal(err)
	}
	attached, err := attest.List(b.t.Context(), b.session, b.ref, d.Digest)
	if err != nil {
		b.t.Fatal(err)
	}
	return d.Digest, attached
}

func namesIn(documents []*vex.Document) []string {
	var names []string
	for _, d := range documents {
		for _, s := range d.Statements {
			names = append(names, s.Names...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// TestAReplacedStatementStaysReplaced: a registry keeps what a signer replaced, and whoever
// may push can attach it again.
func TestAReplacedStatementStaysReplaced(t *testing.T) {
	b := newVEXBed(t)
	_, old := b.attach(b.image, "2026-01-01T00:00:00Z", "CVE-1")
	digest, now := b.attach(b.image, "2026-01-02T00:00:00Z", "CVE-2")
	for _, attached := range [][]attest.Attached{slices.Concat(old, now), slices.Concat(now, old)} {
		documents, err := Statements(digest, attached, b.trust)
		if got := namesIn(documents); err != nil || !slices.Equal(got, []string{"CVE-2"}) {
			t.Errorf("%v, %v; want the newer document alone", got, err)
		}
	}
}

// TestStrangersSilenceNothing: who may push may attach a document that calls everything harmless.
// It counts when somebody signed it who is trusted, on the image and on its index.
func TestStrangersSilenceNothing(t *testing.T) {
	b := newVEXBed(t)
	top, _ := b.attach(b.index, "2026-01-01T00:00:00Z", "CVE-1")
	image, attached := b.attach(b.image, "2026-01-02T00:00:00Z", "CVE-2")
	stranger, err := keys.New(keys.Options{}).Generate(t.Context(), filepath.Join(t.TempDir(), "eve.key"))
	if err != nil {
		t.Fatal(err)
	}
	others := attest.Trust{Images: attest.Trusted{Keys: []attest.Key{{Name: "eve", Public: stranger.PublicKey()}}}}
	for _, c := range []struct {
		trust attest.Trust
		want  []string
	}{{b.trust, []string{"CVE-1", "CVE-2"}}, {others, nil}, {attest.Trust{}, nil}} {
		documents, err := Statements(image, attached, c.trust)
		if err != nil {
			t.Fatal(err)
		}
		above, err := StatementsOn(t.Context(), b.session, b.ref, c.trust, top)
		if got := namesIn(append(documents, above...)); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v, %v; want %v", got, err, c.want)
		}
	}
}

// TestStatementsOnTheIndexCount: who signs a tag that names an index, as cosign does, means
// its images.
func TestStatementsOnTheIndexCount(t *testing.T) {
	b := newVEXBed(t)
	top, _ := b.attach(b.index, "2026-01-01T00:00:00Z", "CVE-1")
	image, attached := b.attach(b.image, "2026-01-02T00:00:00Z", "CVE-2")
	r := &Reader{Session: b.session, Trust: b.trust}
	of := &Found{Digest: image, Attached: attached}
	of.Contents = artifact.Contents{Image: image.String(), Packages: []artifact.Package{{Type: "npm", Name: "a", Version: "1"}}}
	if err := r.silence(t.Context(), of, b.ref, top); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, place := range of.silenced {
		for _, s := range place.statements {
			got = append(got, s.Advisory)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"CVE-1", "CVE-2"}) {
		t.Errorf("the inventory hears %v, want what is said of the index, too", got)
	}
	documents, err := StatementsOn(t.Context(), b.session, b.ref, b.trust, image, top)
	if err != nil || !slices.Equal(namesIn(documents), []string{"CVE-1", "CVE-2"}) {
		t.Errorf("a scan hears %v, %v", namesIn(documents), err)
	}
}
