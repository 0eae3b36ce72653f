package builder

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/fault"
)

func byName(a, b *module) int { return cmp.Compare(a.Buildpack.String(), b.Buildpack.String()) }

// order gives the spec's order with the version of every buildpack.
func (w *work) order(all []*module) (cnb.Order, error) {
	var order cnb.Order
	for i, group := range w.spec.Builder.Spec.Order {
		var resolved cnb.Group
		for j, entry := range group.Group {
			m := find(all, entry.ID, entry.Version)
			if m == nil {
				field := fmt.Sprintf("spec.order[%d].group[%d].id", i, j)
				return nil, w.spec.fault(fault.Usage, field, missing(all, entry.ID, entry.Version)).
					WithHint("list where it comes from in spec.buildpacks, or name one of those versions")
			}
			resolved.Group = append(resolved.Group, cnb.GroupEntry{ID: entry.ID, Version: m.Buildpack.Version, Optional: entry.Optional})
		}
		order = append(order, resolved)
	}
	return order, nil
}

// missing says why there is no such module.
func missing(all []*module, id, version string) string {
	var versions []string
	for _, m := range all {
		if m.Buildpack.ID == id {
			versions = append(versions, m.Buildpack.Version)
		}
	}
	switch {
	case len(versions) == 0:
		return fmt.Sprintf("there is no buildpack %s", id)
	case version == "":
		return fmt.Sprintf("there are several versions of %s: %s", id, strings.Join(versions, ", "))
	}
	return fmt.Sprintf("there is no version %s of %s, only %s", version, id, strings.Join(versions, ", "))
}

// checkModules refuses a buildpack that the lifecycle would refuse, or that lacks a part.
func (w *work) checkModules(all []*module, life *lifecycle, t *target) error {
	for _, m := range all {
		if !life.APIs.Buildpack.Speaks(m.API) {
			return w.spec.fault(fault.Usage, m.field, fmt.Sprintf("%s wants Buildpack API %s, lifecycle %s speaks %s",
				m.Buildpack, m.API, life.Version, strings.Join(life.APIs.Buildpack.Supported, ", "))).
				WithHint("use another version of the buildpack or of the lifecycle")
		}
		if !m.fits(t) {
			var wants []string
			for _, target := range m.Targets {
				wants = append(wants, target.String())
			}
			return w.spec.fault(fault.Usage, m.field, fmt.Sprintf("%s is for %s, the build base is linux/%s %s",
				m.Buildpack, strings.Join(wants, ", "), t.architecture, t.build.distro())).
				WithHint("use another version of the buildpack, or another build base")
		}
		for _, group := range m.Order {
			for _, part := range group.Group {
				if find(all, part.ID, part.Version) == nil && !part.Optional {
					return w.spec.fault(fault.Usage, m.field, fmt.Sprintf("%s is made of others: %s", m.Buildpack, missing(all, part.ID, part.Version))).
						WithHint("list where that comes from in spec.buildpacks, too")
				}
			}
		}
	}
	return nil
}

// fits tells whether the buildpack runs on the target: on every one, if it names none.
func (m *module) fits(t *target) bool {
	for _, want := range m.Targets {
		if want.Matches("linux", t.architecture, t.build.config.Variant, t.build.distro()) {
			return true
		}
	}
	return len(m.Targets) == 0
}

// checkChoice refuses a run image for a buildpack that is not there.
func (w *work) checkChoice(all []*module) error {
	for i, run := range w.spec.Builder.Spec.Run {
		for j, id := range run.Buildpacks {
			if !slices.ContainsFunc(all, func(m *module) bool { return m.Buildpack.ID == id }) {
				return w.spec.fault(fault.Usage, fmt.Sprintf("spec.run[%d].buildpacks[%d]", i, j), "there is no buildpack "+id).
					WithHint("list where it comes from in spec.buildpacks")
			}
		}
	}
	return nil
}
