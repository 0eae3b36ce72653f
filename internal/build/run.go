package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// firstRun gives the run image to begin with: the user's, else the builder's default. Only
// images that the builder names are approved.
func (j *job) firstRun() (cnb.RunImage, error) {
	if len(j.builder.RunImages) == 0 {
		return cnb.RunImage{}, fault.Newf(fault.Usage, "choose run image", j.request.Builder.String(), "the builder names none")
	}
	wanted := j.request.RunImage
	if wanted == "" {
		return j.builder.RunImages[0].RunImage, nil
	}
	var names []string
	for _, run := range j.builder.RunImages {
		if slices.Contains(run.Names(), wanted) {
			return run.RunImage, nil
		}
		names = append(names, run.Image)
	}
	return cnb.RunImage{}, fault.Newf(fault.Denied, "choose run image", wanted, "it is not an approved base: the builder does not name it").
		WithHint(fmt.Sprintf("use one of %s, or add it to `run` in the builder's spec", strings.Join(names, ", ")))
}

// chosenRun gives the run image for the detected buildpacks: the user's, else the builder's
// choice.
func (j *job) chosenRun() (cnb.RunImage, error) {
	if j.request.RunImage != "" {
		return j.run.choice, nil
	}
	var ids []string
	for _, entry := range j.group {
		ids = append(ids, entry.ID)
	}
	run, err := j.builder.RunImageFor(ids)
	return run.RunImage, err
}

// runImage reads a run image: the image of the registry that the tag is in, if there is
// one among its mirrors (CNB platform.md, "Run Image Resolution"), else the first that can
// be read.
func (p *Platform) runImage(ctx context.Context, choice cnb.RunImage, tag oci.Reference, architecture string) (*runBase, error) {
	var refs []oci.Reference
	for _, name := range choice.Names() {
		ref, err := oci.Parse(name)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	slices.SortStableFunc(refs, func(a, b oci.Reference) int { return far(a, tag) - far(b, tag) })
	var failed []error
	for _, ref := range refs {
		image, err := p.Registries.Image(ctx, ref, architecture)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		config, err := image.ConfigFile()
		if err != nil {
			return nil, fault.New(fault.Failed, "read run image", ref.String(), err)
		}
		digest, err := image.Digest()
		if err != nil {
			return nil, fault.New(fault.Failed, "read run image", ref.String(), err)
		}
		return &runBase{choice: choice, ref: ref, image: image, config: config, digest: digest.String()}, nil
	}
	if len(failed) == 1 {
		return nil, failed[0]
	}
	return nil, fault.New(fault.KindOf(failed[0]), "read run image", choice.Image, errors.Join(failed...))
}

func far(ref, from oci.Reference) int {
	if ref.Context().RegistryStr() == from.Context().RegistryStr() {
		return 0
	}
	return 1
}
