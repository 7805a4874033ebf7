package store

import (
	"encoding/json"
	"sync"
)

// decoded keeps what JSON texts of rows say: a node's is read some twenty times while it
// is made, and does not change. The zero value is empty and ready.
type decoded[T any] struct {
	mu sync.RWMutex
	by map[string]*T // by text
}

// maxDecoded bounds how many texts are kept.
const maxDecoded = 1 << 15

// of returns what a text says, nil for "". The answer is shared: nobody may change it.
func (d *decoded[T]) of(text string) (*T, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // as the row has it
	}
	d.mu.RLock()
	v := d.by[text]
	d.mu.RUnlock()
	if v != nil {
		return v, nil
	}
	v = new(T)
	if err := json.Unmarshal([]byte(text), v); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.by == nil || len(d.by) >= maxDecoded {
		d.by = map[string]*T{} // those in use come back
	}
	d.by[text] = v
	return v, nil
}
