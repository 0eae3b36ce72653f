package campaigns

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// Patch is what campaigns are made of: one, or for an automatic one as many as changes ask for.
type Patch struct {
	Name string             `json:"name"`
	Spec v1alpha1.PatchSpec `json:"spec"`
	Due  time.Time          `json:"due,omitzero"`   // when it is to be planned again; zero: when something changes
	Told string             `json:"told,omitempty"` // what changed
}

const patchColumns = "name, spec, due, told"

func scanPatch(scan func(...any) error) (Patch, error) {
	var p Patch
	var spec string
	var due int64
	err := scan(&p.Name, &spec, &due, &p.Told)
	p.Due = moment(due)
	return p, errors.Join(err, json.Unmarshal([]byte(spec), &p.Spec))
}

// Declare keeps what a patch says. Its campaigns stay as they are.
func (s *Store) Declare(ctx context.Context, name string, spec v1alpha1.PatchSpec) error {
	return s.db.Write(ctx, func(tx store.Tx) error {
		known, err := tx.Int(ctx, "SELECT count(*) FROM patches WHERE name = ?", name)
		if err != nil {
			return err
		}
		if known > 0 {
			_, err = tx.Exec(ctx, "UPDATE patches SET spec = ? WHERE name = ?", text(spec), name)
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO patches ("+patchColumns+") VALUES (?, ?, 0, '')", name, text(spec))
		return err
	})
}

// Patches gives all patches by name.
func (s *Store) Patches(ctx context.Context) ([]Patch, error) {
	var all []Patch
	err := s.db.Read(ctx, func(tx store.Tx) error {
		return tx.Each(ctx, func(scan func(...any) error) error {
			p, err := scanPatch(scan)
			all = append(all, p)
			return err
		}, "SELECT "+patchColumns+" FROM patches ORDER BY name")
	})
	return all, err
}

// Tell says when a patch is to be planned and what changed. Of several changes the earliest
// moment and the first words stand, so that a burst of them is one. What is told while
// somebody plans is not lost: see Planned.
func (s *Store) Tell(ctx context.Context, name, told string, due time.Time) error {
	return s.db.Write(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE patches SET due = CASE WHEN due = 0 THEN ? ELSE due END, told = CASE WHEN told = '' THEN ? ELSE told END WHERE name = ?",
			seconds(due), bounded(told), name)
		return err
	})
}

// TakeDue gives a patch that is to be planned now to one caller alone; false where there is
// none. A caller that ends before Planned leaves it to others at the moment until.
func (s *Store) TakeDue(ctx context.Context, until time.Time) (Patch, bool, error) {
	var found []Patch
	now := seconds(s.now())
	due := func(tx store.Tx) error {
		found = nil
		return tx.Each(ctx, func(scan func(...any) error) error {
			p, err := scanPatch(scan)
			found = append(found, p)
			return err
		}, "SELECT "+patchColumns+" FROM patches WHERE due > 0 AND due <= ? ORDER BY due, name LIMIT 1", now)
	}
	if err := s.db.Read(ctx, due); err != nil || len(found) == 0 {
		return Patch{}, false, err // without waiting for a writer
	}
	err := s.db.Write(ctx, func(tx store.Tx) error {
		if err := due(tx); err != nil || len(found) == 0 {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE patches SET due = ?, told = '' WHERE name = ?", seconds(until), found[0].Name)
		found[0].Due = until
		return err
	})
	if err != nil || len(found) == 0 {
		return Patch{}, false, err
	}
	return found[0], true, nil
}

// Planned says that the patch that TakeDue gave was planned. What was told meanwhile is due at
// that moment.
func (s *Store) Planned(ctx context.Context, p Patch, again time.Time) error {
	return s.db.Write(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE patches SET due = CASE WHEN told = '' THEN 0 ELSE ? END WHERE name = ? AND due = ?",
			seconds(again), p.Name, seconds(p.Due))
		return err
	})
}

// Freeze is a time in which nothing starts.
type Freeze struct {
	ID     int64     `json:"id"`
	Owner  string    `json:"owner"`
	Reason string    `json:"reason"`
	Began  time.Time `json:"began"`
	Until  time.Time `json:"until"`
}

// Freeze begins one. It always has an owner, a reason and an end.
func (s *Store) Freeze(ctx context.Context, owner, reason string, until time.Time) (Freeze, error) {
	f := Freeze{Owner: bounded(owner), Reason: bounded(reason), Began: moment(seconds(s.now())), Until: moment(seconds(until))}
	if owner == "" || reason == "" || !until.After(s.now()) {
		return f, fault.Newf(fault.Usage, "freeze", "", "a freeze has an owner, a reason and an end that is to come").
			WithHint("say --owner, --reason and --until")
	}
	err := s.db.Write(ctx, func(tx store.Tx) (err error) {
		if f.ID, err = tx.Take(ctx, "freezes", 1); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO freezes (id, owner, reason, began, ended, lifted_by) VALUES (?, ?, ?, ?, ?, '')",
			f.ID, f.Owner, f.Reason, seconds(f.Began), seconds(f.Until))
		return err
	})
	return f, err
}

// Frozen gives the freezes that last, the one that ends last first.
func (s *Store) Frozen(ctx context.Context) ([]Freeze, error) {
	var all []Freeze
	err := s.db.Read(ctx, func(tx store.Tx) (err error) {
		all, err = frozen(ctx, tx, s.now())
		return err
	})
	return all, err
}

func frozen(ctx context.Context, tx store.Tx, now time.Time) ([]Freeze, error) {
	var all []Freeze
	err := tx.Each(ctx, func(scan func(...any) error) error {
		var f Freeze
		var began, ended int64
		err := scan(&f.ID, &f.Owner, &f.Reason, &began, &ended)
		f.Began, f.Until = moment(began), moment(ended)
		all = append(all, f)
		return err
	}, "SELECT id, owner, reason, began, ended FROM freezes WHERE ended > ? ORDER BY ended DESC, id", seconds(now))
	return all, err
}

// Thaw ends all freezes, and keeps who did. It gives how many there were.
func (s *Store) Thaw(ctx context.Context, by string) (int64, error) {
	var n int64
	err := s.db.Write(ctx, func(tx store.Tx) (err error) {
		now := seconds(s.now())
		n, err = tx.Exec(ctx, "UPDATE freezes SET ended = ?, lifted_by = ? WHERE ended > ?", now, bounded(by), now)
		return err
	})
	return n, err
}
