package extract_test

import (
	"archive/zip"
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/language/rust/cargoauditable"
	"github.com/google/osv-scalibr/extractor/filesystem/os/rpm"
	scalibrfs "github.com/google/osv-scalibr/fs"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/extract"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// run gives the file to the extractor that wants it; none is a zero Found.
func run(t testing.TB, name string, mode fs.FileMode, text []byte) (extract.Found, error) {
	t.Helper()
	for _, e := range extract.All() {
		if e.Wants(name, mode) && (e.Magic == nil || e.Magic(text[:min(8, len(text))])) {
			return e.Run(context.Background(), extract.File{
				Path: name, Size: int64(len(text)), Mode: mode, Body: bytes.NewReader(text), Temp: t.TempDir(),
			})
		}
	}
	return extract.Found{}, nil
}

func urls(packages []artifact.Package) []string {
	var out []string
	for _, p := range packages {
		out = append(out, strings.TrimSpace(p.PURL()+" "+strings.Join(p.Licenses, ", ")))
	}
	return out
}

type entry struct{ name, text string }

func zipOf(t testing.TB, entries ...entry) string {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, e := range entries {
		f, err := w.Create(e.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func pom(group, name, version string) entry {
	return entry{
		"META-INF/maven/" + group + "/" + name + "/pom.properties",
		"#made\ngroupId=" + group + "\nartifactId=" + name + "\nversion=" + version + "\n",
	}
}

func manifest(lines ...string) entry {
	return entry{"META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\n" + strings.Join(lines, "\r\n") + "\r\n"}
}

func TestPackages(t *testing.T) {
	for _, c := range []struct {
		name, path, text string
		want             []string
	}{
		{"npm", "app/node_modules/a/package.json", `{"name":"a","version":"1.0.0","license":"mit"}`, []string{"pkg:npm/a@1.0.0 MIT"}},
		{"npm with a scope", "node_modules/@s/a/package.json", `{"name":"@s/a","version":"1.0.0","license":{"type":"ISC"}}`, []string{"pkg:npm/%40s/a@1.0.0 ISC"}},
		{"npm of the first years", "node_modules/a/package.json", `{"name":"a","version":"1.0.0","licenses":[{"type":"MIT"},"BSD"],"dependencies":[]}`, []string{"pkg:npm/a@1.0.0 BSD, MIT"}},
		{"npm, a part's", "node_modules/a/esm/package.json", `{"type":"module"}`, nil},
		{"npm, a copy in a package", "node_modules/next/dist/compiled/ws/package.json", `{"name":"ws","version":"8.0.0"}`, []string{"pkg:npm/ws@8.0.0"}},
		{"npm, of a test", "node_modules/a/test/b/package.json", `{"name":"b","version":"1.0.0"}`, nil},
		{"npm, a package that is called test", "node_modules/test/package.json", `{"name":"test","version":"1.0.0"}`, []string{"pkg:npm/test@1.0.0"}},
		{"npm, odd types", "node_modules/a/package.json", `{"name":["a"],"version":1}`, nil},
		{"npm, the lock says nothing", "app/package-lock.json", `{"packages":{"node_modules/a":{"version":"1.0.0"}}}`, nil},
		{
			"wheel", "lib/site-packages/Foo_Bar-1.dist-info/METADATA",
			"Metadata-Version: 2.1\nName: Foo_Bar\nVersion: 1.0\nLicense: see the file\nClassifier: License :: OSI Approved :: MIT License\n\nText\n",
			[]string{"pkg:pypi/foo-bar@1.0 MIT"},
		},
		{
			"wheel with an expression", "lib/site-packages/f-1.dist-info/METADATA",
			"Metadata-Version: 2.4\nName: f\nVersion: 1.0\nLicense-Expression: MIT OR Apache-2.0\n", []string{"pkg:pypi/f@1.0 MIT OR Apache-2.0"},
		},
		{"egg", "usr/lib/python3/dist-packages/f.egg-info", "Metadata-Version: 1.1\nName: f\nVersion: 2\nLicense: BSD-3-Clause\n", []string{"pkg:pypi/f@2 BSD-3-Clause"}},
		{
			"zipped egg", "lib/f-2.egg", zipOf(t, entry{"EGG-INFO/PKG-INFO", "Metadata-Version: 1.1\nName: f\nVersion: 2\n"}),
			[]string{"pkg:pypi/f@2"},
		},
		{"jar by Maven", "app/a-1.0.jar", zipOf(t, manifest("Bundle-License: Apache-2.0"), pom("org.x", "a", "1.0")), []string{"pkg:maven/org.x/a@1.0 Apache-2.0"}},
		{"jar by its manifest", "app/a.jar", zipOf(t, manifest("Implementation-Version: 1.2", "Bundle-SymbolicName: org.x.a;singleton:=true")), []string{"pkg:maven/org.x/a@1.2"}},
		{"jar by its name", "app/commons-foo-3.1.jar", zipOf(t, entry{"x", ""}), []string{"pkg:maven/commons-foo/commons-foo@3.1"}},
		{
			"jar with jars", "app/app.jar",
			zipOf(t, pom("org.x", "app", "1"), entry{"BOOT-INF/lib/b-2.jar", zipOf(t, pom("org.y", "b", "2"))}),
			[]string{"pkg:maven/org.y/b@2", "pkg:maven/org.x/app@1"},
		},
		{
			"jar with others' classes in it", "app/a-1.0.jar", zipOf(t, pom("org.x", "a", "1.0"), pom("org.y", "b", "2.0")),
			[]string{"pkg:maven/org.x/a@1.0", "pkg:maven/org.y/b@2.0"},
		},
		{
			"jar with only another's word", "app/guice.jar",
			zipOf(t, manifest("Bundle-SymbolicName: com.google.inject", "Bundle-Version: 4.2.3"), pom("cglib", "cglib", "3.2.12")),
			[]string{"pkg:maven/cglib/cglib@3.2.12", "pkg:maven/com.google.inject/guice@4.2.3"},
		},
		{
			"jar of another name than its package", "app/sisu-inject.jar",
			zipOf(t, manifest("Bundle-Version: 0.3.4.SNAPSHOT"), pom("org.eclipse.sisu", "org.eclipse.sisu.inject", "0.3.4")),
			[]string{"pkg:maven/org.eclipse.sisu/org.eclipse.sisu.inject@0.3.4"},
		},
		{"jar without a word", "app/x.jar", zipOf(t, entry{"x", ""}), []string{"pkg:maven/x/x"}},
		{"jar, a template", "app/archetype-1.jar", zipOf(t, pom("${groupId}", "${artifactId}", "1")), []string{"pkg:maven/archetype/archetype@1"}},
		{"composer", "app/vendor/composer/installed.json", `{"packages":[{"name":"a/b","version":"v1.0","license":["MIT"]}]}`, []string{"pkg:composer/a/b@v1.0 MIT"}},
		{"composer 1", "app/vendor/composer/installed.json", `[{"name":"a/b","version":"v1.0"}]`, []string{"pkg:composer/a/b@v1.0"}},
		{
			"gem", "usr/lib/ruby/gems/3.1.0/specifications/rake-13.0.6.gemspec",
			"Gem::Specification.new do |s|\n  s.name = \"rake\".freeze\n  s.version = \"13.0.6\"\nend\n", []string{"pkg:gem/rake@13.0.6"},
		},
		{".NET", "app/a.deps.json", `{"libraries":{"Newtonsoft.Json/13.0.1":{"type":"package"}}}`, []string{"pkg:nuget/Newtonsoft.Json@13.0.1"}},
		{"JDK", "opt/jdk/release", "IMPLEMENTOR=\"Debian\"\nJAVA_VERSION=\"21.0.4\"\nJAVA_RUNTIME_VERSION=\"21.0.4+7\"\n", []string{"pkg:generic/openjdk@21.0.4%2B7"}},
		{"Go's toolchain", "usr/local/go/VERSION", "go1.26.3\ntime 2026-01-01T00:00:00Z\n", []string{"pkg:generic/go@1.26.3 BSD-3-Clause"}},
		{"Node.js", "usr/local/bin/node", "\x7fELF…https://nodejs.org/download/release/v20.11.1/node-v20.11.1.tar.gz", []string{"pkg:generic/node@20.11.1"}},
		{"Python", "usr/local/bin/python3.12", "\x7fELF\x003.12.4\x00", []string{"pkg:generic/python@3.12.4"}},
		{"a script", "usr/local/bin/node", "#!/bin/sh\n", nil},
		{
			"apk", "lib/apk/db/installed", "C:Q1x\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\nm:Jo <jo@example.com>\nF:lib\nR:ld-musl-x86_64.so.1\n\n",
			[]string{"pkg:apk/musl@1.2.5-r0 MIT"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, err := run(t, c.path, 0o755, []byte(c.text))
			if err != nil || found.Gaps != nil {
				t.Fatal(err, found.Gaps)
			}
			if diff := cmp.Diff(c.want, urls(found.Packages)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestBombs has archives that lie about their size, hold themselves ever deeper, or unpack
// to more than a machine has.
func TestBombs(t *testing.T) {
	bomb := zipOf(t, entry{"b.jar", strings.Repeat("\x00", 300<<20)})
	zeros := strings.Repeat("\x00", 2<<20)
	deep := zipOf(t, pom("org.x", "deepest", "1"))
	for range 6 {
		deep = zipOf(t, entry{"inner.jar", deep})
	}
	for name, archive := range map[string]string{
		"a large jar in a jar": bomb,
		"a jar that lies":      lying(t, bomb, 300<<20),
		"a large manifest":     zipOf(t, entry{"META-INF/MANIFEST.MF", zeros}),
		"jars too deep":        deep,
	} {
		found, err := run(t, "a.jar", 0o644, []byte(archive))
		inside := slices.ContainsFunc(found.Packages, func(p artifact.Package) bool { return p.Version != "" })
		if err != nil || len(found.Gaps) == 0 || inside {
			t.Errorf("%s: %v, %v, %v; want a gap, and nothing of what is in it", name, found.Packages, found.Gaps, err)
		}
	}
	if _, err := run(t, "a.egg", 0o644, []byte(zipOf(t, entry{"EGG-INFO/PKG-INFO", zeros}))); err == nil {
		t.Error("a large text in an egg: no error")
	}
}

// lying changes the unpacked size in the archive's directory to 1000.
func lying(t testing.TB, archive string, size int) string {
	t.Helper()
	at := strings.LastIndex(archive, "PK\x01\x02")
	was := []byte{byte(size), byte(size >> 8), byte(size >> 16), byte(size >> 24)}
	out := []byte(archive)
	if at < 0 || !bytes.Equal(out[at+24:at+28], was) {
		t.Fatal("the directory is not where it was thought to be")
	}
	copy(out[at+24:], []byte{0xe8, 0x03, 0, 0})
	return string(out)
}

// TestGoBinary compiles a program, and strips another.
func TestGoBinary(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.com/Shop\n\ngo 1.26\n", "main.go": "package main\n\nfunc main() { println(\"x\") }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, flags := range []string{"", "-s -w"} {
		build := exec.Command(testbed.Tool(t, "go"), "build", "-ldflags="+flags, "-o", "shop", ".")
		build.Dir = dir
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		text, err := os.ReadFile(filepath.Join(dir, "shop"))
		if err != nil {
			t.Fatal(err)
		}
		found, err := run(t, "cnb/process/shop", 0o755, text)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"pkg:golang/stdlib@" + strings.TrimPrefix(runtime.Version(), "go") + " BSD-3-Clause",
			"pkg:golang/example.com/Shop",
		}
		if diff := cmp.Diff(want, urls(found.Packages)); diff != "" || found.Whole != 2 {
			t.Errorf("%q: the file is package %d; (-want +got):\n%s", flags, found.Whole, diff)
		}
	}
}

// TestDpkg has dpkg itself install a package, and reads what it wrote.
func TestDpkg(t *testing.T) {
	root, src := t.TempDir(), t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(src, path.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("DEBIAN/control", "Package: hull\nSource: ship (2:1.0)\nVersion: 2:1.0+b1\nArchitecture: all\nMaintainer: Jo Doe <jo@example.com>\nDescription: x\n more\n")
	write("DEBIAN/conffiles", "/etc/hull.conf\n")
	write("etc/hull.conf", "a")
	write("usr/share/hull/data", "b")
	pkg := filepath.Join(t.TempDir(), "hull.deb")
	database := filepath.Join(root, "var/lib/dpkg")
	if err := os.MkdirAll(filepath.Join(database, "updates"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(database, "status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{testbed.Tool(t, "dpkg-deb"), "--root-owner-group", "-b", src, pkg},
		{testbed.Tool(t, "dpkg"), "--root=" + root, "--log=" + filepath.Join(root, "log"), "--force-not-root", "--force-script-chrootless", "-i", pkg},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	read := func(name string) extract.Found {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		found, err := run(t, name, 0o644, text)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	want := []artifact.Package{{
		Type: "deb", Name: "hull", Version: "2:1.0+b1", Arch: "all", Source: "ship", SourceVersion: "2:1.0",
		Supplier: "Jo Doe <jo@example.com>",
	}}
	if diff := cmp.Diff(want, read("var/lib/dpkg/status").Packages); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	var owns []string
	for _, o := range read("var/lib/dpkg/info/hull.list").Owns {
		if o.By != "hull" {
			t.Errorf("%s belongs to %q", o.Path, o.By)
		}
		owns = append(owns, o.Path)
	}
	if diff := cmp.Diff([]string{
		"var/lib/dpkg/info/hull.list", "etc", "etc/hull.conf", "usr", "usr/share", "usr/share/hull", "usr/share/hull/data",
	}, owns); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// TestForeignDatabases reads files that come with osv-scalibr's module, databases of real
// systems and a program that cargo-auditable built, and compares with its extractors.
func TestForeignDatabases(t *testing.T) {
	list := exec.Command(testbed.Tool(t, "go"), "list", "-m", "-f", "{{.Dir}}", "github.com/google/osv-scalibr")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	under := filepath.Join(strings.TrimSpace(string(out)), "extractor/filesystem")
	for _, c := range []struct {
		file, as string
		peer     func(*cpb.PluginConfig) (filesystem.Extractor, error)
		owns     int // at least so many files
	}{
		{"os/rpm/testdata/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite", rpm.New, 1000},
		{"os/rpm/testdata/Packages", "var/lib/rpm/Packages", rpm.New, 1000},
		{"os/rpm/testdata/Packages.db", "usr/lib/sysimage/rpm/Packages.db", rpm.New, 1000},
		{"language/rust/cargoauditable/testdata/uses_serde_json/uses_serde_json", "bin/x", cargoauditable.New, 1},
	} {
		text, err := os.ReadFile(filepath.Join(under, c.file))
		if err != nil {
			t.Fatal(err)
		}
		found, err := run(t, c.as, 0o755, text)
		if err != nil {
			t.Fatal(c.file, err)
		}
		var got []string
		for _, p := range found.Packages {
			got = append(got, p.Name+" "+p.Version[strings.IndexByte(p.Version, ':')+1:])
		}
		slices.Sort(got)
		if diff := cmp.Diff(peerSays(t, under, c.file, c.peer), got); diff != "" || len(found.Owns) < c.owns {
			t.Errorf("%s: it owns %d files; (-peer +got):\n%s", c.file, len(found.Owns), diff)
		}
	}
}

// peerSays gives what osv-scalibr's extractor finds, without the keys that rpm keeps beside
// packages.
func peerSays(t *testing.T, dir, file string, build func(*cpb.PluginConfig) (filesystem.Extractor, error)) []string {
	t.Helper()
	peer, err := build(&cpb.PluginConfig{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	found, err := peer.Extract(t.Context(), &filesystem.ScanInput{FS: scalibrfs.DirFS(dir), Root: dir, Path: file, Info: info, Reader: f})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range found.Packages {
		if p.Name != "gpg-pubkey" {
			all = append(all, p.Name+" "+p.Version)
		}
	}
	slices.Sort(all)
	return all
}

// FuzzExtract gives arbitrary bytes to each extractor under a name that it wants. They may
// refuse, but must end, and tell of nothing without a name.
func FuzzExtract(f *testing.F) {
	names := []string{
		"var/lib/dpkg/status", "var/lib/dpkg/status.d/a", "var/lib/dpkg/info/a.list", "var/lib/dpkg/info/a.md5sums",
		"usr/share/doc/a/copyright", "lib/apk/db/installed", "var/lib/rpm/rpmdb.sqlite", "var/lib/rpm/Packages",
		"var/lib/rpm/Packages.db", "etc/os-release", "node_modules/a/package.json", "a.dist-info/METADATA", "a.dist-info/RECORD",
		"a.egg", "a-1.jar", "specifications/a.gemspec", "composer/installed.json", "a.deps.json", "jdk/release", "go/VERSION",
		"layers/sbom/launch/x/sbom.cdx.json", "layers/sbom/launch/x/sbom.spdx.json", "layers/sbom/launch/x/sbom.syft.json", "bin/node",
	}
	for i, seed := range []string{
		"Package: a\nStatus: install ok installed\nVersion: 1\n\n", "Package: a\nVersion: 1\n", "/.\n/bin/a\n", "d41d8  bin/a\n",
		"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nLicense: MIT\n", "P:a\nV:1\nF:b\nR:c\n\n", "SQLite format 3\x00", "",
		"RpmP", "ID=debian\n", `{"name":"a","version":"1"}`, "Metadata-Version: 2.1\nName: a\nVersion: 1\n", "a,b,c\n",
		zipOf(f, entry{"EGG-INFO/PKG-INFO", "Name: a\nVersion: 1\n"}), zipOf(f, pom("g", "a", "1"), entry{"b.jar", zipOf(f, manifest("Implementation-Version: 1"))}),
		"Gem::Specification.new do |s|\ns.name = 'a'\ns.version = '1'\n", `[{"name":"a/b","version":"1"}]`, `{"libraries":{"a/1":{}}}`, "JAVA_VERSION=\"1\"\n", "go1.2\n",
		`{"bomFormat":"CycloneDX","components":[{"purl":"pkg:npm/a@1"}]}`, `{"spdxVersion":"SPDX-2.3","packages":[]}`, `{"artifacts":[]}`, "\x7fELF",
	} {
		f.Add(uint(i), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, which uint, text []byte) {
		found, err := run(t, names[which%uint(len(names))], 0o755, text)
		if err != nil {
			return
		}
		for _, p := range found.Packages {
			if p.Type == "" || p.Name == "" {
				t.Errorf("a package without type or name: %+v", p)
			}
		}
		if found.Whole > len(found.Packages) {
			t.Errorf("the file is package %d of %d", found.Whole, len(found.Packages))
		}
	})
}
