package sbom

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/cache"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/layer"
	"plimsoll.dev/plimsoll/internal/fault"
)

// layer gives what is known of the layer: from memory, from the cache, or by reading it.
// Who asks while another reads waits for that one.
func (s *Scanner) layer(ctx context.Context, l Layer) (*prepared, error) {
	for {
		mine, theirs := s.flights.join(l.DiffID)
		if mine != nil {
			known, err := s.make(ctx, l)
			s.flights.land(l.DiffID, mine, known, err)
			return known, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-theirs.landed:
		}
		// Another's end is not ours.
		if !errors.Is(theirs.err, context.Canceled) && !errors.Is(theirs.err, context.DeadlineExceeded) {
			return theirs.known, theirs.err
		}
	}
}

func (s *Scanner) make(ctx context.Context, l Layer) (*prepared, error) {
	if known, ok := s.layers.Get(l.DiffID); ok {
		return known, nil
	}
	record, ok := s.cached(l.DiffID)
	if !ok {
		var err error
		if record, err = s.scan(ctx, l); err != nil {
			return nil, err
		}
	}
	known := prepare(record)
	s.layers.Put(l.DiffID, known, known.size())
	return known, nil
}

// cached gives a layer's record from the cache if it is whole, of that layer, and made by
// the code at hand.
func (s *Scanner) cached(diffID string) (*layer.Record, bool) {
	if s.options.Cache == "" {
		return nil, false
	}
	text, ok := aside.ReadSealed(s.path(diffID))
	if !ok {
		return nil, false
	}
	var record layer.Record
	if json.Unmarshal(text, &record) != nil || record.DiffID != diffID || record.Recipe != layer.Recipe() {
		return nil, false
	}
	cache.Used(s.path(diffID))
	return &record, true
}

// scan reads the layer and puts its record into the cache.
func (s *Scanner) scan(ctx context.Context, l Layer) (*layer.Record, error) {
	select {
	case s.jobs <- struct{}{}:
		defer func() { <-s.jobs }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	packed, err := l.Open(ctx)
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "open layer", l.DiffID, err)
	}
	defer packed.Close()
	record, err := layer.Read(ctx, l.DiffID, packed, s.options.Layer)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(record)
	if err == nil && s.options.Cache != "" {
		err = aside.WriteSealed(s.path(l.DiffID), text)
	}
	if err == nil {
		err = s.proved(l)
	}
	if err != nil {
		return nil, fault.New(fault.Failed, "keep what is known of layer", l.DiffID, err)
	}
	return record, nil
}

// flights are the layers that are being read.
type flights struct {
	mu sync.Mutex
	by map[string]*flight
}

type flight struct {
	landed chan struct{} // closed when known and err are set
	known  *prepared
	err    error
}

// join gives a flight of the caller's own, who must land it, or the one under way.
func (f *flights) join(id string) (mine, theirs *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if theirs, ok := f.by[id]; ok {
		return nil, theirs
	}
	if f.by == nil {
		f.by = map[string]*flight{}
	}
	mine = &flight{landed: make(chan struct{})}
	f.by[id] = mine
	return mine, nil
}

func (f *flights) land(id string, mine *flight, known *prepared, err error) {
	mine.known, mine.err = known, err
	f.mu.Lock()
	delete(f.by, id)
	f.mu.Unlock()
	close(mine.landed)
}
