package plane

import (
	"strings"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/build/override"
	"plimsoll.dev/plimsoll/internal/controller/image"
)

// overrides gives those that hold for what is published under the tag.
func (p *Plane) overrides(tag string, all []v1alpha1.DependencyOverride, now time.Time) image.Held {
	var held image.Held
	ref, err := p.place(tag)
	if err != nil {
		return held
	}
	holding := sound(all).For(ref.Repository(), now)
	held.Digest = holding.Digest()
	var text []string
	for _, o := range holding {
		held.Advisories = append(held.Advisories, o.Spec.Advisories...)
		text = append(text, o.Spec.Ecosystem+" "+o.Spec.Package+" from "+o.Spec.Version+" on: "+o.Spec.Reason)
		if end := o.Spec.Expires; end != nil && (held.Until.IsZero() || end.Time.Before(held.Until)) {
			held.Until = end.Time
		}
	}
	held.Text = strings.Join(text, "\n")
	return held
}

// sound gives the overrides of the cluster, but for those that are wrong: each says so itself, and
// takes none of the others along.
func sound(all []v1alpha1.DependencyOverride) override.Set {
	var good []v1alpha1.DependencyOverride
	for _, o := range all {
		o.APIVersion, o.Kind = v1alpha1.APIVersion, v1alpha1.DependencyOverrideKind // what a cache lists has neither
		if _, err := override.New(o); err == nil {
			good = append(good, o)
		}
	}
	set, _ := override.New(good...) // it fails for too many, of which none holds then
	return set
}
