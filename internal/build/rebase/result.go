package rebase

import (
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/oci"
)

// Status is how the rebase of a reference ended.
type Status string

// The statuses.
const (
	StatusRebased   Status = "rebased"
	StatusStale     Status = "stale" // in a dry run: it would be rebased
	StatusUnchanged Status = "unchanged"
	StatusFailed    Status = "failed"
)

// Result is what became of one reference.
type Result struct {
	Ref    string   `json:"ref"`
	Status Status   `json:"status"`
	Tag    string   `json:"tag,omitempty"`    // where it was written, if not to Ref
	From   string   `json:"from,omitempty"`   // digest before
	To     string   `json:"to,omitempty"`     // digest after, in a dry run too
	Images []Change `json:"images,omitempty"` // one, or those of an index
	Pushed int64    `json:"pushed"`           // bytes sent to the registry; in a dry run, at most to be sent
	Error  string   `json:"error,omitempty"`
	Hint   string   `json:"hint,omitempty"`

	Err error `json:"-"` // of StatusFailed
}

// Change is what a rebase does to one image.
type Change struct {
	Platform string          `json:"platform"`
	RunImage string          `json:"runImage"` // the name
	From     string          `json:"from"`     // what the app stood on, as its metadata has it
	To       string          `json:"to"`       // the same after
	Packages []PackageChange `json:"packages,omitempty"`
	Known    bool            `json:"packagesKnown"` // both bases say what packages their layers hold
	New      int             `json:"newLayers"`     // which the image did not have
	Shared   int             `json:"sharedLayers"`
	Bytes    int64           `json:"bytesNew"` // compressed, of the new layers: what a host that ran the old image fetches
	Forced   []string        `json:"forced,omitempty"`
}

// PackageChange is a package that is in one base only, or in both with two versions.
type PackageChange struct {
	Name string `json:"name"`
	From string `json:"from,omitempty"` // version; "" when added
	To   string `json:"to,omitempty"`   // version; "" when removed
}

// layers counts what is new in the image.
func (c *Change) layers(before, after []v1.Descriptor) {
	had := map[v1.Hash]bool{}
	for _, l := range before {
		had[l.Digest] = true
	}
	for _, l := range after {
		if had[l.Digest] {
			c.Shared++
			continue
		}
		c.New, c.Bytes = c.New+1, c.Bytes+l.Size
	}
}

// packages compares what the layers of two bases say they hold.
func (c *Change) packages(before, after []v1.Descriptor) {
	old, knownBefore := versions(before)
	now, knownAfter := versions(after)
	if c.Known = knownBefore && knownAfter; !c.Known {
		return
	}
	all := maps.Clone(old)
	maps.Copy(all, now)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if old[name] != now[name] {
			c.Packages = append(c.Packages, PackageChange{Name: name, From: old[name], To: now[name]})
		}
	}
}

// versions gives the packages of a base; ok is false if its layers do not say.
func versions(layers []v1.Descriptor) (all map[string]string, ok bool) {
	all = map[string]string{}
	for _, l := range layers {
		ok = ok || l.Annotations[oci.LayerAnnotation] != ""
		for _, p := range strings.Fields(l.Annotations[oci.PackagesAnnotation]) {
			name, version, _ := strings.Cut(p, "=")
			all[name] = version
		}
	}
	return all, ok
}
