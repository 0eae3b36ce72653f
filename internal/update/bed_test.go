package update_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)} } // a Monday

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(s[:])
}

func sqliteAddress(t testing.TB) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "inventory.db")
}

func openInventory(t testing.TB, address string, now func() time.Time) *inventory.Inventory {
	t.Helper()
	inv, err := inventory.Open(t.Context(), address, inventory.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := inv.Close(); err != nil {
			t.Error(err)
		}
	})
	return inv
}

func deb(source, version, layer string) artifact.Package {
	return artifact.Package{
		Type: "deb", Namespace: "debian", Name: source, Version: version, Arch: "amd64", Distro: "debian-13", Source: source, SourceVersion: version,
		Paths: []string{"var/lib/dpkg/status.d/" + source}, Layer: sum(layer), FoundBy: []string{"image"},
	}
}

func module(kind, name, version, layer string) artifact.Package {
	return artifact.Package{Type: kind, Name: name, Version: version, Paths: []string{"workspace/lock"}, Layer: sum(layer), FoundBy: []string{"image"}}
}

// app gives an image on a base of that OpenSSL, with modules of its own.
func app(reference, base, openssl string, modules ...artifact.Package) inventory.Image {
	layer := "ssl-" + openssl
	image := inventory.Image{
		Reference: reference, Size: 50e6,
		Contents: artifact.Contents{
			Image: sum(reference + openssl), Platform: "linux/amd64", BaseLayers: 1, Layers: []string{sum(layer), sum("app")},
			Packages: append([]artifact.Package{deb("openssl", openssl, layer)}, modules...),
		},
		Base:   inventory.Base{Name: base, Digest: sum(base + openssl)},
		Source: inventory.Source{URL: "https://git.example/app.git", Revision: "abc"},
	}
	return image
}

// base gives what a base names when it was built with that OpenSSL.
func base(reference, openssl string) inventory.Image {
	layer := "ssl-" + openssl
	return inventory.Image{
		Reference: reference, Size: 20e6,
		Contents: artifact.Contents{
			Image: sum(reference + openssl), Platform: "linux/amd64", Layers: []string{sum(layer)}, Packages: []artifact.Package{deb("openssl", openssl, layer)},
		},
	}
}

func put(t testing.TB, inv *inventory.Inventory, images ...inventory.Image) {
	t.Helper()
	if err := inv.Put(t.Context(), images...); err != nil {
		t.Fatal(err)
	}
	if _, err := inv.Rematch(t.Context(), inventory.Which{Unmatched: true}, match); err != nil {
		t.Fatal(err)
	}
}

// match knows an advisory for each of a few packages, whose versions before the fixed one are
// affected.
func match(_ context.Context, packages []inventory.Package) ([]inventory.Finding, error) {
	known := map[string]artifact.Finding{
		"openssl":  {ID: "CVE-2026-0001", Severity: artifact.SeverityHigh, Fixed: "3.5.2", State: "fixed"},
		"lodash":   {ID: "CVE-2026-0002", Severity: artifact.SeverityCritical, Fixed: "4.17.21", State: "fixed", KnownExploited: true},
		"express":  {ID: "CVE-2026-0003", Severity: artifact.SeverityMedium, Fixed: "5.0.1", State: "fixed"},
		"left-pad": {ID: "CVE-2026-0004", Severity: artifact.SeverityLow, State: "affected"},
		"serde":    {ID: "CVE-2026-0005", Severity: artifact.SeverityLow, Fixed: "1.2.0", State: "fixed"},
		"stdlib":   {ID: "CVE-2026-0006", Severity: artifact.SeverityMedium, Fixed: "1.26.1", State: "fixed"},
	}
	var findings []inventory.Finding
	for _, p := range packages {
		f, affected := known[p.Name]
		if affected && (f.Fixed == "" || strings.Compare(p.Version, f.Fixed) < 0) {
			findings = append(findings, inventory.Finding{PackageID: p.ID, Finding: f})
		}
	}
	return findings, nil
}
