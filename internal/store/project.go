package store

import (
	"fmt"

	"howdah.dev/howdah/api"
)

// Quota is what a project may have; 0 is no bound.
type Quota struct {
	Project               string
	Nodes, CPUs, MemoryMB int
}

// Quotas returns the bounds of all projects that have one.
func (t *Tx) Quotas() ([]Quota, error) {
	return rows(t, func(scan func(...any) error) (Quota, error) {
		var q Quota
		return q, scan(&q.Project, &q.Nodes, &q.CPUs, &q.MemoryMB)
	}, "SELECT project, nodes, cpus, memory_mb FROM quota ORDER BY project")
}

// PutQuota says what a project may have.
func (t *Tx) PutQuota(q Quota) error {
	var err error
	if q.Nodes == 0 && q.CPUs == 0 && q.MemoryMB == 0 {
		_, err = t.exec("DELETE FROM quota WHERE project = ?", q.Project)
	} else {
		_, err = t.exec(`INSERT INTO quota(project, nodes, cpus, memory_mb) VALUES(?,?,?,?) ON CONFLICT(project) DO UPDATE SET
			nodes = excluded.nodes, cpus = excluded.cpus, memory_mb = excluded.memory_mb`, q.Project, q.Nodes, q.CPUs, q.MemoryMB)
	}
	if err != nil {
		return fmt.Errorf("cannot write quota of %s: %w", q.Project, err)
	}
	return nil
}

// OperationsOf is Operations of one project; of all with project "".
func (t *Tx) OperationsOf(project, cluster string, limit int) ([]Operation, error) {
	return rows(t, scanOperation, "SELECT "+operationColumns+` FROM operation
		WHERE (? = '' OR project = ?) AND (? = '' OR cluster_name = ?) ORDER BY id DESC LIMIT ?`, project, project, cluster, cluster, limit)
}

const eventColumns = "id, at, type, cluster, node, service, operation, message, data"

// EventsOf is Events of one project; of all with project "".
func (t *Tx) EventsOf(project string, after int64, cluster string, operation int64, limit int) ([]api.Event, error) {
	return rows(t, scanEvent, "SELECT "+eventColumns+` FROM event
		WHERE id > ? AND (? = '' OR project = ?) AND (? = '' OR cluster = ?) AND (? = 0 OR operation = ?) ORDER BY id LIMIT ?`,
		after, project, project, cluster, cluster, operation, operation, limit)
}

// RecentEventsOf is RecentEvents of one project; of all with project "".
func (t *Tx) RecentEventsOf(project, cluster string, limit int) ([]api.Event, error) {
	return rows(t, scanEvent, "SELECT * FROM (SELECT "+eventColumns+` FROM event
		WHERE (? = '' OR project = ?) AND (? = '' OR cluster = ?) ORDER BY id DESC LIMIT ?) ORDER BY id`, project, project, cluster, cluster, limit)
}
