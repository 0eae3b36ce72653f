package plane

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/cli"
	"plimsoll.dev/plimsoll/internal/controller/bed"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/remedy"
	"plimsoll.dev/plimsoll/internal/testbed"
	"plimsoll.dev/plimsoll/internal/update"
)

// dock is a real API server, and a yard whose controllers are at work on it.
type dock struct {
	*bed.Bed
	*yard
	images []*v1alpha1.Image
}

// newDock gives one whose controllers nobody has started.
func newDock(t *testing.T) *dock { return newDockAt(t, mooring{}) }

func newDockAt(t *testing.T, m mooring) *dock {
	t.Helper()
	testbed.Tool(t, "bwrap")
	parts := t.TempDir()
	compile(t, "../../../cmd/probe", remedy.Probe(parts))
	y, err := openYard(t.Context(), t.TempDir(), parts, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(y.close)
	d := &dock{Bed: bed.New(t), yard: y}
	d.Create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	d.fix(t, "3.5.1")
	return d
}

// compile builds a program that needs no libraries.
func compile(t *testing.T, folder, to string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-o", to, folder)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+runtime.GOARCH)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// fix makes the base anew with that OpenSSL, and has the Builder know.
func (d *dock) fix(t *testing.T, openssl string) { d.offer(t, d.newBase(t, openssl)) }

func (d *dock) newBase(t *testing.T, openssl string) string {
	t.Helper()
	digest, err := d.base(t.Context(), openssl)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// offer has the Builder name that base: Images would move onto it by themselves.
func (d *dock) offer(t *testing.T, digest string) {
	t.Helper()
	b := &v1alpha1.Builder{ObjectMeta: metav1.ObjectMeta{Name: "standard"}}
	b.Spec = v1alpha1.BuilderSpec{
		Build: v1alpha1.BuildBase{Image: "build:1"}, Run: []v1alpha1.RunBase{{Image: yardBase}}, Lifecycle: v1alpha1.LifecycleSource{Image: "lifecycle:1"},
		Buildpacks: []v1alpha1.BuildpackSource{{Image: "go:1"}}, Order: []v1alpha1.OrderGroup{{Group: []v1alpha1.OrderEntry{{ID: "plimsoll/go"}}}},
	}
	if err := d.Client.Create(t.Context(), b); client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
	d.Until(t, func() string {
		d.Get(t, b)
		b.Status.Published = &v1alpha1.Published{Image: "standard:1", Digest: digestOf("builder")}
		b.Status.Run = []v1alpha1.RunStatus{{Published: v1alpha1.Published{Image: yardBase, Digest: digest}}}
		if err := d.Client.Status().Update(t.Context(), b); err != nil {
			return err.Error()
		}
		return ""
	})
}

// declare declares Images, and waits until they are built.
func (d *dock) declare(t *testing.T, process string, names ...string) (all []*v1alpha1.Image) {
	t.Helper()
	for _, name := range names {
		i := &v1alpha1.Image{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
		i.Spec = v1alpha1.ImageSpec{
			Tag: "shop/" + name + ":1", Builder: v1alpha1.ClusterReference{Name: "standard"},
			Source: v1alpha1.ImageSource{Git: &v1alpha1.GitSource{URL: "https://git.example.com/shop.git", Revision: strings.Repeat("0", 40)}},
		}
		i.Spec.Build.Process = process
		d.Create(t, i)
		all = append(all, i)
	}
	for _, i := range all {
		d.UntilCondition(t, i, &i.Status.Status, v1alpha1.ConditionReady, metav1.ConditionTrue, image.UpToDate)
	}
	d.images = append(d.images, all...)
	return all
}

// named gives what the tag of an Image names.
func (d *dock) named(t *testing.T, i *v1alpha1.Image) string {
	t.Helper()
	digest, err := makers{d.Plane}.Digest(t.Context(), i.Spec.Tag)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// truthful waits until the status of each Image says what its tag names and what that stands on.
func (d *dock) truthful(t *testing.T, all ...*v1alpha1.Image) {
	t.Helper()
	for _, i := range all {
		d.Until(t, func() string {
			d.Get(t, i)
			digest := d.named(t, i)
			if i.Status.LatestImage == nil || i.Status.LatestImage.Digest != digest {
				return fmt.Sprintf("%s names %s, and its status says %+v", i.Spec.Tag, digest, i.Status.LatestImage)
			}
			return ""
		})
		ref, err := d.place(i.Spec.Tag)
		if err != nil {
			t.Fatal(err)
		}
		made, err := d.site.Registries.Image(t.Context(), ref, "")
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := made.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		below, err := d.site.Registries.Image(t.Context(), d.runAt(t, i.Status.Inputs.RunDigest), "")
		if err != nil {
			t.Fatalf("%s: %v", i.Name, err)
		}
		base, err := below.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		if manifest.Layers[0].Digest != base.Layers[0].Digest {
			t.Errorf("%s does not stand on what its status says: %s", i.Name, i.Status.Inputs.RunDigest)
		}
	}
}

// runAt gives the reference of the base at a digest.
func (d *dock) runAt(t *testing.T, digest string) oci.Reference {
	t.Helper()
	ref, err := d.place(yardBase)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := v1.NewHash(digest)
	if err != nil {
		t.Fatal(err)
	}
	return ref.At(hash)
}

func (d *dock) digests(t *testing.T, all []*v1alpha1.Image) (out []string) {
	t.Helper()
	for _, i := range all {
		out = append(out, d.named(t, i))
	}
	return out
}

// patch declares a Patch.
func (d *dock) patch(t *testing.T, name string, spec v1alpha1.PatchSpec) *v1alpha1.Patch {
	t.Helper()
	p := &v1alpha1.Patch{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
	d.Create(t, p)
	return p
}

// until waits for a phase of a Patch; one that has ended has its report.
func (d *dock) until(t *testing.T, p *v1alpha1.Patch, phase v1alpha1.PatchPhase) {
	t.Helper()
	d.Until(t, func() string {
		d.Get(t, p)
		ended := phase == v1alpha1.PatchDone || phase == v1alpha1.PatchRolledBack || phase == v1alpha1.PatchHalted
		if p.Status.Phase == phase && (!ended || p.Status.Report != "") {
			return ""
		}
		said := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionSucceeded)
		return fmt.Sprintf("%s is %s, not %s: %+v %+v", p.Name, p.Status.Phase, phase, p.Status.Images, said)
	})
}

// held waits until the campaign of a Patch is kept and begins nothing, and until Images that would
// move onto a new base by themselves say that they are held back.
func (d *dock) held(t *testing.T, p *v1alpha1.Patch, base string, all []*v1alpha1.Image) {
	t.Helper()
	d.until(t, p, v1alpha1.PatchPaused)
	d.offer(t, base)
	for _, i := range all {
		d.reads(t, i, image.HeldBack)
	}
}

// reads waits until an Image's condition is for that reason.
func (d *dock) reads(t *testing.T, i *v1alpha1.Image, reason string) string {
	t.Helper()
	return d.UntilCondition(t, i, &i.Status.Status, v1alpha1.ConditionReady, metav1.ConditionTrue, reason)
}

// made gives the Builds of an Image, in their order.
func (d *dock) made(t *testing.T, i *v1alpha1.Image) []v1alpha1.Build {
	t.Helper()
	var list v1alpha1.BuildList
	if err := d.Client.List(t.Context(), &list, client.InNamespace(i.Namespace), client.MatchingLabels{v1alpha1.LabelImage: i.Name}); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.Build) int { return int(a.Spec.Number - b.Spec.Number) })
	return list.Items
}

// plimsoll runs a command in the home.
func (d *dock) plimsoll(t *testing.T, args ...string) string {
	t.Helper()
	var out, said bytes.Buffer
	env := &cli.Env{
		Out: &out, Err: &said, Version: "test", Home: d.folder, Registries: d.site.Registries, Getenv: d.getenv,
		ControlPlane: func(ctx context.Context) (cli.ControlPlane, error) { return Running(ctx, d.folder) },
	}
	if status := cli.Run(t.Context(), env, args); status != 0 {
		t.Fatalf("plimsoll %s ends with %d: %s", strings.Join(args, " "), status, said.String())
	}
	return out.String()
}

// admin writes the kubeconfig by which commands know that the home has a control plane.
func (d *dock) admin(t *testing.T) {
	t.Helper()
	tls := d.Config.TLSClientConfig
	file := clientcmdapi.Config{
		Clusters:  map[string]*clientcmdapi.Cluster{"c": {Server: d.Config.Host, CertificateAuthorityData: tls.CAData, CertificateAuthority: tls.CAFile}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"u": {ClientCertificateData: tls.CertData, ClientKeyData: tls.KeyData, ClientCertificate: tls.CertFile, ClientKey: tls.KeyFile, Token: d.Config.BearerToken}},
		Contexts:  map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}}, CurrentContext: "x",
	}
	if err := clientcmd.WriteToFile(file, filepath.Join(d.folder, "kubernetes", "admin.kubeconfig")); err != nil {
		t.Fatal(err)
	}
}

// report gives the report of a campaign, which the home's key has signed.
func (d *dock) report(t *testing.T, name string) update.Report {
	t.Helper()
	var r struct {
		update.Report
		SignedBy string `json:"signedBy"`
	}
	text := d.plimsoll(t, "patch", "report", name, "--verify", "-o", "json")
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return r.Report
}

// proves holds a report of one image to what was before and is now.
func (d *dock) proves(t *testing.T, name, gone, before string, i *v1alpha1.Image) {
	t.Helper()
	r := d.report(t, name)
	if len(r.Images) != 1 || r.Images[0].Before != before || r.Images[0].After != d.named(t, i) || before == r.Images[0].After ||
		!slices.ContainsFunc(r.Images[0].Gone, func(line string) bool { return strings.HasPrefix(line, gone) }) || r.Images[0].Team != "shop" {
		t.Errorf("the report of %s: %+v", name, r.Images)
	}
}
