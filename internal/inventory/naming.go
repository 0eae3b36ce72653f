package inventory

import (
	"context"
	"slices"

	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// ref is what names one image at a time.
type ref struct {
	repository int64
	tail       string
	platform   int64
}

// move is a reference that names an image from now on, or nothing when image is 0.
type move struct {
	ref
	image int64
	since int64 // when a reference that is new began to name it
}

// named is an image's place in time: the span from its first name to its last, and the
// first of its names in order.
type named struct {
	name         string
	began, ended int64
	others       int64 // names that it has now beside the first
}

// naming moves references in one transaction, and keeps images' names and spans in step.
type naming struct {
	ctx context.Context
	tx  store.Tx
	now int64

	touched []int64 // images that gained or lost a name
}

// held is what a reference named before.
type held struct {
	image, began int64
	ended        int64 // of the last span that is over; 0 when there is none
}

// move lets each reference name its image. Moves of one reference are done in their order.
func (n *naming) move(moves []move) error {
	before, err := n.held(moves)
	if err != nil {
		return err
	}
	current := map[ref]held{}
	for _, m := range moves {
		h, stepped := current[m.ref]
		if !stepped {
			h = before[m.ref]
		}
		if h.image == m.image {
			current[m.ref] = h
			continue
		}
		n.touched = append(n.touched, h.image, m.image)
		began := m.since
		if h.image != 0 || h.ended != 0 || stepped {
			began = n.now
		}
		current[m.ref] = held{image: m.image, began: began, ended: h.ended}
	}
	var fresh [][]any
	for r, h := range current {
		if was := before[r]; was.image != h.image {
			if err := n.end(r, was); err != nil {
				return err
			}
			if h.image != 0 {
				fresh = append(fresh, []any{r.repository, r.tail, r.platform, int64(forever), h.began, h.image})
			}
		}
	}
	return n.tx.Insert(n.ctx, store.Table{Name: "refs", Columns: "repository, tail, platform, ended, began, image"}, fresh)
}

// held gives what the references name now.
func (n *naming) held(moves []move) (map[ref]held, error) {
	var repositories []int64
	var tails []string
	for _, m := range moves {
		repositories, tails = append(repositories, m.repository), append(tails, m.tail)
	}
	slices.Sort(repositories)
	slices.Sort(tails)
	repository, first := n.tx.Ints("repository", slices.Compact(repositories))
	tail, second := n.tx.Texts("tail", slices.Compact(tails))
	all := map[ref]held{}
	err := n.tx.Each(n.ctx, func(scan func(...any) error) error {
		var r ref
		var image, began, ended int64
		if err := scan(&r.repository, &r.tail, &r.platform, &ended, &began, &image); err != nil {
			return err
		}
		h := all[r]
		if ended == forever {
			h.image, h.began = image, began
		} else {
			h.ended = max(h.ended, ended)
		}
		all[r] = h
		return nil
	}, "SELECT repository, tail, platform, ended, began, image FROM refs WHERE "+repository+" AND "+tail, first, second)
	return all, err
}

// end closes the span of a reference. One that would have no length is forgotten.
func (n *naming) end(r ref, h held) error {
	if h.image == 0 {
		return nil
	}
	statement, args := "UPDATE refs SET ended = ? WHERE", []any{n.now, r.repository, r.tail, r.platform, int64(forever)}
	if h.began >= n.now {
		statement, args = "DELETE FROM refs WHERE", args[1:]
	}
	_, err := n.tx.Exec(n.ctx, statement+" repository = ? AND tail = ? AND platform = ? AND ended = ?", args...)
	return err
}

// names gives the images that are to be written their names, and mends those of the other
// images that were touched.
func (n *naming) names(written []*entry) (map[int64]named, error) {
	now := map[int64]named{}
	ids := slices.DeleteFunc(slices.Clone(n.touched), func(id int64) bool { return id == 0 })
	for _, e := range written {
		ids = append(ids, e.id)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) == 0 {
		return now, nil
	}
	if _, err := n.tx.Take(n.ctx, changes, 1); err != nil {
		return nil, err
	}
	was, err := n.before(ids)
	if err != nil {
		return nil, err
	}
	latest := map[int64]int64{} // when the newest of an image's names began
	condition, arg := n.tx.Ints("r.image", ids)
	err = n.tx.Each(n.ctx, func(scan func(...any) error) error {
		var id, began, ended int64
		var name string
		if err := scan(&id, &began, &ended, &name); err != nil {
			return err
		}
		s, there := now[id]
		if !there {
			s = named{name: was[id].name, began: began, ended: ended}
		}
		if ended == forever {
			if there && s.ended == forever {
				s.others++
			}
			if !there || s.ended != forever || name < s.name {
				s.name = name
			}
		}
		s.began, s.ended = min(s.began, began), max(s.ended, ended)
		now[id], latest[id] = s, max(latest[id], began)
		return nil
	}, "SELECT r.image, r.began, r.ended, w.text || r.tail FROM refs r JOIN words w ON w.id = r.repository WHERE "+condition, arg)
	if err != nil {
		return nil, err
	}
	return now, n.mend(ids, written, was, now, latest)
}

// before gives the names that images have in the tables.
func (n *naming) before(ids []int64) (map[int64]named, error) {
	was := map[int64]named{}
	condition, arg := n.tx.Ints("id", ids)
	err := n.tx.Each(n.ctx, func(scan func(...any) error) error {
		var id int64
		var s named
		err := scan(&id, &s.name, &s.began, &s.ended, &s.others)
		was[id] = s
		return err
	}, "SELECT id, name, began, ended, others FROM images WHERE "+condition, arg)
	return was, err
}

// mend writes names and gaps of images that stay as they are otherwise.
func (n *naming) mend(ids []int64, written []*entry, was, now map[int64]named, latest map[int64]int64) error {
	rewritten := map[int64]bool{}
	for _, e := range written {
		rewritten[e.id] = true
	}
	for _, id := range ids {
		before, known := was[id]
		after, hasName := now[id]
		if !hasName { // its only span had no length: it was named, then not, within a second
			after = named{name: before.name, began: n.now, ended: n.now}
			now[id] = after
		}
		if known && before.ended != forever && latest[id] > before.ended {
			if _, err := n.tx.Exec(n.ctx, "INSERT INTO gaps (image, began, ended) VALUES (?, ?, ?)", id, before.ended, latest[id]); err != nil {
				return err
			}
		}
		if known && !rewritten[id] && before != after {
			_, err := n.tx.Exec(n.ctx, "UPDATE images SET name = ?, began = ?, ended = ?, others = ? WHERE id = ?",
				after.name, after.began, after.ended, after.others, id)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Remove says that the references name nothing any more, on any platform. What they named
// stays known, for questions about the past.
func (inv *Inventory) Remove(ctx context.Context, references ...string) error {
	return inv.db.Write(ctx, func(tx store.Tx) error {
		naming := naming{ctx: ctx, tx: tx, now: seconds(inv.now())}
		var moves []move
		for _, reference := range references {
			repository, tail := splitReference(clean(reference))
			err := tx.Each(ctx, func(scan func(...any) error) error {
				m := move{ref: ref{tail: tail}}
				err := scan(&m.repository, &m.platform)
				moves = append(moves, m)
				return err
			}, "SELECT r.repository, r.platform FROM refs r JOIN words w ON w.id = r.repository WHERE w.text = ? AND r.tail = ? AND r.ended = ?",
				repository, tail, int64(forever))
			if err != nil {
				return err
			}
		}
		if err := naming.move(moves); err != nil {
			return err
		}
		_, err := naming.names(nil)
		return err
	})
}

// References gives the references that name an image now and begin with the prefix, in
// order: what a rebuild compares with the registry.
func (inv *Inventory) References(ctx context.Context, prefix string) ([]string, error) {
	var all []string
	err := inv.db.Read(ctx, func(tx store.Tx) error {
		return tx.Each(ctx, func(scan func(...any) error) error {
			var name string
			err := scan(&name)
			all = append(all, name)
			return err
		}, `SELECT DISTINCT w.text || r.tail FROM refs r JOIN words w ON w.id = r.repository
			WHERE r.ended = ? AND substr(w.text || r.tail, 1, ?) = ? ORDER BY 1`, int64(forever), len([]rune(prefix)), prefix)
	})
	return all, err
}
