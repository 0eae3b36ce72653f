package program

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/debian/archive"
	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/testbed"
	"plimsoll.dev/plimsoll/internal/vuln/advisory"
	"plimsoll.dev/plimsoll/internal/vuln/match"
)

// TestTheNewestIsFixed: what is as new as the archive has it cannot be mended by an update, so
// the feed that is derived from the archive finds nothing in it. What was there before a fix has
// findings by the same feed.
func TestTheNewestIsFixed(t *testing.T) {
	b := &bench{t: t, home: testbed.Home(t)}
	b.plimsoll("feed", "sync")
	db, err := advisory.Open(filepath.Join(b.home, "advisories.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	findings := func(packages []artifact.Package) (all []artifact.Finding) {
		for result, err := range match.Packages(t.Context(), db, slices.Values(packages)) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, result.Findings...)
		}
		return all
	}
	zlib := artifact.Package{
		Type: "deb", Namespace: "debian", Name: "zlib1g", Version: "1:1.3.dfsg+really1.3.1-1+b1", Distro: "debian-13",
		Source: "zlib", SourceVersion: "1:1.3.dfsg+really1.3.1-1",
	}
	if before := findings([]artifact.Package{zlib}); len(before) < 2 {
		t.Errorf("%d findings in zlib as it was before its fix: %+v", len(before), before)
	}
	for _, f := range findings(newest(b, "trixie", "trixie-updates", "trixie-security")) {
		t.Errorf("%s in %s %s, fixed in %s", f.ID, f.Package.Source, f.Package.SourceVersion, f.Fixed)
	}
}

// newest gives a package of the newest version of each source package in the suites.
func newest(b *bench, suites ...string) []artifact.Package {
	b.t.Helper()
	machine, err := archive.MachineSources("/etc/apt")
	if err != nil {
		b.t.Fatal(err)
	}
	options := archive.Options{Components: []string{"main"}, Cache: filepath.Join(b.home, "cache", "debian"), State: b.t.TempDir(), Agent: "plimsoll-test"}
	if options.Keyring, err = archive.LoadKeyring(""); err != nil {
		b.t.Fatal(err)
	}
	for _, name := range suites {
		mirror, err := archive.MirrorFor(machine, name)
		if err != nil {
			b.t.Fatal(err)
		}
		options.Suites = append(options.Suites, archive.Suite{Name: name, Mirror: mirror})
	}
	signed, err := archive.Open(b.t.Context(), options)
	if err != nil {
		b.t.Fatal(err)
	}
	indexes, err := signed.Indexes(b.t.Context(), "amd64")
	if err != nil {
		b.t.Fatal(err)
	}
	sources := map[string]artifact.Package{}
	for _, opened := range indexes {
		defer opened.Close()
		for name := range opened.Names() {
			versions, err := opened.Versions(name)
			if err != nil {
				b.t.Fatal(err)
			}
			for _, p := range versions {
				if known := sources[p.Source]; known.Name == "" || index.CompareVersions(p.SourceVersion, known.SourceVersion) > 0 {
					sources[p.Source] = artifact.Package{
						Type: "deb", Namespace: "debian", Name: p.Name, Version: p.Version, Distro: "debian-13",
						Source: p.Source, SourceVersion: p.SourceVersion,
					}
				}
			}
		}
	}
	return slices.Collect(maps.Values(sources))
}
