package pod

import (
	"errors"
	"io"
	"sync"

	"plimsoll.dev/plimsoll/internal/executor/pod/wire"
)

// printer hands what a step prints to the caller's writers, one write at a time, while the
// stream goes on: a writer that blocks holds back the step, by credit that is not given.
type printer struct {
	to map[wire.Kind]io.Writer

	mu     sync.Mutex
	more   *sync.Cond
	chunks []chunk
	held   int // bytes in chunks
	closed bool
	failed error // the first error of a writer; nothing is written after it
}

type chunk struct {
	kind  wire.Kind
	bytes []byte
}

func newPrinter(stdout, stderr io.Writer) *printer {
	p := &printer{to: map[wire.Kind]io.Writer{wire.Stdout: stdout, wire.Stderr: stderr}}
	for kind, w := range p.to {
		if w == nil {
			p.to[kind] = io.Discard
		}
	}
	p.more = sync.NewCond(&p.mu)
	return p
}

// add takes what came. A peer that sends more than it may is none of ours.
func (p *printer) add(kind wire.Kind, b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held += len(b); p.held > wire.Window {
		return errors.New("the agent sends more than it may")
	}
	if last := len(p.chunks) - 1; last >= 0 && p.chunks[last].kind == kind && len(p.chunks[last].bytes) < wire.MaxPiece {
		p.chunks[last].bytes = append(p.chunks[last].bytes, b...)
	} else {
		p.chunks = append(p.chunks, chunk{kind, append([]byte(nil), b...)})
	}
	p.more.Signal()
	return nil
}

// close has print end when all is written.
func (p *printer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.more.Signal()
}

// print writes until close, and says how many bytes were taken care of.
func (p *printer) print(done func(bytes int), broken func(error)) {
	for {
		c, ok := p.next()
		if !ok {
			return
		}
		if p.failed == nil {
			if _, err := p.to[c.kind].Write(c.bytes); err != nil {
				p.failed = err
				broken(err)
			}
		}
		p.mu.Lock()
		p.held -= len(c.bytes)
		p.mu.Unlock()
		done(len(c.bytes))
	}
}

func (p *printer) next() (chunk, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.chunks) == 0 {
		if p.closed {
			return chunk{}, false
		}
		p.more.Wait()
	}
	c := p.chunks[0]
	p.chunks = p.chunks[1:]
	return c, true
}
