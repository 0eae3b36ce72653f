package plane

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/update"
)

// TestWhoDecides: which Patches hold Images back, and for what.
func TestWhoDecides(t *testing.T) {
	type reasons = map[v1alpha1.ReasonType]bool
	base, builder, advisory := reasons{v1alpha1.ReasonBase: true}, reasons{v1alpha1.ReasonBuildpack: true}, reasons{v1alpha1.ReasonAdvisory: true}
	p := &Plane{}
	image := &v1alpha1.Image{}
	image.Status.Inputs.RunImage = "registry.example:5000/bases/run:1"
	for _, c := range []struct {
		name    string
		target  v1alpha1.PatchTarget
		reasons reasons
		want    bool
	}{
		{"all of a base", v1alpha1.PatchTarget{All: true}, base, true},
		{"severities of an override", v1alpha1.PatchTarget{Severities: []string{"critical"}}, advisory, true},
		{"nobody would see to a builder", v1alpha1.PatchTarget{All: true}, builder, false},
		{"its base", v1alpha1.PatchTarget{Bases: []string{"registry.example:5000/bases/run:2"}}, base, true},
		{"another base", v1alpha1.PatchTarget{Bases: []string{"bases/run:1"}}, base, false},
		{"its base of an override", v1alpha1.PatchTarget{Bases: []string{"registry.example:5000/bases/run:1"}}, advisory, false},
		{"an advisory decides of nothing", v1alpha1.PatchTarget{Advisories: []string{"CVE-2026-0001"}}, base, false},
	} {
		if got := p.charged(c.target, image, c.reasons); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
	for _, c := range []struct {
		name   string
		change func(*v1alpha1.Patch)
		want   held
	}{
		{"declared a moment ago", func(*v1alpha1.Patch) {}, held{underWay: true}},
		{"refused", func(p *v1alpha1.Patch) {
			p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionFalse}}
		}, held{}},
		{"paused", func(p *v1alpha1.Patch) { p.Status.Phase = v1alpha1.PatchPaused }, held{underWay: true}},
		{"halted", func(p *v1alpha1.Patch) { p.Status.Phase = v1alpha1.PatchHalted }, held{underWay: true, failed: true}},
		{"taken back", func(p *v1alpha1.Patch) { p.Status.Phase = v1alpha1.PatchRolledBack }, held{underWay: true, failed: true}},
		{"done", func(p *v1alpha1.Patch) { p.Status.Phase = v1alpha1.PatchDone }, held{}},
		{"stands", func(p *v1alpha1.Patch) { p.Spec.Automatic = true }, held{stands: true}},
		{"stands and runs", func(p *v1alpha1.Patch) { p.Spec.Automatic, p.Status.Phase = true, v1alpha1.PatchRunning }, held{stands: true, underWay: true}},
		{"is going", func(p *v1alpha1.Patch) { now := metav1.Now(); p.DeletionTimestamp = &now }, held{}},
	} {
		p := &v1alpha1.Patch{}
		if c.change(p); holding(p) != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, holding(p), c.want)
		}
	}
}

// TestScopesByLabels: a Patch whose scope asks for labels holds the Images that have them, by their
// own or by their image's; where images are published elsewhere, too.
func TestScopesByLabels(t *testing.T) {
	p := newPlane(t)
	p.o.Publish = "registry.example:5000/fleet"
	c := &campaigns{Plane: p}
	i := published(t, p, "shop/web:1")
	i.Namespace, i.Labels = "shop", map[string]string{"tier": "silver"}
	tell(t, p, "registry.example:5000/fleet/shop/web:1", i, map[string]string{"tier": "gold", "size": "large", "plimsoll.dev/namespace": "harbour"})
	generation := int64(0)
	for _, tt := range []struct {
		name         string
		repositories []string
		labels       map[string]string
		want         bool
	}{
		{"all", nil, nil, true},
		{"its repository", []string{"registry.example:5000/fleet/shop/*"}, nil, true},
		{"another", []string{"registry.example:5000/fleet/harbour/*"}, nil, false},
		{"its image's label", nil, map[string]string{"size": "large"}, true},
		{"another of its image's", nil, map[string]string{"size": "small"}, false},
		{"its own goes before", nil, map[string]string{"tier": "silver"}, true},
		{"what is behind", nil, map[string]string{"tier": "gold"}, false},
		{"its namespace", nil, map[string]string{v1alpha1.LabelNamespace: "shop"}, true},
		{"what its image says is its namespace", nil, map[string]string{v1alpha1.LabelNamespace: "harbour"}, false},
		{"its team is its namespace", nil, map[string]string{v1alpha1.LabelTeam: "shop"}, true},
		{"both", []string{"**/web"}, map[string]string{"size": "large"}, true},
		{"one of both", []string{"**/sea"}, map[string]string{"size": "large"}, false},
	} {
		generation++
		patch := &v1alpha1.Patch{ObjectMeta: metav1.ObjectMeta{UID: "one", Generation: generation}}
		patch.Spec.Scope.Repositories = tt.repositories
		if tt.labels != nil {
			patch.Spec.Scope.Labels = &metav1.LabelSelector{MatchLabels: tt.labels}
		}
		if got := c.covers(t.Context(), patch, i, "registry.example:5000/fleet/shop/web"); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
	i.Status.Inputs.RunImage = "bases/run:1"
	for base, want := range map[string]bool{
		"bases/run:2": true, "registry.example:5000/fleet/bases/run:1": true, "bases/web:1": false, "other.example/bases/run:1": false,
	} {
		target := v1alpha1.PatchTarget{Bases: []string{base}}
		if got := p.charged(target, i, map[v1alpha1.ReasonType]bool{v1alpha1.ReasonBase: true}); got != want {
			t.Errorf("a Patch for %s is in charge: %t", base, got)
		}
	}
}

// TestFloorName: campaigns with the same floor share an override, others never do.
func TestFloorName(t *testing.T) {
	seen := map[string]bool{}
	for _, floor := range []update.Override{
		{Ecosystem: "npm", Package: "@scope/name", Version: "1.2.3"}, {Ecosystem: "npm", Package: "scope-name", Version: "1.2.3"},
		{Ecosystem: "Go", Package: strings.Repeat("example.org/", 20), Version: "v1.0.0"}, {Ecosystem: "Go", Package: strings.Repeat("example.org/", 20), Version: "v1.0.1"},
	} {
		for part := range 2 {
			name := floorName(floor, part+1)
			if seen[name] || len(name) > 63 || name != floorName(floor, part+1) {
				t.Errorf("%q for %+v", name, floor)
			}
			seen[name] = true
		}
	}
}
