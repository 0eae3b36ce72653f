package program_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/build/rebase"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/site"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/update"
)

// shipyard is a home with images made by hand, as the specifications say.
type shipyard struct {
	testing.TB
	*site.Site
	inv *inventory.Inventory
}

func newShipyard(t testing.TB) *shipyard {
	t.Helper()
	folder := t.TempDir()
	store, err := registry.Open(t.Context(), registry.Options{Root: filepath.Join(folder, "registry")})
	if err != nil {
		t.Fatal(err)
	}
	registries := &oci.Registries{Agent: "test", Local: func(context.Context) (http.RoundTripper, error) { return store.Transport(), nil }}
	y := &shipyard{TB: t, Site: site.New(folder, registries, site.Options{Options: home.Options{Version: "test"}})}
	t.Cleanup(func() {
		if err := errors.Join(y.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	if y.inv, err = y.Inventory(t.Context()); err != nil {
		t.Fatal(err)
	}
	return y
}

// image appends a layer of files to an image, and names what comes of it.
func (y *shipyard) image(on v1.Image, files map[string]string, edit func(*v1.ConfigFile)) v1.Image {
	y.Helper()
	image, err := mutate.AppendLayers(on, static.NewLayer(tarOf(y, files), types.OCIUncompressedLayer))
	if err != nil {
		y.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		y.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	if config.Config.Labels == nil {
		config.Config.Labels = map[string]string{}
	}
	edit(config)
	if image, err = mutate.ConfigFile(image, config); err != nil {
		y.Fatal(err)
	}
	return image
}

const yardBase = "bases/run:1"

// base builds the base anew with that OpenSSL, and tells the inventory.
func (y *shipyard) base(openssl string) v1.Image {
	y.Helper()
	empty := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image := y.image(empty, map[string]string{
		"etc/os-release":                "ID=debian\nVERSION_ID=13\n",
		"var/lib/dpkg/status.d/openssl": "Package: openssl\nStatus: install ok installed\nMaintainer: nobody\nArchitecture: amd64\nVersion: " + openssl + "\nDescription: x\n",
		"usr/share/doc/openssl/readme":  openssl,
	}, func(c *v1.ConfigFile) { c.Config.User = "65532:65532" })
	y.push(yardBase, image, inventory.Image{}, openssl)
	return image
}

// app builds an application on the base.
func (y *shipyard) app(name string, on v1.Image, openssl string) {
	y.Helper()
	digest, err := on.Digest()
	if err != nil {
		y.Fatal(err)
	}
	below, err := on.ConfigFile()
	if err != nil {
		y.Fatal(err)
	}
	metadata, err := json.Marshal(cnb.LifecycleMetadata{
		App: []cnb.LayerSHA{}, Buildpacks: []cnb.BuildpackData{}, RunImage: cnb.UsedRunImage{
			TopLayer: below.RootFS.DiffIDs[len(below.RootFS.DiffIDs)-1].String(), Reference: "bases/run@" + digest.String(), RunImage: cnb.RunImage{Image: yardBase},
		},
	})
	if err != nil {
		y.Fatal(err)
	}
	image := y.image(on, map[string]string{"workspace/name": name}, func(c *v1.ConfigFile) {
		c.Config.Env = append(c.Config.Env, "CNB_PLATFORM_API=0.15")
		c.Config.Labels[cnb.LifecycleMetadataLabel] = string(metadata)
		c.History = nil
	})
	y.push(name, image, inventory.Image{
		Base: inventory.Base{Name: yardBase, Digest: digest.String()}, Contents: artifact.Contents{BaseLayers: 1},
	}, openssl)
}

// push puts an image into the store, and what is known of it into the inventory.
func (y *shipyard) push(name string, image v1.Image, known inventory.Image, openssl string) {
	y.Helper()
	tag, err := oci.ParseTag(name)
	if err != nil {
		y.Fatal(err)
	}
	if err := y.Registries.PutImage(y.Context(), tag, image); err != nil {
		y.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		y.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		y.Fatal(err)
	}
	known.Reference, known.Size = tag.String(), 1000
	known.Contents.Image, known.Contents.Platform = digest.String(), "linux/"+runtime.GOARCH
	for _, layer := range config.RootFS.DiffIDs {
		known.Contents.Layers = append(known.Contents.Layers, layer.String())
	}
	known.Contents.Packages = []artifact.Package{{
		Type: "deb", Namespace: "debian", Name: "openssl", Version: openssl, Arch: "amd64", Distro: "debian-13", Source: "openssl", SourceVersion: openssl,
		Paths: []string{"var/lib/dpkg/status.d/openssl"}, Layer: known.Contents.Layers[0], FoundBy: []string{"image"},
	}}
	if err := y.inv.Put(y.Context(), known); err != nil {
		y.Fatal(err)
	}
	y.rematch()
}

// rematch holds what is new against an advisory on OpenSSL before 3.5.2.
func (y *shipyard) rematch() {
	y.Helper()
	_, err := y.inv.Rematch(y.Context(), inventory.Which{}, func(_ context.Context, packages []inventory.Package) ([]inventory.Finding, error) {
		var findings []inventory.Finding
		for _, p := range packages {
			if p.Name == "openssl" && p.Version < "3.5.2" {
				findings = append(findings, inventory.Finding{PackageID: p.ID, Finding: artifact.Finding{
					ID: "CVE-2026-0001", Severity: artifact.SeverityHigh, Fixed: "3.5.2-1", State: "fixed",
				}})
			}
		}
		return findings, nil
	})
	if err != nil {
		y.Fatal(err)
	}
}

// rebaser carries campaigns out by rebasing the images of the home.
type rebaser struct{ *site.Site }

// Apply implements update.Remedier.
func (r rebaser) Apply(ctx context.Context, batch update.Batch, report func(update.Outcome)) error {
	numbers := map[string]int64{}
	var items []site.RebaseItem
	for _, item := range batch.Items {
		numbers[item.Reference] = item.Number
		items = append(items, site.RebaseItem{Tag: item.Reference})
	}
	return r.Rebase(ctx, items, site.RebaseOptions{Vouch: true}, func(o site.RebaseOutcome) {
		out := update.Outcome{Number: numbers[o.Item.Tag], Before: o.From, After: o.To, Bytes: o.Pushed, Err: o.Err}
		if o.Status == rebase.StatusUnchanged {
			out.Before = "" // it was rebased before, or never needed to be: the engine knows what it planned for
		}
		report(out)
	})
}

// Move implements update.Remedier.
func (r rebaser) Move(ctx context.Context, moves []update.Move, report func(update.Outcome)) error {
	session := r.Registries.Session()
	for _, m := range moves {
		report(update.Outcome{Number: m.Number, Before: m.From, After: m.To, Err: moveTag(ctx, session, m)})
	}
	return nil
}

func moveTag(ctx context.Context, session *oci.Session, m update.Move) error {
	tag, err := oci.ParseTag(m.Reference)
	if err != nil {
		return err
	}
	now, err := session.Head(ctx, tag)
	if err != nil || now.String() == m.To {
		return err
	}
	if now.String() != m.From {
		return fault.Newf(fault.Denied, "move the tag", m.Reference, "somebody else has moved it")
	}
	to, err := v1.NewHash(m.To)
	if err != nil {
		return err
	}
	manifest, err := session.Manifest(ctx, tag.At(to))
	if err != nil {
		return err
	}
	_, err = session.PutManifest(ctx, tag, manifest.MediaType, manifest.Raw)
	return err
}

// TestPatchRebases takes real images to a real base that has the fix: all evidence is issued
// anew, and the report says what the registry says.
func TestPatchRebases(t *testing.T) {
	const images = 40
	y := newShipyard(t)
	old := y.base("3.5.1-1")
	for n := range images {
		y.app(fmt.Sprintf("team-%d/app:%d", n%3, n), old, "3.5.1-1")
	}
	engine, err := update.Open(t.Context(), y.inv, y.InventoryAddress(), update.Options{Remedier: rebaser{y.Site}, Tick: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- engine.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-ran, engine.Close()); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()
	spec := v1alpha1.PatchSpec{Target: v1alpha1.PatchTarget{Advisories: []string{"CVE-2026-0001"}}}
	plan, err := engine.Plan(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if r := plan.Radius; r.Images != images || r.Remedies[artifact.RemedyNone] != images || len(r.First) != 1 || r.First[0] != yardBase {
		t.Fatalf("before the base has the fix: %+v", r)
	}
	y.base("3.5.2-1")
	if _, err := engine.Apply(t.Context(), "ssl", spec); err != nil {
		t.Fatal(err)
	}
	err = engine.Follow(t.Context(), "ssl", func(s update.Status) { t.Logf("%s %s: %+v", s.Phase, s.WaveName, s.Counts) })
	if err != nil {
		t.Fatal(err)
	}
	var report update.Report
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if report, _, err = engine.Report(t.Context(), "ssl"); err == nil {
			break
		}
		if fault.KindOf(err) != fault.NotFound || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if report.Outcome != v1alpha1.PatchDone || report.Counts.Done != images {
		t.Errorf("%s %s: %+v", report.Outcome, report.Why, report.Counts)
	}
	for _, image := range report.Images {
		named := y.Resolve(t.Context(), image.Reference)[0]
		if named.Err != nil || named.Digest.String() != image.After || image.Before == image.After {
			t.Errorf("%s names %s (%v): reported are %s and %s: %s", image.Reference, named.Digest, named.Err, image.Before, image.After, image.Error)
		}
		if len(image.Gone) != 1 || len(image.Left) > 0 || !strings.HasPrefix(image.Gone[0], "CVE-2026-0001 openssl 3.5.1") {
			t.Errorf("%s: gone %v, left %v", image.Reference, image.Gone, image.Left)
		}
	}
	again, err := engine.Plan(t.Context(), v1alpha1.PatchSpec{Target: v1alpha1.PatchTarget{All: true}})
	if err != nil || again.Len() != 0 {
		t.Errorf("there is still something to do: %+v, %v", again.Radius, err)
	}
}

// tarOf gives an archive of files.
func tarOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
