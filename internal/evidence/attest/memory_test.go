package attest

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"google.golang.org/protobuf/proto"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
)

// asRead compares all there is in what was read, or remembered.
func asRead() cmp.Options {
	return cmp.Options{
		cmp.AllowUnexported(Attached{}, envelope{}, parsed{}),
		cmp.Comparer(func(a, b *bundle.Bundle) bool {
			return a == b || a != nil && b != nil && proto.Equal(a.Bundle, b.Bundle)
		}),
	}
}

// counted is a store that counts the blobs that are read.
func counted(t *testing.T, blobs *atomic.Int64) *harbour {
	t.Helper()
	r, err := registry.Open(t.Context(), registry.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return served(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/blobs/") {
			blobs.Add(1)
		}
		r.Handler().ServeHTTP(w, q)
	}))
}

// TestMemory: what is remembered is what would be read, of what was issued and of what was read
// before; no bundle is fetched for it, and what the registry has no more is not given.
func TestMemory(t *testing.T) {
	var blobs atomic.Int64
	h := counted(t, &blobs)
	images, attestations := p256(t), p256(t)
	evidence := h.evidence(artifact.PredicateSPDX, artifact.PredicateProvenance)
	issuing, reading := NewMemory(1<<20), NewMemory(1<<20)
	if _, err := Issue(t.Context(), h.session, h.ref, h.image, evidence, Signers{images, attestations}, Options{Now: morning, Encoded: true, Memory: issuing}); err != nil {
		t.Fatal(err)
	}
	want := h.list(t)
	listed := func(m *Memory) []Attached {
		t.Helper()
		all, err := m.List(t.Context(), h.session, h.ref, h.image.Digest)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if diff := cmp.Diff(want, listed(reading), asRead()); diff != "" {
		t.Errorf("an empty memory: -want +got\n%s", diff)
	}
	for i := range want {
		if want[i].bundle != nil {
			want[i].Raw = nil // the key is asked about the envelope
		}
	}
	for name, m := range map[string]*Memory{"issued": issuing, "read": reading} {
		blobs.Store(0)
		if diff := cmp.Diff(want, listed(m), asRead()); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
		if n := blobs.Load(); n != 1 { // of the older signature, which a tag names
			t.Errorf("%s: %d blobs were read", name, n)
		}
	}
	if report := Verify(h.image.Digest, listed(issuing), trusts(p256(t), p256(t))); report.Verified {
		t.Error("whom nobody trusts is believed for being remembered")
	}
	gone, err := oci.Parse(h.ref.Repository() + "@" + want[len(want)-1].Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.session.Delete(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	for _, a := range listed(issuing) {
		if a.Manifest == want[len(want)-1].Manifest {
			t.Errorf("what was removed is listed: %+v", a)
		}
	}
}

// TestMemoryOfStrangers: what others encoded is read before it is remembered.
func TestMemoryOfStrangers(t *testing.T) {
	h := store(t)
	m := NewMemory(1 << 20)
	key := p256(t)
	issued, err := Issue(t.Context(), h.session, h.ref, h.image, h.evidence(), Signers{key, key}, Options{Now: morning, Memory: m})
	if err != nil {
		t.Fatal(err)
	}
	if a, ok := m.get(issued.Attached[0]); ok {
		t.Errorf("it is remembered: %+v", a)
	}
}
