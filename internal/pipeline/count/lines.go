package count

import (
	"context"
	"fmt"
	"io"
	"path"
)

// Lines returns how many lines the files of a tree have by package: the
// directory of a file relative to the root, below prefix. Packages without a
// line are left out.
func Lines(ctx context.Context, t Tree, prefix string) (map[string]int64, error) {
	lines := map[string]int64{}
	buf := make([]byte, bufferSize)
	err := t.each(ctx, func(rel string, r io.Reader) error {
		var c lineCounter
		if err := chunks(r, buf, c.add); err != nil {
			return err
		}
		if n := c.end(); n > 0 {
			lines[path.Join(prefix, path.Dir(rel))] += n
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot count lines below %s: %w", t.Root, err)
	}
	return lines, nil
}

// lineCounter counts the line ends of one file.
type lineCounter struct {
	lines int64
	last  byte
	some  bool // bytes came since the last line end
}

func (c *lineCounter) add(chunk []byte) error {
	for _, b := range chunk {
		switch {
		case b == '\n' && c.last == '\r' && !c.some: // the second half of \r\n
		case b == '\n' || b == '\r':
			c.lines++
			c.some = false
		default:
			c.some = true
		}
		c.last = b
	}
	return nil
}

func (c *lineCounter) end() int64 {
	if c.some {
		c.lines++
	}
	return c.lines
}
