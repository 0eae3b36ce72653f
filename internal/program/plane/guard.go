package plane

import (
	"context"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	controller "plimsoll.dev/plimsoll/internal/controller/build"
	"plimsoll.dev/plimsoll/internal/controller/tag"
	"plimsoll.dev/plimsoll/internal/fault"
)

// registry is where the controllers publish by themselves.
func (p *Plane) registry() tag.Registry { return tag.Registry(p.o.Publish) }

// files says whether sources may be folders of this machine: where the cluster is the home's own,
// who declares Images is who runs this process.
func (p *Plane) files() bool { return p.cluster != nil }

// admit says whether what a Build says may be done for its Image. The reconciler of Images makes no
// other Build; what an Image may have can have changed since, and a Build can be anybody's who was
// let make one.
func (w worker) admit(ctx context.Context, job controller.Job) error {
	refusal, err := w.registry().Refuse(ctx, w.cache, job.Image)
	if err != nil {
		return fault.New(fault.Unavailable, "see who may publish", job.Image.Spec.Tag, err)
	}
	if refusal != nil {
		return fault.Newf(fault.Denied, "build", job.Image.Namespace+"/"+job.Image.Name, refusal.Message)
	}
	if run := job.Build.Spec.Inputs.RunImage; run != "" && job.Build.Spec.Method == v1alpha1.MethodRebase {
		return w.admitRun(ctx, job, run)
	}
	return nil
}

// admitRun says whether the Image may be put on the run image: one that it stands on already, or one
// that its Builder names.
func (w worker) admitRun(ctx context.Context, job controller.Job, run string) error {
	if run == job.Image.Status.Inputs.RunImage {
		return nil
	}
	b, err := w.declared(ctx, job.Image.Spec.Builder.Name)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(b.Status.Run, func(of v1alpha1.RunStatus) bool { return of.Image == run }) {
		return nil
	}
	return fault.Newf(fault.Denied, "rebase onto", run, "the Builder "+b.Name+" does not name it").WithHint("name it in the Builder's spec.run, if it is an approved base")
}

// admitSource says whether a source may be read. An Image's source is its author's to choose: what he
// could not reach himself is not for him.
func (p *Plane) admitSource(ctx context.Context, location string) error {
	if strings.HasPrefix(location, "file:") && !p.files() {
		return fault.Newf(fault.Denied, "read source", location, "it is a folder of the machine that the controllers run on").
			WithHint("push it to a git server")
	}
	return reachable(ctx, location)
}

// owner gives the Image that a tag belongs to; nil where it is none's. It is not to be changed.
func (p *Plane) owner(ctx context.Context, cache client.Reader, reference string) (*v1alpha1.Image, error) {
	name, _, err := p.registry().Name(reference)
	if err != nil {
		return nil, nil // it names no tag
	}
	claims, err := tag.Claims(ctx, cache, name)
	if err != nil || len(claims) == 0 {
		return nil, err
	}
	image, _ := claims[0].(*v1alpha1.Image)
	return image, nil
}
