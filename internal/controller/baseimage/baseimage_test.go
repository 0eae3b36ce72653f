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
	"plimsoll.dev/plimsoll/internal/controller/leader"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/controller/tag"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/testbed"
	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

// composer publishes bases into a registry of its own, as the program does but for the evidence.
type composer struct {
	base.Builder
	registries *oci.Registries
	builds     atomic.Int64
}

func newComposer(t *testing.T, home string) *composer {
	t.Helper()
	store, err := registry.Open(t.Context(), registry.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return &composer{
		Builder:    base.Builder{Home: home, Agent: "test"},
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
	return startReplica(t, b, c, controller.Options{})
}

func startReplica(t *testing.T, b *bed.Bed, c *composer, o controller.Options) (stop func()) {
	t.Helper()
	return b.Manager(t, o, func(m ctrl.Manager) error {
		if err := tag.Registry("").Setup(m); err != nil {
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

// armored gives the keys in the files as a resource has them.
func armored(t *testing.T, files ...string) string {
	t.Helper()
	var keys []byte
	for _, file := range files {
		more, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, more...)
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
			Archive:       v1alpha1.Archive{Suites: []string{"test"}, Mirror: a.Root, Keys: armored(t, a.Keyring)},
			Architectures: []string{"amd64"}, Packages: []string{"base-files", "libssl"},
		},
	}
}

const (
	ready = v1alpha1.ConditionReady
	fresh = v1alpha1.ConditionFresh
)

// TestBaseImages runs against a real API server, the real composer, a real registry and real
// signed archives.
func TestBaseImages(t *testing.T) {
	b := bed.New(t)
	t.Run("a fix in the archive", func(t *testing.T) { testFix(t, b) })
	t.Run("an archive that is away", func(t *testing.T) { testAway(t, b) })
	t.Run("a spec that changes", func(t *testing.T) { testSpec(t, b) })
	t.Run("one tag", func(t *testing.T) { testOneTag(t, b) })
	t.Run("two replicas", func(t *testing.T) { testReplicas(t, b) })
}

// TestDebian has a base of Debian's own packages take up a fix in zlib: the older package is in an
// archive of this repository, the newer one in Debian's.
func TestDebian(t *testing.T) {
	b, c := bed.New(t), newComposer(t, testbed.Home(t))
	folder, err := filepath.Abs("../../../examples/archives/before")
	if err != nil {
		t.Fatal(err)
	}
	const before = "1:1.3.dfsg+really1.3.1-1+b1"
	image := &v1alpha1.BaseImage{
		ObjectMeta: metav1.ObjectMeta{Name: "debian"},
		Spec: v1alpha1.BaseImageSpec{
			Archive: v1alpha1.Archive{
				Suites: []string{"trixie", "before"}, Mirrors: map[string]string{"before": folder},
				Keys: armored(t, "/usr/share/keyrings/debian-archive-keyring.gpg", filepath.Join(folder, "key.gpg")),
			},
			Architectures: []string{"amd64"}, Packages: []string{"base-files", "zlib1g=" + before},
		},
	}
	b.Create(t, image)
	start(t, b, c)
	b.UntilCondition(t, image, &image.Status.Status, ready, metav1.ConditionTrue, status.Published)
	first := image.Status.Published.Digest
	b.Change(t, image, func() { image.Spec.Packages[1] = "zlib1g" })
	untilMoved(t, b, image, first)
	if len(image.Status.Changes) != 1 || !strings.HasPrefix(image.Status.Changes[0], "zlib1g "+before+" → 1:1.3") {
		t.Errorf("the changes are %q", image.Status.Changes)
	}
}

func testFix(t *testing.T, b *bed.Bed) {
	a, c := debarchive.New(t, suite("13", "3.5-1")), newComposer(t, t.TempDir())
	image := declared(t, "run", a)
	b.Create(t, image)
	stop := start(t, b, c)
	b.UntilCondition(t, image, &image.Status.Status, ready, metav1.ConditionTrue, status.Published)
	first := image.Status
	if first.Packages != 2 || first.Published.Image != "run:1" || len(first.Changes)+len(first.Previous) > 0 {
		t.Errorf("the first status is %+v", first)
	}
	a.Rewrite(t, suite("13", "3.5-1+deb13u1"))
	untilMoved(t, b, image, first.Published.Digest)
	if diff := cmp.Diff([]string{"libssl 3.5-1 → 3.5-1+deb13u1"}, image.Status.Changes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{first.Published.Digest}, image.Status.Previous); diff != "" {
		t.Error(diff)
	}
	b.UntilCondition(t, image, &image.Status.Status, fresh, metav1.ConditionTrue, status.UpToDate)
	b.Until(t, func() string {
		if !slices.Contains(b.Events(t, image), status.Published) {
			return "no event tells of a new image"
		}
		return ""
	})

	// A restart looks once, and writes nothing.
	stop()
	version, builds := image.ResourceVersion, c.builds.Load()
	stop = start(t, b, c)
	probe := declared(t, "probe", a)
	b.Create(t, probe)
	b.UntilCondition(t, probe, &probe.Status.Status, ready, metav1.ConditionTrue, status.Published)
	b.Until(t, func() string {
		if got := c.builds.Load(); got != builds+2 {
			return fmt.Sprintf("%d looks after the restart, want one of each base", got-builds)
		}
		return ""
	})
	if b.Get(t, image); image.ResourceVersion != version {
		t.Errorf("a restart without changes wrote: %+v", image.Status)
	}

	// It is built once more when somebody asks, and stays when its resource goes.
	b.Change(t, image, func() { image.Annotations = map[string]string{v1alpha1.AnnotationBuild: "now"} })
	b.Until(t, func() string {
		if c.builds.Load() != builds+3 {
			return "nobody looked when asked to"
		}
		return ""
	})
	b.Delete(t, image)
	b.Delete(t, probe)
	stop()
	if _, err := c.image(t.Context(), "run:1"); err != nil {
		t.Errorf("the image went with its resource: %v", err)
	}
}

func untilMoved(t *testing.T, b *bed.Bed, image *v1alpha1.BaseImage, from string) {
	t.Helper()
	b.Until(t, func() string {
		if b.Get(t, image); image.Status.Published.Digest == from {
			return fmt.Sprintf("the tag still names the image that it did: %+v", image.Status.Conditions)
		}
		return ""
	})
}

func testAway(t *testing.T, b *bed.Bed) {
	a, c := debarchive.New(t, suite("13", "3.5-1")), newComposer(t, t.TempDir())
	var isAway atomic.Bool
	isAway.Store(true)
	server := a.Serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isAway.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	image := declared(t, "away", a)
	image.Spec.Archive.Mirror = server.URL
	b.Create(t, image)
	defer start(t, b, c)()
	b.UntilCondition(t, image, &image.Status.Status, ready, metav1.ConditionFalse, status.Away)
	isAway.Store(false)
	b.UntilCondition(t, image, &image.Status.Status, ready, metav1.ConditionTrue, status.Published)

	// What is away later does not take the image away.
	first := *image.Status.Published
	isAway.Store(true)
	b.UntilCondition(t, image, &image.Status.Status, fresh, metav1.ConditionFalse, status.Away)
	b.UntilCondition(t, image, &image.Status.Status, ready, metav1.ConditionTrue, status.Published)
	if diff := cmp.Diff(first, *image.Status.Published); diff != "" {
		t.Error(diff)
	}
	a.Rewrite(t, suite("13", "3.5-2"))
	isAway.Store(false)
	untilMoved(t, b, image, first.Digest)
	b.UntilCondition(t, image, &image.Status.Status, fresh, metav1.ConditionTrue, status.UpToDate)

	// Nor does one that lies.
	second := *image.Status.Published
	a.Change(t, "dists/test/InRelease", func(text []byte) []byte { return []byte(strings.Replace(string(text), "main/", "evil/", 1)) })
	message := b.UntilCondition(t, image, &image.Status.Status, fresh, metav1.ConditionFalse, status.Refused)
	if !strings.Contains(message, "the last image stays") {
		t.Errorf("it does not say what stays: %s", message)
	}
	if b.Get(t, image); image.Status.Published.Digest != second.Digest {
		t.Error("an archive that lies made an image")
	}
	b.Delete(t, image)
}

func testSpec(t *testing.T, b *bed.Bed) {
	a, c := debarchive.New(t, suite("13", "3.5-1")), newComposer(t, t.TempDir())
	image := declared(t, "spec", a)
	b.Create(t, image)
	defer start(t, b, c)()
	b.UntilCondition(t, image, &image.Status.Status, ready, metav1.ConditionTrue, status.Published)
	first := *image.Status.Published

	// A wrong spec says where, is not tried again, and leaves the image.
	b.Change(t, image, func() { image.Spec.Archive.Keys, image.Spec.Archive.Keyring = "", "keys.pgp" })
	message := b.UntilCondition(t, image, &image.Status.Status, ready, metav1.ConditionFalse, status.Invalid)
	if !strings.Contains(message, "spec.archive.keyring") {
		t.Errorf("it does not name the field: %s", message)
	}
	if diff := cmp.Diff(&first, image.Status.Published); diff != "" {
		t.Error(diff)
	}

	// While it is suspended a changed spec is built, and a changed archive is not.
	b.Change(t, image, func() {
		image.Spec.Archive.Keys, image.Spec.Archive.Keyring = armored(t, a.Keyring), ""
		image.Spec.Labels, image.Spec.Update.Suspend = map[string]string{"a": "b"}, true
	})
	b.UntilCondition(t, image, &image.Status.Status, fresh, metav1.ConditionUnknown, status.Suspended)
	second := *image.Status.Published
	if second.Digest == first.Digest {
		t.Error("the changed spec was not built")
	}
	builds := c.builds.Load()
	a.Rewrite(t, suite("13", "3.5-2"))
	probe := declared(t, "probe", a) // follows the same archive
	b.Create(t, probe)
	b.UntilCondition(t, probe, &probe.Status.Status, ready, metav1.ConditionTrue, status.Published)
	if got := c.builds.Load(); got != builds+1 {
		t.Errorf("%d builds while it is suspended", got-builds-1)
	}
	b.Change(t, image, func() { image.Spec.Update.Suspend = false })
	untilMoved(t, b, image, second.Digest)
	b.Delete(t, image)
	b.Delete(t, probe)
}

func testOneTag(t *testing.T, b *bed.Bed) {
	a, c := debarchive.New(t, suite("13", "3.5-1")), newComposer(t, t.TempDir())
	first, second := declared(t, "first", a), declared(t, "second", a)
	b.Create(t, first)
	second.Spec.Tag = "first:1"
	b.Create(t, second)
	defer start(t, b, c)()
	b.UntilCondition(t, first, &first.Status.Status, ready, metav1.ConditionTrue, status.Published)
	message := b.UntilCondition(t, second, &second.Status.Status, ready, metav1.ConditionFalse, status.TagTaken)
	if want := "BaseImage/first publishes under the tag first:1: give one of them another"; message != want {
		t.Errorf("got %q, want %q", message, want)
	}
	b.Change(t, first, func() { first.Spec.Tag = "other:1" }) // it makes way
	b.UntilCondition(t, second, &second.Status.Status, ready, metav1.ConditionTrue, status.Published)
	b.Until(t, func() string {
		if b.Get(t, first); first.Status.Published.Image != "other:1" {
			return "it does not go by its new tag"
		}
		return ""
	})
	b.Delete(t, first)
	b.Delete(t, second)
}

// testReplicas has one of two processes work, and the other take over.
func testReplicas(t *testing.T, b *bed.Bed) {
	a := debarchive.New(t, suite("13", "3.5-1"))
	composers := []*composer{newComposer(t, t.TempDir()), newComposer(t, t.TempDir())}
	var stops []func()
	for _, c := range composers {
		lease, err := leader.New(b.Config, "kube-system", "")
		if err != nil {
			t.Fatal(err)
		}
		stops = append(stops, startReplica(t, b, c, controller.Options{Leader: lease}))
	}
	first := declared(t, "replicated", a)
	b.Create(t, first)
	b.UntilCondition(t, first, &first.Status.Status, ready, metav1.ConditionTrue, status.Published)
	leading := 0
	if composers[0].builds.Load() == 0 {
		leading = 1
	}
	if n := composers[1-leading].builds.Load(); n > 0 {
		t.Errorf("the other built too, %d times", n)
	}
	stops[leading]()
	second := declared(t, "taken-over", a)
	b.Create(t, second)
	b.UntilCondition(t, second, &second.Status.Status, ready, metav1.ConditionTrue, status.Published)
	if composers[1-leading].builds.Load() == 0 {
		t.Error("the other did not take over")
	}
	b.Delete(t, first)
	b.Delete(t, second)
}
