package scheduler

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"howdah.dev/howdah/internal/sqlite"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Keys of the meta table.
const (
	metaFramework = "framework"
	metaDrained   = "drained"
	metaHorizon   = "horizon" // the version before which some removed object is unknown
)

func openStore(ctx context.Context, path string) (*sqlite.DB, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return sqlite.Open(ctx, path, sub)
}

// load reads all that is kept.
func load(ctx context.Context, db *sql.DB) (*state, error) {
	s := newState()
	err := errors.Join(
		rows(ctx, db, "app", s.apps),
		rows(ctx, db, "grp", s.groups),
		rows(ctx, db, "instance", s.instances),
		rows(ctx, db, "deployment", s.deployments),
	)
	if err != nil {
		return nil, err
	}
	for id, i := range s.instances {
		set := s.byApp[i.App]
		if set == nil {
			set = instanceSet{}
			s.byApp[i.App] = set
		}
		set[id] = i
	}
	all := newCatalogue()
	for _, a := range s.apps {
		if !a.Removed {
			all.count(a.Spec, 1)
		}
	}
	s.catalogue.merge(all)
	if s.framework, err = readMeta(ctx, db, metaFramework); err != nil {
		return nil, err
	}
	drained, err := readMeta(ctx, db, metaDrained)
	if err != nil {
		return nil, err
	}
	s.drained, err = readDrained(drained)
	return s, err
}

func readMeta(ctx context.Context, db *sql.DB, key string) (value string, err error) {
	err = db.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = ?", key).Scan(&value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("cannot read %s: %w", key, err)
	}
	return value, nil
}

func rows[V any](ctx context.Context, db *sql.DB, table string, into map[string]*V) error {
	rs, err := db.QueryContext(ctx, "SELECT id, doc FROM "+table) //nolint:gosec // a name of ours
	if err != nil {
		return fmt.Errorf("cannot read table %s: %w", table, err)
	}
	defer rs.Close()
	for rs.Next() {
		var id string
		var doc []byte
		if err := rs.Scan(&id, &doc); err != nil {
			return fmt.Errorf("cannot read table %s: %w", table, err)
		}
		v := new(V)
		if err := json.Unmarshal(doc, v); err != nil {
			return fmt.Errorf("cannot read %s %s: %w", table, id, err)
		}
		into[id] = v
	}
	return rs.Err()
}

// commit writes what a batch changed, in one transaction.
func (t *tx) commit(ctx context.Context, db *sql.DB) error {
	if t.empty() {
		return nil
	}
	stx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("cannot write: %w", err)
	}
	defer stx.Rollback()
	err = errors.Join(
		save(ctx, stx, "app", t.apps.changed),
		save(ctx, stx, "grp", t.groups.changed),
		save(ctx, stx, "instance", t.instances.changed),
		save(ctx, stx, "deployment", t.worthWriting()),
		t.saveHistory(ctx, stx),
	)
	if err != nil {
		return err
	}
	for key, value := range t.meta {
		if _, err := stx.ExecContext(ctx, "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value); err != nil {
			return fmt.Errorf("cannot write %s: %w", key, err)
		}
	}
	if err := stx.Commit(); err != nil {
		return fmt.Errorf("cannot commit: %w", err)
	}
	return nil
}

// worthWriting returns the changed deployments but for those that only made
// progress.
func (t *tx) worthWriting() map[string]*Deployment {
	out := maps.Clone(t.deployments.changed)
	for id := range t.light {
		delete(out, id)
	}
	return out
}

func save[V any](ctx context.Context, stx *sql.Tx, table string, changed map[string]*V) error {
	if len(changed) == 0 {
		return nil
	}
	put, err := stx.PrepareContext(ctx, "INSERT INTO "+table+" (id, doc) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc") //nolint:gosec // a name of ours
	if err != nil {
		return fmt.Errorf("cannot write table %s: %w", table, err)
	}
	defer put.Close()
	for id, v := range changed {
		if v == nil {
			_, err = stx.ExecContext(ctx, "DELETE FROM "+table+" WHERE id = ?", id) //nolint:gosec // a name of ours
		} else {
			var doc []byte
			if doc, err = json.Marshal(v); err == nil {
				_, err = put.ExecContext(ctx, id, string(doc))
			}
		}
		if err != nil {
			return fmt.Errorf("cannot write %s %s: %w", table, id, err)
		}
	}
	return nil
}
