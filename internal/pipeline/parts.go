package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
)

// part is a run of files that become one file of a dataset.
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
		if last < 0 || parts[last].bytes+f.bytes > size && len(parts[last].files) > 0 {
			parts = append(parts, part{name: fmt.Sprintf("part-%05d", len(parts))})
			last++
		}
		parts[last].files = append(parts[last].files, f)
		parts[last].bytes += f.bytes
	}
	return parts
}

// spread puts files, in their order, into at most n parts of about equal bytes.
func spread(files []sourceFile, total int64, n int) []part {
	all := make([]part, n)
	before := int64(0)
	for i := range files {
		f := &files[i]
		k := int(float64(before) / float64(total+1) * float64(n))
		all[k].files = append(all[k].files, f)
		all[k].bytes += f.bytes
		before += f.bytes
	}
	return slices.DeleteFunc(all, func(p part) bool { return len(p.files) == 0 })
}

// byteOrderMark is what Hadoop's line reader drops at the start of a file.
var byteOrderMark = []byte("\xef\xbb\xbf")

// joiner writes files one after the other so that the words and lines of the
// whole are those of the files, counted one by one:
//
//   - a file that does not end with \n gets one, also after \r, which makes it
//     one \r\n; an empty file stays empty;
//   - a part that would start with a byte order mark starts with a \n before
//     it: Hadoop drops the mark at the start of a part, and nowhere else.
//
// An added \n is no byte of a word, and ends a line that would end there anyway.
type joiner struct {
	w     io.Writer
	begun bool // something is written
}

// join writes one file, whose content copy writes.
func (j *joiner) join(copy func(w io.Writer) error) error {
	e := &ending{j: j}
	if err := copy(e); err != nil {
		return err
	}
	if err := e.begin(nil); err != nil {
		return err
	}
	if e.some && e.last != '\n' {
		_, err := j.w.Write([]byte{'\n'})
		return err
	}
	return nil
}

// ending passes on one file. It holds back the first bytes of a part until it
// is known whether they are a byte order mark.
type ending struct {
	j    *joiner
	head []byte
	some bool
	last byte
}

func (e *ending) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	e.some, e.last = true, p[len(p)-1]
	if !e.j.begun {
		if need := len(byteOrderMark) - len(e.head); len(p) < need {
			e.head = append(e.head, p...)
			return len(p), nil
		}
		return len(p), e.begin(p)
	}
	return e.j.w.Write(p)
}

// begin writes what was held back, then more.
func (e *ending) begin(more []byte) error {
	first := slices.Concat(e.head, more)
	e.head = nil
	if len(first) == 0 {
		return nil
	}
	e.j.begun = true
	if bytes.HasPrefix(first, byteOrderMark) {
		if _, err := e.j.w.Write([]byte{'\n'}); err != nil {
			return err
		}
	}
	_, err := e.j.w.Write(first)
	return err
}

// writePart writes the files of a part.
func (t *tree) writePart(ctx context.Context, p part, w io.Writer, progress func(files int, bytes int64)) error {
	j := &joiner{w: w}
	for _, f := range p.files {
		err := j.join(func(w io.Writer) error {
			_, err := t.copyFile(ctx, f, w)
			return err
		})
		if err != nil {
			return err
		}
		progress(1, f.bytes)
	}
	return nil
}
