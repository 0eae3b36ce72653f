package baseimage_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/controller/archives"
	"plimsoll.dev/plimsoll/internal/controller/baseimage"
	"plimsoll.dev/plimsoll/internal/controller/bed"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/controller/tag"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

// composer publishes bases into a registry of its own, as the program does but for the evidence.
type composer struct {
	base.Builder
	registries *oci.Registries
	builds     atomic.Int64
}

func newComposer(t *testing.T) *composer {
	t.Helper()
	store, err := registry.Open(t.Context(), registry.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return &composer{
		Builder:    base.Builder{Home: t.TempDir(), Agent: "test"},
		registries: &oci.Registries{Local: func(context.Context) (http.RoundTripper, error) { return store.Transport(), nil }},
	}
}

// Build implements baseimage.Builder.
func (c *composer) Build(ctx context.Context, image *v1alpha1.BaseImage, name string) (baseimage.Result, error) {
	c.builds.Add(1)
	made, err := c.Builder.Build(ctx, image, base.Options{})
	if err != nil {
		return baseimage.Result{}, err
	}
	ref, err := oci.ParseTag(name)
	if err != nil {
		return baseimage.Result{}, err
	}
	out := baseimage.Result{Image: ref.String(), Digest: made.Images[0].Digest, Packages: len(made.Lock.Images[0].Packages)}
	if p := image.Status.Published; p != nil && p.Digest != out.Digest {
		old, err := c.image(ctx, name+"@"+p.Digest)
		if err != nil {
			return out, err
		}
		diff, err := base.Compare("amd64", old, made.Images[0].Image)
		if err != nil {
			return out, err
		}
		for _, change := range diff.Packages {
			out.Changes = append(out.Changes, fmt.Sprintf("%s %s → %s", change.Name, change.From, change.To))
		}
	}
	return out, c.registries.PutImage(ctx, ref, made.Images[0].Image)
}

func (c *composer) image(ctx context.Context, name string) (v1.Image, error) {
	ref, err := oci.Parse(name)
	if err != nil {
		return nil, err
	}
	return c.registries.Image(ctx, ref, "amd64")
}

// start starts a process that keeps bases. Archives are looked at all the time.
func start(t *testing.T, b *bed.Bed, c *composer) (stop func()) {
	t.Helper()
	return b.Manager(t, controller.Options{}, func(m ctrl.Manager) error {
		if err := tag.Setup(m); err != nil {
			return err
		}
		watch := archives.New(archives.Options{Every: 50 * time.Millisecond, State: filepath.Join(c.Home, "archives"), Agent: "test"})
		return baseimage.Setup(m, c, baseimage.Options{Archives: watch})
	})
}

// suite is an archive's with the two packages in these versions.
func suite(baseFiles, libssl string) debarchive.Suite {
	return debarchive.Suite{Name: "test", Packages: []debarchive.Package{
		{Name: "base-files", Version: baseFiles, Files: []debarchive.File{
			debarchive.Dir("etc", 0), debarchive.Regular("usr/lib/os-release", "ID=test\n"),
			debarchive.Symlink("etc/os-release", "../usr/lib/os-release"),
		}},
		{Name: "libssl", Version: libssl, Files: []debarchive.File{debarchive.Regular("usr/lib/libssl.so", libssl)}},
	}}
}

// armored gives an archive's keys as a resource has them.
func armored(t *testing.T, a *debarchive.Archive) string {
	t.Helper()
	keys, err := os.ReadFile(a.Keyring)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	w, err := armor.Encode(&text, "PGP PUBLIC KEY BLOCK", nil)
	if err == nil {
		_, err = w.Write(keys)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return text.String() + "\n"
}

func declared(t *testing.T, name string, a *debarchive.Archive) *v1alpha1.BaseImage {
	return &v1alpha1.BaseImage{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.BaseImageSpec{
			Archive:       v1alpha1.Archive{Suites: []string{"test"}, Mirror: a.Root, Keys: armored(t, a)},
			Architectures: []string{"amd64"}, Packages: []string{"base-files", "libssl"},
		},
	}
}

// TestBaseImages runs against a real API server, the real composer, a real registry and real
// signed archives.
func TestBaseImages(t *testing.T) {
	b := bed.New(t)
	t.Run("a fix in the archive", func(t *testing.T) {
		a, c := debarchive.New(t, suite("13", "3.5-1")), newComposer(t)
		image := declared(t, "run", a)
		b.Create(t, image)
		stop := start(t, b, c)
		b.UntilCondition(t, image, &image.Status.Status, v1alpha1.ConditionReady, metav1.ConditionTrue, status.Published)
		first := image.Status
		if first.Packages != 2 || first.Published.Image != "run:1" || len(first.Changes)+len(first.Previous) > 0 {
			t.Errorf("the first status is %+v", first)
		}
		a.Rewrite(t, suite("13", "3.5-1+deb13u1"))
		b.Until(t, func() string {
			b.Get(t, image)
			if image.Status.Published.Digest == first.Published.Digest {
				return "the fix is in no image"
			}
			return ""
		})
		if diff := cmp.Diff([]string{"libssl 3.5-1 → 3.5-1+deb13u1"}, image.Status.Changes); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{first.Published.Digest}, image.Status.Previous); diff != "" {
			t.Error(diff)
		}
		if fresh := b.UntilCondition(t, image, &image.Status.Status, v1alpha1.ConditionFresh, metav1.ConditionTrue, status.UpToDate); fresh == "" {
			t.Error("it does not say why it is fresh")
		}
		b.Until(t, func() string {
			if n := count(b.Events(t, image), status.Published); n == 0 {
				return "no event tells of a new image"
			}
			return ""
		})

		// A restart looks once and writes nothing.
		stop()
		version, builds := image.ResourceVersion, c.builds.Load()
		start(t, b, c)
		b.Until(t, func() string {
			if c.builds.Load() == builds {
				return "nobody looked after the restart"
			}
			return ""
		})
		probe := declared(t, "probe", a) // is reconciled after what the restart found
		b.Create(t, probe)
		b.UntilCondition(t, probe, &probe.Status.Status, v1alpha1.ConditionReady, metav1.ConditionTrue, status.Published)
		if b.Get(t, image); image.ResourceVersion != version {
			t.Errorf("a restart without changes wrote: %+v", image.Status)
		}
		b.Delete(t, probe)
		b.Delete(t, image)
		if _, err := c.image(t.Context(), "run:1"); err != nil {
			t.Errorf("the image went with its resource: %v", err)
		}
	})
}

func count(all []string, want string) int {
	n := 0
	for _, each := range all {
		if each == want {
			n++
		}
	}
	return n
}

var _ = []any{fault.Failed, slices.Contains[[]string], strings.Contains}
