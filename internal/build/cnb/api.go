package cnb

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// CompareAPI orders two versions of an interface: "0.9" is before "0.12", "1" is "1.0".
// What is no version comes first.
func CompareAPI(a, b string) int { return slices.Compare(parts(a), parts(b)) }

// Speaks tells whether the version is among those supported or deprecated.
func (v APIVersions) Speaks(version string) bool {
	same := func(other string) bool { return CompareAPI(version, other) == 0 }
	return slices.ContainsFunc(v.Supported, same) || slices.ContainsFunc(v.Deprecated, same)
}

func parts(version string) []int {
	major, minor, _ := strings.Cut(version, ".")
	m, err := strconv.Atoi(major)
	if err != nil {
		return []int{-1, -1}
	}
	n, err := strconv.Atoi(cmp.Or(minor, "0"))
	if err != nil {
		return []int{-1, -1}
	}
	return []int{m, n}
}
