package sbom

import (
	"container/list"
	"sync"
)

// recent keeps what was used last, up to a total size.
type recent[V any] struct {
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

func newRecent[V any](most int64) *recent[V] {
	return &recent[V]{most: most, order: list.New(), by: map[string]*list.Element{}}
}

func (r *recent[V]) get(key string) (value V, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.by[key]
	if !ok {
		return value, false
	}
	r.order.MoveToFront(at)
	return at.Value.(*kept[V]).value, true
}

// put keeps the value. The one that was put last stays, whatever its size.
func (r *recent[V]) put(key string, value V, size int64) {
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

func (r *recent[V]) drop(at *list.Element) {
	k := r.order.Remove(at).(*kept[V])
	delete(r.by, k.key)
	r.size -= k.size
}
