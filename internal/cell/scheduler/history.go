package scheduler

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"howdah.dev/howdah/internal/cell/app"
)

const (
	// maxVersions is how many versions of an app or group are kept, as Marathon's
	// zk_max_versions. One that has fewer has all it ever had.
	maxVersions = 50
	// maxRemoved is how many removed apps and groups can be brought back at least.
	maxRemoved = 1000
)

// Kinds of what has a history.
const (
	kindApp   = "app"
	kindGroup = "group"
)

// past is an object as it is from one version on.
type past struct {
	kind, id string
	version  app.Timestamp
	doc      any // nil: it is removed
}

func (t *tx) remember(kind, id string, version app.Timestamp, doc any) {
	t.history = append(t.history, past{kind, id, version, doc})
}

// saveHistory writes the new versions, and drops the oldest of those objects.
func (t *tx) saveHistory(ctx context.Context, stx *sql.Tx) error {
	removed := false
	for _, p := range t.history {
		if err := p.save(ctx, stx); err != nil {
			return fmt.Errorf("cannot write a version of %s: %w", p.id, err)
		}
		removed = removed || p.doc == nil
	}
	if removed {
		return forgetRemoved(ctx, stx)
	}
	return nil
}

func (p *past) save(ctx context.Context, stx *sql.Tx) error {
	var doc *string
	mark, args := "DELETE FROM removed WHERE kind = ? AND id = ?", []any{p.kind, p.id}
	if p.doc == nil {
		mark, args = "INSERT OR REPLACE INTO removed (kind, id, version) VALUES (?, ?, ?)", append(args, p.version.String())
	} else {
		text, err := json.Marshal(p.doc)
		if err != nil {
			return err
		}
		doc = new(string(text))
	}
	_, err := stx.ExecContext(ctx, "INSERT OR REPLACE INTO history (kind, id, version, doc) VALUES (?, ?, ?, ?)", p.kind, p.id, p.version.String(), doc)
	if err != nil {
		return err
	}
	if _, err = stx.ExecContext(ctx, mark, args...); err != nil {
		return err
	}
	// Only objects with many versions pay for the look at the old ones.
	_, err = stx.ExecContext(ctx, `DELETE FROM history WHERE kind = ? AND id = ? AND version <=
		(SELECT version FROM history WHERE kind = ? AND id = ? ORDER BY version DESC LIMIT 1 OFFSET ?)`, p.kind, p.id, p.kind, p.id, maxVersions)
	return err
}

// forgetRemoved drops the histories of those removed longest ago, but of what went
// at once all or nothing: else a large group could not come back. Before the last
// removal that is dropped nobody can say any more what a group held.
func forgetRemoved(ctx context.Context, stx *sql.Tx) error {
	_, err := stx.ExecContext(ctx, `INSERT INTO meta (key, value) SELECT ?, version FROM removed
		WHERE version < (SELECT version FROM removed ORDER BY version DESC LIMIT 1 OFFSET ?) ORDER BY version DESC LIMIT 1
		ON CONFLICT (key) DO UPDATE SET value = excluded.value`, metaHorizon, maxRemoved-1)
	if err != nil {
		return fmt.Errorf("cannot keep how far back versions go: %w", err)
	}
	const beyond = "version <= (SELECT value FROM meta WHERE key = ?)"
	_, err = stx.ExecContext(ctx, "DELETE FROM history WHERE (kind, id) IN (SELECT kind, id FROM removed WHERE "+beyond+")", metaHorizon)
	if err == nil {
		_, err = stx.ExecContext(ctx, "DELETE FROM removed WHERE "+beyond, metaHorizon)
	}
	if err != nil {
		return fmt.Errorf("cannot forget what was removed: %w", err)
	}
	return nil
}

// Versions returns the versions of an app, newest first.
func (e *Engine) Versions(ctx context.Context, id string) ([]string, error) {
	rs, err := e.db.Read.QueryContext(ctx, "SELECT version FROM history WHERE kind = ? AND id = ? AND doc IS NOT NULL ORDER BY version DESC", kindApp, id)
	if err != nil {
		return nil, fmt.Errorf("cannot read versions of %s: %w", id, err)
	}
	defer rs.Close()
	out := []string{}
	for rs.Next() {
		var v string
		if err := rs.Scan(&v); err != nil {
			return nil, fmt.Errorf("cannot read versions of %s: %w", id, err)
		}
		out = append(out, v)
	}
	return out, rs.Err()
}

// Version returns an app as it was in one version, or nil.
func (e *Engine) Version(ctx context.Context, id, version string) (*app.App, error) {
	var doc []byte
	err := e.db.Read.QueryRowContext(ctx, "SELECT doc FROM history WHERE kind = ? AND id = ? AND version = ? AND doc IS NOT NULL", kindApp, id, version).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read version %s of %s: %w", version, id, err)
	}
	a := new(app.App)
	if err := json.Unmarshal(doc, a); err != nil {
		return nil, fmt.Errorf("cannot read version %s of %s: %w", version, id, err)
	}
	return a, nil
}

// within is the condition that an object is a group or in it, and its arguments.
func within(group string) (condition string, args []any) {
	if group == "/" {
		return "TRUE", nil
	}
	return "(id = ? OR id > ? AND id < ?)", []any{group, group + "/", group + "0"} // '0' follows '/'
}

// since returns the first version as of which everything in a group is known.
func since(ctx context.Context, tx *sql.Tx, group string) (string, error) {
	var first string
	where, args := within(group)
	err := tx.QueryRowContext(ctx, `SELECT max(coalesce((SELECT value FROM meta WHERE key = ?), ''), coalesce((SELECT max(oldest) FROM
		(SELECT min(version) AS oldest FROM history WHERE `+where+` GROUP BY kind, id HAVING count(*) >= ?)), ''))`,
		append(append([]any{metaHorizon}, args...), maxVersions)...).Scan(&first) //nolint:gosec // a condition of ours
	if err != nil {
		return "", fmt.Errorf("cannot read how far back versions of %s go: %w", group, err)
	}
	return first, nil
}

// GroupVersions returns the versions at which a group or something in it changed,
// newest first, as far as all of it is known and it was there. sees tells whose
// changes count.
func (e *Engine) GroupVersions(ctx context.Context, group string, sees func(id string) bool) ([]string, error) {
	tx, err := e.db.Read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("cannot read versions of %s: %w", group, err)
	}
	defer tx.Rollback()
	first, err := since(ctx, tx, group)
	if err != nil {
		return nil, err
	}
	where, args := within(group)
	rs, err := tx.QueryContext(ctx, "SELECT kind || id, id, version, doc IS NULL FROM history WHERE "+where+" ORDER BY version", args...) //nolint:gosec // a condition of ours
	if err != nil {
		return nil, fmt.Errorf("cannot read versions of %s: %w", group, err)
	}
	defer rs.Close()
	out, there := []string{}, map[string]bool{} // oldest first; what is there as of the row
	for rs.Next() {
		var object, id, version string
		var removed bool
		if err := rs.Scan(&object, &id, &version, &removed); err != nil {
			return nil, fmt.Errorf("cannot read versions of %s: %w", group, err)
		}
		if !sees(id) {
			continue
		}
		if there[object] = true; removed {
			delete(there, object)
		}
		if n := len(out); n > 0 && out[n-1] == version {
			out = out[:n-1]
		}
		if version >= first && (group == "/" || len(there) > 0) {
			out = append(out, version)
		}
	}
	out = out[max(0, len(out)-maxVersions):]
	slices.Reverse(out)
	return out, rs.Err()
}

// Past is what a group held.
type Past struct {
	Apps   map[string]*app.App
	Groups map[string]*Group // those of which something is kept, itself among them
}

// GroupAt returns what a group held as of a version of anything at all; nil if
// there is no such version, or not everything is known of it any more.
func (e *Engine) GroupAt(ctx context.Context, group, version string) (*Past, error) {
	tx, err := e.db.Read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("cannot read version %s of %s: %w", version, group, err)
	}
	defer tx.Rollback()
	first, err := since(ctx, tx, group)
	if err != nil {
		return nil, err
	}
	var known bool
	if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM history WHERE version = ?)", version).Scan(&known); err != nil {
		return nil, fmt.Errorf("cannot read version %s of %s: %w", version, group, err)
	}
	if !known || version < first {
		return nil, nil //nolint:nilnil // it is not there
	}
	where, args := within(group)
	rs, err := tx.QueryContext(ctx, `SELECT kind, id, doc, max(version) FROM history WHERE `+where+` AND version <= ? GROUP BY kind, id`, append(args, version)...) //nolint:gosec // a condition of ours
	if err != nil {
		return nil, fmt.Errorf("cannot read version %s of %s: %w", version, group, err)
	}
	defer rs.Close()
	out := &Past{Apps: map[string]*app.App{}, Groups: map[string]*Group{}}
	for rs.Next() {
		if err := out.add(rs); err != nil {
			return nil, fmt.Errorf("cannot read version %s of %s: %w", version, group, err)
		}
	}
	return out, rs.Err()
}

func (p *Past) add(rs *sql.Rows) error {
	var kind, id, version string
	var doc []byte
	if err := rs.Scan(&kind, &id, &doc, &version); err != nil || doc == nil {
		return err
	}
	if kind == kindGroup {
		g := new(Group)
		p.Groups[id] = g
		return json.Unmarshal(doc, g)
	}
	a := new(app.App)
	p.Apps[id] = a
	return json.Unmarshal(doc, a)
}
