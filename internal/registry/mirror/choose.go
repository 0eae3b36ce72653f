package mirror

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// choose gives the tags of those there are that the import wants, each once: first those it
// names, then the newest of the others. Tags that are not well formed, and those that only lead
// to signatures and referrers, are none.
func (i *Import) choose(there []string) ([]string, error) {
	chosen := slices.Clone(i.spec.Tags.Names)
	var versions []version
	var others []string
	slices.Sort(there)
	for _, tag := range slices.Compact(there) {
		if !isTag(tag) || isAttached(tag) || slices.Contains(chosen, tag) || matches(i.spec.Tags.Except, tag) {
			continue
		}
		v, err := semver.NewVersion(tag)
		inRange := err == nil && i.semver != nil && i.semver.Check(v)
		switch {
		case !inRange && !matches(i.spec.Tags.Patterns, tag):
		case err == nil:
			versions = append(versions, version{tag, v})
		default:
			others = append(others, tag)
		}
	}
	slices.SortFunc(versions, func(a, b version) int { return cmp.Or(b.version.Compare(a.version), cmp.Compare(b.tag, a.tag)) })
	slices.Reverse(others)
	var matched []string
	for _, v := range versions {
		matched = append(matched, v.tag)
	}
	matched = append(matched, others...)
	if n := i.spec.Tags.Newest; n > 0 && len(matched) > n {
		matched = matched[:n]
	}
	if chosen = append(chosen, matched...); len(chosen) > i.tags {
		return nil, fault.Newf(fault.Failed, "choose tags", i.Source, fmt.Sprintf("%d are wanted, and at most %d are taken in", len(chosen), i.tags)).
			WithHint("narrow spec.tags, or raise spec.limits.tags")
	}
	return chosen, nil
}

// wantsList says whether the tags of the source must be listed.
func (i *Import) wantsList() bool { return len(i.spec.Tags.Patterns) > 0 || i.semver != nil }

type version struct {
	tag     string
	version *semver.Version
}

func matches(patterns []string, tag string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, tag)
		return ok && err == nil
	})
}

// isAttached tells tags that stand for what belongs to an image from those of images: cosign's,
// and that of OCI distribution-spec 1.1, "Referrers Tag Schema".
func isAttached(tag string) bool {
	if _, ok := oci.SignatureTag(tag); ok {
		return true
	}
	hex, ok := strings.CutPrefix(tag, "sha256-")
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}
