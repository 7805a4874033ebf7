package main

import (
	"context"
	"fmt"
	"io"
)

const byteOrderMark = "\xef\xbb\xbf"

// part is a run of files that become one file of the dataset.
type part struct {
	name  string
	files []*sourceFile
	bytes int64 // of the files
}

// split puts files, in their order, into parts of at most size bytes. A file is
// never split: one that is larger is a part of its own.
func split(files []sourceFile, size int64) []part {
	var parts []part
	for i := range files {
		f := &files[i]
		last := len(parts) - 1
		if last < 0 || parts[last].bytes+f.bytes > size {
			parts = append(parts, part{name: fmt.Sprintf("part-%05d", len(parts))})
			last++
		}
		parts[last].files = append(parts[last].files, f)
		parts[last].bytes += f.bytes
	}
	return parts
}

// Files are joined so that words and lines of the whole are those of the files,
// counted one by one: a file that does not end with \n gets one; and a part that
// would start with a byte order mark starts with a \n before it, for Hadoop
// drops the mark at the start of a part and nowhere else.

// size returns how many bytes a part has once joined.
func (p part) size() int64 {
	n, begun := int64(0), false
	for _, f := range p.files {
		if f.bytes == 0 {
			continue
		}
		if !begun && f.bom {
			n++
		}
		if f.last != '\n' {
			n++
		}
		n, begun = n+f.bytes, true
	}
	return n
}

// write writes the joined files. It fails when a file is not what was scanned.
func (t *tree) write(ctx context.Context, p part, w io.Writer) error {
	begun := false
	for _, f := range p.files {
		if f.bytes > 0 && !begun && f.bom {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		sum, n, err := t.copy(ctx, f, w)
		if err != nil {
			return err
		}
		if sum != f.digest || n != f.bytes {
			return fmt.Errorf("%s changed", f.rel)
		}
		if n > 0 && f.last != '\n' {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		begun = begun || n > 0
	}
	return nil
}
