package scheduler

import "iter"

// overlay is a table of records with changes that are not committed yet. A
// changed record that is nil was deleted.
type overlay[V any] struct {
	base    map[string]*V
	changed map[string]*V
}

func over[V any](base map[string]*V) overlay[V] {
	return overlay[V]{base: base, changed: map[string]*V{}}
}

func (o *overlay[V]) get(id string) *V {
	if v, ok := o.changed[id]; ok {
		return v
	}
	return o.base[id]
}

func (o *overlay[V]) put(id string, v *V) { o.changed[id] = v }

func (o *overlay[V]) remove(id string) { o.changed[id] = nil }

// all yields the records in no order.
func (o *overlay[V]) all() iter.Seq2[string, *V] {
	return func(yield func(string, *V) bool) {
		for id, v := range o.base {
			if _, ok := o.changed[id]; !ok && !yield(id, v) {
				return
			}
		}
		for id, v := range o.changed {
			if v != nil && !yield(id, v) {
				return
			}
		}
	}
}

// merge makes the changes part of the base.
func (o *overlay[V]) merge() {
	for id, v := range o.changed {
		if v == nil {
			delete(o.base, id)
		} else {
			o.base[id] = v
		}
	}
}
