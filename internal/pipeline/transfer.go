package pipeline

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
)

// errStopped tells a writer that nobody reads on.
var errStopped = errors.New("the reader stopped")

// stream makes a file of the warehouse out of what write writes, and returns
// how many bytes that were.
func stream(ctx context.Context, files Writer, name string, write func(w io.Writer) error) (int64, error) {
	pr, pw := io.Pipe()
	counted := &counter{w: pw}
	written := make(chan error, 1)
	go func() {
		buffered := bufio.NewWriterSize(counted, 64<<10)
		err := write(buffered)
		if err == nil {
			err = buffered.Flush()
		}
		pw.CloseWithError(err) // nil is the end of the file
		written <- err
	}()
	err := files.Create(ctx, name, pr)
	pr.CloseWithError(errStopped)
	// What failed to be written is why Create failed, not the other way round.
	if werr := <-written; werr != nil && !errors.Is(werr, errStopped) {
		return counted.n, werr
	}
	if err != nil {
		return counted.n, fmt.Errorf("cannot write to the warehouse: %w", err)
	}
	return counted.n, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// replaceFile writes a small file so that a reader sees the old one, none, or
// the new one, never a part.
func replaceFile(ctx context.Context, files Writer, name string, data []byte) error {
	tmp := path.Join(path.Dir(name), "_tmp-"+path.Base(name))
	err := files.Create(ctx, tmp, bytes.NewReader(data))
	if err == nil {
		err = files.Remove(ctx, name)
	}
	if err == nil {
		err = files.Rename(ctx, tmp, name)
	}
	if err != nil {
		return fmt.Errorf("cannot write to the warehouse: %w", err)
	}
	return nil
}

// readSmall reads a file of at most limit bytes.
func readSmall(ctx context.Context, files Reader, name string, limit int64) ([]byte, error) {
	r, err := files.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return data, err
}

// list is List with a missing folder as an empty one.
func list(ctx context.Context, files Reader, name string) ([]Entry, error) {
	entries, err := files.List(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}
