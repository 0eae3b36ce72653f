package oci

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"plimsoll.dev/plimsoll/internal/fault"
)

func TestParse(t *testing.T) {
	const digest = "@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	tests := []struct {
		text, want string
		local      bool
	}{
		{"run", "run", true},
		{"run:1", "run:1", true},
		{"bases/run:1", "bases/run:1", true},
		{"run" + digest, "run" + digest, true},
		{"localhost/run:1", "localhost/run:1", false},
		{"localhost:5000/run", "localhost:5000/run", false},
		{"registry.example.com/bases/run:1", "registry.example.com/bases/run:1", false},
		{"registry.example.com/run" + digest, "registry.example.com/run" + digest, false},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			ref, err := Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if ref.String() != tt.want || ref.IsLocal() != tt.local {
				t.Errorf("want %s (local: %v), got %s (local: %v)", tt.want, tt.local, ref, ref.IsLocal())
			}
		})
	}
	for _, bad := range []string{"", ":", "UPPER", "a b", "run:", "run@sha256:12", "run:" + strings.Repeat("x", 200), "http://host/run", "a/../b", "registry.example/to/../../b:1", "a//b", "a/./b:1", "a/"} {
		_, err := Parse(bad)
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.Usage || f.Hint == "" || strings.Contains(err.Error(), localHost) {
			t.Errorf("%q: want a usage fault with a hint, got %v", bad, err)
		}
	}
}

// elsewhere sends every request to the server at the address, as the local store answers
// those for its host.
type elsewhere string

func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", string(e)
	return http.DefaultTransport.RoundTrip(r)
}

// quiet gives a registry in memory that logs nothing.
func quiet() http.Handler { return registry.New(registry.Logger(log.New(io.Discard, "", 0))) }

// image gives a small image of the architecture.
func image(t *testing.T, architecture string) v1.Image {
	t.Helper()
	i, err := random.Image(100, 2)
	if err != nil {
		t.Fatal(err)
	}
	file, err := i.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", architecture
	if i, err = mutate.ConfigFile(i, file); err != nil {
		t.Fatal(err)
	}
	return i
}

func digest(t *testing.T, i interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	d, err := i.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func TestPutAndRead(t *testing.T) {
	server := httptest.NewServer(quiet())
	defer server.Close()
	store := httptest.NewServer(quiet())
	defer store.Close()
	local := elsewhere(strings.TrimPrefix(store.URL, "http://"))
	r := &Registries{Agent: "test", Local: func(context.Context) (http.RoundTripper, error) { return local, nil }}
	for _, host := range []string{"", strings.TrimPrefix(server.URL, "http://") + "/"} {
		single, err := Parse(host + "single:1")
		if err != nil {
			t.Fatal(err)
		}
		one := image(t, "arm64")
		if err := r.PutImage(t.Context(), single, one); err != nil {
			t.Fatal(err)
		}
		images, err := r.Images(t.Context(), single)
		if err != nil || len(images) != 1 || digest(t, images["arm64"]) != digest(t, one) {
			t.Errorf("%s: %v, %v", single, images, err)
		}
		both, err := Parse(host + "both:1")
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		index := v1.ImageIndex(empty.Index)
		for _, platform := range []v1.Platform{
			{OS: "windows", Architecture: "amd64"},
			{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"},
			{OS: "linux", Architecture: "amd64"},     // nobody pulls it: it must not stand for the first
			{OS: "unknown", Architecture: "unknown"}, // what attestations of other builders are filed under
		} {
			i := image(t, platform.Architecture)
			index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: i, Descriptor: v1.Descriptor{Platform: &platform}})
			if platform.OS == "linux" && want[platform.Architecture] == "" {
				want[platform.Architecture] = digest(t, i)
			}
		}
		if err := r.PutIndex(t.Context(), both, index); err != nil {
			t.Fatal(err)
		}
		if images, err = r.Images(t.Context(), both); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for architecture, i := range images {
			got[architecture] = digest(t, i)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		mine, err := r.Image(t.Context(), both, "")
		if err != nil || digest(t, mine) != want[runtime.GOARCH] {
			t.Errorf("the machine's own: %v", err)
		}
		_, err = r.Image(t.Context(), both, "riscv64")
		wantFault(t, err, fault.NotFound, both.String(), "riscv64")
		absent, err := Parse(host + "absent:1")
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Images(t.Context(), absent)
		wantFault(t, err, fault.NotFound, absent.String())
	}
}

// TestImagesBoundsConfigurations: a configuration is read into memory, so its maker has no
// say in how much that is.
func TestImagesBoundsConfigurations(t *testing.T) {
	server := httptest.NewServer(quiet())
	defer server.Close()
	r := &Registries{Agent: "test"}
	for size, readable := range map[int]bool{maxConfig / 2: true, maxConfig: false} {
		plain := image(t, "amd64")
		file, err := plain.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		file = file.DeepCopy()
		file.Config.Labels = map[string]string{"long": strings.Repeat("x", size)}
		i, err := mutate.ConfigFile(plain, file)
		if err != nil {
			t.Fatal(err)
		}
		ref, err := Parse(strings.TrimPrefix(server.URL, "http://") + "/long:1")
		if err != nil {
			t.Fatal(err)
		}
		if err := r.PutImage(t.Context(), ref, i); err != nil {
			t.Fatal(err)
		}
		if _, err = r.Images(t.Context(), ref); readable && err != nil {
			t.Error(err)
		} else if !readable {
			wantFault(t, err, fault.Failed, ref.String(), "configuration")
		}
	}
}

func wantFault(t *testing.T, err error, kind fault.Kind, says ...string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || fault.KindOf(err) != kind {
		t.Errorf("want a fault of kind %d, got %v (kind %d)", kind, err, fault.KindOf(err))
		return
	}
	for _, word := range says {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
}

// keys is a keychain of one password.
type keys struct{ password string }

func (k keys) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: "me", Password: k.password}, nil
}

func TestAnswersOfRegistries(t *testing.T) {
	const secret = "s3cr3t"
	tests := []struct {
		name   string
		status int
		kind   fault.Kind
		says   string
	}{
		{"unauthorized", http.StatusUnauthorized, fault.Denied, "401"},
		{"forbidden", http.StatusForbidden, fault.Denied, "403"},
		{"not found", http.StatusNotFound, fault.NotFound, "no such image"},
		{"too large", http.StatusRequestEntityTooLarge, fault.Failed, "413"},
		{"read-only", http.StatusMethodNotAllowed, fault.Failed, "405"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v2/" && r.Header.Get("Authorization") == "" {
					w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				w.WriteHeader(tt.status)
			}))
			defer server.Close()
			ref, err := Parse(strings.TrimPrefix(server.URL, "http://") + "/run:1")
			if err != nil {
				t.Fatal(err)
			}
			r := &Registries{Agent: "test", Keys: keys{secret}}
			for name, do := range map[string]func() error{
				"read": func() error { _, err := r.Images(t.Context(), ref); return err },
				"push": func() error { return r.PutImage(t.Context(), ref, image(t, "amd64")) },
			} {
				err := do()
				if name == "push" && tt.kind == fault.NotFound {
					if fault.KindOf(err) == fault.Denied || err == nil {
						t.Errorf("push: %v", err)
					}
					continue
				}
				wantFault(t, err, tt.kind, ref.String(), tt.says)
				if strings.Contains(err.Error()+fault.HintOf(err), secret) {
					t.Errorf("%s: the error shows the secret: %v", name, err)
				}
			}
		})
	}
}

func TestRegistryThatIsGone(t *testing.T) {
	server := httptest.NewServer(quiet())
	ref, err := Parse(strings.TrimPrefix(server.URL, "http://") + "/run:1")
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	r := &Registries{Agent: "test"}
	_, err = r.Images(t.Context(), ref)
	wantFault(t, err, fault.Unavailable, ref.String())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.Images(ctx, ref)
	wantFault(t, err, fault.Canceled, ref.String())
}

func TestLocalStoreThatCannotBeOpened(t *testing.T) {
	ref, err := Parse("run:1")
	if err != nil {
		t.Fatal(err)
	}
	r := &Registries{Local: func(context.Context) (http.RoundTripper, error) {
		return nil, fault.Newf(fault.Failed, "open store", "/home", "locked")
	}}
	_, err = r.Images(t.Context(), ref)
	wantFault(t, err, fault.Failed, "open store")
	wantFault(t, r.PutImage(t.Context(), ref, image(t, "amd64")), fault.Failed, "open store")
}
