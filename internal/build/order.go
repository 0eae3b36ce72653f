package build

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
)

// order is where the detector finds the order of buildpacks.
type order struct {
	path   string
	mounts []executor.Mount
}

// chooseOrder gives the builder's order, with what project.toml puts before and after each
// group, or one of just the buildpacks that were asked for. The builder's own file counts
// when nothing is to change in it.
func (j *job) chooseOrder() (order, error) {
	pre, err := j.entries(j.settings.pre)
	if err != nil {
		return order{}, err
	}
	post, err := j.entries(j.settings.post)
	if err != nil {
		return order{}, err
	}
	chosen, err := j.entries(j.settings.Buildpacks)
	if err != nil {
		return order{}, err
	}
	var groups cnb.Order
	switch {
	case len(chosen) > 0:
		groups = cnb.Order{{Group: chosen}}
	case len(pre)+len(post) > 0 || j.builder.Extensions:
		for _, group := range j.builder.Order {
			groups = append(groups, cnb.Group{Group: slices.Concat(pre, group.Group, post)})
		}
	default:
		return order{path: cnb.OrderPath}, nil
	}
	text := []byte(cnb.OrderTOML(groups))
	return order{path: orderPath, mounts: []executor.Mount{{Kind: executor.Data, Target: orderPath, Content: text}}}, nil
}

func (j *job) entries(wanted []string) ([]cnb.GroupEntry, error) {
	var group []cnb.GroupEntry
	for _, name := range wanted {
		entry, err := j.entry(name)
		if err != nil {
			return nil, err
		}
		group = append(group, entry)
	}
	return group, nil
}

// entry finds "id" or "id@version" among the builder's buildpacks.
func (j *job) entry(wanted string) (cnb.GroupEntry, error) {
	id, version, _ := strings.Cut(wanted, "@")
	versions := slices.Sorted(maps.Keys(j.builder.Layers[id]))
	wrong := func(why, hint string) error {
		return fault.Newf(fault.Usage, "choose buildpack", wanted, why).WithHint(hint)
	}
	switch {
	case len(versions) == 0:
		return cnb.GroupEntry{}, wrong("the builder has no such buildpack",
			"it has "+strings.Join(slices.Sorted(maps.Keys(j.builder.Layers)), ", "))
	case version != "" && !slices.Contains(versions, version):
		return cnb.GroupEntry{}, wrong("the builder has it in other versions", "it has "+strings.Join(versions, ", "))
	case version == "" && len(versions) > 1:
		return cnb.GroupEntry{}, wrong("the builder has several versions of it", fmt.Sprintf("name one: %s@%s", id, versions[len(versions)-1]))
	case version == "":
		version = versions[0]
	}
	return cnb.GroupEntry{ID: id, Version: version}, nil
}
