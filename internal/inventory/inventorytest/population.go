package inventorytest

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// What a Population is of.
const (
	releases = 5  // of each kind of base
	builds   = 50 // of each app; the base moves with every tenth, the lock file with every other tenth
	basesIn  = 6  // layers of a base
)

// kinds of bases, by the packages that they are asked for.
var kinds = [][]string{
	{"ca-certificates", "tzdata", "netbase"}, {"libssl3", "libgcc-s1", "zlib1g", "ca-certificates"}, {"bash", "coreutils", "curl"}, {"python3", "libpq5"},
	{"default-jre-headless"}, {"nodejs"}, {"nginx"}, {"git", "openssh-client"}, {"gcc", "make"}, {"perl", "imagemagick"},
}

// Population makes a fleet of any size from the packages of the machine's Debian archive:
// its own for the bases, and what it packages of npm, PyPI, Go and Maven for the apps.
type Population struct {
	debian map[string]debPackage
	apps   map[string][]string // the names in each ecosystem, the popular ones first
	bases  [][]artifact.Package
}

type debPackage struct {
	name, version, source, sourceVersion string
	depends                              []string
}

// NewPopulation reads what apt knows.
func NewPopulation(t testing.TB) *Population {
	t.Helper()
	out, err := exec.Command(testbed.Tool(t, "apt-cache"), "dumpavail").Output()
	if err != nil {
		t.Fatal(err)
	}
	p := &Population{debian: map[string]debPackage{}, apps: map[string][]string{}}
	stanza := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20) // what some packages provide is a long list
	for lines.Scan() {
		if lines.Text() == "" {
			p.add(stanza)
			clear(stanza)
		}
		if name, value, found := strings.Cut(lines.Text(), ": "); found && !strings.HasPrefix(name, " ") {
			stanza[name] = value
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for _, ecosystem := range []string{"golang", "maven", "npm", "pypi"} {
		names := p.apps[ecosystem]
		slices.Sort(names)
		random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		if len(names) < 500 {
			t.Fatalf("apt knows %d packages of %s: run `apt-get update`", len(names), ecosystem)
		}
	}
	for _, seeds := range kinds {
		p.bases = append(p.bases, p.closure(seeds))
	}
	return p
}

func (p *Population) add(stanza map[string]string) {
	d := debPackage{name: stanza["Package"], version: stanza["Version"], source: stanza["Package"], sourceVersion: stanza["Version"]}
	if source, version, _ := strings.Cut(stanza["Source"], " "); source != "" {
		d.source = source
		if version != "" {
			d.sourceVersion = strings.Trim(version, "()")
		}
	}
	for _, group := range strings.Split(stanza["Depends"]+", "+stanza["Pre-Depends"], ", ") {
		name, _, _ := strings.Cut(group, " ")
		d.depends = append(d.depends, strings.TrimSuffix(name, ":any"))
	}
	p.debian[d.name] = d
	for prefix, ecosystem := range map[string]string{"node-": "npm", "python3-": "pypi", "golang-": "golang", "lib": "maven"} {
		name, found := strings.CutPrefix(d.name, prefix)
		switch {
		case ecosystem == "golang":
			name, found = strings.CutSuffix(name, "-dev")
			name = strings.Replace(strings.Replace(name, "github-", "github.com/", 1), "golang-x-", "golang.org/x/", 1)
		case ecosystem == "maven":
			name, found = strings.CutSuffix(name, "-java")
		}
		if found && strings.HasPrefix(d.name, prefix) {
			p.apps[ecosystem] = append(p.apps[ecosystem], name)
		}
	}
}

// closure gives the packages that apt would install, near enough.
func (p *Population) closure(seeds []string) []artifact.Package {
	seen := map[string]bool{}
	var all []artifact.Package
	for queue := seeds; len(queue) > 0; queue = queue[1:] {
		d, found := p.debian[queue[0]]
		if !found || seen[d.name] {
			continue
		}
		seen[d.name] = true
		queue = append(queue, d.depends...)
		all = append(all, artifact.Package{
			Type: "deb", Namespace: "debian", Name: d.name, Version: d.version, Arch: "amd64", Distro: "debian-12", Source: d.source, SourceVersion: d.sourceVersion,
			Licenses: []string{[]string{"GPL-2.0-or-later", "LGPL-2.1-or-later", "MIT", "BSD-3-Clause"}[Number(d.source)%4]},
			Paths:    []string{"var/lib/dpkg/status.d/" + d.name}, FoundBy: []string{"image"},
		})
	}
	return all
}

// Number gives a number that a text always has.
func Number(text string) int {
	h := fnv.New32a()
	h.Write([]byte(text))
	return int(h.Sum32() & 0x7fffffff)
}

// Image gives the nth image. All images of an n have the same contents on every run.
func (p *Population) Image(n int) inventory.Image {
	app, build := n/builds, n%builds
	kind, release := app%len(kinds), build/10
	team := fmt.Sprintf("team-%d", app%37)
	base := fmt.Sprintf("base-%d:%d", kind, release)
	image := inventory.Image{
		Reference: fmt.Sprintf("registry.example/%s/app-%d:1.%d", team, app, build),
		Pushed:    day(1).Add(-time.Duration(builds-build) * 4 * 24 * time.Hour).Add(time.Duration(app) * time.Second), Created: time.Unix(0, 0),
		Size:   30e6 + int64(app)*1e4,
		Base:   inventory.Base{Name: "registry.example/" + base, Digest: sum(base)},
		Source: inventory.Source{URL: fmt.Sprintf("https://git.example/%s/app-%d.git", team, app), Revision: sum(fmt.Sprint("commit", n))[7:47]},
		Labels: map[string]string{"team": team, "tier": fmt.Sprint(app % 3)},
	}
	key := "release-key"
	if app%20 == 0 {
		key = "old-key"
	}
	for _, predicate := range []string{artifact.PredicateSignature, artifact.PredicateSPDX, artifact.PredicateProvenance, artifact.PredicateHardening} {
		image.Evidence = append(image.Evidence, inventory.Evidence{
			PredicateType: predicate, Digest: sum(fmt.Sprint(predicate, n)), Stored: "bundle", KeyID: key, VerifiedAt: image.Pushed,
		})
	}
	image.Contents = p.contents(kind, release, app, (build+5)/10, n)
	return image
}

// Facts gives the nth image's facts and a verdict on it, of the size that a set of twenty
// rules gives.
func (p *Population) Facts(n int) (artifact.Facts, artifact.Verdict) {
	app, build := n/builds, n%builds
	repository, digest := fmt.Sprintf("registry.example/team-%d/app-%d", app%37, app), sum(fmt.Sprint("image", n))
	f := artifact.Facts{
		Image: artifact.ImageFacts{
			Repository: repository, Digest: digest, Tags: []string{fmt.Sprintf("1.%d", build)}, Kind: artifact.KindImage,
			MediaType: "application/vnd.oci.image.manifest.v1+json", Platform: "linux/amd64", Created: time.Unix(0, 0).UTC(), Pushed: day(1), Size: 30e6 + int64(n), Layers: basesIn + 2,
			Labels: map[string]string{"team": fmt.Sprintf("team-%d", app%37), "org.opencontainers.image.revision": sum(fmt.Sprint("commit", n))[7:47]},
			User:   "1000:1000", Entrypoint: []string{"/cnb/process/web"}, Ports: []string{"8080/tcp"},
		},
		Base:       &artifact.BaseFacts{Name: fmt.Sprintf("registry.example/base-%d:%d", app%len(kinds), build/10), Digest: sum(fmt.Sprint("base", app%len(kinds), build/10)), Created: day(1), Verified: true, By: "release-key"},
		Source:     &artifact.SourceFacts{Kind: "git", URL: "https://git.example/" + repository, Revision: sum(fmt.Sprint("commit", n))[7:47], Ref: "main", Clean: true},
		Provenance: &artifact.ProvenanceFacts{Builder: "https://plimsoll.dev/provenance#platform-local", BuildType: "https://plimsoll.dev/provenance#build-v1", By: "release-key", Started: day(1), Finished: day(1), Level: 2},
		SBOM:       &artifact.SBOMFacts{Formats: []string{"cyclonedx", "spdx"}, Packages: 200, Complete: true},
		Hardening:  &artifact.HardeningFacts{NumericUser: true, Checks: map[string]string{}},
		Signatures: []artifact.SignatureFacts{{By: "release-key"}},
	}
	v := artifact.Verdict{
		Repository: repository, Image: digest, Decided: day(2), Policies: sum("policies"), Facts: digest,
		Gates: map[artifact.Gate]artifact.Action{artifact.GateRegistry: []artifact.Action{artifact.ActionAllow, artifact.ActionWarn, artifact.ActionDeny}[n%3]},
	}
	for rule := range 20 {
		f.Hardening.Checks[fmt.Sprintf("CIS-DI-4.%d", rule)] = "PASS"
		v.Results = append(v.Results, artifact.Result{
			Policy: "restricted", Rule: fmt.Sprintf("rule-%d", rule), Title: "What is wanted of every image", Passed: (n+rule)%7 > 0,
			Why: fmt.Sprintf("openssl %d has a fix", n), Remedy: "plimsoll rebase " + repository, Controls: map[string][]string{"slsa": {"v1.0"}, "nist-800-190": {"4.1.1"}, "cis": {"4.4"}},
		})
	}
	return f, v
}

func (p *Population) contents(kind, release, app, lock, n int) artifact.Contents {
	c := artifact.Contents{Image: sum(fmt.Sprint("image", n)), Platform: "linux/amd64", Distro: artifact.Distro{ID: "debian", Version: "12"}, BaseLayers: basesIn}
	layers := make([]string, basesIn)
	for i := range layers {
		layers[i] = sum(fmt.Sprint("base", kind, release, i))
	}
	for _, d := range p.bases[kind] {
		// A fifth of the packages is fixed between one release and the next.
		if fixes := (release*2 + Number(d.Source)) / 10; fixes > 0 {
			suffix := fmt.Sprintf("+deb12u%d", fixes%10)
			d.Version, d.SourceVersion = d.Version+suffix, d.SourceVersion+suffix
		}
		d.Layer = layers[Number(d.Source)%basesIn]
		c.Packages = append(c.Packages, d)
	}
	modules, code := sum(fmt.Sprint("modules", app, lock)), sum(fmt.Sprint("code", n))
	c.Layers = append(layers, modules, code)
	c.Packages = append(c.Packages, p.modules(app, lock, modules)...)
	return c
}

// modules gives what an app's lock file names: popular packages more often than others.
func (p *Population) modules(app, lock int, layer string) []artifact.Package {
	ecosystem := []string{"npm", "golang", "npm", "pypi", "golang", "maven", "npm", "pypi", "golang", "npm"}[app/len(kinds)%10]
	most := map[string]int{"npm": 600, "golang": 120, "pypi": 80, "maven": 150}[ecosystem]
	random := rand.New(rand.NewPCG(uint64(app), 2))
	names := p.apps[ecosystem]
	chosen := map[int]bool{}
	for range 20 + random.IntN(most) {
		chosen[int(float64(len(names))*random.Float64()*random.Float64()*random.Float64())] = true
	}
	var all []artifact.Package
	for _, at := range slices.Sorted(maps.Keys(chosen)) {
		name := names[at]
		// Each lock is newer in a few packages than the one before.
		patch := (Number(name) + app%7 + lock*(Number(name)%3)) % 12
		pkg := artifact.Package{
			Type: ecosystem, Name: name, Version: fmt.Sprintf("%d.%d.%d", Number(name)%5, Number(name)%17, patch), Layer: layer, FoundBy: []string{"image"},
			Licenses: []string{[]string{"MIT", "MIT", "Apache-2.0", "BSD-3-Clause", "ISC", "AGPL-3.0-only"}[Number(name)%6]},
			Paths:    []string{"workspace/node_modules/" + name + "/package.json"},
		}
		switch ecosystem {
		case "golang":
			pkg.Paths, pkg.Version = []string{"workspace/app"}, "v"+pkg.Version
			if i := strings.LastIndexByte(name, '/'); i >= 0 {
				pkg.Namespace, pkg.Name = name[:i], name[i+1:]
			}
		case "maven":
			pkg.Namespace, pkg.Paths = "org."+name, []string{"workspace/app.jar"}
		}
		all = append(all, pkg)
	}
	return all
}
