package logline

import (
	"container/heap"
	"iter"
)

// Merge yields the values of sorted sources in one order. less compares values of
// two sources; the order within a source is never changed, and of equal ones those
// of the earlier source come first, so that what belongs to a line stays with it.
func Merge[T any](less func(a, b T) bool, sources ...iter.Seq[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		h := &heads[T]{less: less}
		for i, s := range sources {
			next, stop := iter.Pull(s)
			defer stop()
			if v, ok := next(); ok {
				h.items = append(h.items, head[T]{v, i, next})
			}
		}
		heap.Init(h)
		for len(h.items) > 0 {
			first := &h.items[0]
			if !yield(first.value) {
				return
			}
			var ok bool
			if first.value, ok = first.next(); ok {
				heap.Fix(h, 0)
			} else {
				heap.Pop(h)
			}
		}
	}
}

// head is the first value of a source that has not been yielded.
type head[T any] struct {
	value  T
	source int
	next   func() (T, bool)
}

type heads[T any] struct {
	less  func(a, b T) bool
	items []head[T]
}

func (h *heads[T]) Len() int      { return len(h.items) }
func (h *heads[T]) Swap(i, j int) { h.items[i], h.items[j] = h.items[j], h.items[i] }
func (h *heads[T]) Push(x any)    { h.items = append(h.items, x.(head[T])) }

func (h *heads[T]) Less(i, j int) bool {
	a, b := h.items[i], h.items[j]
	switch {
	case h.less(a.value, b.value):
		return true
	case h.less(b.value, a.value):
		return false
	}
	return a.source < b.source
}

func (h *heads[T]) Pop() any {
	last := h.items[len(h.items)-1]
	h.items = h.items[:len(h.items)-1]
	return last
}
