package store

import "context"

// Backup copies a database as a migration does.
func Backup(ctx context.Context, path, to string) error {
	db, err := open(path, 1)
	if err != nil {
		return err
	}
	defer db.Close()
	return backup(ctx, db, to)
}
