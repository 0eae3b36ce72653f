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
	mu   sync.Mutex
	view view
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

// load reads what the transaction sees and nobody has read before.
func (s *stacks) load(ctx context.Context, tx store.Tx) (view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.view
	var numbers []int32 // of all sets; those of one are a part of it
	err := tx.Each(ctx, func(scan func(...any) error) error {
		var id int64
		var row sql.RawBytes // good until the next row
		if err := scan(&id, &row); err != nil {
			return err
		}
		start := len(numbers)
		numbers = decodeNumbers(numbers, row)
		v.sets = append(grow(v.sets, id), numbers[start:len(numbers):len(numbers)])
		return nil
	}, "SELECT id, packages FROM sets WHERE id >= ? ORDER BY id", len(v.sets))
	if err != nil {
		return view{}, err
	}
	var places []positioned // of all stacks
	err = tx.Each(ctx, func(scan func(...any) error) error {
		var id int64
		var row sql.RawBytes
		if err := scan(&id, &row); err != nil {
			return err
		}
		start := len(places)
		var base int
		base, places = decodeStack(places, row)
		for _, p := range places[start:] {
			if p.set >= int64(len(v.sets)) {
				return fault.Newf(fault.Failed, "read the inventory", "", "it is damaged: a stack names a set that is not there").
					WithHint("remove the database: it can be rebuilt from the registries")
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

func (m members) has(id int64) bool { return id >= 0 && id < int64(len(m)) && m[id] == 1 }

// having marks the stacks that hold one of the packages, and counts them.
func (v view) having(packages members) (marked members, count int) {
	hit := make([]bool, len(v.sets))
	for id, set := range v.sets {
		for _, p := range set {
			if int(p) < len(packages) && packages[p] == 1 {
				hit[id] = true
				break
			}
		}
	}
	marked = make(members, len(v.stacks))
	for id, stack := range v.stacks {
		for _, s := range stack.sets {
			if int(s.set) < len(hit) && hit[s.set] {
				marked[id] = 1
				count++
				break
			}
		}
	}
	return marked, count
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
