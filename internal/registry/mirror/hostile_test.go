package mirror_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/registry/mirror"
)

const ociManifest = "application/vnd.oci.image.manifest.v1+json"

// What fails at the other end is tried again, gone on with, or told; never is any of it published
// that is not whole.
func TestImportThroughFailures(t *testing.T) {
	type meddler = func(w http.ResponseWriter, r *http.Request, next http.Handler)
	isLayer := func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/")
	}
	for _, c := range []struct {
		name   string
		meddle func() meddler
		want   mirror.Result
		why    string
	}{
		{"every other request fails", func() meddler {
			var n atomic.Int32
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if n.Add(1)%2 == 1 {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				next.ServeHTTP(w, r)
			}
		}, mirror.Imported, ""},
		{"too many requests at first", func() meddler {
			var n atomic.Int32
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if n.Add(1) == 3 {
					w.Header().Set("Retry-After", "1")
					w.WriteHeader(http.StatusTooManyRequests)
					return
				}
				next.ServeHTTP(w, r)
			}
		}, mirror.Imported, ""},
		{"downloads are cut", func() meddler {
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if isLayer(r) {
					w = &cutting{ResponseWriter: w, left: 150_000}
				}
				next.ServeHTTP(w, r)
			}
		}, mirror.Imported, ""},
		{"downloads are cut at once, always", func() meddler {
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if isLayer(r) {
					w = &cutting{ResponseWriter: w}
				}
				next.ServeHTTP(w, r)
			}
		}, mirror.Broken, "broke off"},
		{"blobs have other bytes", func() meddler {
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if isLayer(r) {
					w = &changing{ResponseWriter: w}
				}
				next.ServeHTTP(w, r)
			}
		}, mirror.Broken, "something else"},
		{"blobs never end", func() meddler {
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if !isLayer(r) {
					next.ServeHTTP(w, r)
					return
				}
				for block := make([]byte, 64<<10); ; {
					if _, err := w.Write(block); err != nil {
						return
					}
				}
			}
		}, mirror.Broken, "longer than"},
		{"blobs are missing", func() meddler {
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if isLayer(r) {
					http.NotFound(w, r)
					return
				}
				next.ServeHTTP(w, r)
			}
		}, mirror.Broken, "404"},
		{"manifests have other bytes", func() meddler {
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if strings.Contains(r.URL.Path, "/manifests/sha256:") {
					w = &changing{ResponseWriter: w}
				}
				next.ServeHTTP(w, r)
			}
		}, mirror.Broken, "instead"},
		{"it says that nobody may", func() meddler {
			return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.URL.Path != "/v2/" {
					w.WriteHeader(http.StatusForbidden)
					return
				}
				next.ServeHTTP(w, r)
			}
		}, mirror.Denied, "403"},
	} {
		t.Run(c.name, func(t *testing.T) {
			them, s := theirs(t), newSite(t)
			img := image(t, 600_000, 5_000)
			digest := them.put(t, "app:1", img)
			them.whenAsked(c.meddle())
			i := s.read(t, "app", fmt.Sprintf("source: %s/app\ntags: {names: ['1']}\nevidence: false\ndestination: {repository: app}", them.address))
			got := s.run(t, i).Tags[0]
			if got.Result != c.want || !strings.Contains(got.Why, c.why) {
				t.Fatalf("got %s: %s", got.Result, got.Why)
			}
			if got.Result == mirror.Imported {
				if s.named(t, "app:1") != digest.String() {
					t.Error("no tag names it")
				}
				return
			}
			if s.named(t, "app:1") != "" || s.named(t, "app@"+digest.String()) != "" {
				t.Error("it was published")
			}
			state, err := s.State(i)
			if err != nil || state.Failures == 0 && c.want == mirror.Broken || state.Error == "" {
				t.Errorf("nobody remembers: %+v, %v", state, err)
			}
			them.whenAsked(nil)
			eventually(t, func() bool { return s.run(t, i).Tags[0].Result == mirror.Imported }) // it may be left alone for a moment
		})
	}
}

// cutting ends the connection after some bytes.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; n < len(p) {
		http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// changing changes a byte of what is sent.
type changing struct {
	http.ResponseWriter
	begun bool
}

func (c *changing) Write(p []byte) (int, error) {
	if !c.begun && len(p) > 0 {
		c.begun = true
		p = bytes.Clone(p)
		at := bytes.LastIndex(p, []byte("sha256:")) + len("sha256:") // a manifest names another blob
		if p[0] != '{' {
			at = 0
		}
		if p[at] == '0' {
			p[at] = '1'
		} else {
			p[at] = '0'
		}
	}
	return c.ResponseWriter.Write(p)
}

// answering is a registry whose manifests are what a test says.
func answering(t *testing.T, manifests map[string][]byte) *outside {
	t.Helper()
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		_, what, _ := strings.Cut(r.URL.Path, "/manifests/")
		raw, ok := manifests[what]
		if !ok {
			http.NotFound(w, r)
			return
		}
		digest, _, err := v1.SHA256(bytes.NewReader(raw))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Docker-Content-Digest", digest.String())
		w.Header().Set("Content-Type", ociManifest)
		if r.Method == http.MethodGet {
			w.Write(raw)
		}
	}))
}

func TestImportHostileManifests(t *testing.T) {
	hash := func(raw []byte) string {
		digest, _, err := v1.SHA256(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		return digest.String()
	}
	indexOf := func(size int64, below ...[]byte) []byte {
		var children []string
		for _, raw := range below {
			children = append(children, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, types.OCIImageIndex, hash(raw), int64(len(raw))+size))
		}
		return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, types.OCIImageIndex, strings.Join(children, ","))
	}
	deep := [][]byte{indexOf(0)}
	for range 6 {
		deep = append(deep, indexOf(0, deep[len(deep)-1]))
	}
	var many [][]byte
	for n := range 300 {
		many = append(many, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[],"annotations":{"n":"%d"}}`, types.OCIImageIndex, n))
	}
	layer := func(size int64) []byte {
		return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"digest":"sha256:%064d","size":%d},"layers":[]}`, ociManifest, 1, size)
	}
	for _, c := range []struct {
		name   string
		top    []byte
		others [][]byte
		why    string
	}{
		{"indexes in indexes", deep[len(deep)-1], deep, "more than 3 deep"},
		{"too many manifests", indexOf(0, many...), many, "more than 256 manifests"},
		{"a child of another size", indexOf(1, deep[0]), deep, "bytes, which has"},
		{"a child that is missing", indexOf(0, many[0]), nil, "no such image"},
		{"a manifest of 5 MiB", append(indexOf(0), bytes.Repeat([]byte(" "), 5<<20)...), nil, "larger than 4 MiB"},
		{"a manifest of 50 MiB", append(indexOf(0), bytes.Repeat([]byte(" "), 50<<20)...), nil, "more than"},
		{"a negative size", layer(-1), nil, "cannot have -1 bytes"},
		{"more bytes than are taken in", layer(1 << 40), nil, "at most 1000000 are taken in"},
		{"no JSON", []byte("nonsense"), nil, "not valid"},
		{"two layers keys, of which readers take one each", fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[],"Manifests":[]}`, types.OCIImageIndex), nil, "twice"},
		{"another kind", []byte(`{"schemaVersion":1,"mediaType":"application/vnd.docker.distribution.manifest.v1+json"}`), nil, "neither an image nor an index"},
	} {
		t.Run(c.name, func(t *testing.T) {
			manifests := map[string][]byte{"1": c.top, hash(c.top): c.top}
			for _, raw := range c.others {
				manifests[hash(raw)] = raw
			}
			them, s := answering(t, manifests), newSite(t)
			got := s.run(t, s.read(t, "app", fmt.Sprintf("source: %s/app\ntags: {names: ['1']}\nlimits: {bytes: '1M'}\nevidence: false\ndestination: {repository: app}", them.address))).Tags[0]
			if got.Result != mirror.Broken || !strings.Contains(got.Why, c.why) {
				t.Errorf("got %s: %s", got.Result, got.Why)
			}
			if len(got.Why) > 600 {
				t.Errorf("what it says is %d bytes long", len(got.Why))
			}
			if s.named(t, "app:1") != "" {
				t.Error("it was published")
			}
		})
	}
}

// Credentials never reach what people and logs are told, nor does what was signed for a download.
func TestImportErrorsTellNoSecrets(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer elsewhere.Close()
	them, s := theirs(t), newSite(t)
	them.push(t, "app:1")
	them.whenAsked(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, elsewhere.URL+"/store?X-Amz-Signature=hunter2", http.StatusTemporaryRedirect)
			return
		}
		next.ServeHTTP(w, r)
	})
	got := s.run(t, s.read(t, "app", fmt.Sprintf("source: %s/app\ntags: {names: ['1']}\ndestination: {repository: app}", them.address))).Tags[0]
	if got.Result != mirror.Broken || strings.Contains(got.Why, "hunter2") || !strings.Contains(got.Why, strings.TrimPrefix(elsewhere.URL, "http://")) {
		t.Errorf("got %s: %s", got.Result, got.Why)
	}
}

// What a source lists as tags is not believed to be any.
func TestImportOddTags(t *testing.T) {
	them, s := theirs(t), newSite(t)
	them.push(t, "app:1")
	them.whenAsked(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/tags/list") {
			fmt.Fprintf(w, `{"name":"app","tags":["1","1","../../etc","a b","","-x","%s","sha256-%064d","sha256-%064d.sig"]}`, strings.Repeat("x", 200), 1, 1)
			return
		}
		next.ServeHTTP(w, r)
	})
	report := s.run(t, s.read(t, "app", fmt.Sprintf("source: %s/app\ntags: {patterns: ['*']}\ndestination: {repository: app}", them.address)))
	if diff := cmp.Diff([]string{"1 imported"}, results(report)); diff != "" {
		t.Error(diff)
	}
}
