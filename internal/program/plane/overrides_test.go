package plane

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// TestOverridesOfTheCluster: what a watch cache lists says neither its kind nor its version, and one
// override that is wrong takes no other along.
func TestOverridesOfTheCluster(t *testing.T) {
	lodash := v1alpha1.DependencyOverride{
		ObjectMeta: metav1.ObjectMeta{Name: "lodash"},
		Spec:       v1alpha1.DependencyOverrideSpec{Ecosystem: "npm", Package: "lodash", Version: "4.17.21", Reason: "prototype pollution", Advisories: []v1alpha1.Word{"CVE-2020-8203"}},
	}
	wrong := *lodash.DeepCopy()
	wrong.Name, wrong.Spec.Package, wrong.Spec.Version = "wrong", "minimist", "no version"
	p := &Plane{}
	held := p.overrides("shop/ferry:1", []v1alpha1.DependencyOverride{wrong, lodash}, time.Now())
	if held.Digest == "" || len(held.Advisories) != 1 || held.Text == "" {
		t.Errorf("what holds is %+v", held)
	}
	lodash.Spec.Scope.Except = []v1alpha1.RepositoryPattern{"shop/*"}
	if held := p.overrides("shop/ferry:1", []v1alpha1.DependencyOverride{lodash}, time.Now()); held.Digest != "" {
		t.Errorf("out of its scope it holds: %+v", held)
	}
}
