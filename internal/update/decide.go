package update

import (
	"cmp"
	"encoding/binary"
	"slices"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory"
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
func (s *scales) decide(image *inventory.ExposedImage, builds bool) *decision {
	d := &decision{remedy: artifact.RemedyNone, severity: artifact.SeverityUnknown}
	floors := map[string]*Override{}
	s.fixes, s.leaves = s.fixes[:0], s.leaves[:0]
	clear(s.seen)
	for _, hit := range image.Hits {
		w := s.weigh(hit.Weakness)
		why := w.leaves(hit, image.On, builds)
		this := settled{w.number, why}
		if s.seen[this] {
			continue
		}
		s.seen[this] = true
		c := w.cause
		if c.Why = why; why != "" {
			s.leaves = append(s.leaves, c)
			continue
		}
		s.fixes = append(s.fixes, c)
		d.fix(hit)
		if hit.Remedy == artifact.RemedyOverride {
			s.raise(floors, w)
		}
	}
	d.fixes, d.leaves = slices.Clone(s.fixes), slices.Clone(s.leaves)
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

// fix has the decision fix a finding, too.
func (d *decision) fix(hit inventory.Hit) {
	if cost[hit.Remedy] > cost[d.remedy] {
		d.remedy = hit.Remedy
	}
	if hit.Severity.Rank() < d.severity.Rank() {
		d.severity = hit.Severity
	}
	d.exploited = d.exploited || hit.Exploited
}

// settle puts all in order, and says why nothing is done where nothing is.
func (d *decision) settle() {
	for _, list := range [][]Cause{d.fixes, d.leaves} {
		slices.SortFunc(list, func(a, b Cause) int {
			if by := cmp.Compare(a.Severity.Rank(), b.Severity.Rank()); by != 0 {
				return by
			}
			if by := cmp.Compare(a.Advisory, b.Advisory); by != 0 {
				return by
			}
			return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Why, b.Why))
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

// text appends all that the decision says. No two that say different things have one text.
func (d *decision) text(to []byte) []byte {
	say := func(parts ...string) {
		for _, part := range parts {
			to = append(binary.AppendUvarint(to, uint64(len(part))), part...)
		}
	}
	count := func(n int) { to = binary.AppendUvarint(to, uint64(n)) }
	say(string(d.remedy), d.why)
	base := Rebase{}
	if d.base != nil {
		base = *d.base
	}
	say(base.Name, base.From, base.To)
	count(len(d.overrides))
	for _, o := range d.overrides {
		say(o.Ecosystem, o.Package, o.Version)
		count(len(o.Advisories))
		say(o.Advisories...)
	}
	for _, list := range [][]Cause{d.fixes, d.leaves} {
		count(len(list))
		for _, c := range list {
			say(c.Advisory, string(c.Severity), c.Package, c.Version, c.Fixed, c.Why)
		}
	}
	return to
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
