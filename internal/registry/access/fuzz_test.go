package access_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"testing"

	"plimsoll.dev/plimsoll/internal/registry/access"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// FuzzDoor lets through only what whoever asks may do, as anybody who reads the request later
// would read it.
func FuzzDoor(f *testing.F) {
	b := serve(f, site+"  limits: {requests: {perSecond: 1000000}, anonymous: {perSecond: 1000000}}\n")
	said, err := settings.Open(filepath.Join(b.home, "registry.yaml"), nil, access.Check)
	if err != nil {
		f.Fatal(err)
	}
	who, err := access.Open(b.home, access.Options{Settings: said})
	if err != nil {
		f.Fatal(err)
	}
	token := b.token("bob", "bob-secret", "repository:team/app:pull,push")
	for _, path := range []string{
		"/v2/team/app/manifests/v1", "/v2/team/secret/app/manifests/v1", "/v2/public/x/tags/list", "/v2/_catalog",
		"/v2/team/app/blobs/uploads/?mount=sha256:0&from=team/secret/app", "/v2/team%2fsecret/app/manifests/v1",
		"/v2/team/app/blobs/uploads/../../manifests/v1", "/v2/team/app/blobs/uploads/?mount=a&from=team/app&from=team/secret",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			f.Add(method, path, "Bearer "+token, "")
			f.Add(method, path, "Basic Ym9iOmJvYi1zZWNyZXQ=", "Bearer x")
			f.Add(method, path, "", "")
		}
	}
	may := map[string]map[call.Action]bool{ // of all who ask here
		"team":   {call.ActionPull: true, call.ActionPush: true, call.ActionInspect: true},
		"base":   {call.ActionPull: true},
		"public": {call.ActionPull: true},
	}
	f.Fuzz(func(t *testing.T, method, target, first, second string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		r := &http.Request{Method: method, URL: u, Host: "registry", Header: http.Header{}, Body: http.NoBody, RemoteAddr: "192.0.2.1:1"}
		for _, shown := range []string{first, second} {
			if shown != "" {
				r.Header.Add("Authorization", shown)
			}
		}
		who.Door(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			to, ok := call.Parse(r.URL.Path)
			if !ok || r.Header.Get("Authorization") != "" || call.PrincipalOf(r.Context()) == nil {
				t.Fatalf("%s %q came through", method, r.URL)
			}
			for _, need := range to.Needs(r) {
				project := ""
				if p := said.Now().ProjectOf(need.Repository); p != nil {
					project = p.Name
				}
				if !call.IsRepository(need.Repository) || !may[project][need.Action] {
					t.Fatalf("%s %q came through, which needs %v", method, r.URL, need)
				}
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	})
}
