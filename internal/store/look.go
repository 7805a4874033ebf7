package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/sqlite"
)

// metaWriter is where the version of howdah is kept that opened the database last.
const metaWriter = "writer"

// Look is what can be said of a database before it is opened for good.
type Look struct {
	Schema int64  // it has
	Newest int64  // schema that this program knows
	Writer string // version of howdah that opened it last; "" before that was kept
	Nodes  []NodeLook
}

// NodeLook is a node and what its agent said it is; nil before it said anything.
type NodeLook struct {
	Cluster, Name string
	Facts         *agentapi.Facts
}

// Newest is the schema that this program knows.
func Newest() (int64, error) { return sqlite.Newest(schema()) }

// LookAt reads a database as it is: nothing is migrated or written, and a server
// may have it open.
func LookAt(ctx context.Context, path string) (Look, error) {
	var l Look
	var err error
	if l.Newest, err = Newest(); err != nil {
		return l, err
	}
	db, err := sqlite.Look(path)
	if err != nil {
		return l, err
	}
	defer db.Close()
	if l.Schema, err = sqlite.Schema(ctx, db); err != nil {
		return l, err
	}
	if l.Writer, err = writer(ctx, db); err != nil {
		return l, err
	}
	rs, err := db.QueryContext(ctx, "SELECT c.name, n.name, n.facts FROM node n JOIN cluster c ON c.id = n.cluster ORDER BY c.created, n.name")
	if err != nil {
		return l, fmt.Errorf("cannot read database %s: %w", path, err)
	}
	defer rs.Close()
	for rs.Next() {
		var n NodeLook
		var facts string
		if err := rs.Scan(&n.Cluster, &n.Name, &facts); err != nil {
			return l, fmt.Errorf("cannot read database %s: %w", path, err)
		}
		if facts != "" {
			if err := json.Unmarshal([]byte(facts), &n.Facts); err != nil {
				return l, fmt.Errorf("cannot read node %s: %w", n.Name, err)
			}
		}
		l.Nodes = append(l.Nodes, n)
	}
	return l, rs.Err()
}

func writer(ctx context.Context, db *sql.DB) (string, error) {
	var v string
	err := db.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = ?", metaWriter).Scan(&v)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("cannot read who wrote the database: %w", err)
	}
	return v, nil
}

// newer adds to a refusal which howdah is needed, where the database says it.
func newer(ctx context.Context, path string, refusal error) error {
	db, err := sqlite.Look(path)
	if err != nil {
		return refusal
	}
	defer db.Close()
	if v, err := writer(ctx, db); err == nil && v != "" {
		return fmt.Errorf("%w. Howdah %s wrote it last", refusal, v)
	}
	return refusal
}

// Check looks for damage in the database in a file, which a server may be using. A
// damaged one is sqlite.ErrDamaged, one of a newer Howdah ErrNewer.
func Check(ctx context.Context, path string) error { return sqlite.Check(ctx, path, schema()) }

// Backup copies the database in a file, whoever has it open, into a new file.
func Backup(ctx context.Context, path, to string) error { return sqlite.Snapshot(ctx, path, to) }

// sign keeps which howdah opened the database last.
func (s *Store) sign(ctx context.Context, version string) error {
	return s.Update(ctx, func(tx *Tx) error {
		if was, err := tx.Meta(metaWriter); err != nil || was == version {
			return err
		}
		return tx.SetMeta(metaWriter, version)
	})
}
