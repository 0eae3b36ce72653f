package plane

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/cli"
	"plimsoll.dev/plimsoll/internal/controller"
	builds "plimsoll.dev/plimsoll/internal/controller/build"
	"plimsoll.dev/plimsoll/internal/controller/dependencyoverride"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/controller/leader"
	"plimsoll.dev/plimsoll/internal/controller/logs"
	"plimsoll.dev/plimsoll/internal/controller/patch"
	"plimsoll.dev/plimsoll/internal/evidence/sbom"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/sandbox"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/site"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/ledger"
	"plimsoll.dev/plimsoll/internal/testbed"
	"plimsoll.dev/plimsoll/internal/update"
)

// yard is a home in which images are made by hand, as the specifications say, and the controllers of
// Images, Builds and Patches at work on it.
type yard struct {
	*Plane
	mooring
	folder string
	ship   string // path of the program of the images; "" is none
	store  *registry.Registry

	mu     sync.Mutex
	tools  string // version of what comes with a builder
	locked string // version of lodash that sources name
}

// mooring is what homes share. The zero value is of one that shares nothing.
type mooring struct {
	Inventory string // address of the inventory
	Publish   string // where images go
}

// getenv is the environment of all that is done there.
func (m mooring) getenv(name string) string {
	if name == home.InventoryVariable {
		return m.Inventory
	}
	return os.Getenv(name)
}

// openYard opens the home in the folder. parts is the folder of the programs that plimsoll brings.
func openYard(ctx context.Context, folder, parts string, m mooring) (*yard, error) {
	store, err := registry.Open(ctx, registry.Options{Root: filepath.Join(folder, "registry")})
	if err != nil {
		return nil, err
	}
	registries := &oci.Registries{Agent: "test", Local: func(context.Context) (http.RoundTripper, error) { return store.Transport(), nil }}
	steps := sync.OnceValues(func() (executor.Executor, error) {
		return sandbox.New(filepath.Join(folder, "cache", "roots"), sandbox.Options{})
	})
	s := site.New(folder, registries, site.Options{Options: home.Options{Version: "test", Getenv: m.getenv}, Executor: steps})
	p := &Plane{site: s, o: cli.UpOptions{Kubeconfig: "theirs", Parts: parts, Publish: m.Publish}, log: slog.New(slog.DiscardHandler)}
	p.paced = func(o *update.Options, shown *patch.Options) {
		shown.Every = 200 * time.Millisecond
		o.Tick, o.Settle, o.Lease, o.Rebases = 50*time.Millisecond, 100*time.Millisecond, 2*time.Second, 10
		if p.shared() {
			o.Rebases = 4 // that there is something to share
		}
	}
	return &yard{Plane: p, mooring: m, folder: folder, store: store, tools: "1.26.0", locked: "4.17.20"}, nil
}

func (y *yard) close() {
	_ = y.site.Close()
	_ = y.store.Close()
}

// setUp adds the controllers to the manager.
func (y *yard) setUp(ctx context.Context, mgr ctrl.Manager) error {
	if err := y.registry().Setup(mgr); err != nil {
		return err
	}
	if err := y.indexRepositories(ctx, mgr); err != nil {
		return err
	}
	c, err := y.setUpCampaigns(ctx, mgr, nil)
	if err != nil {
		return err
	}
	if err := dependencyoverride.Setup(mgr, counter{y.Plane}, dependencyoverride.Options{Dir: y.site.Path("overrides"), Every: time.Second}); err != nil {
		return err
	}
	rebases, err := builds.Setup(mgr, smith{worker{Plane: y.Plane, cache: mgr.GetClient()}, y}, logs.New(y.site.Path("logs"), 0), y.rebased, builds.Options{})
	if err != nil {
		return err
	}
	images, err := image.Setup(mgr, sources{y.Plane, mgr.GetAPIReader()}, rebases, image.Options{Overrides: y.overrides, Hold: c.hold, Registry: y.registry()})
	if err != nil {
		return err
	}
	y.cache = mgr.GetClient()
	y.images.Store(images)
	y.campaigns.Store(c)
	return nil
}

// smith is a worker that rebases as any, and builds an image of a file: what it is made of is what
// the yard says.
type smith struct {
	worker
	yard *yard
}

// Build implements builds.Worker.
func (s smith) Build(ctx context.Context, job builds.Job, _ io.Writer, _ func(v1alpha1.BuildStep)) (builds.Outcome, error) {
	ref, err := s.place(job.Image.Spec.Tag)
	if err != nil {
		return builds.Outcome{}, err
	}
	if err := s.heldAlready(job, ref); err != nil {
		return builds.Outcome{}, err
	}
	s.yard.mu.Lock()
	made := app{name: ref.String(), tools: s.yard.tools, lodash: s.yard.locked, process: job.Image.Spec.Build.Process}
	s.yard.mu.Unlock()
	for _, o := range sound(job.Overrides).For(ref.Repository(), time.Now()) {
		if o.Spec.Package == "lodash" {
			made.lodash = o.Spec.Version
		}
	}
	digest, base, err := s.yard.app(ctx, ref, made)
	return builds.Outcome{Digest: digest, Tags: []string{ref.String()}, RunImage: &v1alpha1.Published{Image: yardBase, Digest: base}}, err
}

// app is what an application's image holds.
type app struct{ name, tools, lodash, process string }

const yardBase = "bases/run:1"

// app makes an application's image on the base as it is now.
func (y *yard) app(ctx context.Context, ref oci.Reference, a app) (digest, base string, err error) {
	at, err := y.place(yardBase)
	if err != nil {
		return "", "", err
	}
	on, err := y.site.Registries.Image(ctx, at, "")
	if err != nil {
		return "", "", err
	}
	hash, err := on.Digest()
	if err != nil {
		return "", "", err
	}
	below, err := on.ConfigFile()
	if err != nil {
		return "", "", err
	}
	metadata, err := json.Marshal(cnb.LifecycleMetadata{
		App: []cnb.LayerSHA{}, Buildpacks: []cnb.BuildpackData{}, RunImage: cnb.UsedRunImage{
			TopLayer: below.RootFS.DiffIDs[len(below.RootFS.DiffIDs)-1].String(), Reference: at.At(hash).String(), RunImage: cnb.RunImage{Image: at.String()},
		},
	})
	if err != nil {
		return "", "", err
	}
	files := map[string]string{"workspace/made": fmt.Sprint(a)}
	if y.ship != "" {
		program, err := os.ReadFile(y.ship)
		if err != nil {
			return "", "", err
		}
		files["ship"] = string(program)
	}
	made, err := layered(on, files, func(c *v1.ConfigFile) {
		c.Config.Env = append(c.Config.Env, "CNB_PLATFORM_API=0.15", "CARGO=tea")
		c.Config.Labels = map[string]string{cnb.LifecycleMetadataLabel: string(metadata), "tier": "gold"}
		c.Config.User, c.Config.Entrypoint, c.History = "1000:1000", []string{"/ship"}, nil
		if a.process != "" {
			c.Config.Cmd = []string{a.process}
		}
	})
	if err != nil {
		return "", "", err
	}
	made = mutate.Annotations(made, map[string]string{build.BaseNameAnnotation: at.String(), build.BaseDigestAnnotation: hash.String()}).(v1.Image)
	digest, err = y.push(ctx, ref, made, inventory.Image{
		Base: inventory.Base{Name: at.String(), Digest: hash.String()}, Contents: artifact.Contents{BaseLayers: 1},
	}, a)
	return digest, hash.String(), err
}

// base makes the base anew with that OpenSSL, and gives its digest.
func (y *yard) base(ctx context.Context, openssl string) (string, error) {
	nothing := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	made, err := layered(nothing, map[string]string{
		"etc/os-release":                "ID=debian\nVERSION_ID=13\n",
		"var/lib/dpkg/status.d/openssl": "Package: openssl\nStatus: install ok installed\nMaintainer: nobody\nArchitecture: amd64\nVersion: " + openssl + "\nDescription: x\n",
	}, func(*v1.ConfigFile) {})
	if err != nil {
		return "", err
	}
	ref, err := y.place(yardBase)
	if err != nil {
		return "", err
	}
	return y.push(ctx, ref, made, inventory.Image{}, app{})
}

// layered appends a layer of files to an image.
func layered(on v1.Image, files map[string]string, edit func(*v1.ConfigFile)) (v1.Image, error) {
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(files[name])), Typeflag: tar.TypeReg}); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, files[name]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	made, err := mutate.AppendLayers(on, static.NewLayer(text.Bytes(), types.OCIUncompressedLayer))
	if err != nil {
		return nil, err
	}
	config, err := made.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	edit(config)
	return mutate.ConfigFile(made, config)
}

// push puts an image into the store, signed, and tells the inventory of it.
func (y *yard) push(ctx context.Context, ref oci.Reference, made v1.Image, known inventory.Image, a app) (string, error) {
	if err := y.site.Registries.PutImage(ctx, ref, made); err != nil {
		return "", err
	}
	if _, err := ledger.Vouch(ctx, y.site.Home, ref); err != nil {
		return "", err
	}
	digest, err := made.Digest()
	if err != nil {
		return "", err
	}
	config, err := made.ConfigFile()
	if err != nil {
		return "", err
	}
	known.Reference, known.Labels = ref.String(), config.Config.Labels
	delete(known.Labels, cnb.LifecycleMetadataLabel)
	known.Contents.Image, known.Contents.Platform = digest.String(), "linux/"+runtime.GOARCH
	for _, layer := range config.RootFS.DiffIDs {
		known.Contents.Layers = append(known.Contents.Layers, layer.String())
	}
	subject, err := sbom.ImageOf(made)
	if err != nil {
		return "", err
	}
	found, err := y.site.Contents().Contents(ctx, subject)
	if err != nil {
		return "", err
	}
	known.Contents.Packages = slices.DeleteFunc(found.Packages, func(p artifact.Package) bool { return p.Type != "deb" })
	if a.name != "" {
		own := artifact.Package{Layer: known.Contents.Layers[1], FoundBy: []string{"image"}}
		tools, lodash := own, own
		tools.Type, tools.Name, tools.Version, tools.Paths = "golang", "stdlib", a.tools, []string{"ship"}
		lodash.Type, lodash.Name, lodash.Version, lodash.Paths = "npm", "lodash", a.lodash, []string{"workspace/node_modules/lodash/package.json"}
		known.Contents.Packages = append(known.Contents.Packages, tools, lodash)
	}
	index, err := y.site.Inventory(ctx)
	if err != nil {
		return "", err
	}
	return digest.String(), index.Put(ctx, known)
}

// advise holds all packages against one advisory, on versions below the fixed one.
func (y *yard) advise(t *testing.T, id, name, fixed string) {
	t.Helper()
	index, err := y.site.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = index.Rematch(t.Context(), inventory.Which{}, func(_ context.Context, packages []inventory.Package) ([]inventory.Finding, error) {
		var findings []inventory.Finding
		for _, p := range packages {
			if p.Name == name && p.Version < fixed {
				findings = append(findings, inventory.Finding{PackageID: p.ID, Finding: artifact.Finding{ID: id, Severity: artifact.SeverityHigh, Fixed: fixed, State: "fixed"}})
			}
		}
		return findings, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// errand is what the process of a control plane is told, in its environment.
type errand struct {
	Host    string
	TLS     rest.TLSClientConfig
	Folder  string
	Parts   string
	Mooring mooring
	Replica string // its name, where there are several
}

// TestMain makes this program the process of an errand where it was sent for one.
func TestMain(m *testing.M) { testbed.Errands[errand](m) }

// Do runs the controllers until the process is ended.
func (e errand) Do() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	y, err := openYard(ctx, e.Folder, e.Parts, e.Mooring)
	if err != nil {
		return err
	}
	defer y.close()
	target := &rest.Config{Host: e.Host, TLSClientConfig: e.TLS, QPS: -1, UserAgent: e.Replica}
	var o controller.Options
	if e.Replica != "" {
		if y.lease, err = leader.New(target, metav1.NamespaceSystem, ""); err != nil {
			return err
		}
		o.Leader, o.Lease = y.lease, 6*time.Second
	}
	mgr, err := controller.New(target, o)
	if err != nil {
		return err
	}
	if err := y.setUp(ctx, mgr); err != nil {
		return err
	}
	return mgr.Start(ctx)
}
