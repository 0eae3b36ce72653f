package main

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

func TestRoutes(t *testing.T) {
	for path, want := range map[string]string{
		"/":             runtime.Version(),
		"/healthz":      "ok",
		"/qr?text=ahoy": "PNG",
	} {
		answer := httptest.NewRecorder()
		routes().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		if answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), want) {
			t.Errorf("%s: %d %q, want %q in it", path, answer.Code, answer.Body.String(), want)
		}
	}
}
