package inventory

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/query"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// Exposure asks which images a change is to reach. An image is meant that any of the first
// five fields means.
type Exposure struct {
	Advisories []string            // by any of their names
	Severities []artifact.Severity // of findings that have a fix
	Exploited  bool                // known to be exploited
	Fixable    bool                // every finding that has a fix
	Bases      []string            // references of bases: images that stand on what these named before; "*" is every base

	Images []string // digests: of these images alone; nil is of all
	Labels []string // names of labels that are told of each image
}

// Hit is a finding at its place in an image. Images with the same packages share theirs.
type Hit struct {
	*Weakness
	InBase bool            // a layer of the base brought the package
	Remedy artifact.Remedy // the cheapest way to the fixed version, wherever that is
}

// Weakness is an advisory that concerns a package.
type Weakness struct {
	Advisory  string            `json:"advisory"`
	Severity  artifact.Severity `json:"severity"`
	Exploited bool              `json:"exploited,omitempty"`
	Ecosystem string            `json:"ecosystem,omitempty"` // as OSV names it
	Package   string            `json:"package"`             // as the advisory names it
	Version   string            `json:"version"`             // of what the advisory names
	Fixed     string            `json:"fixed,omitempty"`
	State     string            `json:"state,omitempty"`
}

// same is what is left of a weakness when the package gets another version.
type same struct{ advisory, pkg string }

func (w *Weakness) same() same { return same{w.Advisory, w.Package} }

// Standing is what an image stands on, and what the base's name names now.
type Standing struct {
	Base
	Known bool   // the index knows what the name names now
	Stale bool   // that is another image
	Now   string // its digest
	Size  int64  // of its config and compressed layers, bytes

	left map[same]bool
}

// Has says whether what the base's name names now has the weakness still.
func (s *Standing) Has(w *Weakness) bool { return s.left[w.same()] }

// ExposedImage is an image that is meant, by one of its references.
type ExposedImage struct {
	Name     string
	Digest   string
	Platform string
	Size     int64
	Sourced  bool // it says where its source is
	Carries  bool // others say that they stand on what the name names

	// Group is the same for images with the same Hits, On, ByBase and Sourced: whatever follows of
	// those alone needs to be found once for all of them.
	Group  int
	Hits   []Hit
	On     *Standing         // never nil
	ByBase bool              // what it stands on is enough for it to be meant
	Labels map[string]string // those asked for; shared between images
}

// Exposed calls tell for every reference that names now an image that is meant, in no order.
// Nothing is written to the index meanwhile by tell.
func (inv *Inventory) Exposed(ctx context.Context, ask Exposure, tell func(ExposedImage) error) error {
	return inv.db.Read(ctx, func(tx store.Tx) error {
		a, err := inv.asking(ctx, tx, query.Query{Subject: query.Images})
		if err != nil {
			return err
		}
		e := &exposing{asking: a, ask: ask, groups: map[grouped]*group{}, standings: map[standsOn]*Standing{}}
		for _, step := range []func() error{e.findWeaknesses, e.findSpots, e.findBases, e.findNames, e.findLabels} {
			if err := step(); err != nil {
				return err
			}
		}
		return e.images(tell)
	})
}

// exposing is one Exposed in its transaction.
type exposing struct {
	*asking
	ask Exposure

	weaknesses map[int64][]*weakness
	packages   members // those with a weakness
	inSets     [][]hit // of each set
	bundled    map[spot]bool
	personal   map[string]bool // digests of images of which a suppression speaks

	standings map[standsOn]*Standing // of those whose name names something now, at first
	bases     map[int64]standingRow  // by number
	carrying  map[string]bool        // the names of bases
	names     map[int64][]string     // of images with several
	labels    map[int64]map[string]string
	groups    map[grouped]*group
	unsourced int64 // the number of the source that is none
}

type weakness struct {
	Weakness
	pkg      artifact.Package
	advisory int64
}

// hit is a weakness in a set, which may be anywhere in an image.
type hit struct {
	*weakness
	bundled bool
}

type grouped struct {
	stack   int64
	on      *Standing
	sourced bool
	digest  string // "" but for an image of which a suppression speaks
}

type group struct {
	number int
	hits   []Hit
}

// expr gives what findings are asked for; false when none are.
func (ask Exposure) expr() (query.Expr, bool) {
	fixable := query.Compare{Field: query.Fixable}
	if ask.Fixable {
		return fixable, true
	}
	var asked []query.Expr
	for _, name := range ask.Advisories {
		asked = append(asked, query.Compare{Field: query.ID, Op: query.Equal, Value: query.Value{Text: name}})
	}
	for _, severity := range ask.Severities {
		rank := query.Compare{Field: query.Severity, Op: query.Equal, Value: query.Value{Number: float64(query.SeverityRank(string(severity)))}}
		asked = append(asked, query.And{All: []query.Expr{rank, fixable}})
	}
	if ask.Exploited {
		asked = append(asked, query.Compare{Field: query.Exploited})
	}
	return query.Or{Any: asked}, len(asked) > 0
}

func (e *exposing) findWeaknesses() error {
	e.weaknesses = map[int64][]*weakness{}
	expr, some := e.ask.expr()
	if !some {
		return nil
	}
	where, err := e.findings(query.Affected{Where: expr})
	if err != nil {
		return err
	}
	var ids []int64
	err = e.tx.Each(e.ctx, func(scan func(...any) error) error {
		w := &weakness{}
		var id, exploited int64
		var severity int
		err := scan(&id, &w.pkg.Type, &w.pkg.Namespace, &w.pkg.Name, &w.pkg.Version, &w.pkg.Distro, &w.pkg.Source, &w.pkg.SourceVersion,
			&w.advisory, &w.Advisory, &severity, &exploited, &w.Fixed, &w.State)
		if err != nil || e.silent(w.advisory, "", w.pkg) {
			return err
		}
		w.Severity, w.Exploited = artifact.Severity(query.SeverityOf(severity)), exploited == 1
		w.Ecosystem = w.pkg.Ecosystem()
		w.Package, w.Version = w.pkg.AdvisoryName()
		e.weaknesses[id] = append(e.weaknesses[id], w)
		ids = append(ids, id)
		return nil
	}, "SELECT p.id, p.type, p.namespace, p.name, p.version, p.distro, p.source, p.source_version, a.id, a.name, a.severity, a.exploited, f.fixed, f.state"+
		" FROM findings f JOIN advisories a ON a.id = f.advisory JOIN packages p ON p.id = f.package WHERE "+where.text+" ORDER BY a.name", where.args...)
	e.packages = membersOf(ids)
	return err
}

// findSpots finds the weaknesses of each set.
func (e *exposing) findSpots() error {
	pinned := map[int64]artifact.Package{}
	for id, list := range e.weaknesses {
		if artifact.RemedyOf(list[0].pkg, false, "any") == artifact.RemedyOverride {
			pinned[id] = list[0].pkg
		}
	}
	var err error
	if e.bundled, err = e.bundledSpots(pinned); err != nil {
		return err
	}
	e.inSets = make([][]hit, len(e.sets))
	for id, set := range e.sets {
		for _, p := range set {
			if e.packages.has(int64(p)) {
				for _, w := range e.weaknesses[int64(p)] {
					e.inSets[id] = append(e.inSets[id], hit{w, e.bundled[spot{int64(p), positioned{set: int64(id)}}]})
				}
			}
		}
	}
	e.personal = map[string]bool{}
	for _, s := range e.silences {
		if s.image != "" {
			e.personal[s.image] = true
		}
	}
	return nil
}

// hits gives the weaknesses of a stack, those of an image that suppressions spare left out.
func (e *exposing) hits(number int64, digest string) []Hit {
	var all []Hit
	if number < 0 || number >= int64(len(e.stacks)) {
		return nil
	}
	stack := e.stacks[number]
	for _, s := range stack.sets {
		for _, h := range e.inSets[s.set] {
			if digest != "" && e.silent(h.advisory, digest, h.pkg) {
				continue
			}
			inBase := s.position < stack.baseLayers
			remedy := artifact.RemedyOf(h.pkg, inBase, h.Fixed)
			if remedy == artifact.RemedyOverride && h.bundled {
				remedy = artifact.RemedyRebuild
			}
			all = append(all, Hit{Weakness: &h.Weakness, InBase: inBase, Remedy: remedy})
		}
	}
	return all
}

// images tells of the images, one reference after the other.
func (e *exposing) images(tell func(ExposedImage) error) error {
	where, err := e.meant()
	if err != nil {
		return err
	}
	var platforms []int64
	if platforms, err = e.tx.IDs(e.ctx, "SELECT DISTINCT platform FROM images"); err != nil {
		return err
	}
	condition, arg := e.tx.Ints("id", platforms)
	platform, err := words(e.ctx, e.tx, condition, arg)
	if err != nil {
		return err
	}
	return e.tx.Each(e.ctx, func(scan func(...any) error) error {
		var id, stack, base, on, source, size int64
		var digest sql.RawBytes
		var name string
		if err := scan(&id, &digest, &name, &stack, &base, &on, &source, &size); err != nil {
			return err
		}
		image := ExposedImage{Digest: digestText(digest), Platform: platform[on], Size: size, Sourced: source != e.unsourced, Labels: e.labels[id]}
		image.On = e.standing(base, on)
		g := e.group(stack, string(digest), &image)
		image.ByBase = e.stands(image.On)
		if image.Group, image.Hits = g.number, g.hits; len(g.hits) == 0 && !image.ByBase {
			return nil
		}
		names := e.names[id]
		if names == nil {
			names = []string{name}
		}
		for _, image.Name = range names {
			repository, tail := splitReference(image.Name)
			image.Carries = e.carrying[repository+tail]
			if err := tell(image); err != nil {
				return err
			}
		}
		return nil
	}, "SELECT i.id, i.digest, i.name, i.stack, i.base, i.platform, i.source, i.size FROM images i WHERE "+where.text, where.args...)
}

// group gives what the image has in common with others.
func (e *exposing) group(stack int64, digest string, image *ExposedImage) *group {
	key := grouped{stack: stack, on: image.On, sourced: image.Sourced}
	if e.personal[digest] {
		key.digest = digest
	}
	g := e.groups[key]
	if g == nil {
		g = &group{number: len(e.groups), hits: e.hits(stack, key.digest)}
		e.groups[key] = g
	}
	return g
}

// meant is true for images that may be meant.
func (e *exposing) meant() (cond, error) {
	span := e.span(true)
	parts := []cond{e.written(cond{stacks: e.having(e.packages)})}
	if len(e.ask.Bases) > 0 {
		var stale []int64
		for key, on := range e.standings {
			if e.stands(on) {
				stale = append(stale, key.base)
			}
		}
		text, arg := e.tx.Ints("i.base", stale)
		parts = append(parts, cond{text: text, args: []any{arg}})
	}
	all := cond{text: span.text, args: slices.Clone(span.args)}
	var either []string
	for _, c := range parts {
		either = append(either, "("+c.text+")")
		all.args = append(all.args, c.args...)
	}
	all.text += " AND (" + strings.Join(either, " OR ") + ")"
	if e.ask.Images != nil {
		var digests [][]byte
		for _, digest := range e.ask.Images {
			sum, err := digestBytes(digest)
			if err != nil {
				return never, err
			}
			digests = append(digests, sum)
		}
		text, arg := e.tx.Blobs("i.digest", digests)
		all.text, all.args = all.text+" AND "+text, append(all.args, arg)
	}
	return all, nil
}

// stands says whether images on it are meant for that alone.
func (e *exposing) stands(on *Standing) bool {
	return on.Stale && (slices.Contains(e.ask.Bases, "*") || slices.ContainsFunc(e.ask.Bases, func(base string) bool { return sameReference(base, on.Name) }))
}

func sameReference(a, b string) bool {
	ra, ta := splitReference(a)
	rb, tb := splitReference(b)
	return ra == rb && ta == tb
}
