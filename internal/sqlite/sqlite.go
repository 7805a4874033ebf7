// Package sqlite opens SQLite databases the way this project writes them: WAL,
// every commit on disk, one writer and a pool of readers, the schema brought up
// to date by numbered files, a copy made before. It knows nothing of the rows.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrNewer is returned for a database written by a newer Howdah.
var ErrNewer = errors.New("database is newer than this howdah")

// ErrDamaged is returned for a file that is no whole database. Nothing was written to it.
var ErrDamaged = errors.New("database is damaged")

// IsFull reports whether a write failed for want of space on the disk.
func IsFull(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code() == sqlite3.SQLITE_FULL || e.Code() == sqlite3.SQLITE_IOERR_WRITE || e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE)
}

// Readers is the size of the pool that reads.
const Readers = 8

// DB is an open database.
type DB struct {
	Write *sql.DB // one connection; transactions are immediate
	Read  *sql.DB // a pool that cannot write
}

// Open opens or creates the database in the file path, whose directory must
// exist, and applies the migrations (goose files, in the root of the file
// system) it does not have yet. A damaged file is ErrDamaged, a schema newer than the
// migrations ErrNewer; neither is changed.
func Open(ctx context.Context, path string, migrations fs.FS) (*DB, error) {
	if err := whole(ctx, path); err != nil {
		return nil, err
	}
	write, err := open(path, 1)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, write, path, migrations); err != nil {
		return nil, errors.Join(err, write.Close())
	}
	read, err := open(path, Readers)
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return &DB{Write: write, Read: read}, nil
}

// Close closes both pools.
func (d *DB) Close() error { return errors.Join(d.Read.Close(), d.Write.Close()) }

// open opens a pool. FULL, because NORMAL loses the last commits on a power
// loss, and a journal must not.
func open(path string, conns int) (*sql.DB, error) {
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "busy_timeout(10000)"}, "_txlock": {"immediate"}}
	if conns > 1 {
		q.Set("_txlock", "deferred")
		q.Add("_pragma", "query_only(1)")
	}
	db, err := sql.Open("sqlite", "file:"+path+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("cannot open database %s: %w", path, err)
	}
	db.SetMaxOpenConns(conns)
	return db, nil
}

// whole looks for damage in the database in a file through a connection that cannot
// write, not even what a crash left in the journal. No file is a whole one.
func whole(ctx context.Context, path string) error {
	if st, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() == 0 {
		return nil
	}
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		return fmt.Errorf("cannot open database %s: %w", path, err)
	}
	defer db.Close()
	var said string
	err = db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&said)
	if e, ok := errors.AsType[*sqlite.Error](err); ok && (e.Code()&0xff == sqlite3.SQLITE_NOTADB || e.Code()&0xff == sqlite3.SQLITE_CORRUPT) {
		said, err = e.Error(), nil
	}
	switch {
	case err != nil:
		return fmt.Errorf("cannot read database %s: %w", path, err)
	case said != "ok":
		return fmt.Errorf("%w: %s: %s; nothing was written to it; restore a backup%s", ErrDamaged, path, strings.ReplaceAll(said, "\n", " "), copies(path))
	}
	return nil
}

// copies names the copies that migrations made of a database.
func copies(path string) string {
	names, _ := filepath.Glob(path + ".before-*")
	if len(names) == 0 {
		return ""
	}
	return ", or the copy made before a migration: " + strings.Join(names, ", ")
}

func migrate(ctx context.Context, db *sql.DB, path string, migrations fs.FS) error {
	p, err := goose.NewProvider(goose.DialectSQLite3, db, migrations)
	if err != nil {
		return fmt.Errorf("cannot read migrations: %w", err)
	}
	newest, err := Newest(migrations)
	if err != nil {
		return err
	}
	have, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("cannot read database %s: %w", path, err)
	}
	switch {
	case have > newest:
		return newer(path, have, newest)
	case have == newest:
		return nil
	case have > 0:
		if err := backup(ctx, db, fmt.Sprintf("%s.before-%d", path, newest)); err != nil {
			return err
		}
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("cannot migrate database %s: %w", path, err)
	}
	return nil
}

// backup copies the database into a new file.
func backup(ctx context.Context, db *sql.DB, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("cannot back up database: %w", err)
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot back up database: %w", err)
	}
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return fmt.Errorf("cannot back up database to %s: %w", to, err)
	}
	return nil
}

// Check looks for damage in the database in a file, which may be in use, and changes
// nothing. A damaged file is ErrDamaged, a schema newer than the migrations ErrNewer.
func Check(ctx context.Context, path string, migrations fs.FS) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("cannot read database: %w", err)
	}
	if err := whole(ctx, path); err != nil {
		return err
	}
	newest, err := Newest(migrations)
	if err != nil {
		return err
	}
	db, err := Look(path)
	if err != nil {
		return err
	}
	defer db.Close()
	have, err := Schema(ctx, db)
	if err == nil && have > newest {
		err = newer(path, have, newest)
	}
	return err
}

// newer refuses a database whose schema these migrations do not come to.
func newer(path string, have, newest int64) error {
	return fmt.Errorf("%w: %s has schema %d, this binary knows %d; run the newer binary, or restore a backup%s", ErrNewer, path, have, newest, copies(path))
}
