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
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/cli"
	"plimsoll.dev/plimsoll/internal/controller"
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
func newDock(t *testing.T) *dock {
	t.Helper()
	testbed.Tool(t, "bwrap")
	parts := t.TempDir()
	compile(t, "../../../cmd/probe", remedy.Probe(parts))
	y, err := openYard(t.Context(), t.TempDir(), parts)
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
		below, err := d.site.Registries.Image(t.Context(), runAt(t, i.Status.Inputs.RunDigest), "")
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
func runAt(t *testing.T, digest string) oci.Reference {
	t.Helper()
	ref, err := oci.Parse("bases/run@" + digest)
	if err != nil {
		t.Fatal(err)
	}
	return ref
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
		Out: &out, Err: &said, Version: "test", Home: d.folder, Registries: d.site.Registries, Getenv: os.Getenv,
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

// TestCampaignsOnACluster runs campaigns of every kind against a real API server.
func TestCampaignsOnACluster(t *testing.T) {
	d := newDock(t)
	d.admin(t)
	d.ship = filepath.Join(t.TempDir(), "ship")
	compile(t, "../../update/imagetest/testdata/ship", d.ship)
	d.Manager(t, controller.Options{}, func(mgr ctrl.Manager) error { return d.setUp(t.Context(), mgr) })
	for _, side := range []struct {
		name string
		look func(*testing.T, *dock)
	}{
		{"an Image is built again", rebuilds},
		{"an Image is built with an override", overridesOne},
		{"what fails its test is taken back", takesBack},
		{"paused and frozen, by commands", waits},
		{"by itself, within its window", automatic},
	} {
		if !t.Run(side.name, func(t *testing.T) { side.look(t, d) }) {
			return
		}
	}
}

func rebuilds(t *testing.T, d *dock) {
	i := d.declare(t, "", "tools")[0]
	before := d.named(t, i)
	d.advise(t, "CVE-2026-0006", "stdlib", "1.26.1")
	d.mu.Lock()
	d.tools = "1.26.1"
	d.mu.Unlock()
	p := d.patch(t, "tools", v1alpha1.PatchSpec{Target: v1alpha1.PatchTarget{Advisories: []string{"CVE-2026-0006"}}})
	d.until(t, p, v1alpha1.PatchDone)
	if p.Status.Images.Rebuild != 1 || p.Status.Images.Done != 1 {
		t.Errorf("%+v", p.Status.Images)
	}
	d.truthful(t, i)
	made := d.made(t, i)
	if len(made) != 2 || made[1].Labels[v1alpha1.LabelPatch] != "tools" || made[1].Spec.Method != v1alpha1.MethodBuild {
		t.Errorf("its Builds are %+v", made)
	}
	d.proves(t, "tools", "CVE-2026-0006 stdlib 1.26.0", before, i)
}

func overridesOne(t *testing.T, d *dock) {
	i := d.declare(t, "", "lodash")[0]
	before, others := d.named(t, i), d.digests(t, d.images[:1])
	d.advise(t, "CVE-2020-8203", "lodash", "4.17.21")
	p := d.patch(t, "lodash", v1alpha1.PatchSpec{
		Target: v1alpha1.PatchTarget{Advisories: []string{"CVE-2020-8203"}}, Scope: v1alpha1.PatchScope{Repositories: []string{"shop/lodash"}},
	})
	d.until(t, p, v1alpha1.PatchDone)
	if p.Status.Images.Override != 1 || p.Status.Images.Done != 1 {
		t.Errorf("%+v", p.Status.Images)
	}
	d.truthful(t, i)
	d.proves(t, "lodash", "CVE-2020-8203 lodash 4.17.20", before, i)
	var all v1alpha1.DependencyOverrideList
	if err := d.Client.List(t.Context(), &all); err != nil || len(all.Items) != 1 {
		t.Fatalf("%+v, %v", all.Items, err)
	}
	o := all.Items[0]
	d.UntilCondition(t, &o, &o.Status.Status, v1alpha1.ConditionReady, metav1.ConditionTrue, "InForce")
	// It bears on nobody else, though somebody widens it; the other Image has a lower version, and is built.
	d.Change(t, &o, func() { o.Spec.Scope.Repositories = nil })
	d.Until(t, func() string {
		if now := d.digests(t, d.images[:1]); now[0] == others[0] {
			return "what has a lower version is not built"
		}
		return ""
	})
	d.truthful(t, d.images[0])
	d.reads(t, i, image.UpToDate)
	if made := d.made(t, i); len(made) != 2 {
		t.Errorf("it was built %d times", len(made))
	}
	d.Until(t, func() string {
		if d.Get(t, &o); o.Status.Images != 0 {
			return fmt.Sprintf("it bears on %d images", o.Status.Images)
		}
		return ""
	})
}

func takesBack(t *testing.T, d *dock) {
	all := append(d.declare(t, "", "sail-1", "sail-2"), d.declare(t, "sink", "wreck")...)
	before, digest := d.digests(t, all), d.newBase(t, "3.5.2")
	p := d.patch(t, "tested", v1alpha1.PatchSpec{
		Target: v1alpha1.PatchTarget{Bases: []string{yardBase}}, Scope: v1alpha1.PatchScope{Repositories: []string{"shop/sail-*", "shop/wreck"}},
		Tests:     []v1alpha1.ImageTest{{Name: "answers", HTTP: &v1alpha1.HTTPCheck{Path: "/?at=noon", Status: 200, Contains: "afloat noon"}}},
		OnFailure: v1alpha1.FailureRollback, Paused: true,
	})
	d.held(t, p, digest, all)
	d.Change(t, p, func() { p.Spec.Paused = false })
	d.until(t, p, v1alpha1.PatchRolledBack)
	if now := d.digests(t, all); !slices.Equal(now, before) {
		t.Errorf("the tags name %v, and named %v", now, before)
	}
	d.truthful(t, all...)
	r := d.report(t, "tested")
	for _, one := range r.Images {
		if one.Reference == "shop/wreck:1" && !strings.Contains(one.Error, "answers") || one.After != "" {
			t.Errorf("%+v", one)
		}
	}
	// They stay where they are while the Patch stands that has failed; without it the one that was moved
	// and taken back stays still, and another campaign takes it along.
	for _, i := range all {
		d.Until(t, func() string {
			if said := d.reads(t, i, image.HeldBack); !strings.Contains(said, "tested has failed") {
				return i.Name + ": " + said
			}
			return ""
		})
	}
	d.Delete(t, p)
	for _, i := range all {
		d.Until(t, func() string {
			d.Get(t, i)
			back := slices.ContainsFunc(d.made(t, i), func(b v1alpha1.Build) bool { return b.Annotations[v1alpha1.AnnotationTakenBack] != "" })
			said := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionReady)
			if want := map[bool]string{true: image.TakenBack, false: image.UpToDate}[back]; said == nil || said.Reason != want {
				return fmt.Sprintf("%s is %+v, not %s", i.Name, said, want)
			}
			return ""
		})
	}
	d.truthful(t, all...)
	d.until(t, d.patch(t, "again", v1alpha1.PatchSpec{Target: p.Spec.Target}), v1alpha1.PatchDone)
	d.truthful(t, d.images...)
	for _, i := range all {
		d.reads(t, i, image.UpToDate)
	}
}

func waits(t *testing.T, d *dock) {
	all := d.images
	d.plimsoll(t, "patch", "freeze", "--owner", "ops", "--reason", "the fair", "--until", time.Now().AddDate(0, 0, 2).Format(time.DateOnly))
	before, digest := d.digests(t, all), d.newBase(t, "3.5.3")
	p := d.patch(t, "fair", v1alpha1.PatchSpec{Target: v1alpha1.PatchTarget{Bases: []string{yardBase}}})
	d.held(t, p, digest, all)
	d.plimsoll(t, "patch", "pause", "fair")
	d.plimsoll(t, "patch", "thaw")
	d.Until(t, func() string {
		d.Get(t, p)
		said := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionSucceeded)
		if !p.Spec.Paused || p.Status.Phase != v1alpha1.PatchPaused || said == nil || strings.Contains(said.Message, "the fair") {
			return fmt.Sprintf("paused %t, %s, %+v", p.Spec.Paused, p.Status.Phase, said)
		}
		return ""
	})
	if now := d.digests(t, all); !slices.Equal(now, before) {
		t.Errorf("the tags name %v, and named %v", now, before)
	}
	d.plimsoll(t, "patch", "resume", "fair")
	d.until(t, p, v1alpha1.PatchDone)
	d.truthful(t, all...)
	if now := d.digests(t, all); slices.ContainsFunc(now, func(digest string) bool { return slices.Contains(before, digest) }) {
		t.Errorf("the tags name %v, and named %v", now, before)
	}
}

func automatic(t *testing.T, d *dock) {
	all := d.images
	never := []v1alpha1.PatchWindow{{Start: "0 0 29 2 *", Duration: metav1.Duration{Duration: time.Minute}, TimeZone: "UTC"}}
	p := d.patch(t, "high", v1alpha1.PatchSpec{Target: v1alpha1.PatchTarget{Severities: []string{"high"}}, Automatic: true, Windows: never})
	d.Until(t, func() string {
		if d.Get(t, p); p.Status.ObservedGeneration == 0 {
			return "nobody has seen it"
		}
		return ""
	})
	before := d.digests(t, all)
	d.fix(t, "3.5.4")
	d.advise(t, "CVE-2026-0009", "openssl", "3.5.4")
	d.fed(t.Context())
	d.until(t, p, v1alpha1.PatchWaiting)
	for _, i := range all {
		d.reads(t, i, image.HeldBack)
	}
	if now := d.digests(t, all); !slices.Equal(now, before) {
		t.Errorf("the tags name %v, and named %v", now, before)
	}
	d.Change(t, p, func() {
		p.Spec.Windows = []v1alpha1.PatchWindow{{Start: "* * * * *", Duration: metav1.Duration{Duration: time.Hour}, TimeZone: "UTC"}}
	})
	d.until(t, p, v1alpha1.PatchDone)
	d.truthful(t, all...)
	if int(p.Status.Images.Done) != len(all) || p.Status.Run != 1 {
		t.Errorf("run %d: %+v", p.Status.Run, p.Status.Images)
	}
}

// TestCampaignOutlastsTheControlPlane kills the process of a control plane in the middle of a
// campaign, again and again: it ends as if nothing had been, and nothing is done twice.
func TestCampaignOutlastsTheControlPlane(t *testing.T) {
	const images, kills = 40, 3
	d := newDock(t)
	e := errand{Host: d.Config.Host, TLS: d.Config.TLSClientConfig, Folder: d.folder, Parts: d.o.Parts}
	var names []string
	for n := range images {
		names = append(names, fmt.Sprint("app-", n))
	}
	process := e.start(t)
	all := d.declare(t, "", names...)
	before, digest := d.digests(t, all), d.newBase(t, "3.5.2")
	p := d.patch(t, "ssl", v1alpha1.PatchSpec{
		Target: v1alpha1.PatchTarget{Bases: []string{yardBase}}, Paused: true,
		Waves: []v1alpha1.PatchWave{{Name: "first", Repositories: []string{"shop/app-1*"}}},
	})
	d.held(t, p, digest, all)
	d.Change(t, p, func() { p.Spec.Paused = false })
	moved := func() (n int) {
		for i, digest := range d.digests(t, all) {
			if digest != before[i] {
				n++
			}
		}
		return n
	}
	for kill := range kills {
		d.Until(t, func() string {
			if n := moved(); n <= kill*images/(kills+1) {
				return fmt.Sprintf("%d have moved", n)
			}
			return ""
		})
		if err := process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = process.Wait() // it was killed
		t.Logf("killed when %d of %d had moved", moved(), images)
		process = e.start(t)
	}
	d.until(t, p, v1alpha1.PatchDone)
	if p.Status.Images.Done != images {
		t.Errorf("%+v", p.Status.Images)
	}
	d.truthful(t, all...)
	for _, i := range all {
		if made := d.made(t, i); len(made) != 2 {
			t.Errorf("%s has had %d Builds", i.Name, len(made))
		}
	}
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := process.Wait(); err != nil {
		t.Errorf("a control plane that was asked to end: %v", err)
	}
}

// start starts the process, which ends with this one.
func (e errand) start(t *testing.T) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	process := exec.Command(os.Args[0])
	process.Env = append(os.Environ(), errandVariable+"="+string(text))
	process.Stderr = os.Stderr
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	return process
}
