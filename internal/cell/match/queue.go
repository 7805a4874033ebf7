package match

import "container/heap"

// queue is workers, the preferred one first.
type queue []*worker

func (q *queue) init() { heap.Init((*ordered)(q)) }
func (q *queue) pop()  { heap.Pop((*ordered)(q)) }
func (q *queue) fix()  { heap.Fix((*ordered)(q), 0) }

// ordered is a queue as container/heap wants it.
type ordered []*worker

func (o ordered) Len() int           { return len(o) }
func (o ordered) Less(a, b int) bool { return less(o[a], o[b]) }
func (o ordered) Swap(a, b int)      { o[a], o[b] = o[b], o[a] }
func (o *ordered) Push(x any)        { *o = append(*o, x.(*worker)) }
func (o *ordered) Pop() any {
	old := *o
	w := old[len(old)-1]
	*o = old[:len(old)-1]
	return w
}
