package plane

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/testbed"
)

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
	process := testbed.Send(t, e)
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
		process = testbed.Send(t, e)
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
