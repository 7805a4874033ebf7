package count

import (
	"context"
	"fmt"
	"io"
	"iter"
	"unicode/utf8"
)

// MaxWord bounds a word, in bytes.
const MaxWord = 16 << 20

// separates says of every byte whether it stands between words.
var separates = [256]bool{' ': true, '\t': true, '\n': true, '\r': true, '\f': true}

// Table says how often each word occurs. Each word has a slot, a number from 0,
// by which a reader can keep what it knows about the word.
type Table struct {
	slots  map[string]int32
	counts []int64 // by slot
	sum    int64
}

// Len returns the number of different words.
func (t *Table) Len() int { return len(t.counts) }

// Sum returns the number of all words.
func (t *Table) Sum() int64 { return t.sum }

// Find returns the slot and count of a word.
func (t *Table) Find(word []byte) (slot int, times int64, ok bool) {
	i, ok := t.slots[string(word)]
	if !ok {
		return 0, 0, false
	}
	return int(i), t.counts[i], true
}

// All yields every word with its slot, in no order.
func (t *Table) All() iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		for word, i := range t.slots {
			if !yield(word, int(i)) {
				return
			}
		}
	}
}

// Times returns the count of a slot.
func (t *Table) Times(slot int) int64 { return t.counts[slot] }

// Words counts the words in the files of a tree. Progress, if not nil, is told
// of bytes as they are read.
func Words(ctx context.Context, t Tree, progress func(bytes int64)) (*Table, error) {
	c := newWordCounter()
	buf := make([]byte, bufferSize)
	err := t.each(ctx, func(_ string, r io.Reader) error {
		err := chunks(r, buf, func(chunk []byte) error {
			if progress != nil {
				progress(int64(len(chunk)))
			}
			return c.add(chunk)
		})
		c.end()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot count words below %s: %w", t.Root, err)
	}
	return &c.table, nil
}

// wordCounter keeps counts beside the map, so that the map is only written to
// for a new word.
type wordCounter struct {
	table Table
	open  []byte // start of a word that the last chunk did not end
}

func newWordCounter() *wordCounter {
	return &wordCounter{table: Table{slots: map[string]int32{}}}
}

func (c *wordCounter) add(chunk []byte) error {
	start := 0
	for i, b := range chunk {
		if !separates[b] {
			continue
		}
		if len(c.open) > 0 {
			c.open = append(c.open, chunk[start:i]...)
			c.end()
		} else if i > start {
			c.count(chunk[start:i])
		}
		start = i + 1
	}
	c.open = append(c.open, chunk[start:]...)
	if len(c.open) > MaxWord {
		return fmt.Errorf("a word is longer than %d bytes", MaxWord)
	}
	return nil
}

// end counts the word under way: there is no more of it.
func (c *wordCounter) end() {
	if len(c.open) > 0 {
		c.count(c.open)
		c.open = c.open[:0]
	}
}

func (c *wordCounter) count(word []byte) {
	if !utf8.Valid(word) {
		word = Text(word)
	}
	t := &c.table
	t.sum++
	i, ok := t.slots[string(word)]
	if !ok {
		i = int32(len(t.counts)) // two thousand million words do not fit into memory
		t.slots[string(word)] = i
		t.counts = append(t.counts, 0)
	}
	t.counts[i]++
}
