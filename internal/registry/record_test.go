package registry

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/internal/registry/call"
)

// Those who listen are told what was removed, by whichever name.
func TestDeletionsSayWhatWent(t *testing.T) {
	reg, err := Open(t.Context(), Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reg.Close() })
	var heard []call.Record
	hear := func(r *call.Record) { heard = append(heard, *r) }
	handler := record(slog.New(slog.DiscardHandler), []func(*call.Record){hear}, reg.Handler())
	const index = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	ask := func(method, reference, body string, want int) {
		t.Helper()
		r := httptest.NewRequest(method, "/v2/team/app/manifests/"+reference, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Fatalf("%s %s: %d %s", method, reference, w.Code, w.Body)
		}
	}
	d := digest.FromString(index).String()
	for _, tag := range []string{"v1", "v2", "v3"} {
		ask(http.MethodPut, tag, index, http.StatusCreated)
	}
	ask(http.MethodDelete, "v1", "", http.StatusAccepted)
	ask(http.MethodDelete, "v1", "", http.StatusNotFound)
	said := strings.Replace(index, `{`, `{"subject":{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"`+d+`","size":94},`, 1)
	about := digest.FromString(said).String()
	by512 := digest.SHA512.FromString(said).String()
	ask(http.MethodPut, by512, said, http.StatusCreated)
	ask(http.MethodDelete, by512, "", http.StatusAccepted)
	ask(http.MethodDelete, d, "", http.StatusAccepted)
	type told struct {
		Status                     int
		Digest, Canonical, Subject string
		Tags                       []string
	}
	var got []told
	for _, r := range heard[3:] {
		got = append(got, told{r.Status, r.Digest, r.Canonical, r.Subject, slices.Sorted(slices.Values(r.Tags))})
	}
	want := []told{
		{202, d, d, "", []string{"v1"}}, {404, "", "", "", nil},
		{201, by512, about, d, nil}, {202, by512, about, d, nil},
		{202, d, d, "", []string{"v2", "v3"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
