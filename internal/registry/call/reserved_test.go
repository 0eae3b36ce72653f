package call_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"plimsoll.dev/plimsoll/internal/registry/call"
)

func TestKeep(t *testing.T) {
	door := call.Keep(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	const blob = "/v2/plimsoll/steps/blobs/"
	for _, c := range []struct {
		method, path string
		passes       bool
	}{
		{"PUT", "/v2/plimsoll/steps/manifests/step-1", false},
		{"DELETE", "/v2/plimsoll/steps/manifests/step-1", false},
		{"POST", blob + "uploads/", false},
		{"POST", blob + "uploads/?mount=sha256:0&from=team/app", false},
		{"PATCH", blob + "uploads/1", false},
		{"DELETE", blob + "sha256:0", false},
		{"PUT", "/v2/plimsoll/steps/below/manifests/1", false},
		{"GET", "/v2/plimsoll/steps/manifests/step-1", true},
		{"HEAD", blob + "sha256:0", true},
		{"PUT", "/v2/plimsoll/steps2/manifests/1", true},
		{"PUT", "/v2/plimsoll/plimsoll/manifests/1", true},
		{"PUT", "/v2/team/plimsoll/steps/manifests/1", true},
		{"POST", "/v2/team/app/blobs/uploads/?mount=sha256:0&from=plimsoll/steps", true},
	} {
		answer := httptest.NewRecorder()
		door.ServeHTTP(answer, httptest.NewRequest(c.method, c.path, nil))
		if want := map[bool]int{true: http.StatusTeapot, false: http.StatusForbidden}[c.passes]; answer.Code != want {
			t.Errorf("%s %s: got %d, want %d", c.method, c.path, answer.Code, want)
		}
	}
}
