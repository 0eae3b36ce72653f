package kpack

import (
	"fmt"
	"slices"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// parts are the kinds that builders are made of.
var parts = map[string]struct{}{"ClusterStack": {}, "ClusterStore": {}, "ClusterBuildpack": {}, "Buildpack": {}, "ClusterLifecycle": {}}

// builder converts a ClusterBuilder or a Builder of kpack's, with the parts that it names.
func (c *conversion) builder(r *resource) error {
	f := c.fieldsOf(r)
	spec := v1alpha1.BuilderSpec{Tag: f.text("tag")}
	c.stack(f, &spec)
	c.store(f, &spec)
	c.lifecycle(f, &spec)
	c.order(f, &spec)
	f.drop("additionalTags", "a Builder has one tag: push it elsewhere with plimsoll registry import, or make a second Builder")
	f.drop("serviceAccountRef", publishes)
	f.drop("serviceAccountName", publishes)
	f.drop("serviceAccount", publishes)
	f.drop("orderExtensions", "left out: image extensions are not used; packages belong in a BaseImage")
	f.rest()
	if len(spec.Run) == 0 || len(spec.Buildpacks) == 0 || len(spec.Order) == 0 {
		c.note(r, "", "left out: without a stack, buildpacks and an order it builds nothing")
		return nil
	}
	name := r.name
	if r.kind == "Builder" {
		name = clusterWide(r.namespace, r.name)
		c.note(r, "metadata", "builders stand in no namespace: it became Builder %q", name)
	}
	return c.write(r, v1alpha1.BuilderKind, "", name, spec)
}

const publishes = "the controllers publish and read builders with logins of their own: give them those of this service account"

// part takes an ObjectReference and gives what it refers to, or nil and a note.
func (c *conversion) part(f *fields, field, kind string) *resource {
	ref := f.below(field)
	if ref == nil {
		return nil
	}
	defer ref.rest()
	if given := ref.text("kind"); given != "" {
		kind = given
	}
	ref.text("apiVersion")
	namespace := ref.text("namespace")
	if namespace == "" {
		namespace = f.r.namespace
	}
	return c.refer(f, field, kind, namespace, ref.text("name"))
}

// refer gives the resource of that name and marks it as used.
func (c *conversion) refer(f *fields, field, kind, namespace, name string) *resource {
	r := c.found[key(kind, namespace, name)]
	if r == nil {
		f.note(field, "the %s %q is not in the input: give it, too", kind, name)
		return nil
	}
	r.used = true
	return r
}

// stack makes build base and run base of a ClusterStack.
func (c *conversion) stack(f *fields, spec *v1alpha1.BuilderSpec) {
	stack := c.part(f, "stack", "ClusterStack")
	if stack == nil {
		return
	}
	s := c.fieldsOf(stack)
	defer s.rest()
	s.text("id") // bases tell by their distribution what fits
	reason := fmt.Sprintf("taken over from kpack's %s", stack)
	spec.Build = v1alpha1.BuildBase{Image: imageOf(s.below("buildImage")), Trust: reason}
	spec.Run = []v1alpha1.RunBase{{Image: imageOf(s.below("runImage")), Trust: reason}}
	s.drop("serviceAccountRef", publishes)
	c.note(stack, "spec", "its images are trusted because kpack's were: name bases of your own BaseImages to have them patched, and take out trust")
}

func imageOf(f *fields) string {
	if f == nil {
		return ""
	}
	defer f.rest()
	return f.text("image")
}

// store makes buildpacks of a ClusterStore's images.
func (c *conversion) store(f *fields, spec *v1alpha1.BuilderSpec) {
	store := c.part(f, "store", "ClusterStore")
	if store == nil {
		return
	}
	s := c.fieldsOf(store)
	defer s.rest()
	for _, source := range s.list("sources") {
		addBuildpack(spec, imageOf(source))
	}
	s.drop("serviceAccountRef", publishes)
}

func addBuildpack(spec *v1alpha1.BuilderSpec, image string) {
	if source := (v1alpha1.BuildpackSource{Image: image}); image != "" && !slices.Contains(spec.Buildpacks, source) {
		spec.Buildpacks = append(spec.Buildpacks, source)
	}
}

// lifecycle takes that of a ClusterLifecycle, or the one that the controllers ship with.
func (c *conversion) lifecycle(f *fields, spec *v1alpha1.BuilderSpec) {
	spec.Lifecycle = v1alpha1.LifecycleSource{Path: "lifecycle"}
	found := c.part(f, "lifecycle", "ClusterLifecycle")
	if found == nil {
		return
	}
	s := c.fieldsOf(found)
	defer s.rest()
	if image := s.text("image"); image != "" {
		spec.Lifecycle = v1alpha1.LifecycleSource{Image: image}
	}
	s.drop("serviceAccountRef", publishes)
}

// order converts the groups, whose members may say themselves where they are.
func (c *conversion) order(f *fields, spec *v1alpha1.BuilderSpec) {
	for _, entry := range f.list("order") {
		var group v1alpha1.OrderGroup
		for _, member := range entry.list("group") {
			if e, ok := c.member(member, spec); ok {
				group.Group = append(group.Group, e)
			}
		}
		entry.rest()
		if len(group.Group) > 0 {
			spec.Order = append(spec.Order, group)
		}
	}
}

func (c *conversion) member(f *fields, spec *v1alpha1.BuilderSpec) (v1alpha1.OrderEntry, bool) {
	defer f.rest()
	addBuildpack(spec, f.text("image"))
	kind, name, namespace := f.text("kind"), f.text("name"), f.text("namespace")
	f.text("apiVersion")
	if namespace == "" {
		namespace = f.r.namespace
	}
	if kind != "" {
		if found := c.refer(f, "name", kind, namespace, name); found != nil {
			addBuildpack(spec, c.buildpackImage(found))
		}
	}
	entry := v1alpha1.OrderEntry{ID: f.text("id"), Version: f.text("version"), Optional: f.flag("optional")}
	if entry.ID == "" {
		f.note("", "left out: say by its id which buildpack of the image is meant")
		return entry, false
	}
	return entry, true
}

// buildpackImage gives the image of a ClusterBuildpack or Buildpack.
func (c *conversion) buildpackImage(r *resource) string {
	s := c.fieldsOf(r)
	defer s.rest()
	s.drop("serviceAccountRef", publishes)
	s.drop("serviceAccountName", publishes)
	if source := s.below("source"); source != nil { // as kpack's documents show it
		return imageOf(source)
	}
	return s.text("image")
}
