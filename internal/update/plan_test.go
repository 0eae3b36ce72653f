package update_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/update"
)

const (
	runBase = "registry.example/base/run:13"
	jsBase  = "registry.example/base/js:13"
)

// fleet is a few images in need of every remedy, and of none.
func fleet(t testing.TB) *inventory.Inventory {
	inv := openInventory(t, sqliteAddress(t), newClock().Now)
	rust := module("cargo", "serde", "1.0.0", "app")
	nowhere := app("registry.example/b/nowhere:1", runBase, "3.5.2", module("npm", "lodash", "4.17.20", "app"))
	nowhere.Source = inventory.Source{}
	labelled := app("registry.example/b/labelled:1", runBase, "3.5.1")
	labelled.Labels = map[string]string{"plimsoll.dev/team": "ships", "tier": "gold", "plimsoll.dev/namespace": "harbour"}
	put(t, inv,
		base(runBase, "3.5.2"), base(jsBase, "3.5.1"),
		app("registry.example/a/rebase:1", runBase, "3.5.1"),
		app("registry.example/a/current:1", runBase, "3.5.2"),
		app("registry.example/a/waits:1", jsBase, "3.5.1"),
		app("registry.example/a/lost:1", "registry.example/base/gone:1", "3.5.1"),
		app("registry.example/a/rebuild:1", runBase, "3.5.2", module("golang", "stdlib", "1.26.0", "app")),
		app("registry.example/a/override:1", runBase, "3.5.1", module("npm", "lodash", "4.17.20", "app")),
		app("registry.example/a/major:1", runBase, "3.5.2", module("npm", "express", "4.0.0", "app")),
		app("registry.example/b/unfixed:1", runBase, "3.5.2", module("npm", "left-pad", "1.0.0", "app")),
		app("registry.example/b/rust:1", runBase, "3.5.2", rust),
		app("registry.example/b/pinned@"+sum("registry.example/b/pinned@x3.5.1"), runBase, "3.5.1"),
		nowhere, labelled,
	)
	return inv
}

// lines tells a plan in lines.
func lines(p *update.Plan) []string {
	out := []string{}
	for after := 0; ; {
		items := p.Items(after, 2)
		for _, i := range items {
			line := fmt.Sprintf("%d %s %s %s/%s", i.Number, strings.TrimPrefix(i.Reference, "registry.example/"), i.Remedy, p.Waves()[i.Wave], i.Team)
			if i.Base != nil {
				line += " onto " + i.Base.Name
			}
			for _, o := range i.Overrides {
				line += fmt.Sprintf(" %s %s>=%s for %s", o.Ecosystem, o.Package, o.Version, strings.Join(o.Advisories, ","))
			}
			for _, c := range i.Fixes {
				line += " +" + c.Advisory
			}
			for _, c := range i.Leaves {
				line += " -" + c.Advisory
			}
			if i.Why != "" {
				line += ": " + i.Why
			}
			out = append(out, line)
		}
		if after += len(items); len(items) == 0 {
			return out
		}
	}
}

func newPlan(t testing.TB, inv *inventory.Inventory, spec v1alpha1.PatchSpec) *update.Plan {
	t.Helper()
	p, err := update.NewPlan(t.Context(), inv, spec, update.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func share(text string) *intstr.IntOrString {
	s := intstr.Parse(text)
	return &s
}

func TestPlan(t *testing.T) {
	inv := fleet(t)
	openssl := v1alpha1.PatchTarget{Advisories: []string{"CVE-2026-0001"}}
	for _, tt := range []struct {
		name string
		spec v1alpha1.PatchSpec
		want []string
	}{
		{"an advisory in bases", v1alpha1.PatchSpec{Target: openssl}, []string{
			"1 a/override:1 rebase rest/a onto " + runBase + " +CVE-2026-0001",
			"2 a/rebase:1 rebase rest/a onto " + runBase + " +CVE-2026-0001",
			"3 b/labelled:1 rebase rest/ships onto " + runBase + " +CVE-2026-0001",
			"4 a/lost:1 none rest/a -CVE-2026-0001: it is in the base, and nothing here names that base any more",
			"5 a/waits:1 none rest/a -CVE-2026-0001: the base must be built again first",
		}},
		{"an advisory in an application", v1alpha1.PatchSpec{Target: v1alpha1.PatchTarget{Exploited: true}}, []string{
			"1 a/override:1 override rest/a onto " + runBase + " npm lodash>=4.17.21 for CVE-2026-0002 +CVE-2026-0002",
			"2 b/nowhere:1 none rest/b -CVE-2026-0002: it must be built again, and where its source is is not known here",
		}},
		{"severities that have a fix", v1alpha1.PatchSpec{Target: v1alpha1.PatchTarget{Severities: []string{"low", "medium"}}}, []string{
			"1 a/rebuild:1 rebuild rest/a +CVE-2026-0006",
			"2 a/major:1 none rest/a -CVE-2026-0003: the fix is in another major version: declare a DependencyOverride with major: true",
			"3 b/rust:1 none rest/b -CVE-2026-0005: its ecosystem has no override: its source must be changed",
		}},
		{"no fix", v1alpha1.PatchSpec{Target: v1alpha1.PatchTarget{Advisories: []string{"CVE-2026-0004"}}}, []string{
			"1 b/unfixed:1 none rest/b -CVE-2026-0004: nobody has published a fix",
		}},
		{"a base", v1alpha1.PatchSpec{Target: v1alpha1.PatchTarget{Bases: []string{runBase}}}, []string{
			"1 a/override:1 rebase rest/a onto " + runBase, "2 a/rebase:1 rebase rest/a onto " + runBase, "3 b/labelled:1 rebase rest/ships onto " + runBase,
		}},
		{"all", v1alpha1.PatchSpec{Target: v1alpha1.PatchTarget{All: true}, Scope: v1alpha1.PatchScope{Repositories: []string{"registry.example/a/*"}, Except: []string{"**/lost", "**/m*"}}}, []string{
			"1 a/override:1 override rest/a onto " + runBase + " npm lodash>=4.17.21 for CVE-2026-0002 +CVE-2026-0002 +CVE-2026-0001",
			"2 a/rebase:1 rebase rest/a onto " + runBase + " +CVE-2026-0001",
			"3 a/rebuild:1 rebuild rest/a +CVE-2026-0006",
			"4 a/waits:1 none rest/a -CVE-2026-0001: the base must be built again first",
		}},
		{"a scope by labels", v1alpha1.PatchSpec{Target: openssl, Scope: v1alpha1.PatchScope{Labels: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}}}, []string{
			"1 b/labelled:1 rebase rest/ships onto " + runBase + " +CVE-2026-0001",
		}},
		{"waves", v1alpha1.PatchSpec{Target: openssl, Waves: []v1alpha1.PatchWave{
			{Name: "canary", Repositories: []string{"registry.example/b/**"}}, {Name: "half", Share: share("33%")},
		}}, []string{
			"1 b/labelled:1 rebase canary/ships onto " + runBase + " +CVE-2026-0001",
			"2 a/override:1 rebase half/a onto " + runBase + " +CVE-2026-0001",
			"3 a/rebase:1 rebase rest/a onto " + runBase + " +CVE-2026-0001",
			"4 a/lost:1 none rest/a -CVE-2026-0001: it is in the base, and nothing here names that base any more",
			"5 a/waits:1 none rest/a -CVE-2026-0001: the base must be built again first",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, again := newPlan(t, inv, tt.spec), newPlan(t, inv, tt.spec)
			if diff := cmp.Diff(tt.want, lines(p)); diff != "" {
				t.Error(diff)
			}
			if p.Digest != again.Digest {
				t.Error("the same plan has another digest")
			}
		})
	}
}

// TestPlanWithImages: what Images say goes before what an image says of itself, which cannot say whose
// namespace it is of; and bases are found where they are.
func TestPlanWithImages(t *testing.T) {
	inv := fleet(t)
	labelled := func(labels ...string) *metav1.LabelSelector {
		s := &metav1.LabelSelector{MatchLabels: map[string]string{}}
		for i := 0; i < len(labels); i += 2 {
			s.MatchLabels[labels[i]] = labels[i+1]
		}
		return s
	}
	o := update.PlanOptions{
		Labels: func(reference string) map[string]string {
			switch reference {
			case "registry.example/a/rebase:1":
				return map[string]string{"plimsoll.dev/namespace": "harbour", "plimsoll.dev/team": "pilots", "tier": "silver"}
			case "registry.example/b/labelled:1":
				return map[string]string{"plimsoll.dev/namespace": "yard", "plimsoll.dev/team": "yard"}
			}
			return nil
		},
		Base: func(name string) string { return "registry.example/" + name },
	}
	target := v1alpha1.PatchTarget{Bases: []string{"base/run:13"}}
	const rebase, tagged = "1 a/rebase:1 rebase rest/pilots onto " + runBase, "1 b/labelled:1 rebase rest/yard onto " + runBase
	for _, tt := range []struct {
		name string
		spec v1alpha1.PatchSpec
		want []string
	}{
		{"a namespace", v1alpha1.PatchSpec{Scope: v1alpha1.PatchScope{Labels: labelled("plimsoll.dev/namespace", "harbour")}}, []string{rebase}},
		{"a team", v1alpha1.PatchSpec{Scope: v1alpha1.PatchScope{Labels: labelled("plimsoll.dev/team", "ships")}}, []string{}},
		{"an Image's label", v1alpha1.PatchSpec{Scope: v1alpha1.PatchScope{Labels: labelled("tier", "silver")}}, []string{rebase}},
		{"the image's own", v1alpha1.PatchSpec{Scope: v1alpha1.PatchScope{Labels: labelled("tier", "gold", "plimsoll.dev/namespace", "yard")}}, []string{tagged}},
		{"a wave", v1alpha1.PatchSpec{
			Scope: v1alpha1.PatchScope{Repositories: []string{"**/rebase", "**/labelled"}},
			Waves: []v1alpha1.PatchWave{{Name: "first", Labels: labelled("plimsoll.dev/namespace", "yard")}},
		}, []string{"1 b/labelled:1 rebase first/yard onto " + runBase, "2 a/rebase:1 rebase rest/pilots onto " + runBase}},
	} {
		tt.spec.Target = target
		p, err := update.NewPlan(t.Context(), inv, tt.spec, o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, lines(p)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestRadius(t *testing.T) {
	inv := fleet(t)
	p := newPlan(t, inv, v1alpha1.PatchSpec{Target: v1alpha1.PatchTarget{All: true}})
	r := p.Radius
	wantRemedies := map[artifact.Remedy]int64{artifact.RemedyRebase: 2, artifact.RemedyRebuild: 1, artifact.RemedyOverride: 1, artifact.RemedyNone: 5}
	if diff := cmp.Diff(wantRemedies, r.Remedies); diff != "" || r.Images != 9 {
		t.Errorf("%d images: %s", r.Images, diff)
	}
	if diff := cmp.Diff([]update.Share{{Name: "a", Images: 6}, {Name: "b", Images: 2}, {Name: "ships", Images: 1}}, r.Teams); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{jsBase}, r.First); diff != "" {
		t.Errorf("bases to be built first: %s", diff)
	}
	if len(r.Bases) != 1 || r.Bases[0].Name != runBase || r.Bases[0].Images != 3 || !r.Bound || r.Bytes <= r.Bases[0].Bytes {
		t.Errorf("bases: %+v, %d bytes", r.Bases, r.Bytes)
	}
	if len(r.Overrides) != 1 || r.Overrides[0].Version != "4.17.21" || r.Overrides[0].Images != 1 {
		t.Errorf("overrides: %+v", r.Overrides)
	}
	why := func(u update.Unfixed) string { return u.Advisory + " " + u.Why }
	if !slices.ContainsFunc(r.Unfixed, func(u update.Unfixed) bool { return strings.Contains(why(u), "CVE-2026-0001 the base must") }) {
		t.Errorf("unfixed: %+v", r.Unfixed)
	}
	if r.Measured || r.Estimate == 0 {
		t.Errorf("an estimate of %s from no measure", r.Estimate)
	}
}

func TestPlanRefuses(t *testing.T) {
	inv := fleet(t)
	all := v1alpha1.PatchTarget{All: true}
	for name, spec := range map[string]v1alpha1.PatchSpec{
		"no target": {},
		"a pattern": {Target: all, Scope: v1alpha1.PatchScope{Repositories: []string{"a//b"}}},
		"a share":   {Target: all, Waves: []v1alpha1.PatchWave{{Name: "w", Share: share("half")}}},
		"labels":    {Target: all, Scope: v1alpha1.PatchScope{Labels: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Is"}}}}},
	} {
		if _, err := update.NewPlan(t.Context(), inv, spec, update.PlanOptions{}); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
