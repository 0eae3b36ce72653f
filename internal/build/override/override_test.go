package override

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// of makes an override, changed by edit.
func of(name, ecosystem, dependency, version string, edit ...func(*v1alpha1.DependencyOverrideSpec)) v1alpha1.DependencyOverride {
	o := v1alpha1.DependencyOverride{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.DependencyOverrideKind},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.DependencyOverrideSpec{Ecosystem: ecosystem, Package: dependency, Version: version, Reason: "a weakness"},
	}
	for _, e := range edit {
		e(&o.Spec)
	}
	return o
}

func forOnly(patterns ...v1alpha1.RepositoryPattern) func(*v1alpha1.DependencyOverrideSpec) {
	return func(s *v1alpha1.DependencyOverrideSpec) { s.Scope.Repositories = patterns }
}

func except(patterns ...v1alpha1.RepositoryPattern) func(*v1alpha1.DependencyOverrideSpec) {
	return func(s *v1alpha1.DependencyOverrideSpec) { s.Scope.Except = patterns }
}

func until(end time.Time) func(*v1alpha1.DependencyOverrideSpec) {
	return func(s *v1alpha1.DependencyOverrideSpec) { s.Expires = &metav1.Time{Time: end} }
}

func major(s *v1alpha1.DependencyOverrideSpec) { s.Major = true }

func holding(t testing.TB, repository string, overrides ...v1alpha1.DependencyOverride) Holding {
	t.Helper()
	set, err := New(overrides...)
	if err != nil {
		t.Fatal(err)
	}
	return set.For(repository, now)
}

func TestFor(t *testing.T) {
	for _, test := range []struct {
		name       string
		repository string
		overrides  []v1alpha1.DependencyOverride
		want       string // "name version", by package
	}{
		{"all", "shop", []v1alpha1.DependencyOverride{of("a", "npm", "b", "1.0.0"), of("b", "PyPI", "a", "2")}, "b 2, a 1.0.0"},
		{"the higher floor", "shop", []v1alpha1.DependencyOverride{of("a", "npm", "lodash", "4.17.9"), of("b", "npm", "lodash", "4.17.21"), of("c", "npm", "lodash", "4.17.10")}, "b 4.17.21"},
		{"of equal ones that may cross majors", "shop", []v1alpha1.DependencyOverride{of("a", "npm", "lodash", "4.17.9"), of("b", "npm", "lodash", "4.17.9", major)}, "b 4.17.9"},
		{"two spellings of one package", "shop", []v1alpha1.DependencyOverride{of("a", "PyPI", "Ropes.and_knots", "1.0"), of("b", "PyPI", "ropes-and-knots", "1.1")}, "b 1.1"},
		{"another ecosystem's package of the name", "shop", []v1alpha1.DependencyOverride{of("a", "PyPI", "requests", "1.0"), of("b", "npm", "requests", "2.0.0")}, "a 1.0, b 2.0.0"},
		{"in scope", "team/shop", []v1alpha1.DependencyOverride{of("a", "npm", "b", "1.0.0", forOnly("team/*"))}, "a 1.0.0"},
		{"in a registry's scope", "registry.example.com/team/deep/shop", []v1alpha1.DependencyOverride{of("a", "npm", "b", "1.0.0", forOnly("registry.example.com/**"))}, "a 1.0.0"},
		{"a star stays in its segment", "team/deep/shop", []v1alpha1.DependencyOverride{of("a", "npm", "b", "1.0.0", forOnly("team/*"))}, ""},
		{"a dot is a dot", "teamxshop", []v1alpha1.DependencyOverride{of("a", "npm", "b", "1.0.0", forOnly("team.shop"))}, ""},
		{"left out", "team/shop", []v1alpha1.DependencyOverride{of("a", "npm", "b", "1.0.0", except("**/shop"))}, ""},
		{"not ended", "shop", []v1alpha1.DependencyOverride{of("a", "npm", "b", "1.0.0", until(now.Add(time.Second)))}, "a 1.0.0"},
		{"ended", "shop", []v1alpha1.DependencyOverride{of("a", "npm", "b", "1.0.0", until(now))}, ""},
		{"ended, and a lower one goes on", "shop", []v1alpha1.DependencyOverride{of("a", "npm", "b", "1.0.0"), of("c", "npm", "b", "2.0.0", until(now))}, "a 1.0.0"},
	} {
		var got []string
		for _, o := range holding(t, test.repository, test.overrides...) {
			got = append(got, o.Name+" "+o.Spec.Version)
		}
		if diff := cmp.Diff(test.want, strings.Join(got, ", ")); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestDigest(t *testing.T) {
	base := holding(t, "shop", of("a", "npm", "b", "1.0.0"))
	same := holding(t, "shop", of("other", "npm", "b", "1.0.0", forOnly("shop"), until(now.Add(time.Hour)), func(s *v1alpha1.DependencyOverrideSpec) { s.Reason = "better said" }))
	if base.Digest() != same.Digest() {
		t.Error("nothing else holds, but the digest is another")
	}
	for name, other := range map[string]Holding{
		"version": holding(t, "shop", of("a", "npm", "b", "1.0.1")),
		"major":   holding(t, "shop", of("a", "npm", "b", "1.0.0", major)),
		"more":    holding(t, "shop", of("a", "npm", "b", "1.0.0"), of("c", "npm", "c", "1.0.0")),
		"nothing": nil,
	} {
		if other.Digest() == base.Digest() {
			t.Errorf("%s: the digest is the same", name)
		}
	}
	if got := (Holding{}).Digest(); got != "" {
		t.Errorf("nothing has the digest %q", got)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, test := range []struct {
		o    v1alpha1.DependencyOverride
		want string
	}{
		{of("A", "npm", "b", "1.0.0"), "metadata.name"},
		{of("a", "RubyGems", "b", "1.0.0"), "spec.ecosystem"},
		{of("a", "npm", "b", "^1.0.0"), "spec.version"},
		{of("a", "npm", "b", "1.0"), "spec.version"},
		{of("a", "npm", "b", "v1.0.0"), "spec.version"},
		{of("a", "npm", "b --registry=x", "1.0.0"), "spec.package"},
		{of("a", "npm", "../b", "1.0.0"), "spec.package"},
		{of("a", "Go", "golang.org/x/net", "0.38.0"), "spec.version"},
		{of("a", "Go", "golang.org/x/net", "v0.38"), "spec.version"},
		{of("a", "Go", "example.com/m", "v2.0.0"), "spec.version"},
		{of("a", "Go", "-flag", "v1.0.0"), "spec.version"},
		{of("a", "PyPI", "b", "1.*"), "spec.version"},
		{of("a", "PyPI", "b[extra]", "1.0"), "spec.package"},
		{of("a", "PyPI", "b", "1.0+local"), "spec.version"},
		{of("a", "npm", "b", "1.0.0", forOnly("a//b")), "spec.scope.repositories"},
		{of("a", "npm", "b", "1.0.0", except("a**")), "spec.scope.except"},
		{of("a", "npm", "b", "1.0.0", func(s *v1alpha1.DependencyOverrideSpec) { s.Reason = " " }), "spec.reason"},
	} {
		_, err := New(test.o)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %s %s: %v, want %s in it", test.o.Spec.Ecosystem, test.o.Spec.Package, test.o.Spec.Version, err, test.want)
		}
	}
}

// TestFolder: what is put into a folder is what is loaded from it.
func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "overrides")
	if set, err := Load(dir); err != nil || len(set.All()) != 0 {
		t.Fatalf("no folder: %v, %v", set, err)
	}
	first := of("a", "PyPI", "requests", "2.0", forOnly("shop/**"), until(now), func(s *v1alpha1.DependencyOverrideSpec) { s.Advisories = []v1alpha1.Word{"CVE-2026-0001"} })
	first.ResourceVersion = "7" // a cluster's
	raised := of("a", "PyPI", "Requests", "2.1")
	second := of("b", "Go", "golang.org/x/net", "v0.38.0", major)
	for _, o := range []v1alpha1.DependencyOverride{first, raised, second} {
		if err := Put(dir, o); err != nil {
			t.Fatal(err)
		}
	}
	set, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]v1alpha1.DependencyOverride{raised, second}, set.All()); diff != "" {
		t.Error(diff)
	}
	if err := Put(dir, of("a", "npm", "requests", "2.1.0")); fault.KindOf(err) != fault.Usage {
		t.Errorf("one name for two packages: %v", err)
	}
	if err := Remove(dir, "a"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"a", "none"} {
		if err := Remove(dir, name); fault.KindOf(err) != fault.NotFound {
			t.Errorf("remove %s: %v", name, err)
		}
	}
	if err := Remove(dir, "../b"); fault.KindOf(err) != fault.Usage {
		t.Errorf("remove a path: %v", err)
	}
}

func TestReadNamesTheLine(t *testing.T) {
	const text = "apiVersion: plimsoll.dev/v1alpha1\nkind: DependencyOverride\nmetadata: {name: a}\nspec:\n  ecosystem: npm\n  package: lodash\n  %s\n  reason: x\n"
	for line, want := range map[string]string{
		"version: 4.17.21\n  floor: 1": "line 8: spec.floor: unknown field",
		"version: 4":                   "line 7: spec.version: want text, got a number",
		"version: latest":              "line 7: spec.version",
	} {
		_, err := Read("a.yaml", []byte(fmt.Sprintf(text, line)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

func TestIn(t *testing.T) {
	overrides := []v1alpha1.DependencyOverride{
		of("lodash", "npm", "lodash", "4.17.21"), of("net", "Go", "golang.org/x/net", "v0.38.0"), of("requests", "PyPI", "requests", "2.32.0"),
	}
	const lock = `{"lockfileVersion": 3, "packages": {"": {}, "node_modules/lodash": {"version": "%s"}, "node_modules/old": {"name": "lodash", "version": "3.10.1"}}}`
	const app = `{"dependencies": {"lodash": "*"}}`
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string // "override: from, from"
	}{
		{"nothing is said", nil, ""},
		{"a lock file", map[string]string{"package.json": app, "package-lock.json": fmt.Sprintf(lock, "4.17.5")}, "lodash: 3.10.1, 4.17.5"},
		{"high enough", map[string]string{"package.json": app, "package-lock.json": strings.Replace(fmt.Sprintf(lock, "4.17.21"), "3.10.1", "4.17.22", 1)}, ""},
		{"no lock file", map[string]string{"package.json": app}, "lodash: "},
		{"another tool's lock file", map[string]string{"package.json": app, "yarn.lock": ""}, "lodash: "},
		{"no dependencies", map[string]string{"package.json": `{}`}, ""},
		{"the source brings them", map[string]string{"package.json": app, "node_modules/lodash/package.json": "{}"}, "lodash: "},
		{"a lock file that is a folder", map[string]string{"package.json": app, "package-lock.json/x": ""}, "lodash: "},
		{"modules", map[string]string{"go.mod": "module a\n\ngo 1.24\n\nrequire golang.org/x/net v0.17.0\n"}, "net: v0.17.0"},
		{"modules that are high enough", map[string]string{"go.mod": "module a\n\ngo 1.24.1\n\nrequire golang.org/x/net v0.38.0\n"}, ""},
		{"replaced by a lower one", map[string]string{"go.mod": "module a\n\ngo 1.24\n\nrequire golang.org/x/net v0.38.0\n\nreplace golang.org/x/net => golang.org/x/net v0.1.0\n"}, "net: v0.1.0"},
		{"go.mod does not say all", map[string]string{"go.mod": "module a\n\ngo 1.16\n"}, "net: "},
		{"a workspace", map[string]string{"go.work": "go 1.24\n\nuse ./b\n", "b/go.mod": "module b\n\ngo 1.24\n\nrequire golang.org/x/net v0.17.0\n"}, "net: v0.17.0"},
		{"locked by hashes", map[string]string{"requirements.txt": "Requests==2.31.0 \\\n  --hash=sha256:aa\n"}, "requests: 2.31.0"},
		{"locked by hashes, and high enough", map[string]string{"requirements.txt": "requests==2.32 \\\n  --hash=sha256:aa\n"}, ""},
		{"pip may choose", map[string]string{"requirements.txt": "flask==1\n"}, "requests: "},
		{"a project", map[string]string{"pyproject.toml": ""}, "requests: "},
		{"out of the source", map[string]string{"package.json": app, "package-lock.json": "-> /etc/passwd"}, "lodash: "},
	} {
		dir := t.TempDir()
		for name, text := range test.files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			err := os.WriteFile(path, []byte(text), 0o644)
			if target, ok := strings.CutPrefix(text, "-> "); ok {
				_ = os.Remove(path)
				err = os.Symlink(target, path)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		raises, err := holding(t, "shop", overrides...).In(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range raises {
			got = append(got, r.Override.Name+": "+strings.Join(r.From, ", "))
		}
		if diff := cmp.Diff(test.want, strings.Join(got, "; ")); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestCheck(t *testing.T) {
	held := holding(t, "shop", of("lodash", "npm", "lodash", "4.17.21"), of("scoped", "npm", "@a/b", "1.0.0"), of("net", "Go", "golang.org/x/net", "v0.38.0"), of("requests", "PyPI", "Requests", "2.32.0"))
	contents := artifact.Contents{Layers: []string{"base", "app"}, BaseLayers: 1, Packages: []artifact.Package{
		{Type: "npm", Name: "lodash", Version: "4.17.20", Layer: "app", Paths: []string{"layers/x/node_modules/lodash/package.json"}},
		{Type: "npm", Name: "lodash", Version: "4.17.21", Layer: "app"},
		{Type: "npm", Name: "lodash", Version: "1.0.0", Layer: "base"},
		{Type: "npm", Name: "lodash", Version: "1.0.0", Layer: "app", Paths: []string{"usr/lib/node_modules/npm/node_modules/lodash/package.json"}},
		{Type: "npm", Namespace: "@a", Name: "b", Version: "0.9.0", Layer: "app"},
		{Type: "npm", Name: "b", Version: "0.9.0", Layer: "app"},
		{Type: "golang", Namespace: "golang.org/x", Name: "net", Version: "0.17.0", Layer: "app"},
		{Type: "golang", Namespace: "golang.org/x", Name: "net", Version: "(devel)", Layer: "app"},
		{Type: "golang", Namespace: "golang.org/x", Name: "net", Layer: "app"},
		{Type: "pypi", Name: "requests", Version: "2.31.0", Layer: "app"},
		{Type: "deb", Name: "lodash", Version: "1", Distro: "debian-13", Layer: "app"},
	}}
	var got []string
	for _, v := range Check(held, contents) {
		name, version := v.Package.AdvisoryName()
		got = append(got, v.Override.Name+": "+name+" "+version)
	}
	want := []string{"lodash: lodash 4.17.20", "scoped: @a/b 0.9.0", "net: golang.org/x/net 0.17.0", "requests: requests 2.31.0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	err := Refuse("shop:1", held, contents)
	if fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), "lodash 4.17.20") || !strings.Contains(err.Error(), "3 more") {
		t.Errorf("refused with %v", err)
	}
	if err := Refuse("shop:1", held[:0], contents); err != nil {
		t.Errorf("nothing holds: %v", err)
	}
}

// FuzzIn: a source may be anybody's.
func FuzzIn(f *testing.F) {
	f.Add("package.json", `{"dependencies": {"a": "1"}}`, "package-lock.json", `{"lockfileVersion": 3, "packages": {"node_modules/": {"version": "\u0000"}}}`)
	f.Add("go.mod", "module a\ngo 1.24\nrequire golang.org/x/net v0.1.0\n", "go.work", "use ../..\n")
	f.Add("requirements.txt", "requests==\\\n1!0 --hash", "pyproject.toml", "")
	held := holding(f, "shop", of("a", "npm", "a", "1.0.0"), of("b", "Go", "golang.org/x/net", "v1.0.0"), of("c", "PyPI", "requests", "1.0"))
	names := []string{"package.json", "package-lock.json", "npm-shrinkwrap.json", "go.mod", "go.work", "requirements.txt", "pyproject.toml"}
	f.Fuzz(func(t *testing.T, name1, text1, name2, text2 string) {
		dir := t.TempDir()
		for _, name := range names {
			for wanted, text := range map[string]string{name1: text1, name2: text2} {
				if wanted == name {
					if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		raises, err := held.In(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range raises {
			for _, from := range r.From {
				if compare(r.Override.Spec.Ecosystem, from, r.Override.Spec.Version) >= 0 {
					t.Errorf("%s is not below %s", from, r.Override.Spec.Version)
				}
			}
		}
	})
}
