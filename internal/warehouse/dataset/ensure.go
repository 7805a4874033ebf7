package dataset

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"
)

// Identity is a project in HDFS.
type Identity struct {
	User  string
	Group string // stays as HDFS chooses if empty
}

// Ensured says what Ensure found and did.
type Ensured struct {
	Made bool // the folder is one that Howdah made, now or earlier
	New  bool // it was made now
	// Notes are sentences for the user about what was left as it is.
	Notes []string
}

// Ensure makes a dataset be there: its folder, owner, quota and record. It may be called
// again at any time, and after it was cut short at any moment. A folder that was
// there before keeps its owner. It needs HDFS's superuser.
func Ensure(ctx context.Context, files Files, d Dataset, owner Identity) (Ensured, error) {
	e, err := ensure(ctx, files, d, owner)
	if err != nil {
		return e, fmt.Errorf("cannot ensure dataset %s: %w", d.Name, err)
	}
	return e, nil
}

func ensure(ctx context.Context, files Files, d Dataset, owner Identity) (Ensured, error) {
	var e Ensured
	if summary, _ := Unsound(d.Path); summary != "" {
		return e, errors.New(summary)
	}
	had, err := readRecord(ctx, files, d.Name)
	if err != nil {
		return e, err
	}
	if had.declares(d.Name) && had.Dataset.Path != d.Path {
		return e, fmt.Errorf("it is declared at %s, and a dataset does not move", had.Dataset.Path)
	}
	status, err := files.Status(ctx, d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		if had, err = makeFolder(ctx, files, d, owner); err != nil {
			return e, err
		}
		e.New = true
		status, err = files.Status(ctx, d.Path)
	}
	if err != nil {
		return e, err
	}
	if !status.Dir {
		return e, fmt.Errorf("%s is a file; move it away or choose another path", d.Path)
	}
	if e.Made = had.proves(d, status); !e.Made {
		e.New = false
		e.Notes = append(e.Notes, fmt.Sprintf("%s was there before: its owner %s stays, and nothing in it expires", d.Path, status.Owner))
	} else if status.Owner != owner.User {
		if err := files.SetOwner(ctx, d.Path, owner.User, owner.Group); err != nil {
			return e, err
		}
	}
	// First who may use it, then how much.
	if err := declare(ctx, files, d, had, e.Made); err != nil {
		return e, err
	}
	return e, setQuota(ctx, files, d, e.Made)
}

// declare remembers the declaration, if it is not what is remembered.
func declare(ctx context.Context, files Files, d Dataset, had record, made bool) error {
	want := record{Format: recordFormat, Dataset: d}
	if made {
		want.Folder, want.Made = had.Folder, had.Made
	}
	if same(had, want) {
		return nil
	}
	return writeRecord(ctx, files, want)
}

// same compares values as they are written: an empty list is none.
func same(a, b any) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}

// Forget takes a declaration back. The folder and its files stay, without the
// quota that was declared; whoever declares the folder again finds it as one that
// was there before. It needs HDFS's superuser.
func Forget(ctx context.Context, files Files, d Dataset) error {
	err := lift(ctx, files, d)
	if err == nil {
		err = ignoreMissing(files.Delete(ctx, recordPath(d.Name), false))
	}
	if err != nil {
		return fmt.Errorf("cannot forget dataset %s: %w", d.Name, err)
	}
	return nil
}

// lift takes a declared quota away.
func lift(ctx context.Context, files Files, d Dataset) error {
	if d.QuotaMB == 0 {
		return nil
	}
	sum, err := files.ContentSummary(ctx, d.Path)
	if err != nil || sum.SpaceQuota < 0 {
		return ignoreMissing(err)
	}
	return files.SetQuota(ctx, d.Path, sum.NameQuota, -1)
}

// makeFolder makes the folder of a dataset so that it can be proven later who
// made it: under another name first, whose inode is recorded, and then moved.
func makeFolder(ctx context.Context, files Files, d Dataset, owner Identity) (record, error) {
	for _, parent := range []string{recordsDir, path.Dir(d.Path)} {
		if err := files.Mkdirs(ctx, parent, 0o755); err != nil {
			return record{}, err
		}
	}
	tmp := path.Join(recordsDir, "_new-"+d.Name+"-"+rand.Text())
	if err := files.Mkdirs(ctx, tmp, 0o755); err != nil {
		return record{}, err
	}
	made, err := files.Status(ctx, tmp)
	rec := record{Format: recordFormat, Dataset: d, Folder: made.ID, Made: time.Now().UTC()}
	if err == nil {
		err = files.SetOwner(ctx, tmp, owner.User, owner.Group)
	}
	if err == nil {
		err = writeRecord(ctx, files, rec)
	}
	if err == nil {
		err = files.Rename(ctx, tmp, d.Path)
	}
	if err != nil {
		return record{}, errors.Join(err, ignoreMissing(files.Delete(ctx, tmp, false)))
	}
	// Where another made the folder in the meantime, HDFS moved ours into it.
	return rec, ignoreMissing(files.Delete(ctx, path.Join(d.Path, path.Base(tmp)), false))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// setQuota sets the space quota. One that is not declared is taken away only
// where the folder is ours.
func setQuota(ctx context.Context, files Files, d Dataset, made bool) error {
	sum, err := files.ContentSummary(ctx, d.Path)
	if err != nil {
		return err
	}
	want := int64(-1)
	if d.QuotaMB > 0 {
		want = d.QuotaMB << 20
	}
	if sum.SpaceQuota == want || want < 0 && !made {
		return nil
	}
	return files.SetQuota(ctx, d.Path, sum.NameQuota, want)
}
