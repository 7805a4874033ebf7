package sqlite_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"

	"howdah.dev/howdah/internal/sqlite"
)

// TestStatements: a query answers the same before and after it is prepared, also where
// more transactions want it than the pool has connections.
func TestStatements(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "db"), fstest.MapFS{"00001_a.sql": first})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	stmts := sqlite.NewStatements(db.Read)
	ask := func(query string) (v string, err error) {
		tx, err := db.Read.BeginTx(context.Background(), nil)
		if err != nil {
			return "", err
		}
		stmt, err := stmts.Bind(tx).Statement(context.Background(), query)
		if err == nil {
			err = stmt.QueryRow().Scan(&v)
		}
		if end := tx.Rollback(); err == nil {
			err = end
		}
		if err == nil {
			err = stmts.Prepare(context.Background())
		}
		return v, err
	}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			for range 5 {
				if v, err := ask(fmt.Sprintf("SELECT v || '%d' FROM a", i%7)); err != nil || v != fmt.Sprint("kept", i%7) {
					t.Error(v, err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := ask("SELECT nothing FROM nowhere"); err == nil {
		t.Error("a query that cannot be was answered")
	}
	if v, err := ask("SELECT v FROM a"); v != "kept" || err != nil {
		t.Error("after a query that cannot be:", v, err)
	}
}
