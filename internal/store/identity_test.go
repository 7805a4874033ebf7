package store_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/store"
)

// TestAuditIsAppendOnly: nothing changes a row, and nothing removes one of those that
// are kept; what is older is removed in turn.
func TestAuditIsAppendOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := open(t, path)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100200)
		INSERT INTO audit(at, who, name, project, role, origin, what, object, status, detail) SELECT i, 'w', '', '', '', '', 'x', '', 200, '' FROM n`); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{
		"UPDATE audit SET who = 'me' WHERE id = 1", "UPDATE audit SET status = 200",
		"DELETE FROM audit", "DELETE FROM audit WHERE id = 201", "DELETE FROM audit WHERE id = 100200",
	} {
		if _, err := db.ExecContext(t.Context(), query); err == nil || !strings.Contains(err.Error(), "the audit record is append-only") {
			t.Errorf("%s: %v", query, err)
		}
	}
	again := open(t, path)
	for range 3 {
		err := again.Update(context.Background(), func(tx *store.Tx) error {
			_, err := tx.Prune(store.Keep{Events: 10, Operations: 10, Revisions: 10})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var n, first int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*), min(id) FROM audit").Scan(&n, &first); err != nil || n != store.AuditKept || first != 201 {
		t.Errorf("%d rows are left, from %d on: %v", n, first, err)
	}
}
