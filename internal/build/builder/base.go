package builder

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// approvedLabel is on every base that plimsoll composed.
const approvedLabel = "dev.plimsoll.base"

// bases are the images a builder stands on and its applications run on, by architecture.
type bases struct {
	build map[string]v1.Image
	run   []map[string]v1.Image // as in the spec
}

// target is what builds for one architecture run in and their applications on.
type target struct {
	architecture string
	build        *base
	run          []*base // as in the spec
	uid, gid     int     // of build steps
}

// base is one image of a target.
type base struct {
	image  v1.Image
	config *v1.ConfigFile
	digest v1.Hash
}

// bases finds the images of the spec.
func (w *work) bases(ctx context.Context) (*bases, error) {
	spec := &w.spec.Builder.Spec
	find := func(field, name string) (map[string]v1.Image, error) {
		ref, err := oci.Parse(name)
		if err != nil {
			return nil, err
		}
		images, err := w.Registries.Images(ctx, ref)
		if err != nil {
			return nil, w.spec.wrap(field, err, "")
		}
		return images, nil
	}
	build, err := find("spec.build.image", spec.Build.Image)
	if err != nil {
		return nil, err
	}
	b := &bases{build: build}
	for i, run := range spec.Run {
		images, err := find(fmt.Sprintf("spec.run[%d].image", i), run.Image)
		if err != nil {
			return nil, err
		}
		b.run = append(b.run, images)
	}
	return b, nil
}

// target picks the bases of the architecture and checks that they fit together.
func (w *work) target(all *bases, architecture string) (*target, error) {
	spec := &w.spec.Builder.Spec
	t := &target{architecture: architecture}
	var err error
	if t.build, err = w.base("spec.build.image", all.build, architecture, spec.Build.Trust); err != nil {
		return nil, err
	}
	if t.uid, t.gid, err = user(t.build.config); err != nil {
		return nil, w.spec.wrap("spec.build.image", err, "set CNB_USER_ID and CNB_GROUP_ID in the base's environment, and run it as that user")
	}
	for i, run := range spec.Run {
		field := fmt.Sprintf("spec.run[%d].image", i)
		b, err := w.base(field, all.run[i], architecture, run.Trust)
		if err != nil {
			return nil, err
		}
		if ours, its := t.build.distro(), b.distro(); !ours.Fits(its) {
			return nil, w.spec.fault(fault.Usage, field, fmt.Sprintf("it is %s, but the build base is %s", its, ours)).
				WithHint("programs run where they were built: compose both bases from the same suites")
		}
		t.run = append(t.run, b)
	}
	return t, nil
}

// base picks the image of the architecture. One that plimsoll did not compose needs a
// reason to be trusted.
func (w *work) base(field string, images map[string]v1.Image, architecture, trust string) (*base, error) {
	image, ok := images[architecture]
	if !ok {
		return nil, w.spec.fault(fault.NotFound, field, "it has no image for "+architecture).
			WithHint("compose it for " + architecture + ", too, or leave that out of spec.architectures")
	}
	b := &base{image: image}
	var err error
	if b.config, err = image.ConfigFile(); err != nil {
		return nil, w.spec.wrap(field, err, "")
	}
	if b.digest, err = image.Digest(); err != nil {
		return nil, w.spec.wrap(field, err, "")
	}
	if b.config.OS != "linux" {
		return nil, w.spec.fault(fault.Usage, field, fmt.Sprintf("it is for %q: builders are for linux", b.config.OS))
	}
	if b.config.Config.Labels[approvedLabel] == "" && strings.TrimSpace(trust) == "" {
		return nil, w.spec.fault(fault.Denied, field, "it is no approved base: plimsoll did not compose it").
			WithHint(`use one that "plimsoll base build" made, or say beside it why this one is trusted: trust: REASON`)
	}
	return b, nil
}

func (b *base) distro() cnb.Distro {
	return cnb.Distro{Name: b.config.Config.Labels[cnb.DistroNameLabel], Version: b.config.Config.Labels[cnb.DistroVersionLabel]}
}

// user gives as whom build steps run in the image (platform.md, "Build Image").
func user(config *v1.ConfigFile) (uid, gid int, err error) {
	if uid, err = number(config, cnb.UserIDVariable); err != nil {
		return 0, 0, err
	}
	gid, err = number(config, cnb.GroupIDVariable)
	return uid, gid, err
}

func number(config *v1.ConfigFile, name string) (int, error) {
	text := variable(config, name)
	if text == "" {
		return 0, fmt.Errorf("its environment lacks %s", name)
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("its environment has %s=%q: want a number", name, text)
	}
	return int(n), nil
}

// variable gives the value of an environment variable; the last one counts.
func variable(config *v1.ConfigFile, name string) string {
	value := ""
	for _, pair := range config.Config.Env {
		if key, v, _ := strings.Cut(pair, "="); key == name {
			value = v
		}
	}
	return value
}
