package imagetest_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/executor/sandbox"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/testbed"
	"plimsoll.dev/plimsoll/internal/update/imagetest"
)

// build compiles a program that needs no libraries.
func build(t *testing.T, folder string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", "build", "-o", program, folder)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// push makes an image whose program is the ship and gives its digest.
func push(t *testing.T, registries *oci.Registries, reference string, edit func(*v1.Config)) string {
	t.Helper()
	program, err := os.ReadFile(build(t, "./testdata/ship"))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	for _, err := range []error{
		w.WriteHeader(&tar.Header{Name: "ship", Mode: 0o755, Size: int64(len(program)), Typeflag: tar.TypeReg}), write(w, program), w.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	config.Config = v1.Config{User: "1000:1000", Entrypoint: []string{"/ship"}, Env: []string{"CARGO=tea"}}
	edit(&config.Config)
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	ref, err := oci.Parse(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := registries.PutImage(t.Context(), ref, image); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func write(w io.Writer, data []byte) error {
	_, err := w.Write(data)
	return err
}

func TestImages(t *testing.T) {
	testbed.Tool(t, "bwrap")
	reg, err := registry.Open(t.Context(), registry.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	registries := &oci.Registries{Agent: "test", Local: func(context.Context) (http.RoundTripper, error) { return reg.Transport(), nil }}
	box, err := sandbox.New(t.TempDir(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tester := &imagetest.Tester{Executor: box, Registries: registries, Probe: build(t, "./plimsoll-probe")}
	ship := push(t, registries, "fleet/ship:1", func(*v1.Config) {})
	wreck := push(t, registries, "fleet/ship:2", func(c *v1.Config) { c.Cmd = []string{"sink"} })
	hulk := push(t, registries, "fleet/ship:3", func(c *v1.Config) { c.Cmd = []string{"hang"} })
	named := push(t, registries, "fleet/ship:4", func(c *v1.Config) { c.User = "captain" })
	second := &metav1.Duration{Duration: time.Second}
	for _, tt := range []struct {
		name, digest string
		test         v1alpha1.ImageTest
		why          string // "" passes
	}{
		{"a command", ship, v1alpha1.ImageTest{Command: []string{"/ship", "user"}}, ""},
		{"a command that fails", ship, v1alpha1.ImageTest{Command: []string{"/ship", "sink"}}, "it ends with 3"},
		{"a command that hangs", ship, v1alpha1.ImageTest{Command: []string{"/ship", "hang"}, Timeout: second}, "it has not ended within 1s"},
		{"a command that is not there", ship, v1alpha1.ImageTest{Command: []string{"/bin/true"}}, "/bin/true"},
		{"an answer", ship, v1alpha1.ImageTest{HTTP: &v1alpha1.HTTPCheck{}}, ""},
		{"an answer elsewhere", ship, v1alpha1.ImageTest{HTTP: &v1alpha1.HTTPCheck{Path: "/?at=noon", Port: 3000, Status: 200, Contains: "afloat noon"}}, ""},
		{"a redirection", ship, v1alpha1.ImageTest{HTTP: &v1alpha1.HTTPCheck{Path: "/away"}}, ""},
		{"another status", ship, v1alpha1.ImageTest{HTTP: &v1alpha1.HTTPCheck{Path: "/hole"}, Timeout: second}, "not within 1s: it answers 500"},
		{"another text", ship, v1alpha1.ImageTest{HTTP: &v1alpha1.HTTPCheck{Contains: "sunk"}, Timeout: second}, `its answer does not contain "sunk"`},
		{"a program that ends", wreck, v1alpha1.ImageTest{HTTP: &v1alpha1.HTTPCheck{}}, "the program has ended: exit status 3"},
		{"a program that does not listen", hulk, v1alpha1.ImageTest{HTTP: &v1alpha1.HTTPCheck{}, Timeout: second}, "it does not answer on port 8080"},
		{"a user without a number", named, v1alpha1.ImageTest{Command: []string{"/ship", "user"}}, `its user "captain" is not a number`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tester.Test(t.Context(), "fleet/ship:1", tt.digest, tt.test)
			if (err == nil) != (tt.why == "") || err != nil && !strings.Contains(err.Error(), tt.why) {
				t.Errorf("got %v, want %q", err, tt.why)
			}
		})
	}
	t.Cleanup(func() { // after the parallel tests
		if err := tester.Test(context.Background(), "fleet/ship:1", "sha256:"+strings.Repeat("0", 64), v1alpha1.ImageTest{Command: []string{"x"}}); fault.KindOf(err) != fault.NotFound {
			t.Errorf("an image that is not there: %v", err)
		}
	})
}
