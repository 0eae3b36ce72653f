package registry_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

// FuzzGate sends whatever a client may send: no answer to one that may pull and push has a
// byte of what is quarantined, in body or header.
func FuzzGate(f *testing.F) {
	const marker = "HeldBack7f3a"
	g := openGated(f, registry.Options{})
	open, _ := g.image("open", "1", "open layer")
	g.gate.say("open", open, artifact.ActionAllow)
	layer := "\x1f\x8b layer " + marker
	content := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s],"annotations":{"note":%q}}`, ociManifest,
		g.blob("held/app", configType, []byte(`{"os":"`+marker+`"}`)), g.blob("held/app", layerType, []byte(layer)), marker)
	d := g.manifest("held/app", "1", ociManifest, content)
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s],"annotations":{"note":%q}}`, ociIndex, descriptor(ociManifest, []byte(content)), marker)
	multi := g.manifest("held/app", "multi", ociIndex, index)
	g.attach("held/app", "", d, emptyType, bundleType, []byte(`{"about":"`+marker+`"}`))
	g.attach("held/app", signatureTag(d, "sig"), "", configType, simpleType, []byte(`{"sig":"`+marker+`"}`))
	g.attach("open", "", open, configType, layerType, []byte("\x1f\x8b claims "+marker))
	for _, seed := range [][3]string{
		{"GET /v2/held/app/manifests/1", "", ""},
		{"HEAD /v2/held/app/manifests/" + d.String(), "Accept: */*", ""},
		{"GET /v2/held/app/manifests/multi", "Accept: text/html", ""},
		{"GET /v2/held%2fapp/manifests/" + multi.String(), `If-None-Match: "` + multi.String() + `"`, ""},
		{"GET /v2/held/app/blobs/" + blobOf(layer), "Range: bytes=0-7,3-5", ""},
		{"GET /v2/open/blobs/" + blobOf(layer), "X-HTTP-Method-Override: GET", ""},
		{"GET /v2/open/../held/app/blobs/" + blobOf(layer), "If-Range: x", ""},
		{"GET /v2/open/blobs/" + blobOf("\x1f\x8b claims "+marker), "", ""},
		{"GET /v2/open/referrers/" + open.String() + "?artifactType=a", "", ""},
		{"GET /v2/held/app/referrers/" + d.String(), "", ""},
		{"GET /v2/held/app/manifests/" + signatureTag(d, "sig"), "", ""},
		{"GET /v2/held/app/tags/list?n=1", "", ""},
		{"GET /v2/_catalog?n=10", "", ""},
		{"POST /v2/open/blobs/uploads/?mount=" + blobOf(layer) + "&from=held/app", "", ""},
		{"POST /v2/open/blobs/uploads/", "Content-Type: application/x-www-form-urlencoded", "mount=" + blobOf(layer) + "&from=held/app"},
		{"PUT /v2/open/manifests/2", "Content-Type: " + ociManifest, content},
		{"PUT /v2/held/app/manifests/1", "Content-Type: " + ociManifest, strings.Replace(content, marker, "other", 1)},
		{"PATCH /v2/held/app/blobs/uploads/x?_state=x", "Content-Range: 0-1", "x"},
		{"OPTIONS /v2/held/app/manifests/1", "", ""}, {"TRACE /v2/", "", ""}, {"GET http://x/v2/held/app/manifests/1", "", ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	handler := reader(g.reg.Handler())
	f.Fuzz(func(t *testing.T, line, header, body string) {
		if header != "" {
			header += "\r\n"
		}
		raw := fmt.Sprintf("%s HTTP/1.1\r\nHost: registry\r\nContent-Length: %d\r\n%s\r\n%s", line, len(body), header, body)
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return
		}
		r.RemoteAddr = "192.0.2.1:1"
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		var seen bytes.Buffer
		w.Header().Write(&seen)
		seen.Write(w.Body.Bytes())
		if strings.Contains(seen.String(), marker) && !strings.Contains(raw, marker) {
			t.Fatalf("answered %d to %q:\n%s", w.Code, raw, seen.String())
		}
	})
}

// reader lets through what one may ask who may pull and push, as the door before a served
// registry does.
func reader(next http.Handler) http.Handler {
	p := &call.Principal{Name: "fuzz", May: func(action call.Action, _ string) bool {
		return action == call.ActionPull || action == call.ActionPush || action == call.ActionList
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, _ := call.Parse(r.URL.Path)
		for _, need := range to.Needs(r) {
			if !p.May(need.Action, need.Repository) {
				call.Refusal{Status: http.StatusForbidden, Code: "DENIED", Message: "not allowed"}.Write(w)
				return
			}
		}
		next.ServeHTTP(w, r.WithContext(call.WithPrincipal(r.Context(), p)))
	})
}
