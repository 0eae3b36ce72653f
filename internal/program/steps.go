package program

import (
	"sync"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/sandbox"
)

// rootBytes bounds the unpacked layers that are kept for steps, in bytes.
const rootBytes = 30 << 30

// steps is the executor of this machine, opened when a command first needs it.
type steps struct {
	dir string

	mu      sync.Mutex
	sandbox *sandbox.Sandbox
}

func (s *steps) open() (executor.Executor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sandbox == nil {
		var err error
		if s.sandbox, err = sandbox.New(s.dir, sandbox.Options{}); err != nil {
			return nil, err
		}
	}
	return s.sandbox, nil
}

// close bounds what was unpacked, and has it outlast a power cut.
func (s *steps) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sandbox != nil {
		_, _ = s.sandbox.Prune(rootBytes) // a cache: the next command tries again
	}
}
