package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Statements keeps the queries of one pool prepared. Transactions hold the
// connections a preparation needs, so what one of them misses is prepared after it.
type Statements struct {
	db *sql.DB

	mu      sync.Mutex
	ready   map[string]*sql.Stmt
	missing map[string]struct{}
}

// NewStatements keeps statements of a pool, which closes them with itself.
func NewStatements(db *sql.DB) *Statements {
	return &Statements{db: db, ready: map[string]*sql.Stmt{}, missing: map[string]struct{}{}}
}

// Bound is a transaction with the statements it uses.
type Bound struct {
	*sql.Tx
	all *Statements
	own map[string]*sql.Stmt
}

// Bind gives a transaction of the pool its statements.
func (s *Statements) Bind(tx *sql.Tx) *Bound { return &Bound{tx, s, map[string]*sql.Stmt{}} }

// Statement returns the statement of a query; it ends with the transaction.
func (b *Bound) Statement(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt := b.own[query]; stmt != nil {
		return stmt, nil
	}
	b.all.mu.Lock()
	ready := b.all.ready[query]
	b.all.mu.Unlock()
	var stmt *sql.Stmt
	if ready != nil {
		stmt = b.StmtContext(ctx, ready)
	} else {
		var err error
		if stmt, err = b.PrepareContext(ctx, query); err != nil {
			return nil, err
		}
		b.all.mu.Lock()
		b.all.missing[query] = struct{}{}
		b.all.mu.Unlock()
	}
	b.own[query] = stmt
	return stmt, nil
}

// Prepare prepares what was missed. The caller holds no connection of the pool.
func (s *Statements) Prepare(ctx context.Context) error {
	s.mu.Lock()
	missing := slices.Collect(maps.Keys(s.missing))
	clear(s.missing)
	s.mu.Unlock()
	for _, query := range missing {
		stmt, err := s.db.PrepareContext(ctx, query)
		if err != nil {
			return fmt.Errorf("cannot prepare a query: %w", err)
		}
		s.mu.Lock()
		if s.ready[query] == nil {
			s.ready[query], stmt = stmt, nil
		}
		s.mu.Unlock()
		if stmt != nil {
			_ = stmt.Close() // somebody else was first
		}
	}
	return nil
}
