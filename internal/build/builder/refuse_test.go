package builder_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/fault"
)

// TestRefuse changes one thing of a good builder. Every error names the file, the line and
// the field, and says what to do.
func TestRefuse(t *testing.T) {
	swap := func(old, new string) func(*bed) string {
		return func(b *bed) string {
			b.t.Helper()
			if !strings.Contains(good, old) {
				b.t.Fatalf("there is no %q to replace", old)
			}
			return strings.Replace(good, old, new, 1)
		}
	}
	user := []string{"CNB_USER_ID=1001", "CNB_GROUP_ID=1001"}
	tests := []struct {
		name string
		text func(*bed) string
		kind fault.Kind
		says string
	}{
		{"an unknown field", swap("image: build:1", "imege: build:1"), fault.Usage, "line 7: spec.build.imege: unknown field"},
		{"another kind", swap("kind: Builder", "kind: BaseImage"), fault.Usage, `line 2: kind: want "Builder", got "BaseImage"`},
		{"a bad reference", swap("run:1\n", "Run\n"), fault.Usage, `line 9: spec.run[0].image: want a reference such as "run:1", got "Run"`},
		{"a bad mirror", swap("[mirror.example.com/run:1]", `["a b"]`), fault.Usage, "line 10: spec.run[0].mirrors[0]: want a reference"},
		{"the same run image twice", swap("node:1", "run:1"), fault.Usage, "line 11: spec.run[1].image: it is listed twice"},
		{"two defaults", swap("node:1, buildpacks: [test/node]", "node:1"), fault.Usage, "line 11: spec.run[1].buildpacks: name the buildpacks it is for"},
		{"a choice for no buildpack", swap("[test/node]", "[test/nobody]"), fault.Usage, "line 11: spec.run[1].buildpacks[0]: there is no buildpack test/nobody"},
		{"no lifecycle", swap("{path: lifecycle}", "{}"), fault.Usage, "line 12: spec.lifecycle: want either a path or an image"},
		{"a missing lifecycle", swap("{path: lifecycle}", "{path: absent}"), fault.Failed, "absent: no such file or directory"},
		{"a missing buildpack", swap("path: node", "path: absent"), fault.Failed, "line 15: spec.buildpacks[1]: "},
		{"a folder that is no buildpack", swap("path: node", "path: lifecycle/linux/amd64"), fault.Failed, "buildpack.toml: there is no such file"},
		{"a file that is no archive", swap("path: node", "path: go/buildpack.toml"), fault.Failed, "line 15: spec.buildpacks[1]: "},
		{"an image that is no buildpack", swap("path: node", "image: run:1"), fault.Failed, "it is no packaged buildpack: it lacks the label io.buildpacks.buildpack.layers"},
		{"a buildpack twice", swap("path: node", "path: go"), fault.Usage, "line 15: spec.buildpacks[1]: test/go@0.1.0 is in spec.buildpacks[0] already"},
		{"an unknown id in the order", swap("{id: test/node}, ", "{id: test/gone}, "), fault.Usage, "line 17: spec.order[0].group[0].id: there is no buildpack test/gone"},
		{"an unknown version in the order", swap("version: 0.1.0", "version: 9.9.9"), fault.Usage, "line 18: spec.order[1].group[0].id: there is no version 9.9.9 of test/go, only 0.1.0"},
		{"an empty group", swap("[{id: test/go, version: 0.1.0}]", "[]"), fault.Usage, "line 18: spec.order[1].group: want at least one buildpack"},
		{"an unknown architecture", swap("[amd64, arm64]", "[amd64, mips]"), fault.Usage, `line 19: spec.architectures[1]: want each of amd64, arm64 at most once, got "mips"`},
		{"a bad variable", swap("BP_LEVEL", "BP-LEVEL"), fault.Usage, "line 20: spec.environment.BP-LEVEL: bad name or value"},
		{"an absent build base", swap("build:1", "build:2"), fault.NotFound, "line 7: spec.build.image: read image: build:2: there is no such image"},
		{"an absent run base", swap("node:1", "node:2"), fault.NotFound, "line 11: spec.run[1].image: read image: node:2: there is no such image"},

		{"two versions to choose from", func(b *bed) string {
			b.buildpack("next", "test/go", "0.2.0", "")
			return strings.Replace(good, "- path: node", "- path: next\n    - path: node", 1)
		}, fault.Usage, "line 18: spec.order[0].group[1].id: there are several versions of test/go: 0.1.0, 0.2.0"},
		{"a base of others", func(b *bed) string {
			b.base("node:1", v1.Config{})
			return good
		}, fault.Denied, "line 11: spec.run[1].image: it is no approved base: plimsoll did not compose it"},
		{"a base for one architecture", func(b *bed) string {
			b.base("run:1", v1.Config{Labels: debian("13")}, "amd64")
			return good
		}, fault.NotFound, "line 9: spec.run[0].image: it has no image for arm64"},
		{"a run base of another release", func(b *bed) string {
			b.base("run:1", v1.Config{Labels: debian("12")})
			return good
		}, fault.Usage, "line 9: spec.run[0].image: it is debian 12, but the build base is debian 13"},
		{"a build base without its user", func(b *bed) string {
			b.base("build:1", v1.Config{Labels: debian("13"), Env: user[:1]})
			return good
		}, fault.Failed, "line 7: spec.build.image: its environment lacks CNB_GROUP_ID"},
		{"a build base with a bad user", func(b *bed) string {
			b.base("build:1", v1.Config{Labels: debian("13"), Env: []string{"CNB_USER_ID=root"}})
			return good
		}, fault.Failed, `its environment has CNB_USER_ID="root": want a number`},
		{"a Buildpack API that is too new", func(b *bed) string {
			b.write("go/buildpack.toml", strings.Replace(descriptor("test/go", "0.1.0", ""), "0.12", "0.99", 1))
			return good
		}, fault.Usage, "line 14: spec.buildpacks[0]: test/go@0.1.0 wants Buildpack API 0.99, lifecycle 0.21.17 speaks 0.10, 0.11, 0.12"},
		{"a buildpack for another system", func(b *bed) string {
			b.buildpack("go", "test/go", "0.1.0", "[[targets]]\nos = \"linux\"\n[[targets.distros]]\nname = \"ubuntu\"\nversion = \"24.04\"\n")
			return good
		}, fault.Usage, "test/go@0.1.0 is for linux/any ubuntu 24.04, the build base is linux/amd64 debian 13"},
		{"a buildpack for another architecture", func(b *bed) string {
			b.buildpack("go", "test/go", "0.1.0", "[[targets]]\nos = \"linux\"\narch = \"amd64\"\n")
			return good
		}, fault.Usage, "test/go@0.1.0 is for linux/amd64, the build base is linux/arm64 debian 13"},
		{"a part that is not there", func(b *bed) string {
			b.write("go/buildpack.toml", descriptor("test/go", "0.1.0", "[[order]]\n[[order.group]]\nid = \"test/part\"\nversion = \"1\"\n"))
			return good
		}, fault.Usage, "test/go@0.1.0 is made of others: there is no buildpack test/part"},
		{"a bad descriptor", func(b *bed) string {
			b.write("go/buildpack.toml", "api = \n")
			return good
		}, fault.Failed, "line 14: spec.buildpacks[0]: "},
		{"an id that leaves its folder", func(b *bed) string {
			b.write("go/buildpack.toml", descriptor("../go", "0.1.0", ""))
			return good
		}, fault.Failed, `buildpack.id: bad id "../go"`},
		{"a version that leaves its folder", func(b *bed) string {
			b.write("go/buildpack.toml", descriptor("test/go", "../../x", ""))
			return good
		}, fault.Failed, `buildpack.version: bad version "../../x"`},
		{"a lifecycle for another architecture", func(b *bed) string {
			b.write("lifecycle/linux/arm64/launcher", elfHeader(62))
			return good
		}, fault.Failed, "launcher: it is for EM_X86_64, not for arm64"},
		{"a lifecycle that does not say what it speaks", func(b *bed) string {
			b.write("lifecycle/lifecycle.toml", "[lifecycle]\nversion = \"1\"\n")
			return good
		}, fault.Failed, "line 12: spec.lifecycle: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			_, err := b.make(tt.text(b))
			var f *fault.Error
			if !errors.As(err, &f) {
				t.Fatalf("want a fault, got %v", err)
			}
			if f.Kind != tt.kind || f.Which != filepath.Join(b.dir, "builder.yaml") || fault.HintOf(err) == "" {
				t.Errorf("want kind %d about the file with a hint, got kind %d about %s, hint %q", tt.kind, f.Kind, f.Which, fault.HintOf(err))
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("want %s\n got %s", tt.says, err)
			}
		})
	}
}

// TestTrust takes bases of others where the spec says why.
func TestTrust(t *testing.T) {
	b := newBed(t)
	b.base("node:1", v1.Config{})
	text := strings.Replace(good, "node:1, ", "node:1, trust: reviewed by hand, ", 1)
	if built := b.made(text); len(built.Images) != 2 {
		t.Errorf("want two images, got %d", len(built.Images))
	}
}
