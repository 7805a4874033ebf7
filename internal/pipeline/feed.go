package pipeline

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"howdah.dev/howdah/internal/pipeline/count"
)

// Folders of one run of a feed. A spout takes files from in and moves them to
// done or bad. Files are written in tmpFolder and appear in in by rename.
const (
	feedIn   = "in"
	feedDone = "done"
	feedBad  = "bad"
	feedLock = "lock"
)

// maxLine bounds a line of a feed, in bytes.
const maxLine = 4 << 20

// feed writes the lines of local files where a topology watches for them.
func (r *run) feed(ctx context.Context, s Step, p *progress) error {
	in := s.Feed
	p.say("reading " + in.From)
	t, err := scan(ctx, in.From, in.Match)
	if err != nil {
		return err
	}
	p.input(Input{Step: s.Name, Path: in.From, Digest: t.digest})
	p.update(func(f *Figures) { f.FilesTotal, f.BytesTotal = int64(len(t.files)), t.bytes })
	prefix, err := in.prefix()
	if err != nil {
		return err
	}
	if err := r.clearRuns(ctx, in.Path); err != nil {
		return err
	}
	folder := path.Join(in.Path, r.id)
	for _, sub := range []string{feedIn, feedDone, feedBad, feedLock} {
		if err := r.Files.MakeFolder(ctx, path.Join(folder, sub)); err != nil {
			return fmt.Errorf("cannot make the feed's folders: %w", err)
		}
	}
	w := &feedWriter{tree: t, prefix: prefix, lines: map[string]int64{}}
	if err := r.writeFeed(ctx, folder, w, spread(t.files, t.bytes, in.Files), p); err != nil {
		return err
	}
	if len(w.lines) == 0 {
		return fmt.Errorf("the files %s below %s hold no line", in.Match, in.From)
	}
	r.fed.set(s.Name, w.lines)
	return nil
}

func (r *run) writeFeed(ctx context.Context, folder string, w *feedWriter, parts []part, p *progress) error {
	for i, part := range parts {
		name := fmt.Sprintf("lines-%s-%04d", r.id, i)
		tmp := path.Join(folder, tmpFolder, name)
		n, err := stream(ctx, r.Files, tmp, func(out io.Writer) error {
			return w.write(ctx, part, out, func(lines, bytes int64) {
				p.update(func(f *Figures) {
					f.Files++
					f.Bytes += bytes
					f.Lines += lines
					f.Packages = int64(len(w.lines))
				})
			})
		})
		if err == nil && n > 0 { // a spout has nothing to do with an empty file
			err = r.Files.Rename(ctx, tmp, path.Join(folder, feedIn, name))
		}
		if err != nil {
			return fmt.Errorf("cannot feed %s: %w", name, err)
		}
		p.update(func(f *Figures) { f.Parts++ })
	}
	return r.Files.Remove(ctx, path.Join(folder, tmpFolder))
}

// feedWriter numbers the lines of packages over all files of a feed.
type feedWriter struct {
	tree   *tree
	prefix string
	lines  map[string]int64 // by package
	line   []byte
}

func (w *feedWriter) write(ctx context.Context, part part, out io.Writer, progress func(lines, bytes int64)) error {
	for _, f := range part.files {
		pkg, err := packageOf(w.prefix, f.rel)
		if err != nil {
			return err
		}
		before := w.lines[pkg]
		if err := w.file(ctx, f, pkg, out); err != nil {
			return err
		}
		progress(w.lines[pkg]-before, f.bytes)
	}
	return nil
}

// packageOf names the package of a file. The name is a field of a line, so it
// must not hold what ends fields and lines.
func packageOf(prefix, rel string) (string, error) {
	pkg := path.Join(prefix, path.Dir(rel))
	if strings.ContainsAny(pkg, "\t\r\n") || !utf8.ValidString(pkg) {
		return "", fmt.Errorf("package %q holds a tab, a line break or invalid UTF-8", pkg)
	}
	return pkg, nil
}

// file writes the lines of one file.
func (w *feedWriter) file(ctx context.Context, f *sourceFile, pkg string, out io.Writer) error {
	pr, pw := io.Pipe()
	copied := make(chan error, 1)
	go func() {
		_, err := w.tree.copyFile(ctx, f, pw)
		pw.CloseWithError(err)
		copied <- err
	}()
	err := w.linesOf(pr, pkg, out)
	pr.CloseWithError(errStopped)
	if cerr := <-copied; cerr != nil && !errors.Is(cerr, errStopped) {
		return cerr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.rel, err)
	}
	return nil
}

// linesOf writes what r holds as package, tab, number, tab, text. Text that is
// not valid UTF-8 is replaced the way Java would on reading it, so the feed is
// the same to every reader.
func (w *feedWriter) linesOf(r io.Reader, pkg string, out io.Writer) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	s.Split(splitLine)
	n := w.lines[pkg]
	for s.Scan() {
		n++
		text := s.Bytes()
		if !utf8.Valid(text) {
			text = count.Text(text)
		}
		w.line = append(append(w.line[:0], pkg...), '\t')
		w.line = append(strconv.AppendInt(w.line, n, 10), '\t')
		w.line = append(append(w.line, text...), '\n')
		if _, err := out.Write(w.line); err != nil {
			return err
		}
	}
	if n > 0 {
		w.lines[pkg] = n
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d of the package is longer than %d bytes", n+1, maxLine)
	}
	return s.Err()
}

// splitLine is a bufio.SplitFunc for lines that end at \n, \r or \r\n.
func splitLine(data []byte, atEOF bool) (advance int, token []byte, err error) {
	for i, b := range data {
		switch {
		case b == '\n':
			return i + 1, data[:i], nil
		case b != '\r':
		case i+1 < len(data) && data[i+1] == '\n':
			return i + 2, data[:i], nil
		case i+1 < len(data) || atEOF:
			return i + 1, data[:i], nil
		default:
			return 0, nil, nil // a \n may follow
		}
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}
