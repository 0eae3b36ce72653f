package image

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/controller/tag"
)

// inNamespace declares an Image of another namespace.
func (d *desk) inNamespace(t *testing.T, namespace, name string, change func(*v1alpha1.ImageSpec)) *v1alpha1.Image {
	t.Helper()
	i := &v1alpha1.Image{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	i.Spec = v1alpha1.ImageSpec{
		Tag: namespace + "/" + name + ":1", Builder: v1alpha1.ClusterReference{Name: "standard"},
		Source: v1alpha1.ImageSource{Git: &v1alpha1.GitSource{URL: "https://git.example.com/shop.git"}},
	}
	change(&i.Spec)
	d.Create(t, i)
	return i
}

// namespace makes one.
func (d *desk) namespace(t *testing.T, name string) *corev1.Namespace {
	t.Helper()
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	d.Create(t, n)
	return n
}

// unbuilt holds that there is no Build in the namespace.
func (d *desk) unbuilt(t *testing.T, namespace string) {
	t.Helper()
	var list v1alpha1.BuildList
	if err := d.Client.List(t.Context(), &list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	for _, b := range list.Items {
		t.Errorf("there is the Build %s", b.Name)
	}
}

// base declares a BaseImage.
func (d *desk) base(t *testing.T, name, tag string) *v1alpha1.BaseImage {
	t.Helper()
	b := &v1alpha1.BaseImage{ObjectMeta: metav1.ObjectMeta{Name: name}}
	b.Spec.Tag, b.Spec.Archive.Suites, b.Spec.Packages = tag, []string{"trixie"}, []string{"base-files"}
	d.Create(t, b)
	return b
}

// TestImagesKeepToTheirNamespace holds on a real API server that nobody who may write Images in one
// namespace gets at what is not his: bases, builders, steps, what others publish, or the controllers'
// own disk.
func TestImagesKeepToTheirNamespace(t *testing.T) {
	d := newDesk(t)
	d.builder(t, "builder1", "run1")
	shop := d.namespace(t, "shop")
	tagged := func(tag string) func(*v1alpha1.ImageSpec) {
		return func(s *v1alpha1.ImageSpec) { s.Tag = tag }
	}
	made := map[string]*v1alpha1.Image{}
	for _, test := range []struct {
		name   string
		change func(*v1alpha1.ImageSpec)
		reason string
	}{
		{"run", tagged("run:1"), tag.NotAllowed},
		{"builder", tagged("standard:1"), tag.NotAllowed},
		{"steps", tagged("plimsoll/steps:1"), tag.NotAllowed},
		{"team", tagged("other/app:1"), tag.NotAllowed},
		{"neighbour", tagged("shops/app:1"), tag.NotAllowed},
		{"folder", tagged("shop:1"), tag.NotAllowed},
		{"inner", tagged("other/shop/app:1"), tag.NotAllowed},
		{"additional", func(s *v1alpha1.ImageSpec) { s.AdditionalTags = []string{"shop/b:2", "run:1"} }, tag.NotAllowed},
		{"cache", func(s *v1alpha1.ImageSpec) { s.Cache.Image = "other/cache:1" }, tag.NotAllowed},
		{"source", func(s *v1alpha1.ImageSpec) {
			s.Source = v1alpha1.ImageSource{Artifact: &v1alpha1.ArtifactSource{Image: "other/app:1"}}
		}, tag.SourceNotAllowed},
		{"disk", func(s *v1alpha1.ImageSpec) { s.Source.Git.URL = "file:///etc" }, tag.SourceNotAllowed},
	} {
		made[test.name] = d.inNamespace(t, "shop", test.name, test.change)
		d.ready(t, made[test.name], metav1.ConditionFalse, test.reason)
	}
	d.unbuilt(t, "shop")

	d.Change(t, shop, func() {
		shop.Annotations = map[string]string{v1alpha1.AnnotationRepositories: "run, other/*, plimsoll/**"}
	})
	d.ready(t, made["run"], metav1.ConditionUnknown, Building)
	d.ready(t, made["team"], metav1.ConditionUnknown, Building)
	d.ready(t, made["steps"], metav1.ConditionFalse, tag.NotAllowed)
	d.ready(t, made["inner"], metav1.ConditionFalse, tag.NotAllowed)
	d.Change(t, shop, func() { shop.Annotations = nil })
	d.ready(t, made["run"], metav1.ConditionFalse, tag.NotAllowed)
	d.ready(t, made["team"], metav1.ConditionFalse, tag.NotAllowed)
	d.Until(t, func() string {
		var list v1alpha1.BuildList
		if err := d.Client.List(t.Context(), &list, client.InNamespace("shop")); err != nil || len(list.Items) > 0 {
			return "what waited is there still"
		}
		return ""
	})
}

// TestATagHasOneOwner holds on a real API server who of all kinds has a tag, and that nobody keeps one
// from its owner by naming it.
func TestATagHasOneOwner(t *testing.T) {
	d := newDesk(t)
	d.builder(t, "builder1", "run1")
	d.namespace(t, "shop")
	d.namespace(t, "thief")
	owner := func(tagged string) string {
		claims, err := tag.Claims(t.Context(), d.cache, tagged)
		if err != nil {
			t.Fatal(err)
		}
		if len(claims) == 0 {
			return ""
		}
		return claims[0].GetName()
	}

	base := d.base(t, "base", "shop/base:1")
	second := d.inNamespace(t, "shop", "second", func(s *v1alpha1.ImageSpec) { s.Tag = "shop/base:1" })
	d.ready(t, second, metav1.ConditionFalse, status.TagTaken)
	d.Delete(t, base)
	d.ready(t, second, metav1.ConditionUnknown, Building)

	// A younger base has no right to what an Image publishes.
	d.Until(t, func() string {
		late := d.base(t, "late", "shop/base:1")
		if !late.CreationTimestamp.After(second.CreationTimestamp.Time) {
			d.Delete(t, late)
			return "the clock stands still"
		}
		return ""
	})
	late := &v1alpha1.BaseImage{ObjectMeta: metav1.ObjectMeta{Name: "late"}}
	d.Until(t, func() string {
		d.Get(t, late)
		if _, by, err := tag.Taken(t.Context(), d.cache, late); err != nil || by != "Image/shop/second" {
			return "it is taken by " + by
		}
		return ""
	})

	// Two spellings are one tag.
	first := d.inNamespace(t, "shop", "a", func(s *v1alpha1.ImageSpec) { s.Tag = "shop/app" })
	d.ready(t, first, metav1.ConditionUnknown, Building)
	again := d.inNamespace(t, "shop", "b", func(s *v1alpha1.ImageSpec) { s.Tag = "shop/app:latest" })
	d.ready(t, again, metav1.ConditionFalse, status.TagTaken)
	along := d.inNamespace(t, "shop", "c", func(s *v1alpha1.ImageSpec) { s.AdditionalTags = []string{"shop/app:latest"} })
	d.ready(t, along, metav1.ConditionFalse, status.TagTaken)

	// Whoever only names a tag does not keep it from those who may have it.
	thief := d.inNamespace(t, "thief", "thief", func(s *v1alpha1.ImageSpec) { s.Tag = "payments:1" })
	d.ready(t, thief, metav1.ConditionFalse, tag.NotAllowed)
	d.base(t, "payments", "payments:1")
	d.Until(t, func() string {
		if got := owner("payments:1"); got != "payments" {
			return "it is owned by " + got
		}
		return ""
	})
	const elsewhere = "registry.example.com/payments/app:1"
	squatter := d.inNamespace(t, "thief", "squatter", func(s *v1alpha1.ImageSpec) { s.Tag = elsewhere })
	d.ready(t, squatter, metav1.ConditionUnknown, Building)
	rightful := d.inNamespace(t, "shop", "rightful", func(s *v1alpha1.ImageSpec) { s.Tag = elsewhere })
	d.ready(t, rightful, metav1.ConditionUnknown, Building)
	d.status(t, rightful, func() { rightful.Status.LatestImage = &v1alpha1.Published{Image: elsewhere, Digest: "sha256:image1"} })
	d.Until(t, func() string {
		if got := owner(elsewhere); got != "rightful" {
			return "it is owned by " + got
		}
		return ""
	})
}
