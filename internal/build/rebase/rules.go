package rebase

import (
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/build/cnb"
)

// check holds the rules of the Platform API that the app was made by. Force overrides
// those of 0.12 and later; before, there was none.
func (r *Rebased) check(app Image, base Base, o Options) error {
	old, err := beforeTargets(environment(app.Config, cnb.PlatformAPIVariable))
	if err != nil {
		return err
	}
	if old {
		if err := sameStack(app.Config, base); err != nil {
			return err
		}
		return enoughMixins(app.Config, base)
	}
	for _, objection := range []error{rebasable(app.Config), sameTarget(app.Config, base)} {
		if objection == nil {
			continue
		}
		if !o.Force {
			return objection
		}
		r.Forced = append(r.Forced, objection.Error())
	}
	return nil
}

// environment gives a variable of the image, as the lifecycle reads it: one whose value
// holds "=" does not count.
func environment(config *v1.ConfigFile, variable string) string {
	for _, pair := range config.Config.Env {
		if value, ok := strings.CutPrefix(pair, variable+"="); ok && !strings.Contains(value, "=") {
			return value
		}
	}
	return ""
}

// versionForm is how a version of the Platform API is written.
var versionForm = regexp.MustCompile(`^v?\d+\.?\d*$`)

// beforeTargets tells whether the version is before 0.12, when stacks and mixins were
// what targets are now. So are images that name none.
func beforeTargets(version string) (bool, error) {
	if version == "" {
		return true, nil
	}
	if !versionForm.MatchString(version) {
		return false, refuse("build it again", "its %s is %q, which is no version", cnb.PlatformAPIVariable, version)
	}
	return cnb.CompareAPI(strings.TrimPrefix(version, "v"), "0.12") < 0, nil
}

func sameStack(app *v1.ConfigFile, base Base) error {
	mine, theirs := app.Config.Labels[cnb.StackIDLabel], base.Config.Config.Labels[cnb.StackIDLabel]
	const hint = "build it again: images made by a Platform API before 0.12 can move within one stack only"
	switch {
	case mine == "":
		return refuse(hint, "it names no stack")
	case theirs == "":
		return refuse(hint, "the run image %s names no stack", base.Name)
	case mine != theirs:
		return refuse(hint, "its stack is %s, that of the run image %s is %s", mine, base.Name, theirs)
	}
	return nil
}

// enoughMixins wants the base to have every mixin of the app. "run:" before a mixin says
// when it is needed, not what it is.
func enoughMixins(app *v1.ConfigFile, base Base) error {
	wanted, err := mixins(app)
	if err != nil {
		return err
	}
	there, err := mixins(base.Config)
	if err != nil {
		return err
	}
	missing := slices.DeleteFunc(wanted, func(m string) bool { return slices.Contains(there, m) })
	if len(missing) > 0 {
		slices.Sort(missing)
		return refuse("choose a run image that has them, or build it again",
			"the run image %s lacks mixins that it needs: %s", base.Name, strings.Join(slices.Compact(missing), ", "))
	}
	return nil
}

func mixins(config *v1.ConfigFile) ([]string, error) {
	var all []string
	if err := cnb.DecodeLabel(config, cnb.StackMixinsLabel, &all); err != nil {
		return nil, refuse("", "a label %s is not valid: %v", cnb.StackMixinsLabel, err)
	}
	for i, mixin := range all {
		if _, bare, staged := strings.Cut(mixin, ":"); staged {
			all[i] = bare
		}
	}
	return all, nil
}

func rebasable(app *v1.ConfigFile) error {
	if app.Config.Labels[cnb.RebasableLabel] != "false" {
		return nil
	}
	return refuse("build it again on the new base, or rebase it nevertheless with --force", "it is marked as not rebasable")
}

// sameTarget wants operating system and architecture to be the same, and variant and
// distribution where the run image names them.
func sameTarget(app *v1.ConfigFile, base Base) error {
	mine, theirs := targetOf(app), targetOf(base.Config)
	if mine.os == theirs.os && mine.arch == theirs.arch && alike(mine.variant, theirs.variant) &&
		(theirs.distro == nil || mine.distro != nil && theirs.distro.within(*mine.distro)) {
		return nil
	}
	return refuse("build it again, choose another run image, or rebase it nevertheless with --force",
		"it is for %s, the run image %s for %s", mine, base.Name, theirs)
}

// target is what an image is made for.
type target struct {
	os, arch, variant string
	distro            *distro // nil when it is not said
}

type distro struct{ name, version string }

func targetOf(config *v1.ConfigFile) target {
	t := target{os: config.OS, arch: config.Architecture, variant: config.Variant}
	name, named := config.Config.Labels[cnb.DistroNameLabel]
	version, versioned := config.Config.Labels[cnb.DistroVersionLabel]
	if named || versioned {
		t.distro = &distro{name, version}
	}
	return t
}

// platform gives "linux/arm/v7".
func (t target) platform() string {
	return strings.TrimSuffix(t.os+"/"+t.arch+"/"+t.variant, "/")
}

func (t target) String() string {
	text := t.platform()
	if t.distro != nil {
		text += " (" + strings.TrimSpace(t.distro.name+" "+t.distro.version) + ")"
	}
	return text
}

// alike tells whether two names are the same, or one is not said.
func alike(a, b string) bool { return a == "" || b == "" || a == b }

// within tells whether all that d says is true of the other.
func (d distro) within(other distro) bool {
	return (d.name == "" || d.name == other.name) && (d.version == "" || d.version == other.version)
}

// canonical gives an image's name with registry and tag, but without digest, so that two
// can be compared. As in all such metadata, Docker Hub is meant where no host is said.
func canonical(image string) string {
	bare, _, _ := strings.Cut(image, "@sha256:")
	if ref, err := name.ParseReference(bare); err == nil {
		return ref.Name()
	}
	return image
}
