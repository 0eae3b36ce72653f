package program

import (
	"context"
	"os"
	"sync"
	"time"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/sandbox"
	"plimsoll.dev/plimsoll/internal/site/caches"
)

// pruneEvery is how long what is unpacked goes unbounded: looking at all of it takes longer
// than many a command.
const pruneEvery = 10 * time.Minute

// steps is the executor of this machine, opened when a command first needs it.
type steps struct {
	dir    string
	getenv func(string) string // says what caches may hold

	mu      sync.Mutex
	sandbox *sandbox.Sandbox
}

func (s *steps) open(ctx context.Context) (executor.Executor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sandbox != nil { // a process that opens it again lives long
		s.prune(ctx)
		return s.sandbox, nil
	}
	var err error
	s.sandbox, err = sandbox.New(s.dir, sandbox.Options{})
	if err != nil {
		return nil, err
	}
	return s.sandbox, nil
}

// close bounds what was unpacked, and has it outlast a power cut.
func (s *steps) close(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sandbox != nil {
		s.prune(ctx)
	}
}

// prune bounds what is unpacked, now and then.
func (s *steps) prune(ctx context.Context) {
	stamp := s.dir + ".pruned"
	if last, err := os.Stat(stamp); err == nil && time.Since(last.ModTime()) < pruneEvery {
		return
	}
	total, err := caches.Total(s.getenv)
	if err != nil {
		return // it is told where caches are asked for
	}
	if _, err := s.sandbox.Prune(ctx, caches.Bound(caches.Roots, total)); err == nil { // a cache: another command tries again
		_ = aside.WriteBytes(stamp, nil)
	}
}
