package inventorytest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/inventory/query"
)

// testHistory moves tags, finds and fixes, and asks about the past.
func testHistory(t *testing.T, address string) {
	c := newClock()
	inv := open(t, address, c)
	images := Fleet()
	first, second := images[0], images[1]
	first.Reference, second.Reference = "registry.example/shop:latest", "registry.example/shop:latest"
	first.Pushed, second.Pushed = day(2), day(10)

	c.set(day(2))
	put(t, inv, first)
	c.set(day(4)) // the advisory is published
	rematch(t, inv, inventory.Which{}, Advisories())
	c.set(day(10)) // the rebased image takes the tag
	put(t, inv, second)
	rematch(t, inv, inventory.Which{Unmatched: true}, Advisories())
	c.set(day(12)) // it is rolled back
	put(t, inv, first)
	c.set(day(14)) // and forward
	put(t, inv, second)
	c.set(day(16)) // the feed withdraws the advisory
	rematch(t, inv, inventory.Which{Names: []string{"openssl"}}, nil)
	c.set(day(20))
	if err := inv.Remove(t.Context(), "registry.example/shop", "registry.example/unknown:1"); err != nil {
		t.Fatal(err)
	}
	c.set(day(21))

	old, fixed := sum("shop-1"), sum("shop-2")
	for _, q := range []struct {
		ask  string
		want []string
	}{
		{`images`, nil},
		{`images ever`, []string{old, fixed}},
		{`images as of 2026-01-01`, nil},
		{`images as of 2026-01-03`, []string{old}},
		{`images as of 2026-01-11`, []string{fixed}},
		{`images as of 2026-01-13`, []string{old}},
		{`images as of 2026-01-14T12:00:00Z`, []string{fixed}},
		{`images as of 2026-01-19`, []string{fixed}},
		{`images as of 2026-01-20`, nil},
		{`images where tag = latest as of 2026-01-13`, []string{old}},
		{`what is affected by CVE-2025-9230 as of 2026-01-03`, nil},
		{`what is affected by CVE-2025-9230 as of 2026-01-05`, []string{old}},
		{`what is affected by CVE-2025-9230 as of 2026-01-11`, nil},
		{`what is affected by CVE-2025-9230 as of 2026-01-13`, []string{old}},
		{`what is affected by CVE-2025-9230 ever`, nil}, // the advisory stands no more
		{`what contains openssl < 3.5.1-1+deb13u1 ever`, []string{old}},
	} {
		t.Run(q.ask, func(t *testing.T) {
			var got []string
			for _, image := range ask(t, inv, q.ask).Images {
				got = append(got, image.Digest)
			}
			if len(got) == 2 && got[0] == fixed {
				got[0], got[1] = got[1], got[0] // they have one name
			}
			if diff := cmp.Diff(q.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	since := ask(t, inv, `what is affected by CVE-2025-9230 as of 2026-01-13`).Images[0].Matches[0].Since
	if !since.Equal(day(4)) {
		t.Errorf("affected since %v, want the day that the advisory came to be known", since)
	}
	since = ask(t, inv, `what is affected by GHSA-35jh-r3h4-6jhm ever`).Images[0].Matches[0].Since
	if !since.Equal(day(4)) {
		t.Errorf("affected since %v, want what it was", since)
	}
}

func testIdempotent(t *testing.T, address string) {
	c := newClock()
	inv := fleet(t, address, c)
	before, err := inv.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if before.Images != 4 || before.Stacks != 3 || before.Packages != 8 || before.Findings != 4 || before.Unmatched != 0 || before.Bytes <= 0 {
		t.Errorf("unexpected: %+v", before)
	}
	first := ask(t, inv, `images`)
	c.set(day(5))
	put(t, inv, append(Fleet(), Fleet()...)...)
	if changed := rematch(t, inv, inventory.Which{}, Advisories()); changed.New+changed.Gone != 0 || changed.Packages != 8 {
		t.Errorf("the same match changed %+v", changed)
	}
	after, err := inv.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before.Bytes, after.Bytes = 0, 0
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(first, ask(t, inv, `images`)); diff != "" {
		t.Error(diff)
	}

	// A better account of an image replaces the old one.
	image := Fleet()[3]
	image.Contents.Packages = image.Contents.Packages[:1]
	image.Labels = map[string]string{"team": "books"}
	put(t, inv, image)
	if got := named(t, inv, `what contains golang.org/x/net`); len(got) > 0 {
		t.Errorf("the old account still counts: %v", got)
	}
	if diff := cmp.Diff([]string{ledger}, named(t, inv, `images where label.team = books`)); diff != "" {
		t.Error(diff)
	}
	// An image with two names is one image, found by either.
	image.Reference = "other.example/ledger:newest"
	put(t, inv, image)
	for _, question := range []string{`images where ref ~ "*:newest"`, `images where ref ~ "*er:2"`, `images where tag = newest and tag = 2`} {
		if diff := cmp.Diff([]string{ledger}, named(t, inv, question)); diff != "" {
			t.Errorf("%s: %s", question, diff)
		}
	}
	if err := inv.Remove(t.Context(), ledger); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{image.Reference}, named(t, inv, `images where ref ~ "*ledger*" and not tag = 2`)); diff != "" {
		t.Error(diff)
	}
	missing, err := inv.Missing(t.Context(), []string{sum("shop-1"), sum("nobody"), sum("ledger")})
	if diff := cmp.Diff([]string{sum("nobody")}, missing); diff != "" || err != nil {
		t.Error(diff, err)
	}
	references, err := inv.References(t.Context(), "registry.example/")
	if diff := cmp.Diff([]string{shop10, shop11}, references); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// testPages asks for many images in pages, both by walking and by sorting.
func testPages(t *testing.T, address string) {
	inv := open(t, address, newClock())
	const all = 5200
	images := make([]inventory.Image, all)
	for n := range images {
		image := Fleet()[n%2]
		image.Reference = fmt.Sprintf("registry.example/app-%04d:%d", n/2, n%2)
		image.Contents.Image = sum(image.Reference)
		images[n] = image
	}
	put(t, inv, images...)
	for _, q := range []struct {
		ask  string
		want int
	}{
		{`what contains glibc`, all},
		{`what contains lodash = 4.17.20`, all / 2},
		{`images where tag = "1" and age > 1d`, all / 2},
	} {
		parsed, err := query.Parse(q.ask)
		if err != nil {
			t.Fatal(err)
		}
		seen, last := 0, ""
		for page := (inventory.Page{Limit: 700}); ; {
			result, err := inv.Query(t.Context(), parsed, page)
			if err != nil {
				t.Fatal(err)
			}
			for _, image := range result.Images {
				if image.Name <= last {
					t.Fatalf("%s: %s comes after %s", q.ask, image.Name, last)
				}
				last = image.Name
			}
			seen += len(result.Images)
			if result.Total != q.want {
				t.Fatalf("%s: a total of %d, want %d", q.ask, result.Total, q.want)
			}
			if page.After = result.Next; page.After == "" {
				break
			}
		}
		if seen != q.want {
			t.Errorf("%s: %d images on all pages, want %d", q.ask, seen, q.want)
		}
	}
	packages, err := inv.Query(t.Context(), query.Query{Subject: query.Packages}, inventory.Page{Limit: 2})
	if err != nil || packages.Total != 6 || len(packages.Packages) != 2 {
		t.Fatalf("got %+v, %v", packages, err)
	}
	rest, err := inv.Query(t.Context(), query.Query{Subject: query.Packages}, inventory.Page{After: packages.Next})
	if err != nil || rest.Total != 6 || len(rest.Packages) != 4 {
		t.Errorf("got %+v, %v", rest, err)
	}
}

func testRematch(t *testing.T, address string) {
	c := newClock()
	inv := fleet(t, address, c)
	c.set(day(3))
	advisories := Advisories()
	ssl := advisories["libssl3t64"]
	ssl.ID, ssl.Aliases = "CVE-2025-0001", []string{"CVE-2025-9230"} // the feed renames it
	ssl.State, ssl.Severity = "postponed", artifact.SeverityCritical
	advisories["libssl3t64"] = ssl
	changed := rematch(t, inv, inventory.Which{Names: []string{"openssl"}}, advisories)
	if diff := cmp.Diff(inventory.Rematched{Packages: 2, Findings: 1, New: 1, Gone: 1}, changed); diff != "" {
		t.Error(diff)
	}
	m := ask(t, inv, `what is affected by CVE-2025-0001`).Images[0].Matches[0]
	if !m.Since.Equal(day(1)) || m.State != "postponed" || m.Severity != artifact.SeverityCritical {
		t.Errorf("got %+v, want it to stand since day 1 as what the feed says now", m)
	}
	if got := named(t, inv, `images where severity = high`); len(got) > 0 {
		t.Errorf("the old name still counts: %v", got)
	}
	broken := errors.New("broken")
	_, err := inv.Rematch(t.Context(), inventory.Which{}, func(context.Context, []inventory.Package) ([]inventory.Finding, error) { return nil, broken })
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want the matcher's own error", err)
	}
	if diff := cmp.Diff([]string{shop10}, named(t, inv, `images where severity = critical and not contains net and contains openssl`)); diff != "" {
		t.Error(diff)
	}
}

// testHostile puts what no database takes as it is, and asks for it.
func testHostile(t *testing.T, address string) {
	inv := open(t, address, newClock())
	image := Fleet()[3]
	nasty := "'; DROP TABLE images; --\x00\xff" + strings.Repeat("é", 2000)
	image.Contents.Packages = []artifact.Package{{
		Type: "npm", Name: nasty, Version: nasty, Licenses: []string{nasty}, Paths: []string{nasty, "a\nb"}, Layer: "nowhere", FoundBy: []string{nasty},
	}}
	image.Source = inventory.Source{URL: nasty, Revision: nasty}
	image.Base.Name = nasty
	image.Labels = map[string]string{nasty: "too long, left out", "a\x00": "b\xff"}
	image.Evidence = []inventory.Evidence{{PredicateType: nasty, KeyID: nasty}}
	image.Contents.Platform, image.Contents.Distro.ID = nasty, nasty
	put(t, inv, image)
	finding := inventory.Finding{Finding: artifact.Finding{ID: nasty, Aliases: []string{nasty, "x"}, Summary: nasty, Source: nasty, State: nasty, Fixed: nasty, Vector: nasty}}
	for p, err := range inv.Packages(t.Context(), inventory.Which{}) {
		if err != nil {
			t.Fatal(err)
		}
		finding.PackageID = p.ID
	}
	if _, err := inv.SetFindings(t.Context(), []int64{finding.PackageID}, []inventory.Finding{finding}); err != nil {
		t.Fatal(err)
	}
	got := ask(t, inv, `what is affected by x`)
	if len(got.Images) != 1 || len(got.Images[0].Matches) != 1 || got.Images[0].Matches[0].Layer != "" || len(got.Images[0].Matches[0].Paths) != 2 {
		t.Errorf("got %+v", got)
	}
	for _, question := range []string{
		`what contains "'; DROP TABLE images; --"`, `images where ref ~ "'*" or source = "'%_[\\"`, `images where label."' = 1`,
		`what is affected by "' OR 1 = 1 --"`, `packages where licence = "');" or name ~ "*é?"`,
	} {
		q, err := query.Parse(question)
		if err != nil {
			continue
		}
		if _, err := inv.Query(t.Context(), q, inventory.Page{}); err != nil {
			t.Errorf("%s: %v", question, err)
		}
	}
	if total := ask(t, inv, `images`).Total; total != 1 {
		t.Errorf("%d images, want the one", total)
	}
}

func testRefusals(t *testing.T, address string) {
	inv := open(t, address, newClock())
	for _, c := range []struct {
		name  string
		spoil func(*inventory.Image)
	}{
		{"no reference", func(i *inventory.Image) { i.Reference = "" }},
		{"only a tag", func(i *inventory.Image) { i.Reference = ":1" }},
		{"no digest", func(i *inventory.Image) { i.Contents.Image = "sha256:abc" }},
		{"a digest in capitals", func(i *inventory.Image) { i.Contents.Image = "sha256:" + strings.ToUpper(sum("x")[7:]) }},
		{"a base that is none", func(i *inventory.Image) { i.Base.Digest = "md5:00" }},
		{"a layer that is none", func(i *inventory.Image) { i.Contents.Layers = []string{"x"} }},
		{"too many layers", func(i *inventory.Image) { i.Contents.Layers = make([]string, 2000) }},
	} {
		image := Fleet()[0]
		c.spoil(&image)
		if err := inv.Put(t.Context(), image); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: got %v, want a usage fault", c.name, err)
		}
	}
	if _, err := inv.Query(t.Context(), query.Query{Subject: query.Images}, inventory.Page{After: "nonsense!"}); fault.KindOf(err) != fault.Usage {
		t.Errorf("a page after nonsense: %v", err)
	}
	if err := inv.Suppress(t.Context(), "vex", []inventory.Suppression{{Advisory: "x", Package: "nonsense"}}); fault.KindOf(err) != fault.Usage {
		t.Errorf("a suppression for nonsense: %v", err)
	}
	if stats, err := inv.Stats(t.Context()); err != nil || stats.Known != 0 {
		t.Errorf("something was kept: %+v, %v", stats, err)
	}
}
