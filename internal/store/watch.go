package store

import (
	"database/sql"
	"time"
)

// Watch is what the server does about a node whose agent is silent.
type Watch struct {
	Silent  *time.Time // since when; nil while it is not
	Mended  *time.Time // when the node was last brought back by itself
	Mending bool       // the driver has been asked to and has not answered yet
}

// Watches returns them by node; a node without one has never been silent.
func (t *Tx) Watches() (map[string]Watch, error) {
	type kept struct {
		node string
		Watch
	}
	ws, err := rows(t, func(scan func(...any) error) (kept, error) {
		var k kept
		var silent, mended sql.NullInt64
		err := scan(&k.node, &silent, &mended, &k.Mending)
		k.Silent, k.Mended = fromMillis(silent), fromMillis(mended)
		return k, err
	}, "SELECT node, silent, mended, mending FROM watch")
	out := make(map[string]Watch, len(ws))
	for _, k := range ws {
		out[k.node] = k.Watch
	}
	return out, err
}

// PutWatch writes the watch of a cluster's node.
func (t *Tx) PutWatch(cluster, node string, w Watch) error {
	t.touchCluster(cluster)
	_, err := t.exec(`INSERT INTO watch(node, silent, mended, mending) VALUES(?,?,?,?)
		ON CONFLICT(node) DO UPDATE SET silent = excluded.silent, mended = excluded.mended, mending = excluded.mending`,
		node, millis(w.Silent), millis(w.Mended), w.Mending)
	return err
}

// Watched is a node whose agent should report.
type Watched struct {
	ID, Cluster, Name, Infrastructure string
	ClusterName                       string
}

// WatchedNodes returns the nodes that are wanted to run and whose agents have
// joined.
func (t *Tx) WatchedNodes() ([]Watched, error) {
	return rows(t, func(scan func(...any) error) (Watched, error) {
		var w Watched
		return w, scan(&w.ID, &w.Cluster, &w.Name, &w.Infrastructure, &w.ClusterName)
	}, `SELECT n.id, n.cluster, n.name, n.infrastructure, c.name FROM node n JOIN cluster c ON c.id = n.cluster
		WHERE n.intent IN ('run','drain') AND n.facts <> '' ORDER BY c.name, n.grp, n.ordinal`)
}
