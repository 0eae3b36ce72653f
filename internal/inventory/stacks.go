package inventory

import (
	"context"
	"database/sql"
	"iter"
	"sync"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory/store"
)

// stacks remembers package sets and stacks, which never change and whose numbers are never
// given twice: what is remembered stays true, and only what is new is read. A question
// about packages is a pass over some thousand stacks, not over all images.
//
// A view's slices are only ever appended to, so one that was given stays whole.
type stacks struct {
	mu      sync.Mutex
	view    view
	changes int64 // to images, when counts were taken
	counts  []int
}

// view is what was known at one moment; the index is a row's number.
type view struct {
	sets   [][]int32 // the packages of a set, ascending
	stacks []stack
}

type stack struct {
	baseLayers int
	sets       []positioned
}

// block is how many numbers are made room for at once.
const block = 1 << 16

// load reads what the transaction sees and nobody has read before.
func (s *stacks) load(ctx context.Context, tx store.Tx) (view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.view
	var numbers []int32 // of many sets; those of one are a part of it
	err := tx.Each(ctx, func(scan func(...any) error) error {
		var id int64
		var row sql.RawBytes // good until the next row
		if err := scan(&id, &row); err != nil {
			return err
		}
		if cap(numbers)-len(numbers) < len(row) { // no number takes less than a byte
			numbers = make([]int32, 0, max(len(row), block))
		}
		start := len(numbers)
		numbers = decodeNumbers(numbers, row)
		v.sets = append(grow(v.sets, id), numbers[start:len(numbers):len(numbers)])
		return nil
	}, "SELECT id, packages FROM sets WHERE id >= ? ORDER BY id", len(v.sets))
	if err != nil {
		return view{}, err
	}
	var places []positioned // of many stacks
	err = tx.Each(ctx, func(scan func(...any) error) error {
		var id int64
		var row sql.RawBytes
		if err := scan(&id, &row); err != nil {
			return err
		}
		if cap(places)-len(places) < len(row) {
			places = make([]positioned, 0, max(len(row), block))
		}
		start := len(places)
		var base int
		base, places = decodeStack(places, row)
		for _, p := range places[start:] {
			if p.set >= int64(len(v.sets)) {
				return damaged("a stack names a set that is not there")
			}
		}
		v.stacks = append(grow(v.stacks, id), stack{base, places[start:len(places):len(places)]})
		return nil
	}, "SELECT id, sets FROM stacks WHERE id >= ? ORDER BY id", len(v.stacks))
	if err != nil {
		return view{}, err
	}
	s.view = v
	return v, nil
}

func damaged(why string) error {
	return fault.Newf(fault.Failed, "read the inventory", "", "it is damaged: "+why).
		WithHint("remove the database: it can be rebuilt from the registries")
}

// changes counts what was done to images: while it is the same, so are they.
const changes = "changes"

// held counts the images of each stack that a reference names now, unless nothing was done
// to images since that was counted before.
func (s *stacks) held(ctx context.Context, tx store.Tx, count func() ([]int, error)) ([]int, error) {
	now, err := tx.Int(ctx, "SELECT next FROM counters WHERE name = ?", changes)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil || s.changes != now {
		counts, err := count()
		if err != nil {
			return nil, err
		}
		s.changes, s.counts = now, counts
	}
	return s.counts, nil
}

// grow appends zero values until the next index is id: for numbers that are not in use.
func grow[T any](list []T, id int64) []T {
	for int64(len(list)) < id {
		var none T
		list = append(list, none)
	}
	return list
}

// members marks numbers: 1 at the index of each that belongs.
type members []byte

func membersOf(ids []int64) members {
	var highest int64 = -1
	for _, id := range ids {
		highest = max(highest, id)
	}
	m := make(members, highest+1)
	for _, id := range ids {
		m[id] = 1
	}
	return m
}

// list gives the numbers that are marked.
func (m members) list() []int64 {
	var ids []int64
	for id := range m {
		if m[id] == 1 {
			ids = append(ids, int64(id))
		}
	}
	return ids
}

// and, or and others join marks over the same numbers.
func (m members) and(n members) members { return m.joined(n, func(a, b byte) byte { return a & b }) }
func (m members) or(n members) members  { return m.joined(n, func(a, b byte) byte { return a | b }) }
func (m members) others() members       { return m.joined(m, func(a, _ byte) byte { return 1 - a }) }

func (m members) joined(n members, how func(a, b byte) byte) members {
	all := make(members, len(m))
	for id := range m {
		all[id] = how(m[id], n[id])
	}
	return all
}

func (m members) has(id int64) bool { return id >= 0 && id < int64(len(m)) && m[id] == 1 }

// having marks the stacks that hold one of the packages.
func (v view) having(packages members) members {
	hit := make([]bool, len(v.sets))
	for id, set := range v.sets {
		for _, p := range set {
			if int(p) < len(packages) && packages[p] == 1 {
				hit[id] = true
				break
			}
		}
	}
	marked := make(members, len(v.stacks))
	for id, stack := range v.stacks {
		for _, s := range stack.sets {
			if int(s.set) < len(hit) && hit[s.set] {
				marked[id] = 1
				break
			}
		}
	}
	return marked
}

// packagesOf gives the packages of a stack, each with the set that holds it.
func (v view) packagesOf(number int64) iter.Seq2[int64, positioned] {
	return func(yield func(int64, positioned) bool) {
		if number < 0 || number >= int64(len(v.stacks)) {
			return
		}
		for _, s := range v.stacks[number].sets {
			for _, p := range v.sets[s.set] {
				if !yield(int64(p), s) {
					return
				}
			}
		}
	}
}
