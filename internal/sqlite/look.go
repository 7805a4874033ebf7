package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"net/url"

	"github.com/pressly/goose/v3"
)

// Look opens the database in a file for reading, as it is: nothing is created,
// migrated or written. Others may have it open.
func Look(path string) (*sql.DB, error) {
	q := url.Values{"mode": {"rw"}, "_pragma": {"query_only(1)", "busy_timeout(10000)"}}
	db, err := sql.Open("sqlite", "file:"+path+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("cannot open database %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// Schema returns the number of the newest migration a database has; 0 for one
// that has none.
func Schema(ctx context.Context, db *sql.DB) (int64, error) {
	var n int64
	err := db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied").Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("cannot read the database's schema: %w", err)
	}
	return n, nil
}

// Newest returns the number of the newest of some migrations.
func Newest(migrations fs.FS) (int64, error) {
	files, err := fs.Glob(migrations, "*.sql")
	if err != nil {
		return 0, err
	}
	var newest int64
	for _, f := range files {
		n, err := goose.NumericComponent(f)
		if err != nil {
			return 0, fmt.Errorf("cannot read migrations: %w", err)
		}
		newest = max(newest, n)
	}
	return newest, nil
}

// Snapshot copies the database in a file, whoever has it open, into a new file.
func Snapshot(ctx context.Context, path, to string) error {
	q := url.Values{"mode": {"rw"}, "_pragma": {"busy_timeout(10000)"}}
	db, err := sql.Open("sqlite", "file:"+path+"?"+q.Encode())
	if err != nil {
		return fmt.Errorf("cannot open database %s: %w", path, err)
	}
	defer db.Close()
	return backup(ctx, db, to)
}
