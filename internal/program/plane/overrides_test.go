package plane

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
)

func lodash(scope ...v1alpha1.RepositoryPattern) v1alpha1.DependencyOverride {
	return v1alpha1.DependencyOverride{
		ObjectMeta: metav1.ObjectMeta{Name: "lodash"},
		Spec: v1alpha1.DependencyOverrideSpec{
			Ecosystem: "npm", Package: "lodash", Version: "4.17.21", Reason: "prototype pollution", Advisories: []v1alpha1.Word{"CVE-2020-8203"},
			Scope: v1alpha1.OverrideScope{Repositories: scope},
		},
	}
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// published gives an Image whose tag names an image of those npm packages ("name version"), and tells
// the inventory of it.
func published(t *testing.T, p *Plane, tag string, packages ...artifact.Package) *v1alpha1.Image {
	t.Helper()
	i := &v1alpha1.Image{Spec: v1alpha1.ImageSpec{Tag: tag}}
	i.Status.LatestImage = &v1alpha1.Published{Image: tag, Digest: digestOf(tag)}
	ref, err := p.place(tag)
	if err != nil {
		t.Fatal(err)
	}
	tell(t, p, ref.String(), i, nil, packages...)
	return i
}

// tell tells the inventory what the tag of an Image names.
func tell(t *testing.T, p *Plane, reference string, i *v1alpha1.Image, labels map[string]string, packages ...artifact.Package) {
	t.Helper()
	layer := digestOf("layer of " + reference)
	for n := range packages {
		packages[n].Type, packages[n].Layer, packages[n].FoundBy = "npm", layer, []string{"image"}
	}
	index, err := p.site.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = index.Put(t.Context(), inventory.Image{
		Reference: reference, Labels: labels, Contents: artifact.Contents{Image: i.Status.LatestImage.Digest, Platform: "linux/amd64", Layers: []string{layer}, Packages: packages},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestOverridesOfTheCluster: what a watch cache lists says neither its kind nor its version, one
// override that is wrong takes no other along, and one bears on an Image only where the inventory does
// not know that nothing in it is lower.
func TestOverridesOfTheCluster(t *testing.T) {
	wrong := lodash()
	wrong.Name, wrong.Spec.Package, wrong.Spec.Version = "wrong", "minimist", "no version"
	p := newPlane(t)
	low := published(t, p, "shop/low:1", artifact.Package{Name: "lodash", Version: "4.17.20", Paths: []string{"workspace/node_modules/lodash/package.json"}})
	equal := published(t, p, "shop/equal:1", artifact.Package{Name: "lodash", Version: "4.17.21", Paths: []string{"workspace/node_modules/lodash/package.json"}})
	without := published(t, p, "shop/without:1", artifact.Package{Name: "express", Version: "4.0.0", Paths: []string{"workspace/node_modules/express/package.json"}})
	unknown := &v1alpha1.Image{Spec: v1alpha1.ImageSpec{Tag: "shop/unknown:1"}}
	unknown.Status.LatestImage = &v1alpha1.Published{Digest: digestOf("unknown")}
	moved := published(t, p, "shop/moved:1")
	moved.Status.LatestImage.Digest = digestOf("of which the inventory has not heard")
	for _, c := range []struct {
		name        string
		image       *v1alpha1.Image
		was         string
		overrides   []v1alpha1.DependencyOverride
		holds, idle bool
	}{
		{"lower", low, "", []v1alpha1.DependencyOverride{wrong, lodash()}, true, false},
		{"equal", equal, "", []v1alpha1.DependencyOverride{lodash()}, true, true},
		{"asked again", equal, "", []v1alpha1.DependencyOverride{lodash()}, true, true},
		{"not in it", without, "", []v1alpha1.DependencyOverride{lodash()}, true, true},
		{"out of scope", low, "", []v1alpha1.DependencyOverride{lodash("harbour/*")}, false, false},
		{"ended", low, "sha256:before", []v1alpha1.DependencyOverride{lodash("harbour/*")}, false, true},
		{"not known", unknown, "", []v1alpha1.DependencyOverride{lodash()}, true, false},
		{"known from before", moved, "", []v1alpha1.DependencyOverride{lodash()}, true, false},
		{"not built", &v1alpha1.Image{Spec: v1alpha1.ImageSpec{Tag: "shop/new:1"}}, "", []v1alpha1.DependencyOverride{lodash()}, true, false},
	} {
		held, err := p.overrides(t.Context(), c.image, c.was, c.overrides)
		if err != nil {
			t.Fatal(err)
		}
		if holds := held.Digest != "" && len(held.Advisories) == 1 && held.Text != ""; holds != c.holds || held.Idle != c.idle {
			t.Errorf("%s: %+v", c.name, held)
		}
	}
	for _, c := range []struct {
		override v1alpha1.DependencyOverride
		want     int
	}{{lodash(), 1}, {lodash("shop/**"), 1}, {lodash("harbour/**"), 0}} {
		if n, err := (counter{p}).Below(t.Context(), c.override); err != nil || n != c.want {
			t.Errorf("%v bears on %d images, %v, want %d", c.override.Spec.Scope, n, err, c.want)
		}
	}
}
