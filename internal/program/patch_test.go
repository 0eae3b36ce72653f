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
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/site"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/ledger"
	"plimsoll.dev/plimsoll/internal/site/remedy"
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
	if _, err := ledger.Vouch(y.Context(), y.Home, tag); err != nil {
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

// options are those of an engine of the yard.
func (y *shipyard) options() update.Options {
	o := remedy.Home{Site: y.Site}.Options()
	o.Tick = 50 * time.Millisecond
	return o
}

// engine runs one until the test ends.
func (y *shipyard) engine(o update.Options) *update.Engine {
	y.Helper()
	engine, err := update.Open(y.Context(), y.inv, y.InventoryAddress(), o)
	if err != nil {
		y.Fatal(err)
	}
	ctx, cancel := context.WithCancel(y.Context())
	ran := make(chan error, 1)
	go func() { ran <- engine.Run(ctx) }()
	y.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ran, engine.Close()); !errors.Is(err, context.Canceled) {
			y.Error(err)
		}
	})
	return engine
}

// report gives that of a campaign, once it has ended, and that the home's key has signed it.
func (y *shipyard) report(engine *update.Engine, name string) update.Report {
	y.Helper()
	err := engine.Follow(y.Context(), name, func(s update.Status) { y.Logf("%s %s: %+v", s.Phase, s.WaveName, s.Counts) })
	if err != nil {
		y.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		report, sealed, err := engine.Report(y.Context(), name)
		if err == nil {
			if by, err := (remedy.Signer{Home: y.Home}).Verify(y.Context(), sealed); err != nil || !strings.HasPrefix(by, "attestations.pub") {
				y.Errorf("the report is signed by %q: %v", by, err)
			}
			return report
		}
		if fault.KindOf(err) != fault.NotFound || time.Now().After(deadline) {
			y.Fatal(err)
		}
	}
}

// named gives the digest that a tag names.
func (y *shipyard) named(tag string) string {
	y.Helper()
	found := y.Resolve(y.Context(), tag)[0]
	if found.Err != nil {
		y.Fatal(found.Err)
	}
	return found.Digest.String()
}

// tester is an update.Tester.
type tester func(reference, digest string) error

// Test implements update.Tester.
func (t tester) Test(_ context.Context, reference, digest string, _ v1alpha1.ImageTest) error {
	return t(reference, digest)
}

// TestPatchTestsFirst: while a candidate is tested its tag names what it named and the candidate has
// its account; only what has passed is released; a wave that fails is taken back.
func TestPatchTestsFirst(t *testing.T) {
	for _, c := range []struct {
		action     v1alpha1.FailureAction
		want       v1alpha1.PatchPhase
		done, back int64
	}{
		{v1alpha1.FailureContinue, v1alpha1.PatchDone, 5, 0},
		{v1alpha1.FailureRollback, v1alpha1.PatchRolledBack, 0, 5},
	} {
		t.Run(string(c.action), func(t *testing.T) {
			y := newShipyard(t)
			old := y.base("3.5.1-1")
			before := map[string]string{}
			for n := range 6 {
				name := fmt.Sprintf("team/app:%d", n)
				y.app(name, old, "3.5.1-1")
				before[name] = y.named(name)
			}
			y.base("3.5.2-1")
			o := y.options()
			o.Tester = tester(func(reference, digest string) error {
				if now := y.named(reference); now != before[reference] || now == digest {
					t.Errorf("%s names %s while %s is tested", reference, now, digest)
				}
				if signed, err := attest.Signed(t.Context(), y.Registries.Session(), mustTag(t, reference), mustHash(t, digest), y.Believed(t.Context())); err != nil || !signed {
					t.Errorf("%s is tested before it has an account: %v", digest, err)
				}
				if reference == "team/app:3" {
					return errors.New("it does not answer")
				}
				return nil
			})
			engine := y.engine(o)
			spec := v1alpha1.PatchSpec{
				Target: v1alpha1.PatchTarget{All: true}, OnFailure: c.action,
				Tests: []v1alpha1.ImageTest{{Name: "answers", Command: []string{"true"}}},
			}
			if _, err := engine.Apply(t.Context(), "ssl", spec); err != nil {
				t.Fatal(err)
			}
			report := y.report(engine, "ssl")
			if n := report.Counts; report.Outcome != c.want || n.Done != c.done || n.RolledBack != c.back || n.Failed != 1 {
				t.Errorf("%s %s: %+v", report.Outcome, report.Why, n)
			}
			for _, image := range report.Images {
				if now := y.named(image.Reference); (now == before[image.Reference]) == (image.State == "done") {
					t.Errorf("%s is %s and names %s, before %s", image.Reference, image.State, now, before[image.Reference])
				}
			}
			again, err := engine.Plan(t.Context(), spec)
			if left := int64(again.Len()); err != nil || left != 6-c.done { // the inventory was told
				t.Errorf("%d images are left: %v", left, err)
			}
		})
	}
}

func mustTag(t *testing.T, text string) oci.Reference {
	t.Helper()
	ref, err := oci.ParseTag(text)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func mustHash(t *testing.T, text string) v1.Hash {
	t.Helper()
	hash, err := v1.NewHash(text)
	if err != nil {
		t.Fatal(err)
	}
	return hash
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
	engine := y.engine(y.options())
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
	report := y.report(engine, "ssl")
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
