package count

import (
	"context"
	"fmt"
	"io"
	"unicode/utf8"
)

// MaxWord bounds a word, in bytes.
const MaxWord = 16 << 20

// separates says of every byte whether it stands between words.
var separates = [256]bool{' ': true, '\t': true, '\n': true, '\r': true, '\f': true}

// Words returns how often each word occurs in the files of a tree. Progress, if
// not nil, is told of bytes as they are read.
func Words(ctx context.Context, t Tree, progress func(bytes int64)) (map[string]int64, error) {
	c := wordCounter{slots: map[string]int{}}
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
	return c.result(), nil
}

// wordCounter keeps counts beside the map, so that the map is only written to
// for a new word.
type wordCounter struct {
	slots  map[string]int // word → index into counts
	counts []int64
	open   []byte // start of a word that the last chunk did not end
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
	i, ok := c.slots[string(word)]
	if !ok {
		i = len(c.counts)
		c.slots[string(word)] = i
		c.counts = append(c.counts, 0)
	}
	c.counts[i]++
}

func (c *wordCounter) result() map[string]int64 {
	words := make(map[string]int64, len(c.slots))
	for word, i := range c.slots {
		words[word] = c.counts[i]
	}
	return words
}
