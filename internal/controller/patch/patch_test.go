package patch_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/controller/bed"
	"plimsoll.dev/plimsoll/internal/controller/patch"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/update"
)

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(s[:])
}

const baseName = "registry.example/run:13"

// image gives an app, or for layers without an app a base, with that OpenSSL.
func image(name, openssl string, isBase bool) inventory.Image {
	out := inventory.Image{
		Reference: name, Contents: artifact.Contents{
			Image: sum(name + openssl), Platform: "linux/amd64", Layers: []string{sum("ssl" + openssl)},
			Packages: []artifact.Package{{
				Type: "deb", Namespace: "debian", Name: "openssl", Version: openssl, Distro: "debian-13", Layer: sum("ssl" + openssl), Paths: []string{"p"}, FoundBy: []string{"image"},
			}},
		},
	}
	if !isBase {
		out.Contents.BaseLayers, out.Contents.Layers = 1, append(out.Contents.Layers, sum("app"))
		out.Base = inventory.Base{Name: baseName, Digest: sum(baseName + openssl)}
	}
	return out
}

// rebaser moves images in the inventory alone.
type rebaser struct {
	inv *inventory.Inventory

	mu     sync.Mutex
	refuse error
	began  atomic.Bool   // it was given a batch
	held   chan struct{} // closed to let it go on
}

func (r *rebaser) Apply(ctx context.Context, batch update.Batch, report func(update.Outcome)) error {
	r.began.Store(true)
	select {
	case <-r.held:
	case <-ctx.Done():
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, item := range batch.Items {
		after := image(item.Reference, "3.5.2", false)
		err := r.refuse
		if err == nil {
			err = r.inv.Put(ctx, after)
		}
		report(update.Outcome{Number: item.Number, Before: item.From, After: after.Contents.Image, Err: err})
	}
	return nil
}

func (r *rebaser) Move(_ context.Context, moves []update.Move, report func(update.Outcome)) error {
	for _, m := range moves {
		report(update.Outcome{Number: m.Number, Before: m.From, After: m.To})
	}
	return nil
}

func match(_ context.Context, packages []inventory.Package) ([]inventory.Finding, error) {
	var findings []inventory.Finding
	for _, p := range packages {
		if p.Version == "3.5.1" {
			findings = append(findings, inventory.Finding{PackageID: p.ID, Finding: artifact.Finding{ID: "CVE-2026-0001", Severity: artifact.SeverityHigh, Fixed: "3.5.2", State: "fixed"}})
		}
	}
	return findings, nil
}

func put(t *testing.T, inv *inventory.Inventory, images ...inventory.Image) {
	t.Helper()
	if err := inv.Put(t.Context(), images...); err != nil {
		t.Fatal(err)
	}
	if _, err := inv.Rematch(t.Context(), inventory.Which{Unmatched: true}, match); err != nil {
		t.Fatal(err)
	}
}

// quayside is an API server, an engine and the controller between them.
type quayside struct {
	*bed.Bed
	inv     *inventory.Inventory
	rebaser *rebaser
}

func start(t *testing.T) *quayside {
	address := "sqlite:" + filepath.Join(t.TempDir(), "inventory.db")
	inv, err := inventory.Open(t.Context(), address, inventory.Options{})
	if err != nil {
		t.Fatal(err)
	}
	q := &quayside{Bed: bed.New(t), inv: inv, rebaser: &rebaser{inv: inv, held: make(chan struct{})}}
	engine, err := update.Open(t.Context(), inv, address, update.Options{Remedier: q.rebaser, Tick: 50 * time.Millisecond, Settle: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- engine.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := errors.Join(engine.Close(), inv.Close()); err != nil {
			t.Error(err)
		}
	})
	q.Manager(t, controller.Options{}, func(mgr ctrl.Manager) error {
		return patch.Setup(mgr, engine, patch.Options{Every: 100 * time.Millisecond})
	})
	return q
}

const succeeded = v1alpha1.ConditionSucceeded

func newPatch(name string, spec v1alpha1.PatchSpec) *v1alpha1.Patch {
	spec.Target = v1alpha1.PatchTarget{Advisories: []string{"CVE-2026-0001"}}
	return &v1alpha1.Patch{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
}

// TestPatches runs campaigns against a real API server.
func TestPatches(t *testing.T) {
	q := start(t)
	apps := []inventory.Image{image(baseName, "3.5.2", true)}
	for n := range 5 {
		apps = append(apps, image(fmt.Sprintf("registry.example/app-%d:1", n), "3.5.1", false))
	}
	put(t, q.inv, apps...)

	// One that is declared paused does nothing until it is not.
	p := newPatch("ssl", v1alpha1.PatchSpec{Paused: true})
	q.Create(t, p)
	q.UntilCondition(t, p, &p.Status.Status, succeeded, metav1.ConditionUnknown, string(v1alpha1.PatchPaused))
	if p.Status.Images.Total != 5 || p.Status.Images.Rebase != 5 || p.Status.Images.Done != 0 {
		t.Errorf("%+v", p.Status.Images)
	}
	q.Change(t, p, func() { p.Spec.Paused = false })
	q.Until(t, func() string {
		if q.Get(t, p); p.Status.Phase != v1alpha1.PatchRunning {
			return "it is " + string(p.Status.Phase)
		}
		if !q.rebaser.began.Load() { // it runs before its first batch is handed out
			return "no image is being rebased"
		}
		return ""
	})

	// What is under way is not forgotten: deletion waits.
	if err := q.Client.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if q.Get(t, p); p.DeletionTimestamp == nil {
		t.Error("it is not going")
	}
	close(q.rebaser.held)
	q.UntilGone(t, p)

	// A second one finds what the first has left, and says how it ended.
	put(t, q.inv, apps[1:]...)
	again := newPatch("again", v1alpha1.PatchSpec{})
	q.Create(t, again)
	message := q.UntilCondition(t, again, &again.Status.Status, succeeded, metav1.ConditionTrue, string(v1alpha1.PatchDone))
	q.Until(t, func() string {
		if q.Get(t, again); again.Status.Report == "" {
			return "it has no report"
		}
		return ""
	})
	if message != "5 of 5 images are remedied" || again.Status.Images.Done != 5 || again.Status.CompletedAt == nil {
		t.Errorf("%q: %+v", message, again.Status)
	}
	version := again.ResourceVersion

	// One whose images fail says so.
	q.rebaser.mu.Lock()
	q.rebaser.refuse = fault.Newf(fault.Failed, "rebase", "app", "it will not")
	q.rebaser.mu.Unlock()
	put(t, q.inv, apps[1:]...)
	failing := newPatch("failing", v1alpha1.PatchSpec{})
	q.Create(t, failing)
	q.UntilCondition(t, failing, &failing.Status.Status, succeeded, metav1.ConditionFalse, string(v1alpha1.PatchHalted))
	q.Until(t, func() string {
		if !slices.Contains(q.Events(t, failing), string(v1alpha1.PatchHalted)) {
			return "no event tells that it has halted"
		}
		return ""
	})

	// A zone that nobody knows is the user's to mend.
	lost := newPatch("lost", v1alpha1.PatchSpec{Windows: []v1alpha1.PatchWindow{{Start: "0 22 * * *", Duration: metav1.Duration{Duration: time.Hour}, TimeZone: "Atlantis/Centre"}}})
	q.Create(t, lost)
	q.UntilCondition(t, lost, &lost.Status.Status, succeeded, metav1.ConditionFalse, status.Invalid)
	q.Change(t, lost, func() { lost.Spec.Windows = nil })
	q.UntilCondition(t, lost, &lost.Status.Status, succeeded, metav1.ConditionFalse, string(v1alpha1.PatchHalted))

	// What has ended is not written again.
	if q.Get(t, again); again.ResourceVersion != version {
		t.Errorf("its status was written again: %s, then %s", version, again.ResourceVersion)
	}
}

// TestAutomaticPatch has a base that is published begin a campaign.
func TestAutomaticPatch(t *testing.T) {
	q := start(t)
	close(q.rebaser.held)
	app := image("registry.example/app:1", "3.5.1", false)
	put(t, q.inv, image(baseName, "3.5.1", true), app)
	p := newPatch("auto", v1alpha1.PatchSpec{Automatic: true})
	q.Create(t, p)
	q.UntilCondition(t, p, &p.Status.Status, succeeded, metav1.ConditionUnknown, string(v1alpha1.PatchWaiting))

	put(t, q.inv, image(baseName, "3.5.2", true))
	base := &v1alpha1.BaseImage{
		ObjectMeta: metav1.ObjectMeta{Name: "run"},
		Spec:       v1alpha1.BaseImageSpec{Archive: v1alpha1.Archive{Suites: []string{"test"}}, Packages: []string{"openssl"}},
	}
	q.Create(t, base)
	base.Status.Published = &v1alpha1.Published{Image: baseName, Digest: sum(baseName + "3.5.2")}
	if err := q.Client.Status().Update(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	q.UntilCondition(t, p, &p.Status.Status, succeeded, metav1.ConditionTrue, string(v1alpha1.PatchDone))
	if p.Status.Run != 1 || p.Status.Images.Done != 1 {
		t.Errorf("%+v", p.Status)
	}
	if err := q.Client.Delete(t.Context(), p, client.Preconditions{UID: &p.UID}); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	q.UntilGone(t, p)
}
