package program

import (
	"context"
	"net/http"
	"sync"

	"plimsoll.dev/plimsoll/internal/registry"
)

// store is the local store, opened when a command first needs it.
type store struct {
	root string

	mu       sync.Mutex
	registry *registry.Registry
}

func (s *store) open(ctx context.Context) (http.RoundTripper, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.registry == nil {
		var err error
		if s.registry, err = registry.Open(ctx, registry.Options{Root: s.root}); err != nil {
			return nil, err
		}
	}
	return s.registry.Transport(), nil
}

func (s *store) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.registry != nil {
		_ = s.registry.Close() // it holds nothing that is not on disk already
	}
}
