package wire

import (
	"errors"
	"sync"
)

// ErrClosed is what a closed Sender says.
var ErrClosed = errors.New("the stream has ended")

// Sender sends pieces as the other side has room for them.
type Sender struct {
	conn *Conn

	mu     sync.Mutex
	more   *sync.Cond
	credit int
	closed bool
}

// NewSender gives a Sender with a whole Window.
func NewSender(conn *Conn) *Sender {
	s := &Sender{conn: conn, credit: Window}
	s.more = sync.NewCond(&s.mu)
	return s
}

// Grant lets n more bytes go.
func (s *Sender) Grant(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credit = min(s.credit+n, Window)
	s.more.Broadcast()
}

// Close has all that wait, and all that come, fail with ErrClosed.
func (s *Sender) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.more.Broadcast()
}

// Send sends p in frames of the kind, each when there is room for it.
func (s *Sender) Send(kind Kind, p []byte) error {
	for len(p) > 0 {
		n, err := s.take(min(len(p), MaxPiece))
		if err != nil {
			return err
		}
		if err := s.conn.Send(kind, p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// take waits for room and takes up to n bytes of it.
func (s *Sender) take(n int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.credit == 0 && !s.closed {
		s.more.Wait()
	}
	if s.closed {
		return 0, ErrClosed
	}
	n = min(n, s.credit)
	s.credit -= n
	return n, nil
}

// Writer gives an io.Writer whose bytes go out in frames of the kind.
func (s *Sender) Writer(kind Kind) Writer { return Writer{s, kind} }

// Writer is an io.Writer of one kind of frames.
type Writer struct {
	sender *Sender
	kind   Kind
}

func (w Writer) Write(p []byte) (int, error) {
	if err := w.sender.Send(w.kind, p); err != nil {
		return 0, err
	}
	return len(p), nil
}
