package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/build/rebase"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// base says what the image stands on, or which base it is.
func base(_ context.Context, s *subject, r *Image) error {
	b := &Base{Name: s.said(build.BaseNameAnnotation), Digest: s.said(build.BaseDigestAnnotation)}
	for _, l := range r.Layers {
		if l.Part == PartBase {
			b.Layers, b.Size = b.Layers+1, b.Size+l.Size
		}
	}
	switch r.Kind {
	case KindBase:
		b.Name, b.Why = s.label(baseLabel), "it is a base itself"
	case KindApplication:
		s.runImage(b)
	default:
		b.Why = "only images made by buildpacks can be rebased"
		if b.Name == "" && b.Layers == 0 {
			r.unknown("base", "it has no annotation %s", build.BaseNameAnnotation)
			return nil
		}
	}
	r.Base = b
	return nil
}

// runImage says what the exporter noted of an application's base.
func (s *subject) runImage(b *Base) {
	if s.exported == nil {
		b.Why = "its label " + cnb.LifecycleMetadataLabel + " cannot be read"
		return
	}
	_, digest, _ := strings.Cut(s.exported.RunImage.Reference, "@")
	b.Name = cmp.Or(b.Name, s.exported.NamedRunImage().Image)
	b.Digest = cmp.Or(b.Digest, digest)
	switch {
	case s.label(cnb.RebasableLabel) == "false":
		b.Why = "it is marked as not rebasable"
	case b.Layers == 0:
		b.Why = "it does not say where its base ends"
	default:
		b.Rebasable = true
	}
}

// rebased says what a rebase would change now.
func rebased(ctx context.Context, s *subject, r *Image) error {
	if r.Kind == KindApplication && r.Base.Rebasable {
		r.Rebase = s.rebase(ctx)
	}
	return ctx.Err()
}

// patience is how long the registry of the run image may take to answer.
const patience = 20 * time.Second

// dryRun asks for the rebase of the image, without doing it.
func dryRun(ctx context.Context, registries *oci.Registries, image oci.Reference) *Rebase {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	refs := func(yield func(string, error) bool) { yield(image.String(), nil) }
	// A digest cannot move, so a tag is named that nothing is written to.
	o := rebase.FleetOptions{DryRun: true, Tag: oci.Reference{Reference: image.Context().Tag("dry-run")}}
	out := &Rebase{Status: RebaseFailed, Error: "the registry of its run image did not answer in time"}
	err := rebase.Fleet(ctx, registries, refs, o, func(r rebase.Result) { out = outcome(r) })
	if err != nil && ctx.Err() == nil {
		out.Error = err.Error()
	}
	return out
}

// outcome gives the result of a dry run of one image.
func outcome(r rebase.Result) *Rebase {
	if r.Status == rebase.StatusFailed || len(r.Images) != 1 {
		out := &Rebase{Status: RebaseFailed, Error: r.Error, Hint: r.Hint}
		if r.Err != nil {
			out.Error = reason(r.Err)
		}
		return out
	}
	c := r.Images[0]
	out := &Rebase{Status: RebaseStale, RunImage: c.RunImage, To: c.To, Known: c.Known, New: c.New, Bytes: c.Bytes}
	if r.From == r.To {
		out.Status = RebaseCurrent
	}
	for _, p := range c.Packages {
		out.Packages = append(out.Packages, PackageChange(p))
	}
	return out
}

// reason gives the cause of a fault without what it was done to, which the report is about.
func reason(err error) string {
	if failure, ok := errors.AsType[*fault.Error](err); ok && failure.Why != nil {
		return failure.Why.Error()
	}
	return err.Error()
}

// builders says what a builder builds with.
func builders(_ context.Context, s *subject, r *Image) error {
	if r.Kind != KindBuilder {
		return nil
	}
	for _, label := range sortedKeys(s.config.Config.Labels) {
		if len(s.label(label)) > maxLabel {
			r.unknown("builder", "its label %s cannot be read: %v", label, errTooMuch)
			return nil
		}
	}
	image, err := mutate.ConfigFile(empty.Image, s.config) // Read looks at nothing else
	if err != nil {
		return err
	}
	b, err := builder.Read(s.Digest.String(), image)
	if err != nil {
		r.unknown("builder", "%s", reason(err))
		return nil
	}
	out := &Builder{
		Description: b.Description, User: fmt.Sprintf("%d:%d", b.UID, b.GID), Lifecycle: b.Lifecycle.Version, Extensions: b.Extensions,
		APIs: APIs{Buildpack: b.Lifecycle.APIs.Buildpack.Supported, Platform: b.Lifecycle.APIs.Platform.Supported},
	}
	for _, p := range b.Buildpacks {
		about := b.Layers[p.ID][p.Version]
		one := BuilderBuildpack{ID: p.ID, Version: p.Version, Name: cmp.Or(p.Name, about.Name), API: about.API}
		for _, t := range about.Targets {
			one.Targets = append(one.Targets, t.String())
		}
		out.Buildpacks = append(out.Buildpacks, one)
	}
	for _, group := range b.Order {
		var members []string
		for _, entry := range group.Group {
			name := cnb.FullName(entry.ID, entry.Version)
			if entry.Optional {
				name += " (optional)"
			}
			members = append(members, name)
		}
		out.Order = append(out.Order, members)
	}
	for _, run := range b.RunImages {
		out.RunImages = append(out.RunImages, RunImage{Image: run.Image, Mirrors: run.Mirrors, Buildpacks: run.Buildpacks})
	}
	r.Builder = out
	return nil
}

// Packages that an intruder is glad to find.
func shells() []string {
	return []string{"bash", "busybox", "busybox-static", "csh", "dash", "fish", "ksh", "ksh93u+m", "mksh", "posh", "tcsh", "yash", "zsh"}
}

func packageManagers() []string {
	return []string{"apt", "aptitude", "dpkg", "nala", "npm", "pipx", "python3-pip", "snapd"}
}

// facts says what matters to the image's safety, as far as configuration and packages tell.
func facts(_ context.Context, s *subject, r *Image) error {
	user, _, _ := strings.Cut(r.Runs.User, ":")
	fact := Fact{Name: "user", Good: true, Text: "runs as " + r.Runs.User + ", not as root"}
	switch {
	case user == "" || user == "root" || strings.Trim(user, "0") == "":
		fact.Good, fact.Text = false, "runs as root"
	case strings.Trim(user, "0123456789") != "":
		fact.Good, fact.Text = false, "runs as "+user+": without a number no cluster can tell that it is not root"
	}
	r.Facts = append(r.Facts, fact)
	if len(r.Packages) == 0 || slices.ContainsFunc(r.NotKnown, func(u Unknown) bool { return u.What == "packages" }) {
		return nil // what is not known may be there
	}
	r.Facts = append(r.Facts, r.without("shell", "shell", shells()), r.without("packageManager", "package manager", packageManagers()))
	return nil
}

// without says which packages of the list are in the image.
func (r *Image) without(name, what string, list []string) Fact {
	var found []string
	for _, l := range r.Layers {
		for _, p := range l.Packages {
			if p.Type == "deb" && slices.Contains(list, p.Name) {
				found = append(found, p.Name)
			}
		}
	}
	if len(found) == 0 {
		return Fact{name, true, "no " + what}
	}
	slices.Sort(found)
	return Fact{name, false, "has a " + what + ": " + strings.Join(slices.Compact(found), ", ")}
}
