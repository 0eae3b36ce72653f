package build

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
)

// order is where the detector finds the order of buildpacks.
type order struct {
	path   string
	mounts []executor.Mount
}

// chooseOrder gives the builder's order, or one of just the buildpacks that were asked for.
func (j *job) chooseOrder() (order, error) {
	if len(j.settings.Buildpacks) == 0 {
		return order{path: cnb.OrderPath}, nil
	}
	var group cnb.Group
	for _, wanted := range j.settings.Buildpacks {
		entry, err := j.entry(wanted)
		if err != nil {
			return order{}, err
		}
		group.Group = append(group.Group, entry)
	}
	var text bytes.Buffer
	err := toml.NewEncoder(&text).Encode(struct {
		Order cnb.Order `toml:"order"`
	}{cnb.Order{group}})
	return order{path: orderPath, mounts: []executor.Mount{{Kind: executor.Data, Target: orderPath, Content: text.Bytes()}}}, err
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
