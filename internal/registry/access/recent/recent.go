// Package recent takes values by key and gives back those that were used last, up to a bound.
package recent

import "container/list"

// Table remembers so many values. Who was not asked for longest is forgotten. It is not safe
// for concurrent use.
type Table[K comparable, V any] struct {
	most    int
	entries map[K]*list.Element
	order   *list.List // the latest used first
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// New gives an empty table for so many.
func New[K comparable, V any](most int) Table[K, V] {
	return Table[K, V]{most, map[K]*list.Element{}, list.New()}
}

// Find gives the value of the key; ok is false where there is none.
func (t *Table[K, V]) Find(key K) (v V, ok bool) {
	at, ok := t.entries[key]
	if !ok {
		return v, false
	}
	t.order.MoveToFront(at)
	return at.Value.(*entry[K, V]).value, true
}

// Get is Find that makes the value with fresh where there is none.
func (t *Table[K, V]) Get(key K, fresh func() V) V {
	if v, ok := t.Find(key); ok {
		return v
	}
	if len(t.entries) >= t.most {
		delete(t.entries, t.order.Remove(t.order.Back()).(*entry[K, V]).key)
	}
	e := &entry[K, V]{key, fresh()}
	t.entries[key] = t.order.PushFront(e)
	return e.value
}

// Forget removes the key.
func (t *Table[K, V]) Forget(key K) {
	if at, ok := t.entries[key]; ok {
		t.order.Remove(at)
		delete(t.entries, key)
	}
}

// Len says how many are remembered.
func (t *Table[K, V]) Len() int { return len(t.entries) }
