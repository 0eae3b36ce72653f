package hold_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/build/override"
	"plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/controller/advisoryfeed"
	"plimsoll.dev/plimsoll/internal/controller/bed"
	"plimsoll.dev/plimsoll/internal/controller/dependencyoverride"
	"plimsoll.dev/plimsoll/internal/controller/imageimport"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/mirror"
	"plimsoll.dev/plimsoll/internal/vuln/feed"
)

const (
	ready = v1alpha1.ConditionReady
	fresh = v1alpha1.ConditionFresh
)

// site stands for what the program joins: what runs imports, syncs feeds and counts images.
type site struct {
	home  string
	ended chan event.GenericEvent

	mu     sync.Mutex
	run    imageimport.Run
	synced advisoryfeed.Synced
	fails  error
	syncs  int
	below  int
}

// Last implements imageimport.Runs.
func (s *site) Last(context.Context, string) (imageimport.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run, nil
}

// Sync implements advisoryfeed.Syncer.
func (s *site) Sync(context.Context, string) (advisoryfeed.Synced, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.syncs++
	return s.synced, s.fails
}

// Below implements dependencyoverride.Counter.
func (s *site) Below(context.Context, v1alpha1.DependencyOverride) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.below, nil
}

func (s *site) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *site) path(name string) string { return filepath.Join(s.home, name) }

// start starts a process that keeps the home.
func (s *site) start(t *testing.T, b *bed.Bed) (stop func()) {
	t.Helper()
	return b.Manager(t, controller.Options{}, func(m ctrl.Manager) error {
		if err := imageimport.Setup(m, s, imageimport.Options{Dir: s.path("imports"), Ended: s.ended}); err != nil {
			return err
		}
		if err := advisoryfeed.Setup(m, s, advisoryfeed.Options{File: s.path("feeds.yaml")}); err != nil {
			return err
		}
		return dependencyoverride.Setup(m, s, dependencyoverride.Options{Dir: s.path("overrides"), Every: 100 * time.Millisecond})
	})
}

func (s *site) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path(name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestKinds runs against a real API server, and reads the home as all that works by it does.
func TestKinds(t *testing.T) {
	b, s := bed.New(t), &site{home: t.TempDir(), ended: make(chan event.GenericEvent)}
	t.Run("imports", func(t *testing.T) { testImports(t, b, s) })
	t.Run("feeds", func(t *testing.T) { testFeeds(t, b, s) })
	t.Run("overrides", func(t *testing.T) { testOverrides(t, b, s) })
}

// importsIn gives the names of those that a registry that serves would run.
func (s *site) importsIn(t *testing.T) []string {
	t.Helper()
	all, err := mirror.New(mirror.Options{Dir: s.path("imports")}).Load()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	return names
}

func newImport(name string) *v1alpha1.ImageImport {
	i := &v1alpha1.ImageImport{ObjectMeta: metav1.ObjectMeta{Name: name}}
	i.Spec.Source, i.Spec.Tags.Names = "registry.example.com/team/app", []string{"1"}
	i.Spec.Destination.Repository, i.Spec.Schedule.Every = "approved/"+name, "6h"
	return i
}

func testImports(t *testing.T, b *bed.Bed, s *site) {
	stop := s.start(t, b)
	app := newImport("app")
	b.Create(t, app)
	b.UntilCondition(t, app, &app.Status.Status, ready, metav1.ConditionUnknown, status.NotYetRun)
	if diff := cmp.Diff([]string{"app"}, s.importsIn(t)); diff != "" {
		t.Error(diff)
	}
	ended := func(run imageimport.Run) {
		run.Ended = time.Now().Add(time.Second) // files keep the time of their writing to the tick of a clock
		s.set(func() { s.run = run })
		s.ended <- event.GenericEvent{Object: newImport("app")}
	}
	ended(imageimport.Run{Tags: 3})
	b.UntilCondition(t, app, &app.Status.Status, ready, metav1.ConditionTrue, status.Imported)
	if app.Status.Tags != 3 || app.Status.RanAt.IsZero() {
		t.Errorf("the status is %+v", app.Status)
	}
	ended(imageimport.Run{Tags: 2, Error: "tag 1: no signature"})
	if message := b.UntilCondition(t, app, &app.Status.Status, ready, metav1.ConditionFalse, status.RunFailed); message != "tag 1: no signature" {
		t.Errorf("got %q", message)
	}

	// What the process itself may read is not for imports to name.
	for name, change := range map[string]func(*v1alpha1.ImageImport){
		"absolute": func(i *v1alpha1.ImageImport) {
			i.Spec.Credentials = &v1alpha1.UpstreamCredentials{Username: "u", Password: "/etc/passwd"}
		},
		"up": func(i *v1alpha1.ImageImport) {
			i.Spec.Credentials = &v1alpha1.UpstreamCredentials{Username: "u", Password: "../keys/image.key"}
		},
		"variable": func(i *v1alpha1.ImageImport) {
			i.Spec.Credentials = &v1alpha1.UpstreamCredentials{Username: "u", Password: "env://PLIMSOLL_INVENTORY"}
		},
		"key": func(i *v1alpha1.ImageImport) {
			i.Spec.Verify = &v1alpha1.UpstreamVerification{Keys: []string{"/etc/passwd"}}
		},
	} {
		hostile := newImport("hostile-" + name)
		change(hostile)
		if err := b.Client.Create(t.Context(), hostile); err == nil { // the API may refuse it already
			b.UntilCondition(t, hostile, &hostile.Status.Status, ready, metav1.ConditionFalse, status.Invalid)
		}
	}
	good := newImport("good")
	good.Spec.Credentials = &v1alpha1.UpstreamCredentials{Username: "u", Password: "env://PLIMSOLL_IMPORT_GOOD"}
	b.Create(t, good)
	b.UntilCondition(t, good, &good.Status.Status, ready, metav1.ConditionFalse, status.RunFailed) // by the site's last run
	if diff := cmp.Diff([]string{"app", "good"}, s.importsIn(t)); diff != "" {
		t.Error(diff)
	}

	// One that somebody has by hand is his.
	s.write(t, "imports/own.yaml", strings.NewReplacer("NAME", "own").Replace(
		"apiVersion: plimsoll.dev/v1alpha1\nkind: ImageImport\nmetadata: {name: NAME}\nspec: {source: r.example.com/a, tags: {names: [a]}, destination: {repository: own}}\n"))
	own := newImport("own")
	b.Create(t, own)
	b.UntilCondition(t, own, &own.Status.Status, ready, metav1.ConditionFalse, status.NameTaken)

	stop()
	if err := b.Client.Delete(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	defer s.start(t, b)()
	b.UntilGone(t, good)
	b.Delete(t, own)
	if diff := cmp.Diff([]string{"app", "own"}, s.importsIn(t)); diff != "" {
		t.Error(diff)
	}
}

func (s *site) feedsIn(t *testing.T) []string {
	t.Helper()
	all, _, err := feed.Load(s.path("feeds.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range all {
		names = append(names, f.Name+" "+string(f.Kind))
	}
	return names
}

func testFeeds(t *testing.T, b *bed.Bed, s *site) {
	s.set(func() { s.synced = advisoryfeed.Synced{Records: 7, Changed: true} })
	stop := s.start(t, b)
	osv := &v1alpha1.AdvisoryFeed{ObjectMeta: metav1.ObjectMeta{Name: "osv"}}
	osv.Spec.Kind, osv.Spec.URL, osv.Spec.Ecosystems = "osv", "https://mirror.example.com/osv", []string{"Go"}
	osv.Spec.Interval = &metav1.Duration{Duration: time.Hour}
	b.Create(t, osv)
	b.UntilCondition(t, osv, &osv.Status.Status, ready, metav1.ConditionTrue, status.Synced)
	if osv.Status.Records != 7 || osv.Status.SyncedAt.IsZero() {
		t.Errorf("the status is %+v", osv.Status)
	}
	// What a home has that names no feeds goes on to be there.
	if diff := cmp.Diff([]string{"debian debian", "osv osv"}, s.feedsIn(t)); diff != "" {
		t.Error(diff)
	}

	// A sync that fails keeps the records; one that brings nothing is no news.
	s.set(func() { s.fails = fault.Newf(fault.Unavailable, "sync feed", "osv", "it is away") })
	ask := func(value string) {
		b.Change(t, osv, func() { osv.Annotations = map[string]string{v1alpha1.AnnotationBuild: value} })
	}
	at := *osv.Status.SyncedAt
	ask("1")
	b.UntilCondition(t, osv, &osv.Status.Status, fresh, metav1.ConditionFalse, status.Away)
	b.UntilCondition(t, osv, &osv.Status.Status, ready, metav1.ConditionTrue, status.Synced)
	s.set(func() { s.fails, s.synced.Changed = nil, false })
	b.UntilCondition(t, osv, &osv.Status.Status, fresh, metav1.ConditionTrue, status.UpToDate)
	if !osv.Status.SyncedAt.Equal(&at) {
		t.Error("a sync that brought nothing is dated anew")
	}

	// A restart syncs once, and writes nothing.
	stop()
	b.Get(t, osv)
	version, syncs := osv.ResourceVersion, 0
	s.set(func() { syncs = s.syncs })
	stop = s.start(t, b)
	b.Until(t, func() string {
		now := 0
		if s.set(func() { now = s.syncs }); now == syncs {
			return "nobody synced after the restart"
		}
		return ""
	})
	bad := &v1alpha1.AdvisoryFeed{ObjectMeta: metav1.ObjectMeta{Name: "bad.name"}}
	bad.Spec.Kind = "debian"
	if err := b.Client.Create(t.Context(), bad); err == nil { // the API may refuse it already
		b.UntilCondition(t, bad, &bad.Status.Status, ready, metav1.ConditionFalse, status.Invalid)
		b.Delete(t, bad)
	}
	other := &v1alpha1.AdvisoryFeed{ObjectMeta: metav1.ObjectMeta{Name: "other"}}
	other.Spec.Kind = "debian"
	b.Create(t, other)
	b.UntilCondition(t, other, &other.Status.Status, ready, metav1.ConditionTrue, status.Synced)
	b.Delete(t, other)
	if b.Get(t, osv); osv.ResourceVersion != version {
		t.Errorf("a restart without news wrote: %+v", osv.Status)
	}

	// An entry of somebody else's is his, and a restart tells them apart.
	all, _, err := feed.Load(s.path("feeds.yaml"))
	if err == nil {
		err = feed.Save(s.path("feeds.yaml"), append(all, feed.Feed{Name: "kev", Kind: feed.KEV, URL: "/kev.json"}))
	}
	if err != nil {
		t.Fatal(err)
	}
	kev := &v1alpha1.AdvisoryFeed{ObjectMeta: metav1.ObjectMeta{Name: "kev"}}
	kev.Spec.Kind, kev.Spec.URL = "kev", "https://mirror.example.com/kev.json"
	b.Create(t, kev)
	b.UntilCondition(t, kev, &kev.Status.Status, ready, metav1.ConditionFalse, status.NameTaken)
	stop()
	defer s.start(t, b)()
	b.Delete(t, kev)
	b.Delete(t, osv)
	if diff := cmp.Diff([]string{"debian debian", "kev kev"}, s.feedsIn(t)); diff != "" {
		t.Error(diff)
	}
}

func (s *site) overridesFor(t *testing.T, repository string) []string {
	t.Helper()
	set, err := override.Load(s.path("overrides"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, o := range set.For(repository, time.Now()) {
		all = append(all, o.Name+" "+o.Spec.Version)
	}
	return all
}

func testOverrides(t *testing.T, b *bed.Bed, s *site) {
	s.set(func() { s.below = 5 })
	defer s.start(t, b)()
	lodash := &v1alpha1.DependencyOverride{ObjectMeta: metav1.ObjectMeta{Name: "lodash"}}
	lodash.Spec = v1alpha1.DependencyOverrideSpec{Ecosystem: "npm", Package: "lodash", Version: "4.17.21", Reason: "to test"}
	b.Create(t, lodash)
	b.UntilCondition(t, lodash, &lodash.Status.Status, ready, metav1.ConditionTrue, status.InForce)
	if diff := cmp.Diff([]string{"lodash 4.17.21"}, s.overridesFor(t, "shop")); diff != "" {
		t.Error(diff)
	}
	untilBelow := func(want int64) {
		t.Helper()
		b.Until(t, func() string {
			if b.Get(t, lodash); lodash.Status.Images != want {
				return "the images are not counted"
			}
			return ""
		})
	}
	untilBelow(5)
	s.set(func() { s.below = 0 })
	untilBelow(0)

	b.Change(t, lodash, func() { lodash.Spec.Version = "4.x" })
	message := b.UntilCondition(t, lodash, &lodash.Status.Status, ready, metav1.ConditionFalse, status.Invalid)
	if !strings.Contains(message, "stays in force") || !strings.Contains(message, "spec.version") {
		t.Errorf("got %q", message)
	}
	if diff := cmp.Diff([]string{"lodash 4.17.21"}, s.overridesFor(t, "shop")); diff != "" {
		t.Error(diff)
	}

	// One that somebody has by hand is his, and one that is wrong stops all.
	const own = "apiVersion: plimsoll.dev/v1alpha1\nkind: DependencyOverride\nmetadata: {name: own}\nspec: {ecosystem: npm, package: a, version: 1.0.0, reason: r}\n"
	s.write(t, "overrides/own.yaml", own)
	taken := lodash.DeepCopy()
	taken.ObjectMeta, taken.Spec.Version = metav1.ObjectMeta{Name: "own"}, "4.17.20"
	b.Create(t, taken)
	b.UntilCondition(t, taken, &taken.Status.Status, ready, metav1.ConditionFalse, status.NameTaken)
	s.write(t, "overrides/own.yaml", "nonsense")
	b.UntilCondition(t, taken, &taken.Status.Status, ready, metav1.ConditionFalse, status.SetBroken)
	if err := os.Remove(s.path("overrides/own.yaml")); err != nil {
		t.Fatal(err)
	}
	b.UntilCondition(t, taken, &taken.Status.Status, ready, metav1.ConditionTrue, status.InForce)

	end := metav1.NewTime(time.Now().Add(2 * time.Second))
	b.Change(t, taken, func() { taken.Spec.Expires = &end })
	b.UntilCondition(t, taken, &taken.Status.Status, ready, metav1.ConditionFalse, status.Expired)
	b.Delete(t, lodash)
	b.Delete(t, taken)
	if left := s.overridesFor(t, "shop"); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}
