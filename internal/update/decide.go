package update

import (
	"cmp"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/vuln/version"
)

// decision is what is to be done with an image. Images that have in common what it follows
// from share it.
type decision struct {
	remedy    artifact.Remedy
	base      *Rebase
	baseSize  int64 // of what the base's name names now, bytes
	overrides []Override
	fixes     []Cause
	leaves    []Cause
	severity  artifact.Severity // the worst that it fixes
	exploited bool              // something that it fixes is
	why       string            // why nothing is done
}

// cost orders remedies, so that the sound one for all findings of an image is the dearest
// that one of them needs: whatever is built again stands on the newest base.
var cost = map[artifact.Remedy]int{artifact.RemedyNone: 0, artifact.RemedyRebase: 1, artifact.RemedyRebuild: 2, artifact.RemedyOverride: 3}

// Why nothing fixes something.
const (
	whyNoFix      = "nobody has published a fix"
	whyNoBase     = "it is in the base, and nothing here names that base any more"
	whyBaseFirst  = "the base must be built again first"
	whyNoSource   = "it must be built again, and where its source is is not known here"
	whyNoOverride = "its ecosystem has no override: its source must be changed"
	whyMajor      = "the fix is in another major version: declare a DependencyOverride with major: true"
)

// decide finds the cheapest sound remedy for an image. builds says whether it can be built
// again here.
func decide(image *inventory.ExposedImage, builds bool) *decision {
	d := &decision{remedy: artifact.RemedyNone, severity: artifact.SeverityUnknown}
	floors := map[string]*Override{}
	seen := map[Cause]bool{}
	for _, hit := range image.Hits {
		remedy, why := remedyOf(hit, image.On, builds)
		c := causeOf(hit.Weakness)
		if c.Why = why; seen[c] {
			continue
		}
		seen[c] = true
		if why != "" {
			d.leaves = append(d.leaves, c)
			continue
		}
		d.fix(c, hit, remedy)
		if remedy == artifact.RemedyOverride {
			raise(floors, hit.Weakness)
		}
	}
	if image.ByBase && cost[d.remedy] < cost[artifact.RemedyRebase] {
		d.remedy = artifact.RemedyRebase
	}
	if d.remedy != artifact.RemedyNone && image.On.Stale {
		d.base = &Rebase{Name: image.On.Name, From: image.On.Digest, To: image.On.Now}
		d.baseSize = image.On.Size
	}
	for _, o := range floors {
		slices.Sort(o.Advisories)
		d.overrides = append(d.overrides, *o)
	}
	slices.SortFunc(d.overrides, func(a, b Override) int {
		return cmp.Or(cmp.Compare(a.Ecosystem, b.Ecosystem), cmp.Compare(a.Package, b.Package), cmp.Compare(a.Version, b.Version))
	})
	d.settle()
	return d
}

func causeOf(w *inventory.Weakness) Cause {
	return Cause{Advisory: w.Advisory, Severity: w.Severity, Package: w.Package, Version: w.Version, Fixed: w.Fixed}
}

func (d *decision) fix(c Cause, hit inventory.Hit, remedy artifact.Remedy) {
	d.fixes = append(d.fixes, c)
	if cost[remedy] > cost[d.remedy] {
		d.remedy = remedy
	}
	if c.Severity.Rank() < d.severity.Rank() {
		d.severity = c.Severity
	}
	d.exploited = d.exploited || hit.Exploited
}

// settle puts all in order, and says why nothing is done where nothing is.
func (d *decision) settle() {
	for _, list := range [][]Cause{d.fixes, d.leaves} {
		slices.SortFunc(list, func(a, b Cause) int {
			return cmp.Or(cmp.Compare(a.Severity.Rank(), b.Severity.Rank()), cmp.Compare(a.Advisory, b.Advisory),
				cmp.Compare(a.Package, b.Package), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Why, b.Why))
		})
	}
	if d.remedy != artifact.RemedyNone {
		return
	}
	d.why = whyNoFix
	for _, c := range d.leaves { // what can be helped is said first
		if c.Why != whyNoFix {
			d.why = c.Why
		}
		if c.Why == whyBaseFirst {
			break
		}
	}
}

// remedyOf gives the remedy for one finding, or why there is none.
func remedyOf(hit inventory.Hit, on *inventory.Standing, builds bool) (artifact.Remedy, string) {
	switch hit.Remedy {
	case artifact.RemedyNone:
		return hit.Remedy, whyNoFix
	case artifact.RemedyRebase:
		switch {
		case !on.Known:
			return hit.Remedy, whyNoBase
		case !on.Stale, on.Has(hit.Weakness):
			return hit.Remedy, whyBaseFirst
		}
		return hit.Remedy, ""
	case artifact.RemedyOverride:
		switch {
		case !slices.Contains([]string{"npm", "Go", "PyPI"}, hit.Ecosystem):
			return hit.Remedy, whyNoOverride
		case major(hit.Version) != major(hit.Fixed):
			return hit.Remedy, whyMajor
		}
	}
	if !builds {
		return hit.Remedy, whyNoSource
	}
	return hit.Remedy, ""
}

// raise lifts the floor of a dependency to the version that a weakness is fixed in. Versions
// of one major share a floor.
func raise(floors map[string]*Override, w *inventory.Weakness) {
	key := w.Ecosystem + " " + w.Package + " " + major(w.Fixed)
	o := floors[key]
	if o == nil {
		o = &Override{Ecosystem: w.Ecosystem, Package: w.Package, Version: w.Fixed}
		floors[key] = o
	}
	if older(w.Ecosystem, o.Version, w.Fixed) {
		o.Version = w.Fixed
	}
	if !slices.Contains(o.Advisories, w.Advisory) {
		o.Advisories = append(o.Advisories, w.Advisory)
	}
}

// older says whether a comes before b; false where versions cannot be compared.
func older(ecosystem, a, b string) bool {
	scheme := version.Of(ecosystem)
	x, err := scheme.Parse(a)
	if err != nil {
		return false
	}
	y, err := scheme.Parse(b)
	if err != nil {
		return false
	}
	order, err := x.Compare(y)
	return err == nil && order < 0
}

// major gives what a version begins with: its epoch, if it has one (PEP 440), and the first
// of its numbers.
func major(version string) string {
	version = strings.TrimPrefix(version, "v")
	epoch, rest, found := strings.Cut(version, "!")
	if !found {
		epoch, rest = "", version
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	return epoch + "!" + rest[:end]
}

// merged joins the decisions on two platforms of one reference.
func merged(a, b *decision) *decision {
	if a == b {
		return a
	}
	m := *a
	if cost[b.remedy] > cost[a.remedy] {
		m.remedy, m.base, m.baseSize = b.remedy, b.base, b.baseSize
	}
	if m.base == nil {
		m.base, m.baseSize = b.base, b.baseSize
	}
	if b.severity.Rank() < m.severity.Rank() {
		m.severity = b.severity
	}
	join := func(x, y []Cause) []Cause {
		all := slices.Clone(x)
		for _, c := range y {
			if !slices.Contains(all, c) {
				all = append(all, c)
			}
		}
		return all
	}
	m.fixes, m.leaves = join(a.fixes, b.fixes), join(a.leaves, b.leaves)
	m.exploited = a.exploited || b.exploited
	m.overrides = slices.Clone(a.overrides)
	for _, o := range b.overrides {
		if !slices.ContainsFunc(m.overrides, func(p Override) bool {
			return p.Ecosystem == o.Ecosystem && p.Package == o.Package && p.Version == o.Version
		}) {
			m.overrides = append(m.overrides, o)
		}
	}
	if m.why == "" {
		m.why = b.why
	}
	m.settle()
	if m.remedy != artifact.RemedyNone {
		m.why = ""
	}
	return &m
}
