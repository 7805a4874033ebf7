package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/sqlite"
)

// Topics of subscriptions beside ClusterTopic.
const (
	TopicOperations = "operations"
	TopicEvents     = "events"
	TopicClusters   = "clusters" // any cluster
	TopicExpiry     = "expiry"   // any cluster with a time to live
)

// NodeTopic is touched by every change to a node, its tasks and what is observed of it.
func NodeTopic(id string) string { return "node:" + id }

// WishTopic is touched by every change of what a node is wanted to do: NodeTopic without
// what is observed.
func WishTopic(node string) string { return "wish:" + node }

// MembersTopic is touched when a node of a cluster goes.
func MembersTopic(cluster string) string { return "members:" + cluster }

// ClusterTopic is touched by every change to a cluster, its nodes, tasks and
// what is observed of them.
func ClusterTopic(id string) string { return "cluster:" + id }

// Tx is a transaction. It is valid only inside the function it was given to.
type Tx struct {
	ctx     context.Context //nolint:containedctx // a Tx lives only inside one call
	store   *Store
	tx      *sqlite.Bound
	now     time.Time
	touched map[string]struct{}
}

// Now is the time of the transaction; all its rows carry the same.
func (t *Tx) Now() time.Time { return t.now }

// ReadOnly reports whether the transaction sees only what is committed.
func (t *Tx) ReadOnly() bool { return t.touched == nil }

// Touch marks topics whose subscribers are told after the commit.
func (t *Tx) Touch(topics ...string) {
	for _, topic := range topics {
		t.touched[topic] = struct{}{}
	}
}

func (t *Tx) touchCluster(id string) { t.Touch(ClusterTopic(id), TopicClusters) }

func (t *Tx) touchNode(cluster, node string) {
	t.touchCluster(cluster)
	t.Touch(NodeTopic(node))
}

func (t *Tx) touchWish(cluster, node string) {
	t.touchNode(cluster, node)
	t.Touch(WishTopic(node))
}

func (t *Tx) exec(query string, args ...any) (int64, error) {
	stmt, err := t.tx.Statement(t.ctx, query)
	if err != nil {
		return 0, err
	}
	res, err := stmt.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// must is exec for statements that have to find their row.
func (t *Tx) must(what, query string, args ...any) error {
	n, err := t.exec(query, args...)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", what, err)
	}
	if n == 0 {
		return fmt.Errorf("cannot write %s: %w", what, ErrNotFound)
	}
	return nil
}

// rows runs a query and scans each row.
func rows[T any](t *Tx, scan func(func(...any) error) (T, error), query string, args ...any) ([]T, error) {
	stmt, err := t.tx.Statement(t.ctx, query)
	if err != nil {
		return nil, err
	}
	rs, err := stmt.QueryContext(t.ctx, args...)
	if err != nil {
		return nil, err
	}
	defer rs.Close()
	var out []T
	for rs.Next() {
		v, err := scan(rs.Scan)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rs.Err()
}

// row is rows for exactly one; ErrNotFound without it.
func row[T any](t *Tx, what string, scan func(func(...any) error) (T, error), query string, args ...any) (T, error) {
	found, err := rows(t, scan, query, args...)
	var v T
	if err != nil {
		return v, fmt.Errorf("cannot read %s: %w", what, err)
	}
	if len(found) == 0 {
		return v, fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	return found[0], nil
}

// Meta returns a setting of the installation, "" without it.
func (t *Tx) Meta(key string) (string, error) {
	v, err := row(t, key, func(scan func(...any) error) (string, error) {
		var s string
		return s, scan(&s)
	}, "SELECT value FROM meta WHERE key = ?", key)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	return v, err
}

// SetMeta writes a setting of the installation.
func (t *Tx) SetMeta(key, value string) error {
	_, err := t.exec("INSERT INTO meta(key, value) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value", key, value)
	return err
}

// Event appends one line to the history.
func (t *Tx) Event(e api.Event) error {
	data := ""
	if e.Data != nil {
		b, err := json.Marshal(e.Data)
		if err != nil {
			return fmt.Errorf("cannot write event: %w", err)
		}
		data = string(b)
	}
	// It belongs to the project of its operation, which outlives the cluster, else of its cluster.
	_, err := t.exec(`INSERT INTO event(at, type, cluster, node, service, operation, message, data, project) VALUES(?,?,?,?,?,?,?,?,
		coalesce((SELECT project FROM operation WHERE id = ?), (SELECT project FROM cluster WHERE name = ?), 'default'))`,
		t.now.UnixMilli(), e.Type, e.Cluster, e.Node, e.Service, e.Operation, e.Message, data, e.Operation, e.Cluster)
	t.Touch(TopicEvents)
	return err
}

// Events returns up to limit events after an id, oldest first. cluster and
// operation filter where given.
func (t *Tx) Events(after int64, cluster string, operation int64, limit int) ([]api.Event, error) {
	return t.EventsOf("", after, cluster, operation, limit)
}

// RecentEvents returns the newest events, oldest first.
func (t *Tx) RecentEvents(cluster string, limit int) ([]api.Event, error) {
	return t.RecentEventsOf("", cluster, limit)
}

// LastEvent returns the id of the newest event, 0 without any.
func (t *Tx) LastEvent() (int64, error) {
	return row(t, "events", func(scan func(...any) error) (int64, error) {
		var id int64
		return id, scan(&id)
	}, "SELECT coalesce(max(id), 0) FROM event")
}

// KeptEvents returns the ids of the oldest and the newest event that are kept; 0
// without any.
func (t *Tx) KeptEvents() (first, last int64, err error) {
	ids, err := row(t, "events", func(scan func(...any) error) ([2]int64, error) {
		var ids [2]int64
		return ids, scan(&ids[0], &ids[1])
	}, "SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM event")
	return ids[0], ids[1], err
}

func scanEvent(scan func(...any) error) (api.Event, error) {
	var e api.Event
	var at int64
	var data string
	if err := scan(&e.ID, &at, &e.Type, &e.Cluster, &e.Node, &e.Service, &e.Operation, &e.Message, &data); err != nil {
		return e, err
	}
	e.Time = time.UnixMilli(at)
	if data != "" {
		return e, json.Unmarshal([]byte(data), &e.Data)
	}
	return e, nil
}

func millis(t *time.Time) any {
	if t == nil || t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

func fromMillis(v sql.NullInt64) *time.Time {
	if !v.Valid {
		return nil
	}
	t := time.UnixMilli(v.Int64)
	return &t
}
