package inventory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory/query"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// uncovered stands in the tables for a gate of which no policy says anything.
const uncovered = -1

// SetVerdicts keeps the verdicts in place of those that stood for the same manifests.
func (inv *Inventory) SetVerdicts(ctx context.Context, verdicts ...artifact.Verdict) error {
	for some := range slices.Chunk(verdicts, 4*batch) {
		manifests := make([]row, len(some))
		packed := make([][]byte, len(some))
		err := each(len(some), func(i int) (err error) {
			v := &some[i]
			if manifests[i], err = (Manifest{v.Repository, v.Image}).row(); err != nil {
				return err
			}
			if packed[i], err = inv.packer.pack(v); err != nil {
				return fault.New(fault.Failed, "keep a verdict", v.Repository+"@"+v.Image, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		err = inv.db.Write(ctx, func(tx store.Tx) error {
			numbers, err := internManifests(ctx, tx, manifests)
			if err != nil {
				return err
			}
			rows := map[int64][]any{} // the last of a manifest counts
			for i, v := range some {
				id := numbers[manifests[i].key]
				rows[id] = verdictRow(id, v, packed[i])
			}
			return replace(ctx, tx, store.Table{
				Name: "verdicts", Columns: "manifest, registry, admission, identity, gateway, decided, until, policies, verdict",
			}, rows)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func verdictRow(id int64, v artifact.Verdict, packed []byte) []any {
	row := []any{id}
	for _, gate := range artifact.Gates() {
		rank := int64(uncovered)
		if action, covered := v.Gates[gate]; covered {
			rank = int64(action.Rank())
		}
		row = append(row, rank)
	}
	until := int64(forever)
	if v.Until != nil {
		until = seconds(*v.Until)
	}
	return append(row, seconds(v.Decided), until, clean(v.Policies), packed)
}

// replace writes rows, by the number that is their first column, in place of those before.
func replace(ctx context.Context, tx store.Tx, table store.Table, rows map[int64][]any) error {
	var ids []int64
	for id := range rows {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	ordered := make([][]any, len(ids))
	for i, id := range ids {
		ordered[i] = rows[id]
	}
	these, arg := tx.Ints("manifest", ids)
	if _, err := tx.Exec(ctx, "DELETE FROM "+table.Name+" WHERE "+these, arg); err != nil {
		return err
	}
	return tx.Insert(ctx, table, ordered)
}

// Verdict gives the verdict that stands for a manifest, even if its time is over; false when
// nobody has decided.
func (inv *Inventory) Verdict(ctx context.Context, m Manifest) (artifact.Verdict, bool, error) {
	var one artifact.Verdict
	found := false
	err := inv.Verdicts(ctx, Selection{Of: []Manifest{m}}, func(v artifact.Verdict) error {
		one, found = v, true
		return nil
	})
	return one, found, err
}

// Verdicts gives the verdicts that stand for manifests, in no order, until yield gives an
// error, which it passes on.
func (inv *Inventory) Verdicts(ctx context.Context, which Selection, yield func(artifact.Verdict) error) error {
	for last := int64(0); ; {
		some, next, err := inv.verdictsAfter(ctx, which, last)
		if err != nil {
			return err
		}
		for _, v := range some {
			if err := yield(v); err != nil {
				return err
			}
		}
		if last = next; last == 0 {
			return nil
		}
	}
}

// verdictsAfter gives a page, and the number to ask for the next one with, 0 after the last.
// A list of manifests is all on one page.
func (inv *Inventory) verdictsAfter(ctx context.Context, which Selection, last int64) (some []artifact.Verdict, next int64, err error) {
	var packed [][]byte
	err = inv.db.Read(ctx, func(tx store.Tx) error {
		parts, err := which.where(tx)
		if err != nil {
			return err
		}
		limit := int64(window)
		if which.Of != nil {
			limit = forever
		}
		for _, where := range parts {
			err := tx.Each(ctx, func(scan func(...any) error) error {
				var one []byte
				err := scan(&next, &one)
				packed = append(packed, one)
				return err
			}, "SELECT v.manifest, v.verdict FROM verdicts v JOIN manifests m ON m.id = v.manifest WHERE v.manifest > ? AND "+where.text+" ORDER BY v.manifest LIMIT ?",
				slices.Concat([]any{last}, where.args, []any{limit})...)
			if err != nil {
				return err
			}
		}
		if int64(len(packed)) < limit {
			next = 0
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	some, readable := make([]artifact.Verdict, len(packed)), make([]bool, len(packed))
	err = each(len(packed), func(i int) (err error) {
		readable[i], err = inv.packer.unpack(packed[i], &some[i])
		return err
	})
	kept := some[:0]
	for i := range some {
		if readable[i] {
			kept = append(kept, some[i])
		}
	}
	return kept, next, err
}

// Stale gives the manifests with facts that must be decided anew: those without a verdict,
// those whose verdict time alone may have changed at that moment, and those decided by
// other policies than those of the digest.
func (inv *Inventory) Stale(ctx context.Context, at time.Time, policies string) ([]Manifest, error) {
	var all []Manifest
	err := inv.db.Read(ctx, func(tx store.Tx) (err error) {
		all, err = readManifests(ctx, tx, cond{
			text: "m.id IN (SELECT f.manifest FROM facts f LEFT JOIN verdicts v ON v.manifest = f.manifest WHERE v.manifest IS NULL OR v.until <= ? OR v.policies <> ?)",
			args: []any{seconds(at), clean(policies)},
		})
		return err
	})
	return all, err
}

// readManifests gives the manifests m for which the condition holds.
func readManifests(ctx context.Context, tx store.Tx, where cond) ([]Manifest, error) {
	all := []Manifest{} // a selection of none, not of all
	err := tx.Each(ctx, func(scan func(...any) error) error {
		var m Manifest
		var digest []byte
		err := scan(&m.Repository, &digest)
		m.Digest = digestText(digest)
		all = append(all, m)
		return err
	}, "SELECT m.repository, m.digest FROM manifests m WHERE "+where.text+" ORDER BY m.repository, m.digest", where.args...)
	return all, err
}

// decided is true for images i of which a verdict, in some repository, is of that kind at the
// gate; not equal is what none is.
func decided(c query.Compare) (cond, error) {
	const verdicts = "i.digest IN (SELECT m.digest FROM verdicts v JOIN manifests m ON m.id = v.manifest"
	column, known := map[string]string{
		"": "v.registry", "registry": "v.registry", "admission": "v.admission", "identity": "v.identity", "gateway": "v.gateway",
	}[c.Label]
	if !known {
		return never, fmt.Errorf("no gate: %s", c.Label)
	}
	var one cond
	switch c.Value.Text {
	case "allowed", "audited", "warned":
		rank := map[string]artifact.Action{"allowed": artifact.ActionAllow, "audited": artifact.ActionAudit, "warned": artifact.ActionWarn}[c.Value.Text].Rank()
		one = cond{text: verdicts + " WHERE " + column + " = ?)", args: []any{int64(rank)}}
	case "denied": // what nothing covers stays closed
		one = cond{text: verdicts + " WHERE " + column + " IN (?, ?))", args: []any{int64(artifact.ActionDeny.Rank()), int64(uncovered)}}
	default:
		one = cond{text: "NOT (" + verdicts + "))"}
	}
	if c.Op == query.NotEqual {
		one.text = "NOT (" + one.text + ")"
	}
	return one, nil
}
