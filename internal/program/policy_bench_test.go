package program

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/inventory/inventorytest"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// BenchmarkPolicyDiff asks a policy that is not in force yet about 100,000 images, beside the one
// that is, as a whole process.
func BenchmarkPolicyDiff(b *testing.B) {
	const fleet = 100_000
	home := testbed.Home(b)
	b.Setenv("PLIMSOLL_HOME", home)
	binary := filepath.Join(b.TempDir(), "plimsoll")
	compile(b, ".", binary, "../../cmd/plimsoll")
	fillInventory(b, home, fleet)
	run := func(args ...string) (string, *exec.Cmd) {
		cmd := exec.CommandContext(b.Context(), binary, args...)
		out, err := cmd.Output()
		if err != nil {
			b.Fatalf("plimsoll %s: %v", strings.Join(args, " "), err)
		}
		return string(out), cmd
	}
	run("policy", "add", "baseline")
	for b.Loop() {
		started := time.Now()
		out, cmd := run("policy", "diff", "--profile", "restricted")
		took := time.Since(started)
		if want := fmt.Sprintf("%d images at the registry gate: ", fleet); !strings.Contains(out, want) {
			b.Fatalf("it says %q, want %q in it", out, want)
		}
		peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10
		fmt.Printf("policy diff, baseline and restricted over %d images: %.1f s, %d MB at most   (goal: 60 s)\n", fleet, took.Seconds(), peak)
		b.ReportMetric(took.Seconds(), "s/diff")
		b.ReportMetric(float64(peak), "MB")
	}
}

// fillInventory puts a fleet with facts and findings into the home's inventory.
func fillInventory(b *testing.B, home string, fleet int) {
	b.Helper()
	population := inventorytest.NewPopulation(b)
	index, err := inventory.Open(b.Context(), "sqlite:"+filepath.Join(home, "inventory.db"), inventory.Options{})
	must(b, err)
	defer func() { must(b, index.Close()) }()
	const batch = 2000
	for from := 0; from < fleet; from += batch {
		var images []inventory.Image
		var facts []artifact.Facts
		for n := from; n < min(from+batch, fleet); n++ {
			images = append(images, population.Image(n))
			f, _ := population.Facts(n)
			facts = append(facts, f)
		}
		must(b, index.Put(b.Context(), images...))
		_, err := index.PutFacts(b.Context(), facts...)
		must(b, err)
	}
	_, err = index.Rematch(b.Context(), inventory.Which{}, everyEighth)
	must(b, err)
	must(b, index.Synced(b.Context(), time.Now()))
}

// everyEighth knows of an advisory with a fix for one of eight names.
func everyEighth(_ context.Context, packages []inventory.Package) ([]inventory.Finding, error) {
	severities := []artifact.Severity{artifact.SeverityLow, artifact.SeverityMedium, artifact.SeverityHigh, artifact.SeverityCritical}
	var all []inventory.Finding
	for _, p := range packages {
		name, version := p.AdvisoryName()
		number := inventorytest.Number(name)
		if number%8 > 0 {
			continue
		}
		f := inventory.Finding{PackageID: p.ID}
		f.ID, f.Source, f.State, f.Fixed = "CVE-"+name, "test", "fixed", version+".1"
		f.Severity, f.Published = severities[number/8%len(severities)], time.Now().AddDate(0, 0, -(number%60))
		all = append(all, f)
	}
	return all, nil
}
