package campaigns

import (
	"context"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// Turn is a worker's right to a slot of a campaign, until it does not renew it any more. Each
// slot has one turn at a time, and a later one takes what an earlier one left.
type Turn struct {
	Campaign int64 `json:"campaign"`
	Slot     int64 `json:"slot"` // from 0
	Number   int64 `json:"number"`
}

// errLost says that another turn has the slot.
var errLost = fault.Newf(fault.Canceled, "go on with the campaign", "", "another worker has taken over")

// Offer gives up to n turns for slots, of so many, that nobody has; each must be begun before
// until.
func (s *Store) Offer(ctx context.Context, campaign int64, slots, n int, until time.Time) ([]Turn, error) {
	var offered []Turn
	free := func(tx store.Tx) error {
		offered = nil
		turns, busy := map[int64]int64{}, map[int64]bool{}
		err := tx.Each(ctx, func(scan func(...any) error) error {
			var slot, turn, until int64
			err := scan(&slot, &turn, &until)
			turns[slot], busy[slot] = turn, until > seconds(s.now())
			return err
		}, "SELECT slot, turn, until FROM campaign_turns WHERE campaign = ?", campaign)
		for slot := range int64(slots) {
			if !busy[slot] && len(offered) < n {
				offered = append(offered, Turn{campaign, slot, turns[slot] + 1})
			}
		}
		return err
	}
	if err := s.db.Read(ctx, free); err != nil || len(offered) == 0 {
		return nil, err // without waiting for a writer
	}
	err := s.db.Write(ctx, func(tx store.Tx) error {
		if err := free(tx); err != nil {
			return err
		}
		for _, t := range offered {
			if err := setTurn(ctx, tx, t, until); err != nil {
				return err
			}
		}
		return nil
	})
	return offered, err
}

// Reclaim puts back what turns had that are over without an end: their processes have died.
func (s *Store) Reclaim(ctx context.Context, campaign int64) error {
	const orphaned = " WHERE campaign = ? AND state = ? AND slot NOT IN (SELECT t.slot FROM campaign_turns t WHERE t.campaign = ? AND t.until > ?)"
	now := seconds(s.now())
	for from, to := range unfinished {
		args := []any{campaign, string(from), campaign, now}
		var n int64
		err := s.db.Read(ctx, func(tx store.Tx) (err error) {
			n, err = tx.Int(ctx, "SELECT count(*) FROM campaign_items"+orphaned, args...)
			return err
		})
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		err = s.db.Write(ctx, func(tx store.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE campaign_items SET state = ?, slot = -1"+orphaned, append([]any{string(to)}, args...)...)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// unfinished says what becomes of an item that nobody works on any more.
var unfinished = map[State]State{Moving: Planned, Returning: Done}

func setTurn(ctx context.Context, tx store.Tx, t Turn, until time.Time) error {
	if _, err := tx.Exec(ctx, "DELETE FROM campaign_turns WHERE campaign = ? AND slot = ?", t.Campaign, t.Slot); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "INSERT INTO campaign_turns (campaign, slot, turn, until) VALUES (?, ?, ?, ?)", t.Campaign, t.Slot, t.Number, seconds(until))
	return err
}

// held refuses a turn that is over.
func (t Turn) held(ctx context.Context, tx store.Tx) error {
	number, err := tx.Int(ctx, "SELECT turn FROM campaign_turns WHERE campaign = ? AND slot = ?", t.Campaign, t.Slot)
	if err == nil && number != t.Number {
		err = errLost
	}
	return err
}

// Begin takes an offered turn, and puts back what the turn before left unfinished.
func (s *Store) Begin(ctx context.Context, t Turn, until time.Time) error {
	return s.db.Write(ctx, func(tx store.Tx) error {
		if err := t.held(ctx, tx); err != nil {
			return err
		}
		if err := putBack(ctx, tx, t); err != nil {
			return err
		}
		return setTurn(ctx, tx, t, until)
	})
}

// putBack frees what the slot has.
func putBack(ctx context.Context, tx store.Tx, t Turn) error {
	for from, to := range unfinished {
		_, err := tx.Exec(ctx, "UPDATE campaign_items SET state = ?, slot = -1 WHERE campaign = ? AND slot = ? AND state = ?",
			string(to), t.Campaign, t.Slot, string(from))
		if err != nil {
			return err
		}
	}
	return nil
}

// Renew keeps the turn.
func (s *Store) Renew(ctx context.Context, t Turn, until time.Time) error {
	return s.db.Write(ctx, func(tx store.Tx) error {
		if err := t.held(ctx, tx); err != nil {
			return err
		}
		return setTurn(ctx, tx, t, until)
	})
}

// End gives the slot back.
func (s *Store) End(ctx context.Context, t Turn) error {
	return s.db.Write(ctx, func(tx store.Tx) error {
		if err := t.held(ctx, tx); err != nil {
			return err
		}
		if err := putBack(ctx, tx, t); err != nil {
			return err
		}
		return setTurn(ctx, tx, t, time.Unix(0, 0))
	})
}

// Want is what a worker can take.
type Want struct {
	Back bool                 // items that are done, to be taken back; else those that wait
	Most func(first Item) int // how many, given the first of them
}

// Claim gives a worker the next items of the present wave, all of one remedy, and their
// campaign. may says what it can take; where it says no, or everything is frozen, there is
// nothing.
func (s *Store) Claim(ctx context.Context, t Turn, may func(Campaign, Tally) (Want, bool)) (Campaign, []Item, error) {
	var c Campaign
	var items []Item
	err := s.db.Write(ctx, func(tx store.Tx) error {
		items = nil
		if err := t.held(ctx, tx); err != nil {
			return err
		}
		all, err := read(ctx, tx, "id = ?", t.Campaign)
		if err != nil || len(all) == 0 {
			return err
		}
		c = all[0]
		count, err := s.tally(ctx, tx, c)
		if err != nil {
			return err
		}
		want, allowed := may(c, count)
		if frozen, err := frozen(ctx, tx, s.now()); err != nil || !allowed || len(frozen) > 0 && !want.Back {
			return err
		}
		if items, err = s.choose(ctx, tx, c, want); err != nil || len(items) == 0 {
			return err
		}
		return s.take(ctx, tx, t, items, want.Back)
	})
	return c, items, err
}

// take marks items as the turn's.
func (s *Store) take(ctx context.Context, tx store.Tx, t Turn, items []Item, back bool) error {
	taken, tries := Moving, 1
	if back {
		taken, tries = Returning, 0
	}
	var numbers []int64
	for i := range items {
		numbers = append(numbers, items[i].Number)
		items[i].State = taken
		items[i].Attempts += tries
	}
	these, arg := tx.Ints("number", numbers)
	_, err := tx.Exec(ctx, "UPDATE campaign_items SET state = ?, slot = ?, attempts = attempts + ?, started = CASE WHEN started = 0 THEN ? ELSE started END"+
		" WHERE campaign = ? AND "+these, string(taken), t.Slot, tries, seconds(s.now()), t.Campaign, arg)
	return err
}

// choose gives the items that are next, all of the remedy of the first.
func (s *Store) choose(ctx context.Context, tx store.Tx, c Campaign, want Want) ([]Item, error) {
	state := Planned
	if want.Back {
		state = Done
	}
	const where = "i.campaign = ? AND i.wave = ? AND i.state = ? AND i.retry <= ?"
	args := []any{c.ID, c.Wave, string(state), seconds(s.now())}
	first, err := readItems(ctx, tx, where+" ORDER BY i.number LIMIT 1", args...)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	n := want.Most(first[0])
	if n <= 1 {
		return first, nil
	}
	return readItems(ctx, tx, where+" AND i.kind = ? ORDER BY i.number LIMIT ?", append(args, string(first[0].Remedy), n)...)
}

// Record keeps what became of items that the turn has claimed, and the pace of those that
// took so long together.
func (s *Store) Record(ctx context.Context, t Turn, items []Item, took time.Duration) error {
	return s.db.Write(ctx, func(tx store.Tx) error {
		if err := t.held(ctx, tx); err != nil {
			return err
		}
		paces := map[artifact.Remedy]Pace{}
		for _, item := range items {
			if err := item.record(ctx, tx, t); err != nil {
				return err
			}
			if item.State == Done {
				p := paces[item.Remedy]
				paces[item.Remedy] = Pace{Images: p.Images + 1, Bytes: p.Bytes + item.Bytes}
			}
		}
		for remedy, p := range paces {
			p.Seconds = took.Seconds()
			if err := addPace(ctx, tx, remedy, p); err != nil {
				return err
			}
		}
		return nil
	})
}

func (item *Item) record(ctx context.Context, tx store.Tx, t Turn) error {
	slot := t.Slot
	if item.State != Moving && item.State != Returning {
		slot = -1
	}
	_, err := tx.Exec(ctx, "UPDATE campaign_items SET state = ?, slot = ?, retry = ?, was = ?, became = ?, tested = ?, bytes = ?, error = ?, ended = ?"+
		" WHERE campaign = ? AND number = ? AND slot = ?",
		string(item.State), slot, seconds(item.Retry), item.Before, item.After, tested(item.Tested), item.Bytes, bounded(item.Error), seconds(item.Ended),
		t.Campaign, item.Number, t.Slot)
	return err
}
