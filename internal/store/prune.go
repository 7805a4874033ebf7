package store

import (
	"fmt"
	"time"
)

// Keep says how much of the past is kept.
type Keep struct {
	Events     int // newest of all clusters
	Operations int // newest that have ended, of each cluster; also in all of clusters that are gone
	Revisions  int // newest of each cluster, beside those something refers to
}

// pruneBatch bounds how many rows of a kind one transaction removes, without
// those that go with them.
const pruneBatch = 500

// endedTokens is how long tokens that have ended are remembered.
const endedTokens = 90 * 24 * time.Hour

// Prune removes what is older than is to be kept: events, ended operations
// with their steps, revisions and stacks nothing refers to, rows of the audit record
// beyond what it keeps, tokens that ended long ago, join tokens nobody can use any
// more. It removes a bounded number of rows and reports whether there are more.
func (t *Tx) Prune(k Keep) (more bool, err error) {
	now := t.now.UnixMilli()
	for _, p := range []struct {
		what, query string
		args        []any
	}{
		{"events", `DELETE FROM event WHERE id IN (SELECT id FROM event
			WHERE id <= (SELECT id FROM event ORDER BY id DESC LIMIT 1 OFFSET ?) ORDER BY id LIMIT ?)`, []any{k.Events}},
		{"operations", `DELETE FROM operation WHERE id IN (SELECT id FROM (
			SELECT id, row_number() OVER (PARTITION BY coalesce((SELECT id FROM cluster WHERE id = operation.cluster), '') ORDER BY id DESC) AS n
			FROM operation WHERE state IN ('done','cancelled','superseded','abandoned')) WHERE n > ? LIMIT ?)`, []any{k.Operations}},
		{"revisions", `DELETE FROM revision WHERE rowid IN (SELECT r.rowid FROM revision r JOIN cluster c ON c.id = r.cluster
			WHERE r.number <= c.revision - ? AND r.number <> c.revision AND r.number <> c.smoked
			AND NOT EXISTS (SELECT 1 FROM node n WHERE n.cluster = r.cluster AND n.revision = r.number) LIMIT ?)`, []any{k.Revisions}},
		{"stacks", `DELETE FROM stack WHERE digest IN (SELECT digest FROM stack
			WHERE digest NOT IN (SELECT json_extract(doc, '$.stackDigest') FROM revision WHERE json_extract(doc, '$.stackDigest') IS NOT NULL)
			AND digest NOT IN (SELECT json_extract(args, '$.stackDigest') FROM operation
				WHERE state IN ('queued','running','failed') AND json_valid(args) AND json_extract(args, '$.stackDigest') IS NOT NULL) LIMIT ?)`, nil},
		{"rows of the audit record", "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id <= (SELECT max(id) FROM audit) - ? ORDER BY id LIMIT ?)", []any{AuditKept}},
		{"tokens that have ended", "DELETE FROM access_token WHERE id IN (SELECT id FROM access_token WHERE expires < ? LIMIT ?)", []any{now - endedTokens.Milliseconds()}},
		{"tokens", "DELETE FROM token WHERE hash IN (SELECT hash FROM token WHERE expires < ? LIMIT ?)", []any{now}},
	} {
		n, err := t.exec(p.query, append(p.args, pruneBatch)...)
		if err != nil {
			return false, fmt.Errorf("cannot remove old %s: %w", p.what, err)
		}
		more = more || n == pruneBatch
	}
	return more, nil
}
