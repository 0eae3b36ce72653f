package image

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// gravity is the order of reasons, gravest first.
var gravity = []v1alpha1.ReasonType{
	v1alpha1.ReasonAdvisory, v1alpha1.ReasonBase, v1alpha1.ReasonBuildpack,
	v1alpha1.ReasonConfig, v1alpha1.ReasonCommit, v1alpha1.ReasonTrigger,
}

// reasons gives how what the Image would be made from now differs from what it was made from,
// gravest first.
func (f *facts) reasons(was, is v1alpha1.BuildInputs, obeyed string) []v1alpha1.BuildReason {
	var out []v1alpha1.BuildReason
	differ := func(kind v1alpha1.ReasonType, was, is string, detail func() string) {
		if was != is {
			out = append(out, v1alpha1.BuildReason{Type: kind, Was: was, Is: is, Detail: shorten(detail())})
		}
	}
	if f.image.Status.LatestImage == nil && was == (v1alpha1.BuildInputs{}) {
		return []v1alpha1.BuildReason{{Type: v1alpha1.ReasonConfig, Is: is.Settings, Detail: "the first build of this Image"}}
	}
	overridden := v1alpha1.ReasonConfig
	if len(f.overrides.Advisories) > 0 {
		overridden = v1alpha1.ReasonAdvisory
	}
	differ(overridden, was.Overrides, is.Overrides, func() string { return "dependency overrides that hold now:\n" + f.overrides.Text })
	differ(v1alpha1.ReasonBase, was.RunDigest, is.RunDigest, func() string { return f.packages(is.RunImage, was.RunDigest, is.RunDigest) })
	differ(v1alpha1.ReasonBuildpack, was.Builder, is.Builder, f.buildpacks)
	differ(v1alpha1.ReasonConfig, was.Settings, is.Settings, f.lines)
	differ(v1alpha1.ReasonCommit, was.Source, is.Source, func() string { return "" })
	differ(v1alpha1.ReasonTrigger, obeyed, cmp.Or(f.image.Annotations[v1alpha1.AnnotationBuild], obeyed), func() string {
		return "somebody set the annotation " + v1alpha1.AnnotationBuild
	})
	slices.SortStableFunc(out, func(a, b v1alpha1.BuildReason) int {
		return slices.Index(gravity, a.Type) - slices.Index(gravity, b.Type)
	})
	return out
}

// packages says which packages changed from one run image to the next.
func (f *facts) packages(tag, was, is string) string {
	base := f.bases(tag)
	if base == nil || base.Status.Published == nil || base.Status.Published.Digest != is || len(base.Status.Changes) == 0 {
		return tag
	}
	text := tag + ":\n" + strings.Join(base.Status.Changes, "\n")
	if len(base.Status.Previous) == 0 || base.Status.Previous[0] != was {
		text += "\nand what changed in the images between"
	}
	return text
}

// buildpacks says which buildpacks changed in the builder, as far as the last build tells.
func (f *facts) buildpacks() string {
	last := f.newest(func(b *v1alpha1.Build) bool { return succeeded(b) && b.Spec.Method == v1alpha1.MethodBuild })
	if last == nil || last.Annotations[annotationBuildpacks] == "" {
		return f.builder.Name
	}
	changed := differing(strings.ReplaceAll(last.Annotations[annotationBuildpacks], " ", "\n"), strings.Join(f.builder.Status.Buildpacks, "\n"))
	if changed == "" {
		return f.builder.Name + ": the same buildpacks on another build base, or a newer lifecycle"
	}
	return f.builder.Name + ":\n" + changed
}

// lines gives the lines of the settings that changed since the last build.
func (f *facts) lines() string {
	last := f.newest(func(b *v1alpha1.Build) bool { return succeeded(b) && b.Spec.Method == v1alpha1.MethodBuild })
	if last == nil {
		return ""
	}
	return differing(last.Annotations[annotationSettings], f.settings)
}

// maxDetail bounds a reason's detail in bytes.
const maxDetail = 4 << 10

func shorten(text string) string {
	if len(text) <= maxDetail {
		return text
	}
	return strings.ToValidUTF8(text[:maxDetail], "") + "…"
}

// method says whether a rebase is enough for the reasons: only the run image is another.
func method(reasons []v1alpha1.BuildReason, was v1alpha1.BuildInputs) v1alpha1.BuildMethod {
	for _, r := range reasons {
		if r.Type != v1alpha1.ReasonBase {
			return v1alpha1.MethodBuild
		}
	}
	if was.RunDigest == "" {
		return v1alpha1.MethodBuild
	}
	return v1alpha1.MethodRebase
}

// priority of a Build for the reasons: what fixes something goes first, then what people wait for.
func priority(reasons []v1alpha1.BuildReason) v1alpha1.BuildPriority {
	switch reasons[0].Type {
	case v1alpha1.ReasonAdvisory, v1alpha1.ReasonBase:
		return v1alpha1.PrioritySecurity
	case v1alpha1.ReasonBuildpack:
		if len(reasons) == 1 {
			return v1alpha1.PriorityRoutine
		}
	}
	return v1alpha1.PriorityCommit
}

// Reasons gives why there is the Build: "BASE and COMMIT".
func Reasons(b *v1alpha1.Build) string { return names(b.Spec.Reasons) }

// names gives the types of the reasons.
func names(reasons []v1alpha1.BuildReason) string {
	var out []string
	for _, r := range reasons {
		out = append(out, string(r.Type))
	}
	if len(out) < 2 {
		return strings.Join(out, "")
	}
	return fmt.Sprintf("%s and %s", strings.Join(out[:len(out)-1], ", "), out[len(out)-1])
}
