package mirror_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/mirror"
	"plimsoll.dev/plimsoll/internal/registry/mirror/upstream"
)

// outside is a registry outside: the distribution project's own, behind what a test makes of it.
type outside struct {
	address string // host:port
	session *oci.Session

	mu     sync.Mutex
	meddle func(w http.ResponseWriter, r *http.Request, next http.Handler) // nil: nothing is wrong
	asked  []string                                                        // "METHOD path"
}

func (o *outside) ServeHTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.asked = append(o.asked, r.Method+" "+r.URL.Path)
		meddle := o.meddle
		o.mu.Unlock()
		if meddle != nil {
			meddle(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// count gives how many requests there were that begin so and hold that.
func (o *outside) count(start, within string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, asked := range o.asked {
		if strings.HasPrefix(asked, start) && strings.Contains(asked, within) {
			n++
		}
	}
	return n
}

// requests gives all there were, as "METHOD path".
func (o *outside) requests() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.asked)
}

func (o *outside) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = nil
}

func (o *outside) whenAsked(meddle func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.meddle = meddle
}

// theirs starts the distribution project's registry.
func theirs(t testing.TB) *outside { return serve(t, distributions(t, nil)) }

func distributions(t testing.TB, auth configuration.Auth) http.Handler {
	t.Helper()
	config := &configuration.Configuration{Version: configuration.CurrentVersion}
	config.Storage = configuration.Storage{
		"inmemory": configuration.Parameters{}, "delete": configuration.Parameters{"enabled": true},
		"maintenance": configuration.Parameters{"uploadpurging": map[any]any{"enabled": false}},
	}
	config.HTTP.RelativeURLs = true
	config.Auth = auth
	return handlers.NewApp(t.Context(), config)
}

// ours starts a registry of this project, which lists referrers by itself.
func ours(t testing.TB) *outside {
	t.Helper()
	return serve(t, open(t).Handler())
}

func serve(t testing.TB, handler http.Handler) *outside {
	o := &outside{}
	server := httptest.NewServer(o.ServeHTTP(handler))
	t.Cleanup(server.Close)
	o.address = server.Listener.Addr().String()
	o.session = (&oci.Registries{Agent: "test"}).Session()
	return o
}

func open(t testing.TB) *registry.Registry { return openWith(t, registry.Options{}) }

func openWith(t testing.TB, o registry.Options) *registry.Registry {
	t.Helper()
	o.Root = filepath.Join(t.TempDir(), "store")
	r, err := registry.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// ref gives a reference in the registry.
func (o *outside) ref(t testing.TB, name string) oci.Reference { return parse(t, o.address+"/"+name) }

func parse(t testing.TB, text string) oci.Reference {
	t.Helper()
	ref, err := oci.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// push puts a new image there and gives its digest.
func (o *outside) push(t testing.TB, name string, layers ...int64) v1.Hash {
	t.Helper()
	if len(layers) == 0 {
		layers = []int64{1000}
	}
	return o.put(t, name, image(t, layers...))
}

func (o *outside) put(t testing.TB, name string, what v1.Image) v1.Hash {
	t.Helper()
	if err := (&oci.Registries{Agent: "test"}).PutImage(t.Context(), o.ref(t, name), what); err != nil {
		t.Fatal(err)
	}
	return digestOf(t, what)
}

func (o *outside) pushIndex(t testing.TB, name string, index v1.ImageIndex) v1.Hash {
	t.Helper()
	if err := (&oci.Registries{Agent: "test"}).PutIndex(t.Context(), o.ref(t, name), index); err != nil {
		t.Fatal(err)
	}
	return digestOf(t, index)
}

func image(t testing.TB, layers ...int64) v1.Image {
	t.Helper()
	out, err := random.Image(layers[0], 1)
	for _, size := range layers[1:] {
		if err != nil {
			t.Fatal(err)
		}
		layer, err := random.Layer(size, types.OCILayer)
		if err != nil {
			t.Fatal(err)
		}
		if out, err = mutate.AppendLayers(out, layer); err != nil {
			t.Fatal(err)
		}
	}
	return mutate.ConfigMediaType(mutate.MediaType(out, types.OCIManifestSchema1), types.OCIConfigJSON)
}

// platforms gives an index with an image for each.
func platforms(t testing.TB, names ...string) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, name := range names {
		platform, err := v1.ParsePlatform(name)
		if err != nil {
			t.Fatal(err)
		}
		made, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{OS: platform.OS, Architecture: platform.Architecture, RootFS: v1.RootFS{Type: "layers"}})
		if err != nil {
			t.Fatal(err)
		}
		layer, err := random.Layer(1000, types.OCILayer)
		if err == nil {
			made, err = mutate.AppendLayers(made, layer)
		}
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: made, Descriptor: v1.Descriptor{Platform: platform}})
	}
	return index
}

// about gives an artifact whose subject is the manifest of that digest.
func about(t testing.TB, digest v1.Hash, size int64) v1.Image {
	t.Helper()
	artifact := mutate.ConfigMediaType(image(t, 100), "application/vnd.example.report")
	return mutate.Subject(artifact, v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: size}).(v1.Image)
}

func digestOf(t testing.TB, what partial.Describable) v1.Hash {
	t.Helper()
	digest, err := what.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// site is a mirror with a store, and what its functions were asked.
type site struct {
	*mirror.Mirror
	options mirror.Options
	session *oci.Session
	store   *registry.Registry
	dir     string

	mu       sync.Mutex
	accounts []string
	names    []string                      // "repository:tag" that names something new
	ended    error                         // of the last run
	deny     func(ref oci.Reference) error // by Account; nil: all is well
}

// newSite gives one that waits little.
func newSite(t testing.TB, change ...func(*mirror.Options)) *site {
	t.Helper()
	s := &site{store: open(t), dir: t.TempDir()}
	s.options = mirror.Options{
		Registries: &oci.Registries{Agent: "test", Local: func(context.Context) (http.RoundTripper, error) { return s.store.Transport(), nil }},
		Dir:        s.dir,
		Ended: func(_ *mirror.Report, err error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ended = err
		},
		Named: func(repository, tag, _ string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.names = append(s.names, repository+":"+tag)
		},
		Transport: upstream.New(upstream.Options{Backoff: time.Millisecond, PerSecond: 10_000, Stall: 2 * time.Second}),
		Account: func(_ context.Context, ref oci.Reference) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.accounts = append(s.accounts, ref.String())
			if s.deny != nil {
				return s.deny(ref)
			}
			return nil
		},
	}
	for _, c := range change {
		c(&s.options)
	}
	s.Mirror = mirror.New(s.options)
	s.session = s.options.Registries.Session()
	return s
}

// read reads an import whose spec is that YAML.
func (s *site) read(t testing.TB, name, spec string) *mirror.Import {
	t.Helper()
	file := filepath.Join(s.dir, name+".yaml")
	text := fmt.Sprintf("apiVersion: plimsoll.dev/v1alpha1\nkind: ImageImport\nmetadata: {name: %s}\nspec:\n%s", name, indent(spec))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := mirror.ReadImports(file)
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

func indent(text string) string {
	var out strings.Builder
	for line := range strings.Lines(strings.TrimLeft(text, "\n")) {
		out.WriteString("  " + strings.TrimPrefix(line, "\t\t"))
	}
	return out.String() + "\n"
}

// run imports, and wants the run itself to work.
func (s *site) run(t testing.TB, i *mirror.Import) *mirror.Report {
	t.Helper()
	report, err := s.Import(t.Context(), i, mirror.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// named gives the digest that a reference of the store names, "" for none.
func (s *site) named(t testing.TB, name string) string {
	t.Helper()
	digest, err := s.session.Head(t.Context(), parse(t, name))
	if fault.KindOf(err) == fault.NotFound {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// results gives "tag result" of each outcome.
func results(r *mirror.Report) []string {
	var out []string
	for _, o := range r.Tags {
		out = append(out, o.Tag+" "+string(o.Result))
	}
	return out
}

// putRaw puts a manifest there as it is.
func (o *outside) putRaw(t testing.TB, name, mediaType string, what any) v1.Hash {
	t.Helper()
	raw, ok := what.([]byte)
	if !ok {
		var err error
		if raw, err = json.Marshal(what); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.session.PutManifest(t.Context(), o.ref(t, name), types.MediaType(mediaType), raw); err != nil {
		t.Fatal(err)
	}
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return digest
}
