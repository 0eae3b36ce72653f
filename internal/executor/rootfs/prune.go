package rootfs

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Pruned says what Prune did.
type Pruned struct {
	Roots, Layers int   // removed
	Kept          int   // roots and layers that are left
	Freed, Left   int64 // bytes on disk, as counted by whole blocks of 4 KiB
}

// item is one layer or root on disk.
type item struct {
	name   string // of its lock
	dir    string
	bytes  int64
	used   time.Time
	layers []string // of a root: the folders of its layers
}

// Prune removes what was not used for the longest time until at most maxBytes are left. A
// layer goes only after every root that is made of it, since its bytes stay on disk until
// then. What is in use stays, and what stays is brought to disk for good. When ctx ends, what was
// done is given with an error of kind Canceled.
func (s *Store) Prune(ctx context.Context, maxBytes int64) (Pruned, error) {
	done, err := s.prune(ctx, maxBytes)
	if settled := s.settle(); err == nil { // also of what an interrupted one leaves
		err = settled
	}
	switch {
	case err == nil:
		return done, nil
	case ctx.Err() != nil:
		return done, fault.New(fault.Canceled, "prune layer cache", "", ctx.Err())
	}
	return done, fault.New(fault.Failed, "prune layer cache", "", err)
}

func (s *Store) prune(ctx context.Context, maxBytes int64) (Pruned, error) {
	if err := s.sweep(ctx); err != nil {
		return Pruned{}, err
	}
	items, err := s.items()
	if err != nil {
		return Pruned{}, err
	}
	done := Pruned{Kept: len(items)}
	inRoots := map[string]int{}
	for _, it := range items {
		done.Left += it.bytes
		for _, l := range it.layers {
			inRoots[l]++
		}
	}
	// A layer is used whenever a root of it is, so this order takes roots first.
	slices.SortStableFunc(items, func(a, b item) int { return a.used.Compare(b.used) })
	for progress := true; progress && done.Left > maxBytes; {
		progress = false
		for i, it := range items {
			if it.dir == "" || inRoots[it.dir] > 0 {
				continue
			}
			items[i].dir = "" // looked at once, whether it could be taken or not
			if err := ctx.Err(); err != nil {
				return done, err
			}
			removed, err := s.take(ctx, it)
			if err != nil {
				return done, fmt.Errorf("%s: %w", it.name, err)
			}
			if !removed {
				continue
			}
			progress = true
			done.Kept--
			done.Left, done.Freed = done.Left-it.bytes, done.Freed+it.bytes
			if it.layers == nil {
				done.Layers++
			} else {
				done.Roots++
			}
			for _, l := range it.layers {
				inRoots[l]--
			}
			break
		}
	}
	return done, nil
}

// Held says how many layers and roots there are, and what they take on disk, in bytes as Pruned counts them.
func (s *Store) Held() (entries int, bytes int64, err error) {
	items, err := s.items()
	if err != nil {
		return 0, 0, fault.New(fault.Failed, "measure layer cache", "", err)
	}
	for _, it := range items {
		bytes += it.bytes
	}
	return len(items), bytes, nil
}

// take removes one item unless it is in use.
func (s *Store) take(ctx context.Context, it item) (bool, error) {
	held, err := tryLock(filepath.Join(s.dir, "locks", it.name), exclusive)
	if errors.Is(err, errBusy) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer held.remove()
	// Out of sight at once, then removed at leisure: who is interrupted leaves it to the next sweep.
	err = s.discard(ctx, it.dir)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // another Prune was first
	}
	return err == nil, err
}

func (s *Store) discard(ctx context.Context, dir string) error {
	tmp := filepath.Join(s.dir, "tmp", rand.Text())
	held, err := tryLock(tmp+".lock", exclusive)
	if err != nil {
		return err
	}
	if err := os.Rename(dir, tmp); err != nil {
		held.remove()
		return err
	}
	return dispose(ctx, tmp, held)
}

func (s *Store) items() ([]item, error) {
	var out []item
	for _, sort := range []string{"roots", "layers"} {
		list, err := os.ReadDir(filepath.Join(s.dir, sort))
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			it, err := s.item(sort, e.Name())
			if errors.Is(err, os.ErrNotExist) {
				continue // gone since the folder was listed
			}
			if err != nil {
				return nil, err
			}
			out = append(out, it)
		}
	}
	return out, nil
}

func (s *Store) item(sort, name string) (item, error) {
	it := item{name: strings.TrimSuffix(sort, "s") + "-" + name, dir: filepath.Join(s.dir, sort, name)}
	if st, err := os.Stat(filepath.Join(s.dir, "locks", it.name)); err == nil {
		it.used = st.ModTime()
	}
	if sort == "layers" {
		var err error
		it.bytes, err = readSize(it.dir)
		return it, err
	}
	record, err := readRecord(it.dir)
	it.bytes, it.layers = record.Bytes, []string{}
	for _, l := range record.Layers {
		it.layers = append(it.layers, s.layerDir(l))
	}
	return it, err
}

func readSize(dir string) (int64, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "size.json"))
	if err != nil {
		return 0, err
	}
	var n int64
	return n, json.Unmarshal(raw, &n)
}
