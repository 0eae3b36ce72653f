// Package recent takes values with their sizes and gives those that were used last, up to a total
// size.
package recent

import (
	"container/list"
	"sync"
)

// Values keeps what was used last. It is safe for concurrent use; nil keeps nothing.
type Values[V any] struct {
	most int64

	mu    sync.Mutex
	size  int64
	order *list.List // of *kept[V], the last used first
	by    map[string]*list.Element
}

type kept[V any] struct {
	key   string
	value V
	size  int64
}

// New gives one that keeps so much: of whatever Put's sizes are in, bytes mostly.
func New[V any](most int64) *Values[V] {
	return &Values[V]{most: most, order: list.New(), by: map[string]*list.Element{}}
}

// Get gives the value, if it is still kept.
func (r *Values[V]) Get(key string) (value V, ok bool) {
	if r == nil {
		return value, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.by[key]
	if !ok {
		return value, false
	}
	r.order.MoveToFront(at)
	return at.Value.(*kept[V]).value, true
}

// Put keeps the value. The one that was put last stays, whatever its size.
func (r *Values[V]) Put(key string, value V, size int64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.by[key]; ok {
		r.drop(at)
	}
	r.by[key] = r.order.PushFront(&kept[V]{key, value, size})
	r.size += size
	for r.size > r.most && r.order.Len() > 1 {
		r.drop(r.order.Back())
	}
}

func (r *Values[V]) drop(at *list.Element) {
	k := r.order.Remove(at).(*kept[V])
	delete(r.by, k.key)
	r.size -= k.size
}
