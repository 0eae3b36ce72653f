package feed

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

const (
	maxChanges = 256 << 20 // bytes of a list of changes
	// Beyond this many changes, and this share of all records, the archive of all is the
	// shorter way.
	fewChanges    = 64
	shareOfChange = 50
)

// syncChanges brings a part up to date from the feed's modified_id.csv, which lists when
// each record was last modified, and fetches only the records that are newer than ours. It
// gives false when that is not possible, or not the shorter way.
func (s *syncer) syncChanges(ctx context.Context, o *origin, p *part) (done bool, err error) {
	text, seen, err := o.small(ctx, p.name+"/modified_id.csv", p.Index, maxChanges)
	if errors.Is(err, errAbsent) {
		return false, nil
	}
	if err != nil || text == nil {
		return err == nil, err
	}
	modified, err := parseChanges(text)
	if err != nil {
		return false, err
	}
	wanted, complete, err := p.behind(modified)
	if err != nil || !complete || len(wanted) > fewChanges+p.Records/shareOfChange {
		return false, err
	}
	if len(wanted) > 0 {
		changed, err := s.fetchRecords(ctx, o, p.name, wanted)
		if errors.Is(err, errAbsent) || errors.Is(err, errUnreadable) {
			return false, nil // the archive of all tells whether that is one record, or a broken feed
		}
		if err != nil {
			return false, err
		}
		if err := p.replace(ctx, overlay(readEntries(p.records()), changed), nil, s.Force); err != nil {
			return false, err
		}
		p.Input = "" // it is not what any archive of all made
	}
	p.Index = seen
	return true, nil
}

// parseChanges reads lines of a time and an id.
func parseChanges(text []byte) (map[string]time.Time, error) {
	modified := map[string]time.Time{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		stamp, id, _ := strings.Cut(strings.TrimRight(lines.Text(), "\r"), ",")
		at, err := time.Parse(time.RFC3339, stamp)
		if err != nil || !osv.ValidID(id) || len(modified) == maxRecords {
			return nil, fmt.Errorf("modified_id.csv: line %d: %.80q is none of it", n, lines.Text())
		}
		modified[id] = at
	}
	return modified, lines.Err()
}

// behind gives the ids of records that are newer than ours, sorted, and whether the list
// has all of ours. It empties modified.
func (p *part) behind(modified map[string]time.Time) (ids []string, complete bool, err error) {
	for e, err := range readEntries(p.records()) {
		if err != nil {
			return nil, false, err
		}
		at, listed := modified[e.id]
		if !listed {
			return nil, false, nil
		}
		if delete(modified, e.id); at.After(e.modified) {
			ids = append(ids, e.id)
		}
	}
	for id := range modified {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, true, nil
}

// errUnreadable says that a record is none, or another's.
var errUnreadable = errors.New("the record cannot be read")

// fetchRecords gives the records of the ids, in that order.
func (s *syncer) fetchRecords(ctx context.Context, o *origin, ecosystem string, ids []string) ([]entry, error) {
	entries := make([]entry, len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(connections)
	for i, id := range ids {
		group.Go(func() error {
			text, _, err := o.small(ctx, ecosystem+"/"+id+".json", validators{}, osv.MaxRecord)
			if err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
			if entries[i], err = newEntry(id, text); err != nil {
				return fmt.Errorf("%s: %w: %w", id, errUnreadable, err)
			}
			return nil
		})
	}
	return entries, group.Wait()
}

// overlay gives the entries of base, and those of over in their places; both are sorted.
func overlay(base iter.Seq2[entry, error], over []entry) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for e, err := range base {
			for err == nil && len(over) > 0 && over[0].id < e.id {
				if !yield(over[0], nil) {
					return
				}
				over = over[1:]
			}
			if err == nil && len(over) > 0 && over[0].id == e.id {
				e, over = over[0], over[1:]
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
		for _, e := range over {
			if !yield(e, nil) {
				return
			}
		}
	}
}
