package site

import (
	"context"
	"sync"
)

// turns lets one at a time work on a tag, in the order in which they came. The zero value is ready.
type turns struct {
	mu    sync.Mutex
	taken map[string]*turn
}

// turn is the turn of a tag.
type turn struct {
	busy    chan struct{} // holds one while somebody works; who waits to send is served in order
	waiting int           // how many hold it or wait for it
}

// take waits for the turn of a tag, and gives what ends it.
func (t *turns) take(ctx context.Context, tag string) (end func(), err error) {
	one := t.join(tag)
	select {
	case one.busy <- struct{}{}:
		return func() { t.leave(tag, one, true) }, nil
	case <-ctx.Done():
		t.leave(tag, one, false)
		return nil, ctx.Err()
	}
}

// try gives what ends the turn of a tag that nobody works on; nil where somebody does.
func (t *turns) try(tag string) (end func()) {
	one := t.join(tag)
	select {
	case one.busy <- struct{}{}:
		return func() { t.leave(tag, one, true) }
	default:
		t.leave(tag, one, false)
		return nil
	}
}

func (t *turns) join(tag string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken == nil {
		t.taken = map[string]*turn{}
	}
	one := t.taken[tag]
	if one == nil {
		one = &turn{busy: make(chan struct{}, 1)}
		t.taken[tag] = one
	}
	one.waiting++
	return one
}

func (t *turns) leave(tag string, one *turn, held bool) {
	if held {
		<-one.busy
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if one.waiting--; one.waiting == 0 {
		delete(t.taken, tag)
	}
}
