package inventory

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// PutFacts keeps what is known of manifests in place of what was known before; the same again
// is no news. Packages, licences and findings are not taken from here: Facts gives those of
// the image of that digest that Put took, as they are then. It gives the marks of what that
// changed, for News to leave out.
func (inv *Inventory) PutFacts(ctx context.Context, facts ...artifact.Facts) ([]Mark, error) {
	var marks []Mark
	for some := range slices.Chunk(facts, batch) {
		manifests := make([]row, len(some))
		packed := make([][]byte, len(some))
		err := each(len(some), func(i int) (err error) {
			f := some[i]
			if manifests[i], err = (Manifest{f.Image.Repository, f.Image.Digest}).row(); err != nil {
				return err
			}
			f.Packages, f.InBase, f.Licenses, f.Findings = nil, nil, nil, nil
			if packed[i], err = inv.packer.pack(f); err != nil {
				return fault.New(fault.Failed, "keep facts", f.Image.Repository+"@"+f.Image.Digest, err)
			}
			return nil
		})
		if err != nil {
			return marks, err
		}
		mark := Mark(0)
		err = inv.db.Write(ctx, func(tx store.Tx) error {
			numbers, err := internManifests(ctx, tx, manifests)
			if err != nil {
				return err
			}
			last := map[int64][]byte{} // of a manifest counts
			for i := range some {
				last[numbers[manifests[i].key]] = packed[i]
			}
			mark, err = writeFacts(ctx, tx, last)
			return err
		})
		if err != nil {
			return marks, err
		}
		if mark != 0 {
			marks = append(marks, mark)
		}
	}
	return marks, nil
}

// writeFacts writes the facts of those numbers that are other than what stands, and gives the mark of
// that; 0 where there are none.
func writeFacts(ctx context.Context, tx store.Tx, facts map[int64][]byte) (Mark, error) {
	these, arg := tx.Ints("manifest", slices.Collect(maps.Keys(facts)))
	err := tx.Each(ctx, func(scan func(...any) error) error {
		var id int64
		var packed []byte
		err := scan(&id, &packed)
		if bytes.Equal(packed, facts[id]) {
			delete(facts, id)
		}
		return err
	}, "SELECT manifest, facts FROM facts WHERE "+these, arg)
	if err != nil || len(facts) == 0 {
		return 0, err
	}
	news, err := tx.Take(ctx, newsCounter, 1)
	if err != nil {
		return 0, err
	}
	rows := map[int64][]any{}
	for id, packed := range facts {
		rows[id] = []any{id, news, packed}
	}
	return Mark(news), replace(ctx, tx, store.Table{Name: "facts", Columns: "manifest, news, facts"}, rows)
}

// page is how many manifests are read at once.
const page = 500

// Facts gives what is known of manifests until yield gives an error, which it passes on.
// Images of equal contents come one after the other and share Packages and Findings, so
// yield must not change them.
//
// Packages are sorted by package URL, without layer, supplier and checksum, which are not
// kept; nil where the image is not in the index. Findings are nil until all packages were
// held against advisories; those that a suppression covers say so.
func (inv *Inventory) Facts(ctx context.Context, which Selection, yield func(artifact.Facts) error) error {
	var items []item
	join := inv.joiners.take()
	err := inv.db.Read(ctx, func(tx store.Tx) (err error) {
		if items, err = selected(ctx, tx, which); err != nil || len(items) == 0 {
			return err
		}
		return join.begin(ctx, tx, seconds(inv.now()))
	})
	if err != nil {
		return err
	}
	for some := range slices.Chunk(items, page) {
		var facts []*artifact.Facts
		err := inv.db.Read(ctx, func(tx store.Tx) (err error) {
			if facts, err = readFacts(ctx, tx, inv.packer, some); err != nil {
				return err
			}
			return join.prepare(ctx, tx, some)
		})
		if err != nil {
			return err
		}
		for i, f := range facts {
			if f == nil {
				continue // it was forgotten meanwhile
			}
			join.join(f, some[i].stack)
			if err := yield(*f); err != nil {
				return err
			}
		}
	}
	inv.joiners.give(join)
	return nil
}

// Kept gives what PutFacts took of those manifests of which something is kept, short of all that Facts
// adds.
func (inv *Inventory) Kept(ctx context.Context, of ...Manifest) (map[Manifest]artifact.Facts, error) {
	kept := make(map[Manifest]artifact.Facts, len(of))
	if len(of) == 0 {
		return kept, nil // else a selection of all
	}
	err := inv.db.Read(ctx, func(tx store.Tx) error {
		items, err := selected(ctx, tx, Selection{Of: of})
		if err != nil || len(items) == 0 {
			return err
		}
		all, err := readFacts(ctx, tx, inv.packer, items)
		for _, f := range all {
			if f != nil {
				kept[Manifest{f.Image.Repository, f.Image.Digest}] = *f
			}
		}
		return err
	})
	return kept, err
}

// item is a manifest whose facts are asked for.
type item struct {
	manifest   int64 // 0: there are no facts
	image      int64 // 0: none of that digest is in the index
	stack      int64
	repository int64 // of an image without facts: the number of the word
}

// selected gives the items, those of one stack beside each other.
func selected(ctx context.Context, tx store.Tx, which Selection) ([]item, error) {
	parts, err := which.where(tx)
	if err != nil {
		return nil, err
	}
	var items []item
	add := func(scan func(...any) error) error {
		var i item
		err := scan(&i.manifest, &i.image, &i.stack, &i.repository)
		items = append(items, i)
		return err
	}
	for _, where := range parts {
		err := tx.Each(ctx, add, `SELECT m.id, coalesce(i.id, 0), coalesce(i.stack, 0), 0 FROM facts f
			JOIN manifests m ON m.id = f.manifest LEFT JOIN images i ON i.digest = m.digest WHERE `+where.text, where.args...)
		if err != nil {
			return nil, err
		}
	}
	if which.Bare {
		rest := always
		if which.Repository != "" {
			rest = cond{text: "w.text = ?", args: []any{clean(which.Repository)}}
		}
		err := tx.Each(ctx, add, "SELECT DISTINCT 0, i.id, i.stack, r.repository"+fromBare+" AND "+rest.text, append([]any{int64(forever)}, rest.args...)...)
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.stack, b.stack), cmp.Compare(a.manifest, b.manifest), cmp.Compare(a.image, b.image), cmp.Compare(a.repository, b.repository))
	})
	return items, nil
}

// Bare gives the images, in each repository where a reference names them, of which no facts
// were put.
func (inv *Inventory) Bare(ctx context.Context) ([]Manifest, error) {
	all := []Manifest{} // a selection of none, not of all
	err := inv.db.Read(ctx, func(tx store.Tx) error {
		return tx.Each(ctx, func(scan func(...any) error) error {
			var m Manifest
			var digest []byte
			err := scan(&m.Repository, &digest)
			m.Digest = digestText(digest)
			all = append(all, m)
			return err
		}, "SELECT DISTINCT w.text, i.digest"+fromBare+" ORDER BY w.text, i.digest", int64(forever))
	})
	return all, err
}

// fromBare joins the images i, without facts, and the words w of their repositories.
const fromBare = ` FROM refs r JOIN words w ON w.id = r.repository JOIN images i ON i.id = r.image
	WHERE NOT EXISTS (SELECT 1 FROM manifests m JOIN facts f ON f.manifest = m.id WHERE m.digest = i.digest AND m.repository = w.text) AND r.ended = ?`

// readFacts gives the facts of each item; nil where there are none that can be read.
func readFacts(ctx context.Context, tx store.Tx, packer *packer, items []item) ([]*artifact.Facts, error) {
	var ids []int64
	for _, i := range items {
		ids = append(ids, i.manifest)
	}
	packed := map[int64][]byte{}
	these, arg := tx.Ints("manifest", ids)
	err := tx.Each(ctx, func(scan func(...any) error) error {
		var id int64
		var one []byte
		err := scan(&id, &one)
		packed[id] = one
		return err
	}, "SELECT manifest, facts FROM facts WHERE "+these, arg)
	if err != nil {
		return nil, err
	}
	bare, err := readBare(ctx, tx, items)
	if err != nil {
		return nil, err
	}
	all := make([]*artifact.Facts, len(items))
	return all, each(len(items), func(i int) error {
		if items[i].manifest == 0 {
			all[i] = bare[items[i]]
			return nil
		}
		f := &artifact.Facts{}
		readable, err := packer.unpack(packed[items[i].manifest], f)
		if readable {
			all[i] = f
		}
		return err
	})
}

// Synced says when the feeds behind the findings were last brought up to date: Facts gives
// it as Advisories. It is no news of any manifest, as Changes gives them.
func (inv *Inventory) Synced(ctx context.Context, at time.Time) error {
	return inv.db.Write(ctx, func(tx store.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM moments WHERE name = ?", syncedMoment); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO moments (name, at) VALUES (?, ?)", syncedMoment, seconds(at))
		return err
	})
}

const syncedMoment = "synced"
