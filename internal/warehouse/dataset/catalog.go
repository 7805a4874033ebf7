package dataset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"howdah.dev/howdah/internal/adapter/webhdfs"
)

// maxDeclared bounds the datasets of one warehouse.
const maxDeclared = 10_000

// Catalog reads what is declared in a warehouse. It keeps what it has read, and
// reads again only what has changed since. It is for one goroutine at a time.
type Catalog struct {
	files Files
	known map[string]entry // by path of the record; also what a Read had got when it was cut short
}

// entry is one record, and the file it was read from: every change of a record
// makes a file of another id.
type entry struct {
	file    int64
	dataset Dataset
}

// NewCatalog returns a catalog that has read nothing yet.
func NewCatalog(files Files) *Catalog { return &Catalog{files: files, known: map[string]entry{}} }

// Read returns the declared datasets by name. Anybody may read them. A record
// that cannot be read is an error: whom its path belongs to is not known.
func (c *Catalog) Read(ctx context.Context) ([]Dataset, error) {
	all, err := c.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read the declared datasets: %w", err)
	}
	return all, nil
}

func (c *Catalog) read(ctx context.Context) ([]Dataset, error) {
	now := map[string]entry{}
	var all []Dataset
	for s, err := range c.files.List(ctx, recordsDir) {
		if errors.Is(err, fs.ErrNotExist) {
			break // nothing was ever declared
		}
		if err != nil {
			return nil, err
		}
		if s.Dir || !strings.HasSuffix(s.Path, recordSuffix) {
			continue
		}
		if len(all) == maxDeclared {
			return nil, fmt.Errorf("there are more than %d", maxDeclared)
		}
		e, ok := c.known[s.Path]
		if !ok || e.file != s.ID {
			if e, ok, err = c.entry(ctx, s); err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
		}
		now[s.Path], c.known[s.Path] = e, e
		all = append(all, e.dataset)
	}
	c.known = now
	return all, nil
}

// entry reads one record; false if it went away meanwhile.
func (c *Catalog) entry(ctx context.Context, s webhdfs.Status) (entry, bool, error) {
	name := strings.TrimSuffix(s.Name(), recordSuffix)
	rec, err := readRecord(ctx, c.files, name)
	if err != nil {
		return entry{}, false, err
	}
	if !rec.declares(name) {
		if _, err := c.files.Status(ctx, s.Path); errors.Is(err, fs.ErrNotExist) {
			return entry{}, false, nil
		}
		return entry{}, false, fmt.Errorf("%s is no record of a dataset; move it away", s.Path)
	}
	return entry{s.ID, rec.Dataset}, true, nil
}
