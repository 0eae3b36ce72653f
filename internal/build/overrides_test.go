package build_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/build/override"
	"plimsoll.dev/plimsoll/internal/fault"
)

// locked is a source with a lock file; its build leaves what the step was told of overrides.
func locked(version string) map[string]string {
	return map[string]string{
		"package.json":      `{"dependencies": {"lodash": "^4.0.0"}}`,
		"package-lock.json": `{"lockfileVersion": 3, "packages": {"node_modules/lodash": {"version": "` + version + `"}}}`,
		"requirements.txt":  "requests==2.31.0\n",
		"build.sh": `set -e
mkdir -p $1/told
cat /platform/overrides/* > $1/told/told 2>/dev/null || true
cat "$PIP_CONSTRAINT" > $1/told/pip 2>/dev/null || true
printf '[types]\nlaunch = true\n' > $1/told.toml
`,
	}
}

// hold puts an override into the bed's home.
func (b *bed) hold(name, ecosystem, dependency, version, reason string, patterns ...v1alpha1.RepositoryPattern) {
	b.t.Helper()
	err := override.Put(build.OverridesFolder(b.platform.Home), v1alpha1.DependencyOverride{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.DependencyOverrideSpec{
			Ecosystem: ecosystem, Package: dependency, Version: version, Reason: v1alpha1.Reason(reason), Scope: v1alpha1.OverrideScope{Repositories: patterns},
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// TestOverridesBear: an override that bears on the source reaches the step and is said of the
// image; one that does not leaves no trace; and what was built so is not built again.
func TestOverridesBear(t *testing.T) {
	b := newBed(t)
	before := b.build(b.request("app:1", locked("4.17.15")))
	b.hold("elsewhere", "npm", "lodash", "4.17.21", "x", "other/**")
	b.hold("high-enough", "npm", "lodash", "4.17.15", "x")
	b.hold("not-in-it", "Go", "golang.org/x/net", "v0.38.0", "x")
	if same := b.build(b.request("app:2", locked("4.17.15"))); same.Images[0].Digest != before.Images[0].Digest || same.Overrides != nil {
		t.Errorf("no override bears on it, and it became %s after %s: %v", same.Images[0].Digest, before.Images[0].Digest, same.Overrides)
	}

	b.hold("lodash", "npm", "lodash", "4.17.21", "a weakness", "app")
	b.hold("requests", "PyPI", "requests", "2.32.0", "a weakness")
	raised := b.build(b.request("app:2", locked("4.17.15")))
	want := []build.Overridden{
		{Name: "requests", Ecosystem: "PyPI", Package: "requests", From: []string{"2.31.0"}, To: "2.32.0", Reason: "a weakness"},
		{Name: "lodash", Ecosystem: "npm", Package: "lodash", From: []string{"4.17.15"}, To: "4.17.21", Reason: "a weakness"},
	}
	if diff := cmp.Diff(want, raised.Overrides); diff != "" {
		t.Error(diff)
	}
	image := raised.Images[0].Image
	const told = "requests>=2.32.0\n" + `[{"name":"requests","ecosystem":"PyPI","package":"requests","version":"2.32.0"},{"name":"lodash","ecosystem":"npm","package":"lodash","version":"4.17.21"}]`
	if diff := cmp.Diff(told, file(t, image, "layers/test_script/told/told")); diff != "" {
		t.Error(diff)
	}
	if got := file(t, image, "layers/test_script/told/pip"); got != "requests>=2.32.0\n" {
		t.Errorf("pip is told %q", got)
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	var said []build.Overridden
	if err := json.Unmarshal([]byte(manifest.Annotations[build.OverridesAnnotation]), &said); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		want[i].Reason = ""
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Error(diff)
	}

	b.hold("lodash", "npm", "lodash", "4.17.21", "the same, better said", "app")
	if again := b.build(b.request("app:2", locked("4.17.15"))); !again.Unchanged {
		t.Error("the same overrides hold, and it was built again")
	}
	b.hold("lodash", "npm", "lodash", "4.17.22", "x", "app")
	if again := b.build(b.request("app:2", locked("4.17.15"))); again.Unchanged {
		t.Error("another floor holds, and nothing was built")
	}
}

// TestOverridesAreEnforced: a dependency below its floor in the image ends the build, whatever
// the buildpack did, and also where nothing else is new.
func TestOverridesAreEnforced(t *testing.T) {
	b := newBed(t)
	contents := artifact.Contents{Packages: []artifact.Package{{Type: "npm", Name: "lodash", Version: "4.17.15"}}}
	asked := 0
	b.platform.Contents = func(context.Context, v1.Image) (artifact.Contents, error) {
		asked++
		return contents, nil
	}
	b.build(b.request("app:1", webApp("ahoy")))
	if asked != 0 {
		t.Error("there are no overrides, and the image was scanned")
	}
	b.hold("lodash", "npm", "lodash", "4.17.21", "x")
	for _, name := range []string{"app:1", "new:1"} {
		_, err := b.platform.Build(t.Context(), b.request(name, webApp("ahoy")))
		if fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), "lodash 4.17.15") {
			t.Errorf("%s: %v", name, err)
		}
	}
	contents.Packages[0].Version = "4.17.21"
	b.build(b.request("new:1", webApp("ahoy")))
}

// TestBadOverrideEndsBuilds: a file that cannot be read could be one that is needed.
func TestBadOverrideEndsBuilds(t *testing.T) {
	b := newBed(t)
	writeFiles(t, build.OverridesFolder(b.platform.Home), map[string]string{"a.yaml": "kind: DependencyOverride\n"})
	_, err := b.platform.Build(t.Context(), b.request("app:1", webApp("ahoy")))
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "a.yaml") {
		t.Errorf("built with %v", err)
	}
}
