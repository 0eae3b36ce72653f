package inventorytest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
)

// verdictOf gives a verdict with that action at the registry's gate, and none at the gateway.
func verdictOf(repository, name string, action artifact.Action) artifact.Verdict {
	return artifact.Verdict{
		Repository: repository, Image: sum(name),
		Gates:   map[artifact.Gate]artifact.Action{artifact.GateRegistry: action, artifact.GateAdmission: artifact.ActionDeny, artifact.GateIdentity: artifact.ActionAudit},
		Results: []artifact.Result{{Policy: "baseline", Rule: "signed", Passed: action == artifact.ActionAllow, Why: "nobody signed it", Controls: map[string][]string{"slsa": {"v1.1"}}}},
		Decided: day(2), Policies: sum("policies"), Facts: sum("facts"),
	}
}

func setVerdicts(t testing.TB, inv *inventory.Inventory, verdicts ...artifact.Verdict) {
	t.Helper()
	if err := inv.SetVerdicts(t.Context(), verdicts...); err != nil {
		t.Fatal(err)
	}
}

func testVerdicts(t *testing.T, address string) {
	inv := fleet(t, address, newClock())
	until := day(9)
	denied, warned := verdictOf(shop, "shop-1", artifact.ActionDeny), verdictOf(shop, "shop-2", artifact.ActionWarn)
	denied.Until = &until
	mirrored := verdictOf("mirror.example/shop", "shop-1", artifact.ActionAllow)
	uncovered := verdictOf("other.example/ledger", "ledger", artifact.ActionAllow)
	uncovered.Gates = nil
	setVerdicts(t, inv, verdictOf(shop, "shop-1", artifact.ActionAllow), denied, warned, mirrored, uncovered)

	for _, want := range []artifact.Verdict{denied, warned, mirrored, uncovered} {
		got, known, err := inv.Verdict(t.Context(), inventory.Manifest{Repository: want.Repository, Digest: want.Image})
		if diff := cmp.Diff(want, got); diff != "" || !known || err != nil {
			t.Errorf("%t, %v (-want +got)\n%s", known, err, diff)
		}
	}
	if _, known, err := inv.Verdict(t.Context(), inventory.Manifest{Repository: "x", Digest: sum("shop-1")}); known || err != nil {
		t.Errorf("a verdict of another repository: %t, %v", known, err)
	}
	for _, q := range []struct {
		ask  string
		want []string
	}{
		{`images where verdict = denied`, []string{ledger, shop10}},
		{`images where verdict.registry = DENIED and repository ~ "*shop"`, []string{shop10}},
		{`images where verdict = warned`, []string{shop11}},
		{`images where verdict = allowed`, []string{shop10}}, // in the mirror
		{`images where verdict = audited`, []string{}},
		{`images where verdict = unknown`, []string{shop11}},
		{`images where verdict != unknown`, []string{ledger, shop10, shop11}},
		{`images where not verdict = warned and verdict != unknown`, []string{ledger, shop10}},
		{`images where verdict.admission = denied`, []string{ledger, shop10, shop11}},
		{`images where verdict.identity = audited and contains lodash < 4.17.21`, []string{shop10}},
		{`images where verdict.gateway = denied`, []string{ledger, shop10, shop11}}, // nothing covers it
	} {
		if diff := cmp.Diff(q.want, named(t, inv, q.ask)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", q.ask, diff)
		}
	}
	if err := inv.Forget(t.Context(), inventory.Manifest{Repository: shop, Digest: sum("shop-1")}); err != nil {
		t.Fatal(err)
	}
	if _, known, err := inv.Verdict(t.Context(), inventory.Manifest{Repository: "mirror.example/shop", Digest: sum("shop-1")}); !known || err != nil {
		t.Errorf("the other repository's verdict: %t, %v", known, err)
	}
}

// testManyVerdicts reads more than a page of them.
func testManyVerdicts(t *testing.T, address string) {
	inv := open(t, address, newClock())
	const all = 4300
	verdicts := make([]artifact.Verdict, all)
	var manifests []inventory.Manifest
	for n := range verdicts {
		verdicts[n] = verdictOf(shop, fmt.Sprint("many", n), artifact.ActionAllow)
		verdicts[n].Decided = day(1 + n%28)
		manifests = append(manifests, inventory.Manifest{Repository: shop, Digest: verdicts[n].Image})
	}
	setVerdicts(t, inv, verdicts...)
	for name, which := range map[string]inventory.Selection{"all": {}, "each": {Of: manifests}, "the repository's": {Repository: shop}} {
		seen := map[string]bool{}
		err := inv.Verdicts(t.Context(), which, func(v artifact.Verdict) error {
			seen[v.Image] = true
			return nil
		})
		if len(seen) != all || err != nil {
			t.Errorf("%s: %d verdicts, want %d: %v", name, len(seen), all, err)
		}
	}
}

func testStale(t *testing.T, address string) {
	inv := fleet(t, address, newClock())
	stale := func(n int, policies string) []string {
		t.Helper()
		all, err := inv.Stale(t.Context(), day(n), policies)
		if err != nil {
			t.Fatal(err)
		}
		names := []string{}
		for _, m := range all {
			names = append(names, m.Repository)
		}
		return names
	}
	due := verdictOf("due", "shop-1", artifact.ActionAllow)
	until := day(9)
	due.Until = &until
	putFacts(t, inv, factsOf("due", "shop-1"), factsOf("fresh", "shop-1"), factsOf("new", "shop-1"))
	setVerdicts(t, inv, due, verdictOf("fresh", "shop-1", artifact.ActionDeny), verdictOf("without facts", "shop-1", artifact.ActionDeny))
	for _, s := range []struct {
		day      int
		policies string
		want     []string
	}{
		{8, "policies", []string{"new"}},
		{9, "policies", []string{"due", "new"}},
		{8, "others", []string{"due", "fresh", "new"}},
	} {
		if diff := cmp.Diff(s.want, stale(s.day, sum(s.policies))); diff != "" {
			t.Errorf("day %d, %s (-want +got)\n%s", s.day, s.policies, diff)
		}
	}
}

// testOwnNews: what somebody has put himself is no news to him, and the same again is none to anybody.
func testOwnNews(t *testing.T, address string) {
	inv := fleet(t, address, newClock())
	mark, err := inv.Mark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	infected := factsOf("chart", "chart")
	infected.Malware = &artifact.MalwareFacts{Result: "infected"}
	own, err := inv.PutFacts(t.Context(), infected)
	if err != nil || len(own) != 1 {
		t.Errorf("marks %v, %v", own, err)
	}
	if none, err := inv.PutFacts(t.Context(), infected); err != nil || len(none) != 0 {
		t.Errorf("the same again: marks %v, %v", none, err)
	}
	if news, _, err := inv.News(t.Context(), mark, own...); err != nil || len(news) != 0 {
		t.Errorf("to who put it: %v, %v", news, err)
	}
	if news, _, err := inv.News(t.Context(), mark); err != nil || len(news) != 1 || news[0].Repository != "chart" {
		t.Errorf("to others: %v, %v", news, err)
	}
}

// testNews changes one thing after the other, and asks each time what that concerns.
func testNews(t *testing.T, address string) {
	c := newClock()
	inv := fleet(t, address, c)
	putFacts(t, inv, factsOf("one", "shop-1"), factsOf("two", "shop-2"), factsOf("ledger", "ledger"), factsOf("chart", "chart"))
	known := Advisories()
	suppress := func(statements ...inventory.Suppression) func() {
		return func() {
			t.Helper()
			if err := inv.Suppress(t.Context(), "vex", statements); err != nil {
				t.Fatal(err)
			}
		}
	}
	match := func(name string, change func(*artifact.Finding)) func() {
		return func() {
			t.Helper()
			f := known[name]
			change(&f)
			known[name] = f
			rematch(t, inv, inventory.Which{}, known)
		}
	}
	steps := []struct {
		name string
		do   func()
		want []string
	}{
		{"all that there is", func() {}, []string{"chart", "ledger", "one", "two"}},
		{"nothing", func() { rematch(t, inv, inventory.Which{}, known) }, nil},
		{"the same facts", func() { putFacts(t, inv, factsOf("chart", "chart"), factsOf("one", "shop-1")) }, nil},
		{"new facts", func() {
			f := factsOf("chart", "chart")
			f.Malware = &artifact.MalwareFacts{Result: "clean"}
			putFacts(t, inv, f, factsOf("one", "shop-1"))
		}, []string{"chart"}},
		{"another severity", match("lodash", func(f *artifact.Finding) { f.Severity = artifact.SeverityCritical }), []string{"one"}},
		{"another score of exploitation", match("net", func(f *artifact.Finding) { f.EPSS = 0.5 }), []string{"ledger"}},
		{"a fix", match("net", func(f *artifact.Finding) { f.Fixed = "v0.40.0" }), []string{"ledger"}},
		{"another fix", match("libssl3t64", func(f *artifact.Finding) { f.Fixed = "3.5.1-1+deb13u2" }), []string{"one", "two"}},
		{"an advisory about what both hold", match("libc6", func(f *artifact.Finding) { f.ID = "CVE-2026-1" }), []string{"one", "two"}},
		{"it is withdrawn", func() { delete(known, "libc6"); rematch(t, inv, inventory.Which{}, known) }, []string{"one", "two"}},
		{"a suppression", suppress(inventory.Suppression{Advisory: "CVE-2021-23337"}), []string{"one"}},
		{"the same", suppress(inventory.Suppression{Advisory: "CVE-2021-23337"}), nil},
		{"another, of one image", suppress(inventory.Suppression{Advisory: "GO-2025-3595", Image: sum("ledger")}), []string{"ledger", "one"}},
		{"none", suppress(), []string{"ledger"}},
		{"one of two images that hold the package", suppress(inventory.Suppression{Advisory: "CVE-2025-9230", Image: sum("shop-2")}), []string{"two"}},
		{"a new package", func() {
			image := Fleet()[3]
			image.Contents.Packages = append(image.Contents.Packages, npm("", "fresh", "1.0.0", "bin"))
			put(t, inv, image)
		}, []string{"ledger"}},
		{"that is matched", func() { rematch(t, inv, inventory.Which{Unmatched: true}, known) }, []string{"ledger"}},
		{"the same image again", func() { put(t, inv, Fleet()[0]) }, nil},
		{"the same image, whose evidence was verified once more and comes in another order", func() {
			image := Fleet()[0]
			image.Evidence = slices.Clone(image.Evidence)
			slices.Reverse(image.Evidence)
			for i := range image.Evidence {
				if !image.Evidence[i].VerifiedAt.IsZero() {
					image.Evidence[i].VerifiedAt = time.Unix(1, 0)
				}
			}
			put(t, inv, image)
		}, nil},
		{"an image of which there are no facts", func() {
			image := Fleet()[2]
			image.Contents.Packages = image.Contents.Packages[:1]
			put(t, inv, image)
		}, nil},
	}
	var mark inventory.Mark
	for _, step := range steps {
		step.do()
		news, now, err := inv.News(t.Context(), mark)
		if err != nil {
			t.Fatal(err)
		}
		if news == nil {
			t.Errorf("%s: no news select all manifests", step.name)
		}
		var got []string
		for _, m := range news {
			got = append(got, m.Repository)
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", step.name, diff)
		}
		mark = now
	}
	if now, err := inv.Mark(t.Context()); now != mark || err != nil {
		t.Errorf("the mark of now is %d, %v, want %d", now, err, mark)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, now, err := inv.News(canceled, mark-1); err == nil || now != mark-1 {
		t.Errorf("after a failure the mark is %d, %v: want that from before", now, err)
	}
	if all, _, err := inv.News(t.Context(), mark+1000); len(all) != 4 || err != nil {
		t.Errorf("the mark of a database that was lost gives %d, %v: want all", len(all), err)
	}
}
