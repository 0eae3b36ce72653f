package scanners

import (
	"archive/zip"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/anchore/grype/grype/distro"
	grypematch "github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/matcher"
	grypepkg "github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/version"
	"github.com/anchore/grype/grype/vulnerability"
	"github.com/anchore/grype/grype/vulnerability/mock"
	syft "github.com/anchore/syft/syft/pkg"
	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"
	"github.com/google/osv-scalibr/enricher/vulnmatch/osvlocal"
	"github.com/google/osv-scalibr/extractor"
	dpkg "github.com/google/osv-scalibr/extractor/filesystem/os/dpkg/metadata"
	"github.com/google/osv-scalibr/inventory"
	"github.com/google/osv-scalibr/plugin/config"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

// all gives every package of every set once.
func all(t *testing.T) []artifact.Package {
	t.Helper()
	seen := map[string]bool{}
	var packages []artifact.Package
	for _, set := range sets(t) {
		for _, p := range set {
			if purl := p.PURL(); !seen[purl] {
				seen[purl] = true
				packages = append(packages, p)
			}
		}
	}
	return packages
}

// TestSetsAreOfManyImages keeps the comparison from shrinking unseen.
func TestSetsAreOfManyImages(t *testing.T) {
	if n := len(sets(t)); n < 10 {
		t.Errorf("%d sets", n)
	}
}

// TestOSVScanner compares with the matcher of osv-scanner, which is osv-scalibr's.
func TestOSVScanner(t *testing.T) {
	advisories, packages := records(t), all(t)
	ours, db := plimsoll(t, advisories, packages)
	folder := t.TempDir()
	for ecosystem, of := range advisories {
		archive(t, filepath.Join(folder, "osv-scalibr", ecosystem, "all.zip"), of)
	}
	enricher, err := osvlocal.New(&config.PluginConfig{
		ClientFactories: config.NewDefaultClientFactories("test"),
		ProtoConfig: &cpb.PluginConfig{PluginSpecific: []*cpb.PluginSpecificConfig{{
			Config: &cpb.PluginSpecificConfig_Osvlocal{Osvlocal: &cpb.OSVLocalConfig{LocalPath: folder}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	inv := &inventory.Inventory{}
	of := map[*extractor.Package]artifact.Package{}
	for _, p := range packages {
		e := scalibrPackage(p)
		of[e] = p
		inv.Packages = append(inv.Packages, e)
	}
	if err := enricher.Enrich(context.Background(), nil, inv); err != nil {
		t.Fatal(err)
	}
	theirs := map[finding]bool{}
	for _, v := range inv.PackageVulns {
		add(t, db, theirs, of[v.Package], v.Vulnerability.GetId())
	}
	compare(t, "osv-scanner", ours, theirs)
}

// archive writes records as a feed has them.
func archive(t *testing.T, path string, of []record) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := zip.NewWriter(f)
	for _, r := range of {
		entry, err := w.Create(r.osv.ID + ".json")
		if err == nil {
			_, err = entry.Write(r.text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// scalibrPackage gives the package as osv-scalibr's extractors do.
func scalibrPackage(p artifact.Package) *extractor.Package {
	e := &extractor.Package{Name: p.Name, Version: p.Version, PURLType: p.Type}
	switch p.Type {
	case "deb":
		e.Metadata = &dpkg.Metadata{
			PackageName: p.Name, PackageVersion: p.Version, SourceName: p.Source, SourceVersion: p.SourceVersion,
			OSID: "debian", OSVersionID: strings.TrimPrefix(p.Distro, "debian-"), Architecture: p.Arch,
		}
	case "maven":
		e.Name = p.Namespace + ":" + p.Name
	case "golang":
		e.Version = strings.TrimPrefix(strings.TrimPrefix(p.Version, "v"), "go")
		if e.Version == "(devel)" {
			e.Version = ""
		}
		fallthrough
	default:
		if p.Namespace != "" {
			e.Name = p.Namespace + "/" + p.Name
		}
	}
	return e
}

// TestGrype compares with grype's matchers, given the records as its database has them.
func TestGrype(t *testing.T) {
	advisories, packages := records(t), all(t)
	ours, db := plimsoll(t, advisories, packages)
	byName := map[string][]vulnerability.Vulnerability{}
	for ecosystem, of := range advisories {
		for _, r := range of {
			for _, v := range grypeRecords(t, ecosystem, r.osv) {
				name := strings.ToLower(v.PackageName)
				byName[name] = append(byName[name], v)
			}
		}
	}
	byType := map[syft.Type][]grypematch.Matcher{}
	for _, m := range matcher.NewDefaultMatchers(matcher.Config{}) {
		for _, kind := range m.PackageTypes() {
			byType[kind] = append(byType[kind], m)
		}
	}
	theirs := map[finding]bool{}
	for _, p := range packages {
		g := grypePackage(p)
		names := append(mock.VulnerabilityProvider().PackageSearchNames(g), g.Name)
		for _, upstream := range g.Upstreams {
			names = append(names, upstream.Name)
		}
		slices.Sort(names)
		var known []vulnerability.Vulnerability // a provider looks at all it has, so it has only these
		for _, name := range slices.Compact(names) {
			known = append(known, byName[strings.ToLower(name)]...)
		}
		for _, m := range byType[g.Type] {
			matches, ignore, err := m.Match(mock.VulnerabilityProvider(known...), g)
			if err != nil {
				t.Fatalf("%s: %v", p.PURL(), err)
			}
			kept, _ := grypematch.ApplyIgnoreFilters(matches, ignore...)
			for _, found := range kept {
				add(t, db, theirs, p, found.Vulnerability.ID)
			}
		}
	}
	compare(t, "grype", ours, theirs)
}

// kinds is what grype calls each ecosystem.
var kinds = map[string]struct {
	namespace string
	kind      syft.Type
	language  syft.Language
	format    version.Format
}{
	"deb":    {"debian:distro:debian:13", syft.DebPkg, "", version.DebFormat},
	"golang": {"github:language:go", syft.GoModulePkg, syft.Go, version.GolangFormat},
	"npm":    {"github:language:javascript", syft.NpmPkg, syft.JavaScript, version.SemanticFormat},
	"pypi":   {"github:language:python", syft.PythonPkg, syft.Python, version.PythonFormat},
	"maven":  {"github:language:java", syft.JavaPkg, syft.Java, version.MavenFormat},
}

// types are the package URL types of the ecosystems.
var types = map[string]string{"Debian": "deb", "Go": "golang", "npm": "npm", "PyPI": "pypi", "Maven": "maven"}

// grypeRecords gives a record as grype's database keeps it: a constraint for each package.
func grypeRecords(t *testing.T, ecosystem string, r *osv.Record) []vulnerability.Vulnerability {
	t.Helper()
	kind := kinds[types[ecosystem]]
	var out []vulnerability.Vulnerability
	if !r.Withdrawn.IsZero() {
		return nil // grype's import leaves these out
	}
	for _, affected := range r.Affected {
		if len(affected.Ranges)+len(affected.Versions) == 0 {
			continue // it says nothing: an empty constraint would say all
		}
		constraint, err := version.GetConstraint(constraintOf(&affected), kind.format)
		if err != nil {
			t.Fatalf("%s: %v", r.ID, err)
		}
		out = append(out, vulnerability.Vulnerability{
			Reference: vulnerability.Reference{ID: r.ID, Namespace: kind.namespace}, PackageName: affected.Package.Name, Constraint: constraint,
		})
	}
	return out
}

// constraintOf writes ranges in grype's words. A list of versions is written only where there
// are no ranges, as grype's own import of OSV records does.
func constraintOf(affected *osv.Affected) string {
	var parts []string
	for _, r := range affected.Ranges {
		if r.Type == osv.GIT {
			continue
		}
		from := ""
		open := false
		for _, event := range r.Events {
			switch {
			case event.Introduced != "":
				from, open = ">= "+event.Introduced, true
				if event.Introduced == "0" {
					from = ""
				}
			case event.Fixed != "":
				parts, open = append(parts, join(from, "< "+event.Fixed)), false
			case event.LastAffected != "":
				parts, open = append(parts, join(from, "<= "+event.LastAffected)), false
			}
		}
		if open {
			parts = append(parts, join(from, ""))
		}
	}
	if len(parts) == 0 {
		for _, v := range affected.Versions {
			parts = append(parts, "= "+v)
		}
	}
	if slices.Contains(parts, "") {
		return "" // every version
	}
	return strings.Join(parts, " || ")
}

func join(from, to string) string {
	if from == "" || to == "" {
		return from + to
	}
	return from + ", " + to
}

// grypePackage gives the package as syft does.
func grypePackage(p artifact.Package) grypepkg.Package {
	kind := kinds[p.Type]
	g := grypepkg.Package{ID: grypepkg.ID(p.PURL()), Name: p.Name, Version: p.Version, Type: kind.kind, Language: kind.language, PURL: p.PURL()}
	switch p.Type {
	case "deb":
		g.Distro = distro.New(distro.Debian, strings.TrimPrefix(p.Distro, "debian-"), "")
		if p.Source != p.Name || p.SourceVersion != "" {
			g.Upstreams = []grypepkg.UpstreamPackage{{Name: p.Source, Version: p.SourceVersion}}
		}
	case "maven":
		g.Metadata = grypepkg.JavaMetadata{PomGroupID: p.Namespace, PomArtifactID: p.Name}
	default:
		if p.Namespace != "" {
			g.Name = p.Namespace + "/" + p.Name
		}
	}
	return g
}
