package inventorytest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
)

const shop = "registry.example/shop"

// factsOf gives facts of one of Fleet's images, or of anything else, as a verifier gathers them.
func factsOf(repository, name string) artifact.Facts {
	return artifact.Facts{
		Image: artifact.ImageFacts{
			Repository: repository, Digest: sum(name), Tags: []string{"1"}, Kind: artifact.KindImage, MediaType: "application/vnd.oci.image.manifest.v1+json",
			Platform: "linux/amd64", Pushed: day(1), Labels: map[string]string{"team": "ships"}, User: "1000",
		},
		Signatures: []artifact.SignatureFacts{{By: "release-key", At: day(1)}},
		SBOM:       &artifact.SBOMFacts{Formats: []string{"spdx"}, Packages: 4, Complete: true},
		// What is stored elsewhere is not believed twice.
		Packages: []artifact.Package{{Type: "npm", Name: "stray"}}, Licenses: []string{"stray"}, Findings: []artifact.Finding{{ID: "stray"}},
	}
}

func putFacts(t testing.TB, inv *inventory.Inventory, facts ...artifact.Facts) {
	t.Helper()
	if _, err := inv.PutFacts(t.Context(), facts...); err != nil {
		t.Fatal(err)
	}
}

// facts gives what is streamed, by repository and digest.
func facts(t testing.TB, inv *inventory.Inventory, which inventory.Selection) map[inventory.Manifest]artifact.Facts {
	t.Helper()
	all := map[inventory.Manifest]artifact.Facts{}
	err := inv.Facts(t.Context(), which, func(f artifact.Facts) error {
		m := inventory.Manifest{Repository: f.Image.Repository, Digest: f.Image.Digest}
		if _, twice := all[m]; twice {
			t.Errorf("%s came twice", m)
		}
		all[m] = f
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// one gives the facts of one manifest.
func one(t testing.TB, inv *inventory.Inventory, m inventory.Manifest) artifact.Facts {
	t.Helper()
	all := facts(t, inv, inventory.Selection{Of: []inventory.Manifest{m}})
	if len(all) != 1 {
		t.Fatalf("%d facts of %v", len(all), m)
	}
	return all[m]
}

func testFacts(t *testing.T, address string) {
	c := newClock()
	inv := fleet(t, address, c)
	first := inventory.Manifest{Repository: shop, Digest: sum("shop-1")}
	index := factsOf(shop, "index")
	index.Image.Kind, index.Children, index.Advisories = artifact.KindIndex, []string{sum("shop-2"), sum("shop-2-arm")}, day(1)
	putFacts(t, inv, factsOf(shop, "shop-1"), factsOf("mirror.example/shop", "shop-1"), index)

	t.Run("Joined", func(t *testing.T) { testJoined(t, one(t, inv, first)) })
	t.Run("Index", func(t *testing.T) {
		want := index
		want.Packages, want.Licenses, want.Findings = nil, nil, nil
		if diff := cmp.Diff(want, one(t, inv, inventory.Manifest{Repository: shop, Digest: sum("index")})); diff != "" {
			t.Errorf("what is no image of the index (-want +got)\n%s", diff)
		}
	})
	t.Run("Synced", func(t *testing.T) {
		for _, at := range []time.Time{day(2), day(3)} {
			if err := inv.Synced(t.Context(), at); err != nil {
				t.Fatal(err)
			}
			if got := one(t, inv, first).Advisories; !got.Equal(at) {
				t.Errorf("advisories of %v, want %v", got, at)
			}
		}
	})
	t.Run("Selections", func(t *testing.T) { testSelections(t, inv) })
	t.Run("Bare", func(t *testing.T) { testBare(t, inv) })
	t.Run("Silenced", func(t *testing.T) { testSilenced(t, inv) })
	t.Run("Unmatched", func(t *testing.T) {
		image := Fleet()[0]
		image.Contents.Packages = append(image.Contents.Packages, npm("", "fresh", "1.0.0", "code-shop-1"))
		put(t, inv, image)
		if got := one(t, inv, first); got.Findings != nil || len(got.Packages) != 5 {
			t.Errorf("%d packages, of which one was held against nothing, have findings %v: want none known", len(got.Packages), got.Findings)
		}
		rematch(t, inv, inventory.Which{Unmatched: true}, Advisories())
		if got := one(t, inv, first); len(got.Findings) != 2 {
			t.Errorf("%d findings, want 2", len(got.Findings))
		}
	})
	t.Run("Clean", func(t *testing.T) {
		putFacts(t, inv, factsOf(shop, "shop-2"))
		got := one(t, inv, inventory.Manifest{Repository: shop, Digest: sum("shop-2")})
		if got.Findings == nil || len(got.Findings) > 0 {
			t.Errorf("findings are %#v, want an empty list: somebody looked", got.Findings)
		}
	})
	t.Run("Again", func(t *testing.T) {
		better := factsOf(shop, "shop-1")
		better.Malware = &artifact.MalwareFacts{Result: "clean"}
		putFacts(t, inv, factsOf(shop, "shop-1"), better)
		if got := one(t, inv, first); got.Malware == nil {
			t.Error("the older facts stand")
		}
	})
	t.Run("Forgotten", func(t *testing.T) {
		if err := inv.Forget(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := inv.Forget(t.Context(), first, inventory.Manifest{Repository: shop, Digest: sum("nobody")}); err != nil {
			t.Fatal(err)
		}
		all := facts(t, inv, inventory.Selection{})
		if _, stays := all[inventory.Manifest{Repository: "mirror.example/shop", Digest: sum("shop-1")}]; !stays || len(all) != 3 {
			t.Errorf("%d facts are left: want those of other repositories", len(all))
		}
	})
	t.Run("Refused", func(t *testing.T) { testFactsRefused(t, inv) })
}

// testJoined looks at facts of shop-1, its base's openssl and its own lodash affected.
func testJoined(t *testing.T, got artifact.Facts) {
	want := factsOf(shop, "shop-1")
	placed := func(p artifact.Package) artifact.Package {
		p.Layer = ""
		return p
	}
	libc, ssl := placed(deb("libc6", "2.41-12", "glibc", "2.41-12", "")), placed(deb("libssl3t64", "3.5.1-1", "openssl", "3.5.1-1", ""))
	babel, lodash := placed(npm("@babel", "core", "7.26.0", "", "MIT OR GPL-2.0-only")), placed(npm("", "lodash", "4.17.20", "", "MIT"))
	want.Packages, want.InBase = []artifact.Package{libc, ssl, babel, lodash}, []bool{true, true, false, false}
	want.Licenses = []string{"MIT", "MIT OR GPL-2.0-only"}
	openssl, pinned := Advisories()["libssl3t64"], Advisories()["lodash"]
	openssl.Package, openssl.Remedy, openssl.Published = ssl, artifact.RemedyRebase, day(1)
	pinned.Package, pinned.Remedy, pinned.Published = lodash, artifact.RemedyOverride, day(1)
	want.Findings = []artifact.Finding{openssl, pinned}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func testSelections(t *testing.T, inv *inventory.Inventory) {
	there, elsewhere := inventory.Manifest{Repository: shop, Digest: sum("shop-1")}, inventory.Manifest{Repository: "mirror.example/shop", Digest: sum("shop-1")}
	for _, s := range []struct {
		name  string
		which inventory.Selection
		want  int
	}{
		{"all", inventory.Selection{}, 3},
		{"one", inventory.Selection{Of: []inventory.Manifest{there}}, 1},
		{"two", inventory.Selection{Of: []inventory.Manifest{there, elsewhere}}, 2},
		{"none", inventory.Selection{Of: []inventory.Manifest{}}, 0},
		{"a digest of another repository", inventory.Selection{Of: []inventory.Manifest{{Repository: "x", Digest: there.Digest}}}, 0},
		{"a repository", inventory.Selection{Repository: shop}, 2},
		{"a repository without any", inventory.Selection{Repository: "registry.example"}, 0},
		{"both", inventory.Selection{Repository: shop, Of: []inventory.Manifest{there, elsewhere}}, 1},
	} {
		if got := len(facts(t, inv, s.which)); got != s.want {
			t.Errorf("%s: %d, want %d", s.name, got, s.want)
		}
	}
	stop := errors.New("enough")
	count := 0
	err := inv.Facts(t.Context(), inventory.Selection{}, func(artifact.Facts) error {
		count++
		return stop
	})
	if !errors.Is(err, stop) || count != 1 {
		t.Errorf("after %d: %v, want the error of the first", count, err)
	}
}

func testBare(t *testing.T, inv *inventory.Inventory) {
	bare, err := inv.Bare(t.Context())
	want := []inventory.Manifest{{Repository: "other.example/ledger", Digest: sum("ledger")}, {Repository: shop, Digest: sum("shop-2")}, {Repository: shop, Digest: sum("shop-2-arm")}}
	if diff := cmp.Diff(want, bare, cmpopts.SortSlices(func(a, b inventory.Manifest) bool { return a.Repository+a.Digest < b.Repository+b.Digest })); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	all := facts(t, inv, inventory.Selection{Bare: true})
	if len(all) != 6 {
		t.Fatalf("%d facts, want the 3 that were put, and of each other image in each of its repositories: 3", len(all))
	}
	got := all[bare[0]] // in order, the ledger is the first
	ledger := artifact.ImageFacts{
		Repository: "other.example/ledger", Digest: sum("ledger"), Tags: []string{"2"}, Kind: artifact.KindImage, Platform: "linux/amd64",
		Pushed: day(1).AddDate(0, 0, -3), Size: 9e6, Layers: 1,
	}
	if diff := cmp.Diff(ledger, got.Image); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got.Source != nil || got.Provenance != nil || got.Signatures != nil || got.Base != nil || len(got.Findings) != 2 {
		t.Errorf("what nobody verified is told as a fact: %+v", got)
	}
	arm := all[inventory.Manifest{Repository: shop, Digest: sum("shop-2-arm")}]
	base := artifact.BaseFacts{Name: "registry.example/base/run:13", Digest: sum("base-2-arm")}
	if arm.Base == nil || *arm.Base != base || arm.Image.Labels["team"] != "ships" || arm.Image.Layers != 4 {
		t.Errorf("%+v on %+v", arm.Image, arm.Base)
	}
	if got := len(facts(t, inv, inventory.Selection{Bare: true, Repository: shop})); got != 4 {
		t.Errorf("%d in the repository, want 4", got)
	}
}

// testSilenced suppresses a finding of one image, then of all.
func testSilenced(t *testing.T, inv *inventory.Inventory) {
	why := artifact.Suppression{Status: "not_affected", Justification: "vulnerable_code_not_present", Statement: "never", Author: "Ann"}
	suppressed := func() []string {
		var ids []string
		for m, f := range facts(t, inv, inventory.Selection{}) {
			for _, finding := range f.Findings {
				if s := finding.Suppressed; s != nil {
					told := why
					told.From = "vex"
					if diff := cmp.Diff(told, *s); diff != "" {
						t.Errorf("(-want +got)\n%s", diff)
					}
					ids = append(ids, m.Repository+" "+finding.ID)
				}
			}
		}
		slices.Sort(ids)
		return ids
	}
	other := Fleet()[0]
	other.Contents.Image, other.Reference = sum("twin"), "registry.example/twin:1"
	put(t, inv, other)
	putFacts(t, inv, factsOf("registry.example/twin", "twin"))
	defer func() {
		if err := inv.Forget(t.Context(), inventory.Manifest{Repository: "registry.example/twin", Digest: sum("twin")}); err != nil {
			t.Error(err)
		}
	}()
	const id = " CVE-2025-9230"
	for _, s := range []struct {
		name, image, pkg string
		want             []string
	}{
		{"of one image", sum("twin"), "", []string{"registry.example/twin" + id}},
		{"of all", "", "pkg:deb/debian/openssl", []string{"mirror.example/shop" + id, shop + id, "registry.example/twin" + id}},
		{"of another package", "", "pkg:deb/debian/glibc", nil},
	} {
		err := inv.Suppress(t.Context(), "vex", []inventory.Suppression{{Advisory: "DSA-6015-1", Image: s.image, Package: s.pkg, Suppression: why}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s.want, suppressed()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", s.name, diff)
		}
	}
	if err := inv.Suppress(t.Context(), "vex", nil); err != nil {
		t.Fatal(err)
	}
}

func testFactsRefused(t *testing.T, inv *inventory.Inventory) {
	huge := factsOf(shop, "huge")
	for name, f := range map[string]artifact.Facts{
		"no digest":             {Image: artifact.ImageFacts{Repository: shop}},
		"a digest that is none": {Image: artifact.ImageFacts{Repository: shop, Digest: "sha256:00"}},
		"no repository":         {Image: artifact.ImageFacts{Digest: sum("x")}},
		"a hostile repository":  {Image: artifact.ImageFacts{Repository: "a\x00b", Digest: sum("x")}},
	} {
		if _, err := inv.PutFacts(t.Context(), f); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
	huge.Image.Annotations = map[string]string{"x": strings.Repeat("x", 5<<20)}
	if _, err := inv.PutFacts(t.Context(), huge); err == nil {
		t.Error("facts of 5 MB were taken")
	}
}

// testOtherForms reads what another version of the program wrote: it is not known.
func testOtherForms(t *testing.T, address string) {
	inv := fleet(t, address, newClock())
	putFacts(t, inv, factsOf(shop, "shop-1"))
	setVerdicts(t, inv, verdictOf(shop, "shop-1", artifact.ActionAllow))
	form := "X'ff00'"
	if !strings.HasPrefix(address, "sqlite:") {
		form = `'\xff00'`
	}
	Exec(t, address, "UPDATE facts SET facts = "+form)
	Exec(t, address, "UPDATE verdicts SET verdict = "+form)
	if got := facts(t, inv, inventory.Selection{}); len(got) != 0 {
		t.Errorf("it was read: %v", got)
	}
	if _, known, err := inv.Verdict(t.Context(), inventory.Manifest{Repository: shop, Digest: sum("shop-1")}); known || err != nil {
		t.Errorf("a verdict was read: %t, %v", known, err)
	}
}

// testFactsAgain asks an index that has read packages before, after another one has changed what is
// found in them: it gives what one gives that has read nothing.
func testFactsAgain(t *testing.T, address string) {
	c := newClock()
	inv, other := fleet(t, address, c), open(t, address, c)
	first := inventory.Manifest{Repository: shop, Digest: sum("shop-1")}
	putFacts(t, inv, factsOf(shop, "shop-1"))
	worse := func(advisories map[string]artifact.Finding) {
		for name, f := range advisories {
			f.Score, f.Summary = f.Score+0.5, "it is worse"
			advisories[name] = f
		}
	}
	for _, change := range []struct {
		name string
		do   func(map[string]artifact.Finding)
	}{
		{"nothing", func(map[string]artifact.Finding) {}},
		{"told otherwise", worse},
		{"gone", func(advisories map[string]artifact.Finding) { clear(advisories) }},
		{"back", func(map[string]artifact.Finding) {}},
	} {
		one(t, inv, first)
		advisories := Advisories()
		change.do(advisories)
		rematch(t, other, inventory.Which{}, advisories)
		want := one(t, open(t, address, c), first)
		if gone := change.name == "gone"; gone != (len(want.Findings) == 0) {
			t.Errorf("%s: there are %d findings", change.name, len(want.Findings))
		}
		if diff := cmp.Diff(want, one(t, inv, first)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", change.name, diff)
		}
	}
	nobody := inventory.Manifest{Repository: shop, Digest: sum("nobody")}
	kept, err := inv.Kept(t.Context(), first, nobody)
	if f := kept[first]; err != nil || len(kept) != 1 || f.Packages != nil || !f.Image.Pushed.Equal(day(1)) {
		t.Errorf("kept are %+v, %v", kept, err)
	}
	if kept, err := inv.Kept(t.Context()); len(kept) > 0 || err != nil {
		t.Errorf("of no manifests are kept %+v, %v", kept, err)
	}
}
