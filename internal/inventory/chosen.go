package inventory

import (
	"context"
	"slices"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/inventory/query"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// Choice says which packages are looked for where applications chose them themselves: above the
// base, and not where a runtime brings them along.
type Choice struct {
	Types []string                    // of package URLs
	Title string                      // as people name it: "@scope/name"; "" is any
	Is    func(artifact.Package) bool // without layer and paths

	Images []string // digests: of these alone; nil is of all
}

// Chosen gives the images that hold such a package, by every reference that names them now, in no
// order.
func (inv *Inventory) Chosen(ctx context.Context, c Choice) (all []Named, err error) {
	err = inv.db.Read(ctx, func(tx store.Tx) error {
		a, err := inv.asking(ctx, tx, query.Query{Subject: query.Images})
		if err != nil {
			return err
		}
		chosen := &choosing{asking: a, Choice: c}
		if err := chosen.findPackages(); err != nil || len(chosen.packages) == 0 {
			return err
		}
		stacks, err := chosen.holding()
		if err != nil {
			return err
		}
		text, arg := tx.Ints("i.stack", stacks)
		where := cond{text: text, args: []any{arg}}
		if c.Images != nil {
			text, arg := tx.Blobs("i.digest", digestsOf(c.Images))
			where = cond{text: where.text + " AND " + text, args: append(where.args, arg)}
		}
		all, err = namesOf(ctx, tx, where)
		return err
	})
	return all, err
}

// Names gives the images that the reference names now, one for each platform.
func (inv *Inventory) Names(ctx context.Context, reference string) (all []Named, err error) {
	repository, tail := splitReference(reference)
	err = inv.db.Read(ctx, func(tx store.Tx) error {
		all, err = namesOf(ctx, tx, cond{text: "w.text = ? AND r.tail = ?", args: []any{clean(repository), clean(tail)}})
		return err
	})
	return all, err
}

// Labels gives those of an image; none where the index does not know it.
func (inv *Inventory) Labels(ctx context.Context, digest string) (map[string]string, error) {
	labels := map[string]string{}
	err := inv.db.Read(ctx, func(tx store.Tx) error {
		text, arg := tx.Blobs("i.digest", digestsOf([]string{digest}))
		return tx.Each(ctx, func(scan func(...any) error) error {
			var name, value string
			err := scan(&name, &value)
			labels[name] = value
			return err
		}, "SELECT l.name, l.value FROM images i JOIN image_labels il ON il.image = i.id JOIN labels l ON l.id = il.label WHERE "+text, arg)
	})
	return labels, err
}

// namesOf gives the images i for which the condition holds by the references r, in repositories w,
// that name them now.
func namesOf(ctx context.Context, tx store.Tx, where cond) (all []Named, err error) {
	err = tx.Each(ctx, func(scan func(...any) error) error {
		var n Named
		var digest []byte
		err := scan(&n.Name, &digest, &n.Platform)
		n.Digest = digestText(digest)
		all = append(all, n)
		return err
	}, `SELECT w.text || r.tail, i.digest, p.text FROM refs r JOIN words w ON w.id = r.repository JOIN images i ON i.id = r.image JOIN words p ON p.id = i.platform
		WHERE `+where.text+" AND r.ended = ?", append(slices.Clone(where.args), int64(forever))...)
	return all, err
}

// digestsOf gives those that are digests.
func digestsOf(texts []string) [][]byte {
	sums := [][]byte{}
	for _, text := range texts {
		if sum, err := digestBytes(text); err == nil && len(sum) > 0 {
			sums = append(sums, sum)
		}
	}
	return sums
}

// choosing is one Chosen in its transaction.
type choosing struct {
	*asking
	Choice
	of       []int64 // the stacks of Images
	packages map[int64]artifact.Package
}

// findPackages finds the packages that are looked for, wherever they are.
func (c *choosing) findPackages() error {
	text, arg := c.tx.Texts("p.type", c.Types)
	where := cond{text: text, args: []any{arg}}
	if c.Title != "" {
		where = cond{text: where.text + " AND p.title = ?", args: append(where.args, clean(c.Title))}
	}
	if c.Images != nil {
		text, arg := c.tx.Blobs("digest", digestsOf(c.Images))
		var err error
		if c.of, err = c.tx.IDs(c.ctx, "SELECT DISTINCT stack FROM images WHERE "+text, arg); err != nil {
			return err
		}
		var ids []int64
		for _, number := range c.of {
			for _, s := range c.above(number) {
				for _, p := range c.sets[s.set] {
					ids = append(ids, int64(p))
				}
			}
		}
		slices.Sort(ids)
		text, arg = c.tx.Ints("p.id", slices.Compact(ids))
		where = cond{text: where.text + " AND " + text, args: append(where.args, arg)}
	}
	all, err := readPackages(c.ctx, c.tx, where.text, where.args...)
	c.packages = map[int64]artifact.Package{}
	for _, p := range all {
		if artifact.RemedyOf(p.Package, false, "any") == artifact.RemedyOverride && c.Is(p.Package) {
			c.packages[p.ID] = p.Package
		}
	}
	return err
}

// above gives the sets of a stack that its base does not have.
func (c *choosing) above(number int64) []positioned {
	if number < 0 || number >= int64(len(c.stacks)) {
		return nil
	}
	stack := c.stacks[number]
	at := slices.IndexFunc(stack.sets, func(s positioned) bool { return s.position >= stack.baseLayers })
	if at < 0 {
		return nil
	}
	return stack.sets[at:]
}

// holding gives the stacks that hold one of the packages where the application chose it.
func (c *choosing) holding() ([]int64, error) {
	bundled, err := c.bundledSpots(c.packages)
	if err != nil {
		return nil, err
	}
	holds := func(s positioned) bool {
		return slices.ContainsFunc(c.sets[s.set], func(p int32) bool {
			_, is := c.packages[int64(p)]
			return is && !bundled[spot{int64(p), positioned{set: s.set}}]
		})
	}
	candidates := c.of
	if c.Images == nil {
		for number := range c.stacks {
			candidates = append(candidates, int64(number))
		}
	}
	return slices.DeleteFunc(slices.Clone(candidates), func(number int64) bool { return !slices.ContainsFunc(c.above(number), holds) }), nil
}
