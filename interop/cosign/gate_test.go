package cosign

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	oras "oras.land/oras-go/v2"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

// verdict is a gate that says the same of one image, and denies all else.
type verdict struct {
	image  digest.Digest
	action atomic.Value
}

// Known implements registry.Gate.
func (v *verdict) Known(_ string, d digest.Digest) (registry.Judgement, bool) {
	if action, ok := v.action.Load().(artifact.Action); ok && d == v.image {
		return registry.Judgement{Action: action, Why: "its base is too old"}, true
	}
	return registry.Judgement{Action: artifact.ActionDeny, Why: "nobody asked for it"}, true
}

// Judge implements registry.Gate.
func (v *verdict) Judge(_ context.Context, repository string, d digest.Digest) (registry.Judgement, error) {
	j, _ := v.Known(repository, d)
	return j, nil
}

// as lets everybody do what is listed.
func as(next http.Handler, actions ...call.Action) http.Handler {
	p := &call.Principal{May: func(wanted call.Action, _ string) bool { return slices.Contains(actions, wanted) }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(call.WithPrincipal(r.Context(), p)))
	})
}

// TestGate: to cosign and oras, who may only pull, the evidence is there exactly when the image
// is, in both forms.
func TestGate(t *testing.T) {
	gate := &verdict{}
	r, err := registry.Open(context.Background(), registry.Options{Root: t.TempDir(), Gate: gate})
	if err != nil {
		t.Fatal(err)
	}
	b := newBedOn(t, r, as(r.Handler(), call.ActionPull, call.ActionPush, call.ActionInspect))
	i := b.signed("from")
	gate.image = digest.Digest(i.desc.Digest.String())
	public := httptest.NewServer(as(r.Handler(), call.ActionPull))
	defer public.Close()
	reader := *b
	reader.host = strings.TrimPrefix(public.URL, "http://")
	shown := image{ref: b.parse(reader.host + "/from:1"), desc: i.desc}

	held := func() {
		t.Helper()
		for _, f := range []format{older, bundles} {
			if err := reader.verify(f, "image", shown.at()); err == nil || !strings.Contains(err.Error(), "403") && !strings.Contains(err.Error(), "DENIED") {
				t.Errorf("cosign %s: %v", f, err)
			}
			if err := reader.verifyAttestation(f, "attestation", "spdxjson", shown.at()); err == nil {
				t.Errorf("cosign %s verifies an attestation of what is held back", f)
			}
		}
		_, err := oras.ExtendedCopy(t.Context(), reader.orasRepository("from"), "1", b.orasRepository("none"), "1", oras.DefaultExtendedCopyOptions)
		if err == nil {
			t.Error("oras copies what is held back")
		}
		_, _, err = oras.FetchBytes(t.Context(), reader.orasRepository("from"), i.desc.Digest.String(), oras.DefaultFetchBytesOptions)
		if err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("oras: %v", err)
		}
	}
	held()
	for n, action := range []artifact.Action{artifact.ActionAllow, artifact.ActionWarn} {
		gate.action.Store(action)
		for _, f := range []format{older, bundles} {
			if err := reader.verify(f, "image", shown.at()); err != nil {
				t.Errorf("cosign %s: %v", f, err)
			}
			for kind := range predicates {
				if err := reader.verifyAttestation(f, "attestation", kind, shown.at()); err != nil {
					t.Errorf("cosign %s: %s: %v", f, kind, err)
				}
			}
		}
		to := []string{"first", "second"}[n]
		if _, err := oras.ExtendedCopy(t.Context(), reader.orasRepository("from"), "1", b.orasRepository(to), "1", oras.DefaultExtendedCopyOptions); err != nil {
			t.Fatal(err)
		}
		b.arrived(t, i, to, bundles)
	}
	gate.action.Store(artifact.ActionDeny)
	held()
}
