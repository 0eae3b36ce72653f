package inventory

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// ImageAnswer is one image of an answer.
type ImageAnswer struct {
	Name       string    `json:"name"`                 // the first of its references in order; the last one it had if it has none now
	References []string  `json:"references,omitempty"` // all that name it at the moment asked about
	Digest     string    `json:"digest"`
	Platform   string    `json:"platform"`
	Distro     string    `json:"distro,omitempty"`
	Created    time.Time `json:"created,omitzero"`
	Pushed     time.Time `json:"pushed"`
	Seen       time.Time `json:"seen"` // since when the index knows of it
	Size       int64     `json:"size,omitempty"`
	Base       Base      `json:"base,omitzero"`
	Source     Source    `json:"source,omitzero"`

	Labels   map[string]string `json:"labels,omitempty"`
	Evidence []Evidence        `json:"evidence,omitempty"`

	// Matches are the packages and findings that were asked for, the gravest first, at most
	// 20; More counts the others.
	Matches []Match `json:"matches,omitempty"`
	More    int     `json:"more,omitempty"`
}

// within joins the condition with the span asked about. scanned keeps the database from
// looking up each image of the span in the table, where reading all of it is faster.
func (a *asking) within(c cond, scanned bool) cond {
	span := a.span(scanned)
	c = a.written(c)
	return cond{text: span.text + " AND (" + c.text + ")", args: slices.Concat(span.args, c.args), narrow: c.narrow, cold: c.cold}
}

// From so many rows on, a page is found by walking images in order until it is full,
// rather than by sorting all that hold: those that an index finds, those that only a pass
// over all images finds.
const manyFound, manyScanned = 5000, 2000

func (a *asking) answerImages(result *Result) error {
	c, err := a.compile(a.q.Where, true, a.imageTerm)
	if err != nil {
		return err
	}
	found, total, err := a.count(c, result)
	if err != nil || total == 0 {
		return err
	}
	result.Total = total
	chosen := a.within(c, c.cold && !c.narrow)
	order := " ORDER BY i.name || '', i.id"
	switch {
	case found != nil:
		if c, err = a.numbered(found); err != nil {
			return err
		}
		chosen = a.within(c, true)
	case total > manyFound || !chosen.narrow && total > manyScanned:
		order, chosen = " ORDER BY i.name, i.id", a.within(c, true)
	}
	if a.after != nil {
		chosen.text += " AND (i.name, i.id) > (?, ?)"
		chosen.args = append(chosen.args, a.after.Text, a.after.ID)
	}
	rows, err := a.readImages(chosen, order)
	if err != nil {
		return err
	}
	if len(rows) > a.limit {
		rows = rows[:a.limit]
		last := rows[len(rows)-1]
		result.Next = cursor{last.Name, last.id}.String()
	}
	if err := a.detail(rows); err != nil {
		return err
	}
	for i := range rows {
		result.Images = append(result.Images, rows[i].ImageAnswer)
	}
	return nil
}

// count counts the images, and where it was asked finds their fixes. Unless stacks alone
// tell, it gives the numbers of the images found if they are few, so that none is looked
// for twice.
func (a *asking) count(c cond, result *Result) (found []int64, total int, err error) {
	if c.stacks == nil && !a.q.Fix {
		where := a.within(c, c.cold && !c.narrow)
		found, err = a.tx.IDs(a.ctx, "SELECT i.id FROM images i WHERE "+where.text+" LIMIT ?", append(slices.Clone(where.args), manyScanned+1)...)
		if err != nil || len(found) <= manyScanned {
			return found, len(found), err
		}
		total, err := a.tx.Int(a.ctx, "SELECT count(*) FROM images i WHERE "+where.text, where.args...)
		return nil, int(total), err
	}
	counts, err := a.used(c)
	if err != nil {
		return nil, 0, err
	}
	for _, count := range counts {
		total += count
	}
	if a.q.Fix {
		result.Fixes, err = a.fixes(counts)
	}
	return nil, total, err
}

// imageRow is an answer with what leads to its details.
type imageRow struct {
	ImageAnswer
	id, stack, base, platform, distro, source int64

	layers [][]byte // from the bottom
}

// readImages gives a page of images and one more, to know whether there is another page.
func (a *asking) readImages(where cond, order string) ([]*imageRow, error) {
	var rows []*imageRow
	err := a.tx.Each(a.ctx, func(scan func(...any) error) error {
		r := &imageRow{}
		var digest []byte
		var created, pushed, seen int64
		err := scan(&r.id, &digest, &r.Name, &r.stack, &r.base, &r.platform, &r.distro, &r.source, &created, &pushed, &seen, &r.Size, &r.Source.Revision)
		r.Digest, r.Created, r.Pushed, r.Seen = digestText(digest), moment(created), moment(pushed), moment(seen)
		rows = append(rows, r)
		return err
	}, `SELECT i.id, i.digest, i.name, i.stack, i.base, i.platform, i.distro, i.source, i.created, i.pushed, i.seen, i.size, i.revision
		FROM images i WHERE `+where.text+order+" LIMIT ?", append(slices.Clone(where.args), a.limit+1)...)
	return rows, err
}

// detail fills in what is told beside the row itself.
func (a *asking) detail(rows []*imageRow) error {
	for _, step := range []func([]*imageRow) error{a.addWords, a.addReferences, a.addBases, a.addCold, a.addLabels, a.addMatches} {
		if err := step(rows); err != nil {
			return err
		}
	}
	return nil
}

func (a *asking) addWords(rows []*imageRow) error {
	var ids []int64
	for _, r := range rows {
		ids = append(ids, r.platform, r.distro, r.source)
	}
	condition, arg := a.tx.Ints("id", ids)
	words, err := words(a.ctx, a.tx, condition, arg)
	for _, r := range rows {
		r.Platform, r.Distro, r.Source.URL = words[r.platform], words[r.distro], words[r.source]
	}
	return err
}

// words gives the shared texts that the condition is true for, by number.
func words(ctx context.Context, tx store.Tx, where string, args ...any) (map[int64]string, error) {
	all := map[int64]string{}
	err := tx.Each(ctx, func(scan func(...any) error) error {
		var id int64
		var text string
		err := scan(&id, &text)
		all[id] = text
		return err
	}, "SELECT id, text FROM words WHERE "+where, args...)
	return all, err
}

func (a *asking) addReferences(rows []*imageRow) error {
	of := map[int64]*imageRow{}
	var ids []int64
	for _, r := range rows {
		of[r.id] = r
		ids = append(ids, r.id)
	}
	span := a.refSpan()
	condition, arg := a.tx.Ints("r.image", ids)
	return a.tx.Each(a.ctx, func(scan func(...any) error) error {
		var id int64
		var name string
		err := scan(&id, &name)
		of[id].References = append(of[id].References, name)
		return err
	}, "SELECT DISTINCT r.image, w.text || r.tail FROM refs r JOIN words w ON w.id = r.repository WHERE "+condition+" AND "+span.text+" ORDER BY 2",
		append([]any{arg}, span.args...)...)
}

func (a *asking) addBases(rows []*imageRow) error {
	of := map[int64][]*imageRow{}
	var ids []int64
	for _, r := range rows {
		of[r.base] = append(of[r.base], r)
		ids = append(ids, r.base)
	}
	condition, arg := a.tx.Ints("id", ids)
	return a.tx.Each(a.ctx, func(scan func(...any) error) error {
		var id int64
		var base Base
		var digest, layers []byte
		err := scan(&id, &base.Name, &digest, &layers)
		base.Digest = digestText(digest)
		for _, r := range of[id] {
			r.Base = base
			r.layers = slices.Collect(slices.Chunk(layers, 32))
		}
		return err
	}, "SELECT id, name, digest, layers FROM bases WHERE "+condition, arg)
}

// addCold reads what only answers show. The base's layers must be known.
func (a *asking) addCold(rows []*imageRow) error {
	of := map[int64]*imageRow{}
	var ids []int64
	for _, r := range rows {
		of[r.id] = r
		ids = append(ids, r.id)
	}
	claims := map[int64][]claim{} // few: most images have the same
	condition, arg := a.tx.Ints("d.image", ids)
	return a.tx.Each(a.ctx, func(scan func(...any) error) error {
		var id, number int64
		var layers, evidence []byte
		var text string
		if err := scan(&id, &layers, &evidence, &number, &text); err != nil {
			return err
		}
		if claims[number] == nil {
			var list []claim
			if err := json.Unmarshal([]byte(text), &list); err != nil {
				return err
			}
			claims[number] = list
		}
		r := of[id]
		r.layers = append(r.layers, slices.Collect(slices.Chunk(layers, 32))...)
		r.Evidence = decodeEvidence(evidence, claims[number])
		return nil
	}, `SELECT d.image, d.layers, d.evidence, c.id, c.claims FROM image_details d
		JOIN images i ON i.id = d.image JOIN claims c ON c.id = i.claims WHERE `+condition, arg)
}

func (a *asking) addLabels(rows []*imageRow) error {
	of := map[int64]*imageRow{}
	var ids []int64
	for _, r := range rows {
		of[r.id] = r
		ids = append(ids, r.id)
	}
	condition, arg := a.tx.Ints("il.image", ids)
	return a.tx.Each(a.ctx, func(scan func(...any) error) error {
		var id int64
		var name, value string
		err := scan(&id, &name, &value)
		if of[id].Labels == nil {
			of[id].Labels = map[string]string{}
		}
		of[id].Labels[name] = value
		return err
	}, "SELECT il.image, l.name, l.value FROM image_labels il JOIN labels l ON l.id = il.label WHERE "+condition, arg)
}
