package pipeline

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"howdah.dev/howdah/internal/pipeline/count"
)

// wordComparison reads a result past the independent count. It keeps a bit of
// knowledge a wanted word, and nothing of the others but the first ones.
type wordComparison struct {
	wanted *count.Table
	seen   []bool // by slot
	got    int    // words in the result
	differences
}

// compareWords compares the part files of a job, lines of word, tab, count,
// with an independent count.
func compareWords(ctx context.Context, files Reader, step, output string, wanted *count.Table) error {
	entries, err := files.List(ctx, output)
	if err != nil {
		return fmt.Errorf("cannot read the result of %s: %w", step, err)
	}
	c := &wordComparison{wanted: wanted, seen: make([]bool, wanted.Len())}
	parts := 0
	for _, e := range entries {
		if !strings.HasPrefix(e.Name, "part-r-") {
			continue
		}
		parts++
		name := path.Join(output, e.Name)
		if err := c.file(ctx, files, name); err != nil {
			return fmt.Errorf("cannot read the result of %s: %s: %w", step, name, err)
		}
	}
	if parts == 0 {
		return fmt.Errorf("cannot read the result of %s: %s holds no part-r-* file", step, output)
	}
	for word, slot := range wanted.All() {
		if !c.seen[slot] {
			c.add(word, wanted.Times(slot), 0)
		}
	}
	return c.mismatch("words", step, wanted.Len(), c.got)
}

func (c *wordComparison) file(ctx context.Context, files Reader, name string) error {
	r, err := files.Open(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 256<<10), 3*count.MaxWord) // a malformed byte becomes three
	s.Split(lineFeeds)
	for n := 1; s.Scan(); n++ {
		word, times, ok := parseCount(s.Bytes())
		if !ok {
			return fmt.Errorf("line %d is %s, want word, tab, number", n, quote(s.Text()))
		}
		c.got++
		slot, wanted, ok := c.wanted.Find(word)
		switch {
		case !ok:
			c.add(string(word), 0, times)
		case c.seen[slot]:
			return fmt.Errorf("line %d: word %s is there twice", n, quote(string(word)))
		case wanted != times:
			c.add(string(word), wanted, times)
		}
		if ok {
			c.seen[slot] = true
		}
	}
	return s.Err()
}

// lineFeeds is bufio.ScanLines without the loss of \r, and with an end that
// is missing as an error.
func lineFeeds(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}
