package builder_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/fault"
)

// foreign gives a builder image with only the labels and the environment.
func foreign(t testing.TB, labels map[string]string, env ...string) v1.Image {
	t.Helper()
	image, err := mutate.ConfigFile(empty.Image, configFile(t, empty.Image, "amd64", v1.Config{Labels: labels, Env: env}))
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// paketo are labels as builders with a stack have them, shortened.
func paketo() map[string]string {
	return map[string]string{
		cnb.BuilderMetadataLabel: `{"description":"Ubuntu bionic","stack":{"runImage":{"image":"index.docker.io/paketobuildpacks/run:base-cnb","mirrors":["gcr.io/paketo/run"]}},
			"buildpacks":[{"id":"paketo-buildpacks/go","version":"4.0.0","homepage":"https://github.com/paketo-buildpacks/go"}],
			"lifecycle":{"version":"0.17.0","api":{"buildpack":"0.7","platform":"0.7"}},"createdBy":{"name":"Pack CLI","version":"0.29.0"}}`,
		cnb.BuildpackLayersLabel:         `{"paketo-buildpacks/go":{"4.0.0":{"api":"0.8","order":[{"group":[{"id":"paketo-buildpacks/go-dist","version":"2.3.0","optional":true}]}],"layerDiffID":"sha256:aa","homepage":"https://x"}}}`,
		cnb.OrderLabel:                   `[{"group":[{"id":"paketo-buildpacks/go","version":"4.0.0"}]}]`,
		cnb.StackIDLabel:                 "io.buildpacks.stacks.bionic",
		cnb.StackMixinsLabel:             `["build:git","curl"]`,
		"io.buildpacks.extension.layers": "{}",
	}
}

func TestReadOlderBuilder(t *testing.T) {
	image := foreign(t, paketo(), "CNB_USER_ID=1000", "CNB_GROUP_ID=1000", "CNB_STACK_ID=io.buildpacks.stacks.bionic")
	got, err := builder.Read("paketo", image)
	if err != nil {
		t.Fatal(err)
	}
	got.Image, got.Layers = nil, nil
	want := &builder.Builder{
		Architecture: "amd64", Description: "Ubuntu bionic", UID: 1000, GID: 1000,
		Env: []string{"CNB_USER_ID=1000", "CNB_GROUP_ID=1000", "CNB_STACK_ID=io.buildpacks.stacks.bionic"},
		Lifecycle: cnb.LifecycleInfo{
			Version: "0.17.0", API: cnb.LifecycleAPI{Buildpack: "0.7", Platform: "0.7"},
			APIs: cnb.LifecycleAPIs{
				Buildpack: cnb.APIVersions{Supported: []string{"0.7"}, Deprecated: []string{}},
				Platform:  cnb.APIVersions{Supported: []string{"0.7"}, Deprecated: []string{}},
			},
		},
		Buildpacks: []cnb.BuildpackInfo{{ID: "paketo-buildpacks/go", Version: "4.0.0", Homepage: "https://github.com/paketo-buildpacks/go"}},
		Order:      cnb.Order{{Group: []cnb.GroupEntry{{ID: "paketo-buildpacks/go", Version: "4.0.0"}}}},
		RunImages: []builder.RunImage{{RunImage: cnb.RunImage{
			Image: "index.docker.io/paketobuildpacks/run:base-cnb", Mirrors: []string{"gcr.io/paketo/run"},
		}}},
		StackID: "io.buildpacks.stacks.bionic", Mixins: []string{"build:git", "curl"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadRefuses(t *testing.T) {
	env := []string{"CNB_USER_ID=1000", "CNB_GROUP_ID=1000"}
	with := func(label, value string) map[string]string {
		labels := paketo()
		labels[label] = value
		return labels
	}
	tests := []struct {
		name   string
		labels map[string]string
		env    []string
		says   string
	}{
		{"another image", nil, env, "it is no builder: it lacks the label io.buildpacks.builder.metadata"},
		{"broken metadata", with(cnb.BuilderMetadataLabel, "{"), env, "label io.buildpacks.builder.metadata: "},
		{"a broken order", with(cnb.OrderLabel, "{}"), env, "label io.buildpacks.buildpack.order: "},
		{"no order", with(cnb.OrderLabel, ""), env, "it has no order of buildpacks"},
		{"no lifecycle", with(cnb.BuilderMetadataLabel, "{}"), env, "it does not say which lifecycle it has"},
		{"no user", paketo(), nil, "its environment lacks CNB_USER_ID"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := builder.Read("x:1", foreign(t, tt.labels, tt.env...))
			if err == nil || fault.KindOf(err) != fault.Usage || fault.HintOf(err) == "" || !strings.HasPrefix(err.Error(), "read builder: x:1: "+tt.says) {
				t.Errorf("want %s, got %v", tt.says, err)
			}
		})
	}
}

func TestRunImageForSeveral(t *testing.T) {
	b := &builder.Builder{RunImages: []builder.RunImage{
		{RunImage: cnb.RunImage{Image: "run:1"}},
		{RunImage: cnb.RunImage{Image: "node:1"}, Buildpacks: []string{"test/node"}},
		{RunImage: cnb.RunImage{Image: "java:1"}, Buildpacks: []string{"test/java"}},
	}}
	if _, err := b.RunImageFor([]string{"test/node", "test/java"}); fault.KindOf(err) != fault.Usage || fault.HintOf(err) == "" {
		t.Errorf("want a choice refused with a hint, got %v", err)
	}
	if _, err := (&builder.Builder{}).RunImageFor(nil); fault.KindOf(err) != fault.Usage {
		t.Errorf("want no run image refused, got %v", err)
	}
}

func FuzzRead(f *testing.F) {
	p := paketo()
	f.Add(p[cnb.BuilderMetadataLabel], p[cnb.BuildpackLayersLabel], p[cnb.OrderLabel], "1000")
	f.Add("{}", "null", "[]", "-1")
	f.Fuzz(func(t *testing.T, metadata, layers, order, user string) {
		labels := map[string]string{cnb.BuilderMetadataLabel: metadata, cnb.BuildpackLayersLabel: layers, cnb.OrderLabel: order}
		b, err := builder.Read("x", foreign(t, labels, "CNB_USER_ID="+user, "CNB_GROUP_ID="+user))
		if err != nil {
			return
		}
		if b.UID < 0 || len(b.Order) == 0 || len(b.Lifecycle.APIs.Platform.Supported) == 0 {
			t.Errorf("it read %+v", b)
		}
	})
}
