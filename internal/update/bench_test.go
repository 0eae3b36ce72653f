package update_test

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/inventory/inventorytest"
	"plimsoll.dev/plimsoll/internal/inventory/query"
	"plimsoll.dev/plimsoll/internal/testbed"
	"plimsoll.dev/plimsoll/internal/update"
)

// fleetSize is how many images the fleet has.
const fleetSize = 100_000

// BenchmarkPlan plans for an advisory in the base of half of a fleet, and beside it asks for
// each image by itself, as one does who has no index.
func BenchmarkPlan(b *testing.B) {
	population := inventorytest.NewPopulation(b)
	for name, address := range map[string]string{
		"SQLite": "sqlite:" + filepath.Join(b.TempDir(), "inventory.db"), "PostgreSQL": testbed.Postgres(b),
	} {
		b.Run(name, func(b *testing.B) { benchmarkPlan(b, population, address) })
	}
}

func benchmarkPlan(b *testing.B, population *inventorytest.Population, address string) {
	inv := openInventory(b, address, time.Now)
	putFleet(b, inv, population)
	for _, target := range []v1alpha1.PatchTarget{{Advisories: []string{"CVE-tzdata"}}, {Advisories: []string{"CVE-zlib"}}, {Severities: []string{"critical"}}, {All: true}} {
		for _, warmth := range []string{"cold", "warm"} {
			asked := inv
			if warmth == "cold" {
				asked = openInventory(b, address, time.Now)
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := time.Now()
			plan := newPlan(b, asked, v1alpha1.PatchSpec{Target: target})
			took := time.Since(start)
			runtime.GC()
			runtime.ReadMemStats(&after)
			held := float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / 1e6
			fmt.Printf("%s %s, %v: %d images planned in %.2f s (goal: 2 s), the plan takes %.0f MB; %v\n",
				b.Name(), warmth, target, plan.Len(), took.Seconds(), held, plan.Radius.Remedies)
			b.ReportMetric(took.Seconds(), "s-plan")
			runtime.KeepAlive(plan)
		}
	}
	naive(b, inv, population)
	for b.Loop() { // the figures above are of one run each
	}
}

// naive asks for some images one by one, and says what all would take.
func naive(b *testing.B, inv *inventory.Inventory, population *inventorytest.Population) {
	const some = 500
	start := time.Now()
	for n := range some {
		image := population.Image(n * (fleetSize / some))
		q, err := query.Parse(`images where ref = "` + image.Reference + `" and affected by CVE-zlib and how is it fixed`)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := inv.Query(b.Context(), q, inventory.Page{}); err != nil {
			b.Fatal(err)
		}
	}
	fmt.Printf("%s asking for each image: %.0f s for %d\n", b.Name(), time.Since(start).Seconds()*fleetSize/some, fleetSize)
}

// putFleet puts the fleet in, and the bases as they were built again since.
func putFleet(b *testing.B, inv *inventory.Inventory, population *inventorytest.Population) {
	bases := map[string]inventory.Image{}
	images := make([]inventory.Image, 0, 2000)
	for n := range fleetSize {
		image := population.Image(n)
		if _, known := bases[image.Base.Name]; !known {
			bases[image.Base.Name] = builtAgain(image)
		}
		images = append(images, image)
		if len(images) == cap(images) || n+1 == fleetSize {
			if err := inv.Put(b.Context(), images...); err != nil {
				b.Fatal(err)
			}
			images = images[:0]
		}
	}
	for _, base := range bases {
		if err := inv.Put(b.Context(), base); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := inv.Rematch(b.Context(), inventory.Which{}, fleetMatch); err != nil {
		b.Fatal(err)
	}
}

// builtAgain gives what the base of an image names now.
func builtAgain(on inventory.Image) inventory.Image {
	base := inventory.Image{Reference: on.Base.Name, Pushed: time.Now(), Size: 30e6, Contents: on.Contents}
	base.Contents.Image, base.Contents.Layers, base.Contents.BaseLayers, base.Contents.Packages = sum("again"+on.Base.Name), nil, 0, nil
	for i := range on.Contents.BaseLayers {
		base.Contents.Layers = append(base.Contents.Layers, sum(fmt.Sprint("again", on.Base.Name, i)))
	}
	for _, p := range on.Contents.Packages {
		if p.Type == "deb" {
			p.Version, p.SourceVersion, p.Layer = p.Version+"+fixed", p.SourceVersion+"+fixed", base.Contents.Layers[0]
			base.Contents.Packages = append(base.Contents.Packages, p)
		}
	}
	return base
}

// fleetMatch knows an advisory for every tenth name. Versions that end with "+fixed" are.
func fleetMatch(_ context.Context, packages []inventory.Package) ([]inventory.Finding, error) {
	var findings []inventory.Finding
	for _, p := range packages {
		name, version := p.AdvisoryName()
		number := inventorytest.Number(name)
		if strings.HasSuffix(version, "+fixed") || number%10 > 0 && name != "tzdata" && name != "zlib" {
			continue
		}
		f := inventory.Finding{PackageID: p.ID}
		f.ID, f.State = "CVE-"+name, "fixed"
		f.Severity = []artifact.Severity{artifact.SeverityLow, artifact.SeverityMedium, artifact.SeverityHigh, artifact.SeverityCritical}[number/10%4]
		if f.Fixed = version + "+fixed"; p.Type != "deb" {
			f.Fixed = strings.Replace(version, ".", ".99", 1)
		}
		findings = append(findings, f)
	}
	return findings, nil
}

// BenchmarkCampaign works a campaign off whose images cost nothing: what the engine itself
// takes of them.
func BenchmarkCampaign(b *testing.B) {
	const images = 10_000
	for name, address := range map[string]string{
		"SQLite": "sqlite:" + filepath.Join(b.TempDir(), "inventory.db"), "PostgreSQL": testbed.Postgres(b),
	} {
		b.Run(name, func(b *testing.B) {
			h := newHarbour(b, address, images, func(_ *harbour, o *update.Options) { o.Remedier = airlift{}; o.Tick = time.Second })
			start := time.Now()
			h.apply("ssl", v1alpha1.PatchSpec{Target: openssl})
			applied := time.Since(start)
			h.until("ssl", "done", func(s update.Status) bool { return s.Counts.Done == images })
			worked := time.Since(start) - applied
			h.ended("ssl")
			fmt.Printf("%s: %d images planned and written down in %.2f s, worked off in %.2f s (%.0f images/s), reported after %.2f s\n",
				b.Name(), images, applied.Seconds(), worked.Seconds(), images/worked.Seconds(), (time.Since(start) - applied - worked).Seconds())
			b.ReportMetric(images/worked.Seconds(), "images/s")
			for b.Loop() { // the figures above are of one run
			}
		})
	}
}

// airlift remedies everything at once.
type airlift struct{}

func (airlift) Apply(_ context.Context, batch update.Batch, report func(update.Outcome)) error {
	for _, item := range batch.Items {
		report(update.Outcome{Number: item.Number, Before: item.From, After: sum(item.Reference)})
	}
	return nil
}

func (airlift) Move(context.Context, []update.Move, func(update.Outcome)) error { return nil }
