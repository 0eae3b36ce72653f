package site

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/base/spec"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

// suite is an archive's suite in which the library is of the version.
func suite(version string) debarchive.Suite {
	return debarchive.Suite{Name: "test", Packages: []debarchive.Package{
		{Name: "base-files", Version: "13", Files: []debarchive.File{
			debarchive.Symlink("bin", "usr/bin"), debarchive.Dir("usr/bin", 0),
			debarchive.Regular("usr/lib/os-release", "ID=debian\nVERSION_ID=13\n"), debarchive.Symlink("etc/os-release", "../usr/lib/os-release"),
		}},
		{Name: "lib", Version: version, Files: []debarchive.File{debarchive.Regular("usr/lib/lib.so", "lib "+version)}},
	}}
}

// TestBuildBase: a base is published with its evidence under all its tags; one that has not changed
// says so, and gets new evidence only where that is asked for; one that nobody wants is not published.
func TestBuildBase(t *testing.T) {
	b := open(t, t.TempDir())
	archive := debarchive.New(t, suite("1"))
	file := filepath.Join(t.TempDir(), "base.yaml")
	write(t, file, fmt.Sprintf(`apiVersion: plimsoll.dev/v1alpha1
kind: BaseImage
metadata: {name: run}
spec:
  archive: {suites: [test], mirror: %q, keyring: %q}
  packages: [base-files, lib]
  architectures: [amd64]
`, "file://"+archive.Root, archive.Keyring))
	image, err := spec.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	publication := Publication{Tag: b.tag("bases/run:1"), AdditionalTags: []oci.Reference{b.tag("bases/run:latest")}, IfChanged: true}
	compose := func(p Publication) *BuiltBase {
		t.Helper()
		built, err := b.BuildBase(t.Context(), BaseRequest{Spec: image, Publication: p})
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range []string{"bases/run:1", "bases/run:latest"} {
			if got := b.head(tag); got != built.Digest {
				t.Errorf("%s names %q, want %s", tag, got, built.Digest)
			}
			b.vouched(tag)
		}
		return built
	}
	first := compose(publication)
	if again := compose(publication); first.Unchanged || !again.Unchanged || again.Digest != first.Digest {
		t.Errorf("%+v, then %+v", first, again)
	}
	before := b.evidence("bases/run:1")
	publication.IfChanged = false
	if again := compose(publication); !again.Unchanged || b.evidence("bases/run:1") == before {
		t.Error("what is built again has no new evidence")
	}
	archive.Rewrite(t, suite("2"))
	refused := errors.New("no")
	request := BaseRequest{Spec: image, Publication: publication, Composed: func(*base.Lock) error { return refused }}
	if _, err := b.BuildBase(t.Context(), request); !errors.Is(err, refused) || b.head("bases/run:1") != first.Digest {
		t.Errorf("what was refused is published: %v", err)
	}
	if next := compose(publication); next.Unchanged || next.Digest == first.Digest {
		t.Errorf("a new package changes nothing: %+v", next)
	}
}

// evidence names what is attached to the image of a tag.
func (b *bed) evidence(tag string) string {
	b.Helper()
	digest := b.Resolve(b.Context(), tag)[0].Digest
	list, err := b.Registries.Session().Referrers(b.Context(), b.tag(tag), digest)
	if err != nil {
		b.Fatal(err)
	}
	all := ""
	for _, d := range list.Manifests {
		all += d.Digest.String() + "\n"
	}
	return all
}
