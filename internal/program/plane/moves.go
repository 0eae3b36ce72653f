package plane

import (
	"context"
	"fmt"
	"strings"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	controller "plimsoll.dev/plimsoll/internal/controller/build"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/update"
)

// annotationMovedOn is on a Build that tells of a move: what the image stands on, "IMAGE@DIGEST".
const annotationMovedOn = "plimsoll.dev/moved-on"

// stoodOn gives what inputs say that an image stands on.
func stoodOn(inputs v1alpha1.BuildInputs) string { return inputs.RunImage + "@" + inputs.RunDigest }

// note lets the Image of a tag that was moved know what that names now, by a Build that builds nothing.
func (c *campaigns) note(ctx context.Context, m update.Move) error {
	of, err := c.imageOf(ctx, m.Reference)
	if err != nil || of == nil || of.Status.LatestImage == nil {
		return err
	}
	builds, err := c.buildsOf(ctx, of)
	if err != nil {
		return err
	}
	from, came := cameBy(of, builds, m.From)
	if _, knows := cameBy(of, builds, m.To); knows > came {
		return nil
	}
	o := order{update.Batch{Patch: c.sees(ctx, of), Remedy: artifact.RemedyRebase}, update.Item{Number: m.Number, Reference: m.Reference}, of}
	if from != nil && from.Annotations[annotationBefore] == m.To {
		return c.noteBack(ctx, o, builds, from, m.To)
	}
	spec, err := c.spec(ctx, o)
	if err != nil || spec == nil {
		return err
	}
	_, err = c.create(ctx, o, builds, *spec, map[string]string{v1alpha1.AnnotationMoved: m.To, annotationMovedOn: stoodOn(spec.Inputs)})
	return err
}

// cameBy gives the number of the last build or rebase by which the Image's tag came to name the digest, 0
// where none is known, and its Build, nil of a rebase that has none.
func cameBy(of *v1alpha1.Image, builds []*v1alpha1.Build, digest string) (b *v1alpha1.Build, number int64) {
	for _, r := range of.Status.Rebases {
		if r.Digest == digest {
			number = r.Number
		}
	}
	for _, one := range builds { // of one with the same number a campaign's ran later
		if one.Spec.Number >= number && (one.Status.Digest == digest || one.Annotations[v1alpha1.AnnotationMoved] == digest) {
			b, number = one, one.Spec.Number
		}
	}
	return b, number
}

// noteBack tells that the tag names again what it named before that Build of a campaign. It is as if
// the Build had come to nothing: from the same inputs the Image is not built again.
func (c *campaigns) noteBack(ctx context.Context, o order, builds []*v1alpha1.Build, from *v1alpha1.Build, to string) error {
	o.Patch = from.Labels[v1alpha1.LabelPatch]
	on := from.Annotations[annotationBeforeOn]
	_, digest, _ := strings.Cut(on, "@")
	spec := v1alpha1.BuildSpec{Method: v1alpha1.MethodRebase, Priority: v1alpha1.PrioritySecurity, Inputs: from.Spec.Inputs, Reasons: []v1alpha1.BuildReason{{
		Type: v1alpha1.ReasonBase, Was: from.Spec.Inputs.RunDigest, Is: digest, Detail: fmt.Sprintf("the campaign %s took %s back", o.Patch, from.Name),
	}}}
	_, err := c.create(ctx, o, builds, spec, map[string]string{v1alpha1.AnnotationMoved: to, v1alpha1.AnnotationTakenBack: from.Name, annotationMovedOn: on})
	return err
}

// look ends a Build that tells of a move: by what the tag names now, which may have been moved once
// more.
func (w worker) look(ctx context.Context, job controller.Job) (controller.Outcome, error) {
	ref, err := w.place(job.Image.Spec.Tag)
	if err != nil {
		return controller.Outcome{}, err
	}
	digest, err := w.registries(job.Secrets.Logins).Session().Head(ctx, ref)
	if err != nil {
		return controller.Outcome{}, fault.New(fault.KindOf(err), "see what the tag names", ref.String(), err)
	}
	out := controller.Outcome{Digest: digest.String(), Tags: w.names(ref, nil), Unchanged: true}
	for named, on := range map[string]string{v1alpha1.AnnotationMoved: annotationMovedOn, annotationBefore: annotationBeforeOn} {
		image, base, known := strings.Cut(job.Build.Annotations[on], "@")
		if known && job.Build.Annotations[named] == out.Digest {
			out.RunImage = &v1alpha1.Published{Image: image, Digest: base}
		}
	}
	return out, nil
}
