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

// Offer gives turns for those of n slots that nobody has; each must be taken before until.
func (s *Store) Offer(ctx context.Context, campaign int64, n int, until time.Time) ([]Turn, error) {
	var offered []Turn
	now := seconds(s.now())
	err := s.db.Write(ctx, func(tx store.Tx) error {
		offered = nil
		turns, busy := map[int64]int64{}, map[int64]bool{}
		err := tx.Each(ctx, func(scan func(...any) error) error {
			var slot, turn, until int64
			err := scan(&slot, &turn, &until)
			turns[slot], busy[slot] = turn, until > now
			return err
		}, "SELECT slot, turn, until FROM campaign_turns WHERE campaign = ?", campaign)
		if err != nil {
			return err
		}
		for slot := range int64(n) {
			if busy[slot] {
				continue
			}
			t := Turn{campaign, slot, turns[slot] + 1}
			if err := setTurn(ctx, tx, t, until); err != nil {
				return err
			}
			offered = append(offered, t)
		}
		return nil
	})
	return offered, err
}

// Busy counts the slots that somebody has or was offered.
func (s *Store) Busy(ctx context.Context, campaign int64) (int64, error) {
	var n int64
	err := s.db.Read(ctx, func(tx store.Tx) (err error) {
		n, err = tx.Int(ctx, "SELECT count(*) FROM campaign_turns WHERE campaign = ? AND until > ?", campaign, seconds(s.now()))
		return err
	})
	return n, err
}

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
	for from, to := range map[State]State{Moving: Planned, Returning: Done} {
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

// Claim gives a worker up to n items that wait, all of one remedy, in their running order.
// Those that are done are claimed to be taken back, where back is true. may is asked while
// nothing changes: where it says no, there is nothing.
func (s *Store) Claim(ctx context.Context, t Turn, n int, back bool, may func(Campaign, Tally) bool) ([]Item, error) {
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
		count, err := tally(ctx, tx, all[0])
		if err != nil || !may(all[0], count) {
			return err
		}
		if frozen, err := frozen(ctx, tx, s.now()); err != nil || len(frozen) > 0 && !back {
			return err
		}
		wanted, taken := Planned, Moving
		if back {
			wanted, taken = Done, Returning
		}
		items, err = s.choose(ctx, tx, all[0], wanted, n)
		if err != nil || len(items) == 0 {
			return err
		}
		var numbers []int64
		for i := range items {
			numbers = append(numbers, items[i].Number)
			items[i].State = taken
			items[i].Attempts++
		}
		these, arg := tx.Ints("number", numbers)
		now := seconds(s.now())
		_, err = tx.Exec(ctx, "UPDATE campaign_items SET state = ?, slot = ?, attempts = attempts + 1, started = CASE WHEN started = 0 THEN ? ELSE started END"+
			" WHERE campaign = ? AND "+these, string(taken), t.Slot, now, t.Campaign, arg)
		return err
	})
	return items, err
}

// choose gives the items that are next, all of the remedy of the first.
func (s *Store) choose(ctx context.Context, tx store.Tx, c Campaign, state State, n int) ([]Item, error) {
	const where = "i.campaign = ? AND i.wave = ? AND i.state = ? AND i.retry <= ?"
	args := []any{c.ID, c.Wave, string(state), seconds(s.now())}
	first, err := readItems(ctx, tx, where+" ORDER BY i.number LIMIT 1", args...)
	if err != nil || len(first) == 0 || n <= 1 {
		return first, err
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
