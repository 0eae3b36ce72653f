package inventorytest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/inventory/query"
)

const (
	ledger = "other.example/ledger:2"
	shop10 = "registry.example/shop:1.0"
	shop11 = "registry.example/shop:1.1" // of two platforms
)

// Questions are asked about Fleet with the findings of Advisories: what, and which images
// it is answered with.
var questions = []struct {
	ask  string
	want []string
}{
	{`images`, []string{ledger, shop10, shop11, shop11}},
	{`what contains libssl3t64`, []string{shop10, shop11, shop11}},
	{`what contains openssl < 3.5.1-1+deb13u1`, []string{shop10}},
	{`what contains openssl <= 3.5.1-1+deb13u1`, []string{shop10, shop11, shop11}},
	{`what contains openssl < 1:0`, []string{shop10, shop11, shop11}}, // an epoch is above all
	{`what contains deb/openssl = 3.5.1-1`, []string{shop10}},
	{`what contains npm/openssl`, []string{}},
	{`what contains npm/lodash`, []string{shop10, shop11, shop11}},
	{`what contains lodash > 4.17.3`, []string{shop10, shop11, shop11}}, // 20 is more than 3
	{`what contains lodash != 4.17.20`, []string{shop11, shop11}},
	{`what contains @babel/core`, []string{shop10, shop11, shop11}},
	{`what contains core`, []string{}},
	{`what contains pkg:golang/golang.org/x/net < 0.38`, []string{ledger}},
	{`what contains golang.org/x/net >= 0.38`, []string{}},
	{`what contains (licence = MIT)`, []string{shop10, shop11, shop11}},
	{`images where license ~ "gpl-*"`, []string{shop10, shop11, shop11}},
	{`images where not licence = MIT`, []string{ledger}},
	{`what contains (licence ~ "BSD*" and type = golang)`, []string{ledger}},
	{`what contains (licence ~ "BSD*" and type = npm)`, []string{}},
	{`what contains (name ~ "lib*" and source = openssl and arch = amd64 and distro = debian-13)`, []string{shop10, shop11, shop11}},

	{`what is affected by CVE-2025-9230`, []string{shop10}},
	{`what is affected by cve-2025-9230`, []string{shop10}},
	{`what is affected by DSA-6015-1`, []string{shop10}},
	{`what is affected by CVE-2021-23337`, []string{shop10}},
	{`what is affected by CVE-1999-0001`, []string{}},
	{`what is affected by anything`, []string{ledger, shop10}},
	{`images where severity >= high`, []string{ledger, shop10}},
	{`images where severity = critical`, []string{ledger}},
	{`images where affected by (severity >= high and fixable)`, []string{shop10}},
	{`images where severity >= high and fixable`, []string{ledger, shop10}}, // by two findings
	{`images where exploited or epss >= 0.02`, []string{ledger, shop10}},
	{`images where affected by (state = affected)`, []string{ledger}},
	{`images where affected by (feed ~ "deb*" and score > 7 and published >= 2026-01-01)`, []string{shop10}},
	{`what contains (affected by (severity = high) and type = deb)`, []string{shop10}},
	{`images where not affected`, []string{shop11, shop11}},

	{`images where base = "base/run"`, []string{shop10, shop11, shop11}},
	{`images where base = "registry.example/base/run:13" and not tag = "1.0"`, []string{shop11, shop11}},
	{`images where base ~ "*/run:12"`, []string{}},
	{`images where base != base/run`, []string{ledger}},
	{`images where base-digest = ` + sum("base-1"), []string{shop10}},
	{`images where age > 30d`, []string{shop10, shop11, shop11}},
	{`images where pushed > 7d`, []string{ledger}},
	{`images where created < 1990-01-01`, []string{shop10, shop11, shop11}}, // and not where nobody knows
	{`images where size < 10MB`, []string{ledger}},
	{`images where source = https://git.example/shop.git and revision = abc123`, []string{shop10, shop11, shop11}},
	{`images where source ~ "*/ledger.git"`, []string{ledger}},
	{`images where source != https://git.example/shop.git`, []string{ledger}},
	{`images where platform = linux/arm64`, []string{shop11}},
	{`images where distro = debian-13 and platform != linux/arm64`, []string{shop10, shop11}},
	{`images where digest = ` + sum("ledger"), []string{ledger}},
	{`images where digest = nonsense`, []string{}},
	{`images where ref = registry.example/shop:1.0`, []string{shop10}},
	{`images where ref ~ "registry.example/*:1.?"`, []string{shop10, shop11, shop11}},
	{`images where ref ~ "registry.example/shop:1.1*"`, []string{shop11, shop11}},
	{`images where ref ~ "*led*"`, []string{ledger}},
	{`images where ref ~ "registry.example/*[1]*"`, []string{}}, // a bracket is a bracket
	{`images where ref ~ "registry%"`, []string{}},              // and a percent sign is one
	{`images where repository = other.example/ledger or tag = "1.0"`, []string{ledger, shop10}},
	{`images where repository ~ "*/shop" and tag != "1.0"`, []string{shop11, shop11}},
	{`images where label.team = ships`, []string{shop10, shop11, shop11}},
	{`images where label.team != ships`, []string{ledger}},
	{`images where label.crew ~ "*"`, []string{}},
	{`images where signed`, []string{ledger, shop10, shop11}},
	{`images where signed-by key-1`, []string{shop10, shop11}},
	{`images where signed-by builder@example`, []string{ledger}},
	{`images where signed-by key-2`, []string{}}, // nobody verified it
	{`images where not signed-by key-1`, []string{ledger, shop11}},
	{`images where evidence = spdx`, []string{shop10, shop11}},
	{`images where evidence ~ "https://slsa.dev/*"`, []string{ledger}},
	{`images where evidence != provenance`, []string{shop10, shop11, shop11}},
}

func testAnswers(t *testing.T, address string) {
	inv := fleet(t, address, newClock())
	for _, q := range questions {
		t.Run(q.ask, func(t *testing.T) {
			if diff := cmp.Diff(q.want, named(t, inv, q.ask)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// fleet opens an index that holds Fleet and its findings.
func fleet(t testing.TB, address string, c *clock) *inventory.Inventory {
	t.Helper()
	inv := open(t, address, c)
	put(t, inv, Fleet()...)
	rematch(t, inv, inventory.Which{}, Advisories())
	return inv
}

func testFindings(t *testing.T, address string) {
	inv := fleet(t, address, newClock())
	got := ask(t, inv, `what is affected by CVE-2025-9230 and how is it fixed`)
	want := inventory.Result{
		Query:   `images where affected by (id = "CVE-2025-9230") and how is it fixed`,
		Subject: query.Images, Total: 1,
		Images: []inventory.ImageAnswer{{
			Name: shop10, References: []string{shop10}, Digest: sum("shop-1"), Platform: "linux/amd64", Distro: "debian-13",
			Created: day(1).AddDate(-46, 0, 0), Pushed: day(1).AddDate(0, -2, 0), Seen: day(1).AddDate(0, -2, 0), Size: 60e6,
			Base:   inventory.Base{Name: "registry.example/base/run:13", Digest: sum("base-1")},
			Source: inventory.Source{URL: "https://git.example/shop.git", Revision: "abc123"}, Labels: map[string]string{"team": "ships"},
			Evidence: Fleet()[0].Evidence,
			Matches: []inventory.Match{{
				Package: "pkg:deb/debian/libssl3t64@3.5.1-1?arch=amd64&distro=debian-13&upstream=openssl",
				Paths:   []string{"var/lib/dpkg/status.d/libssl3t64"}, Layer: sum("ssl-old"), Depth: 1, InBase: true,
				Advisory: "CVE-2025-9230", Severity: artifact.SeverityHigh, State: "fixed", Fixed: "3.5.1-1+deb13u1", Remedy: artifact.RemedyRebase,
				Since: day(1),
			}},
		}},
		Fixes: []inventory.Fix{{Advisory: "CVE-2025-9230", Package: "openssl", Fixed: "3.5.1-1+deb13u1", Remedy: artifact.RemedyRebase, Images: 1}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	remedies := map[string]artifact.Remedy{}
	for _, image := range ask(t, inv, `what is affected by anything`).Images {
		for _, m := range image.Matches {
			remedies[m.Advisory] = m.Remedy
		}
	}
	if diff := cmp.Diff(map[string]artifact.Remedy{
		"CVE-2025-9230": artifact.RemedyRebase, "GHSA-35jh-r3h4-6jhm": artifact.RemedyOverride,
		"GO-2025-3595": artifact.RemedyNone, "GO-2025-4000": artifact.RemedyRebuild,
	}, remedies); diff != "" {
		t.Error(diff)
	}

	contains := ask(t, inv, `what contains openssl < 4 and platform = linux/arm64`).Images[0].Matches
	if diff := cmp.Diff([]inventory.Match{{
		Package: "pkg:deb/debian/libssl3t64@3.5.1-1%2Bdeb13u1?arch=amd64&distro=debian-13&upstream=openssl",
		Paths:   []string{"var/lib/dpkg/status.d/libssl3t64"}, Layer: sum("ssl-new"), Depth: 1, InBase: true, Since: day(1).AddDate(0, -2, 0),
	}}, contains); diff != "" {
		t.Error(diff)
	}
	if m := ask(t, inv, `images where not contains lodash`).Images[0].Matches; len(m) > 0 {
		t.Errorf("what is not there was shown: %v", m)
	}

	affected, err := inv.Affected(t.Context(), "DSA-6015-1")
	if diff := cmp.Diff([]inventory.Named{{Name: shop10, Digest: sum("shop-1"), Platform: "linux/amd64"}}, affected); diff != "" || err != nil {
		t.Error(diff, err)
	}
	testOtherSubjects(t, inv)
}

// testBundled holds the list of fixes to the images' own: one package, once in npm and once
// in an application.
func testBundled(t *testing.T, address string) {
	image := func(name, path string) inventory.Image {
		lodash := npm("", "lodash", "4.17.20", name)
		lodash.Paths = []string{path}
		return inventory.Image{Reference: "registry.example/" + name + ":1", Contents: artifact.Contents{
			Image: sum("image " + name), Platform: "linux/amd64", Layers: []string{sum(name)}, Packages: []artifact.Package{lodash, npm("", "npm", "11.0.0", name)},
		}}
	}
	inv := open(t, address, newClock())
	put(t, inv, image("runtime", "layers/node/lib/node_modules/npm/node_modules/lodash/package.json"), image("app", "workspace/node_modules/lodash/package.json"))
	rematch(t, inv, inventory.Which{}, Advisories())
	got := ask(t, inv, `what is affected by GHSA-35jh-r3h4-6jhm and how is it fixed`)
	rows := map[string]artifact.Remedy{}
	for _, i := range got.Images {
		rows[i.Name] = i.Matches[0].Remedy
	}
	if diff := cmp.Diff(map[string]artifact.Remedy{"registry.example/runtime:1": artifact.RemedyRebuild, "registry.example/app:1": artifact.RemedyOverride}, rows); diff != "" {
		t.Error(diff)
	}
	fix := inventory.Fix{Advisory: "GHSA-35jh-r3h4-6jhm", Package: "lodash", Fixed: "4.17.21", Remedy: artifact.RemedyOverride, Images: 1}
	again := fix
	again.Remedy = artifact.RemedyRebuild
	if diff := cmp.Diff([]inventory.Fix{fix, again}, got.Fixes); diff != "" {
		t.Error(diff)
	}
}

// testNotes asks for what is not there: no images may be good news, or a slip of the pen.
func testNotes(t *testing.T, address string) {
	const nothing, finding = "nothing here is known by the name ", "no finding here was ever known by the name "
	empty := open(t, address, newClock())
	if notes := ask(t, empty, `what contains lodash`).Notes; len(notes) != 1 || !strings.Contains(notes[0], "is empty") {
		t.Errorf("an empty inventory notes %q", notes)
	}
	inv := fleet(t, address, newClock())
	for question, want := range map[string][]string{
		`what contains lodash`:                                  nil,
		`what contains openssl > 99`:                            nil, // it is known, and fixed everywhere
		`what is affected by dsa-6015-1`:                        nil,
		`images`:                                                nil,
		`what contains npm/lodahs`:                              {nothing + "lodahs"},
		`images where not contains (name = lodahs)`:             {nothing + "lodahs"},
		`packages where package lodahs < 2 or name = lodahs`:    {nothing + "lodahs"},
		`what is affected by CVE-1999-1 or contains lodahs`:     {finding + "CVE-1999-1", nothing + "lodahs"},
		`advisories where id = CVE-1999-1 and severity >= high`: {finding + "CVE-1999-1"},
	} {
		if diff := cmp.Diff(want, ask(t, inv, question).Notes); diff != "" {
			t.Errorf("%s (-want +got)\n%s", question, diff)
		}
	}
}

// testOtherSubjects asks for packages and advisories.
func testOtherSubjects(t *testing.T, inv *inventory.Inventory) {
	type counted struct {
		What   string
		Images int
	}
	var packages []counted
	for _, p := range ask(t, inv, `packages where type = deb and not affected`).Packages {
		packages = append(packages, counted{p.Name + " " + p.Version, p.Images})
	}
	if diff := cmp.Diff([]counted{{"libc6 2.41-12", 3}, {"libssl3t64 3.5.1-1+deb13u1", 2}}, packages); diff != "" {
		t.Error(diff)
	}
	got := ask(t, inv, `advisories where severity >= high and fixable`)
	if diff := cmp.Diff([]inventory.AdvisoryAnswer{{
		ID: "CVE-2025-9230", Aliases: []string{"DSA-6015-1"}, Summary: "An out-of-bounds read", Severity: artifact.SeverityHigh, Score: 7.5, EPSS: 0.02,
		Published: day(1), Since: day(1), Fixable: true, Packages: 1, Images: 1,
	}}, got.Advisories); diff != "" || got.Total != 1 {
		t.Error(diff)
	}
	if total := ask(t, inv, `advisories`).Total; total != 4 {
		t.Errorf("%d advisories, want 4", total)
	}
}

func testSuppressions(t *testing.T, address string) {
	c := newClock()
	inv := fleet(t, address, c)
	question := `what is affected by CVE-2025-9230`
	why := artifact.Suppression{Status: "not_affected", Justification: "vulnerable_code_not_in_execute_path"}
	for _, s := range []struct {
		name       string
		statements []inventory.Suppression
		want       []string
	}{
		{"none", nil, []string{shop10}},
		{"for all images, by an alias", []inventory.Suppression{{Advisory: "DSA-6015-1", Suppression: why}}, []string{}},
		{"for the package", []inventory.Suppression{{Advisory: "CVE-2025-9230", Package: "pkg:deb/debian/libssl3t64?arch=amd64", Suppression: why}}, []string{}},
		{"for the source package and version", []inventory.Suppression{{Advisory: "CVE-2025-9230", Package: "pkg:deb/debian/openssl@3.5.1-1", Suppression: why}}, []string{}},
		{"for another version", []inventory.Suppression{{Advisory: "CVE-2025-9230", Package: "pkg:deb/debian/openssl@3.5.0-1", Suppression: why}}, []string{shop10}},
		{"for the image", []inventory.Suppression{{Advisory: "CVE-2025-9230", Image: sum("shop-1"), Suppression: why}}, []string{}},
		{"for another image", []inventory.Suppression{{Advisory: "CVE-2025-9230", Image: sum("shop-2"), Suppression: why}}, []string{shop10}},
		{"of another advisory", []inventory.Suppression{{Advisory: "CVE-2021-23337", Suppression: why}}, []string{shop10}},
	} {
		t.Run(s.name, func(t *testing.T) {
			c.set(c.Now().Add(time.Hour))
			if err := inv.Suppress(t.Context(), "vex.json", s.statements); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(s.want, named(t, inv, question)); diff != "" {
				t.Error(diff)
			}
			affected, err := inv.Affected(t.Context(), "CVE-2025-9230")
			if err != nil || len(affected) != len(s.want) {
				t.Errorf("affected are %v, %v", affected, err)
			}
		})
	}
	// An image with two findings, of which one is suppressed, is still affected, by the other.
	c.set(c.Now().Add(time.Hour))
	if err := inv.Suppress(t.Context(), "vex.json", []inventory.Suppression{{Advisory: "CVE-2025-9230", Image: sum("shop-1"), Suppression: why}}); err != nil {
		t.Fatal(err)
	}
	images := ask(t, inv, `images where affected by anything and tag = "1.0"`).Images
	if len(images) != 1 || len(images[0].Matches) != 1 || images[0].Matches[0].Advisory != "GHSA-35jh-r3h4-6jhm" {
		t.Errorf("got %+v, want the finding that nobody suppressed", images)
	}
	if diff := cmp.Diff([]string{shop10}, named(t, inv, question+` as of 2026-01-01T12:30:00Z`)); diff != "" {
		t.Errorf("what was suppressed later counted then: %s", diff)
	}
}
