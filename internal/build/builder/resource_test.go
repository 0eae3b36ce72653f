package builder

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
)

func TestFromResource(t *testing.T) {
	tests := []struct {
		name, parts, lifecycle, buildpack string
		says                              string // the whole error
	}{
		{name: "below the parts", parts: "/parts", lifecycle: "lifecycle", buildpack: "buildpacks/go"},
		{name: "a parent", parts: "/parts", lifecycle: "../lifecycle", buildpack: "go",
			says: `read spec: Builder/main: spec.lifecycle.path: want a path below the folder of parts, or name an image, got "../lifecycle"`},
		{name: "absolute", parts: "/parts", lifecycle: "lifecycle", buildpack: "/etc",
			says: `read spec: Builder/main: spec.buildpacks[0].path: want a path below the folder of parts, or name an image, got "/etc"`},
		{name: "up on the way", parts: "/parts", lifecycle: "lifecycle", buildpack: "a/../../etc",
			says: `read spec: Builder/main: spec.buildpacks[0].path: want a path below the folder of parts, or name an image, got "a/../../etc"`},
		{name: "no parts", lifecycle: "lifecycle", buildpack: "go",
			says: `read spec: Builder/main: spec.lifecycle.path: want a path below the folder of parts, or name an image, got "lifecycle"`},
		{name: "nothing", parts: "/parts", buildpack: "go", says: "read spec: Builder/main: spec.lifecycle: want either a path or an image"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec, err := FromResource(&v1alpha1.Builder{
				ObjectMeta: metav1.ObjectMeta{Name: "main"},
				Spec: v1alpha1.BuilderSpec{
					Build: v1alpha1.BuildBase{Image: "build:1"}, Run: []v1alpha1.RunBase{{Image: "run:1"}},
					Lifecycle:  v1alpha1.LifecycleSource{Path: test.lifecycle},
					Buildpacks: []v1alpha1.BuildpackSource{{Path: test.buildpack}},
					Order:      []v1alpha1.OrderGroup{{Group: []v1alpha1.OrderEntry{{ID: "a/go"}}}},
				},
			}, test.parts)
			if test.says != "" {
				if err == nil || err.Error() != test.says || fault.KindOf(err) != fault.Usage {
					t.Errorf("got %v\nwant %s", err, test.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s := spec.Spec; s.Lifecycle.Path != "/parts/lifecycle" || s.Buildpacks[0].Path != "/parts/buildpacks/go" {
				t.Errorf("paths %q and %q", s.Lifecycle.Path, s.Buildpacks[0].Path)
			}
		})
	}
}
