package base

import (
	"bufio"
	"bytes"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Labels by which buildpacks and rebases know which system a base is (CNB platform spec,
// "Target data").
const (
	distroNameLabel    = "io.buildpacks.base.distro.name"
	distroVersionLabel = "io.buildpacks.base.distro.version"
)

// distro gives the labels that say which system the tree is, read from its os-release(5).
func (t *tree) distro(read func(*node) ([]byte, error)) (map[string]string, error) {
	n := t.at["usr/lib/os-release"]
	if n == nil {
		return nil, nil // the hardening checks refuse it
	}
	text, err := read(n)
	if err != nil {
		return nil, fault.New(fault.Failed, "read package", n.owner.pkg.Name, err)
	}
	labels := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), "=")
		value = strings.Trim(value, `"'`)
		switch {
		case value == "":
		case key == "ID":
			labels[distroNameLabel] = value
		case key == "VERSION_ID":
			labels[distroVersionLabel] = value
		}
	}
	return labels, lines.Err()
}
