package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"howdah.dev/howdah/internal/agentapi"
)

// Cluster is one row: what is wanted of a cluster as a whole.
type Cluster struct {
	ID, Name, Infrastructure string
	Intent                   agentapi.Intent // run, stop or gone
	Suspended                bool
	Revision                 int64
	Smoked                   int64
	Created                  time.Time
	Project                  string        // that owns it
	TTL                      time.Duration // 0 for ever
	Expires                  time.Time     // when its time to live ends; zero for never
	Expiry                   int           // what has been done about its end
}

const clusterColumns = "id, name, infrastructure, intent, suspended, revision, smoked, created, project, ttl, expires, expiry"

func scanCluster(scan func(...any) error) (Cluster, error) {
	var c Cluster
	var created, ttl int64
	var expires sql.NullInt64
	err := scan(&c.ID, &c.Name, &c.Infrastructure, &c.Intent, &c.Suspended, &c.Revision, &c.Smoked, &created, &c.Project, &ttl, &expires, &c.Expiry)
	c.Created, c.TTL = time.UnixMilli(created), time.Duration(ttl)*time.Millisecond
	if at := fromMillis(expires); at != nil {
		c.Expires = *at
	}
	return c, err
}

// Clusters returns all clusters in order of creation.
func (t *Tx) Clusters() ([]Cluster, error) {
	return rows(t, scanCluster, "SELECT "+clusterColumns+" FROM cluster ORDER BY created, name")
}

// ExpiringClusters returns the clusters whose time to live ends, soonest first.
func (t *Tx) ExpiringClusters() ([]Cluster, error) {
	return rows(t, scanCluster, "SELECT "+clusterColumns+" FROM cluster WHERE expires IS NOT NULL ORDER BY expires, name")
}

// Cluster returns a cluster by name.
func (t *Tx) Cluster(name string) (Cluster, error) {
	return row(t, "cluster "+name, scanCluster, "SELECT "+clusterColumns+" FROM cluster WHERE name = ?", name)
}

// ClusterByID returns a cluster by id.
func (t *Tx) ClusterByID(id string) (Cluster, error) {
	return row(t, "cluster", scanCluster, "SELECT "+clusterColumns+" FROM cluster WHERE id = ?", id)
}

// PutCluster inserts or updates a cluster.
func (t *Tx) PutCluster(c Cluster) error {
	t.touchCluster(c.ID)
	if c.TTL > 0 {
		t.Touch(TopicExpiry)
	}
	_, err := t.exec(`INSERT INTO cluster(`+clusterColumns+`) VALUES(?,?,?,?,?,?,?,?,coalesce(nullif(?, ''), 'default'),?,?,?)
		ON CONFLICT(id) DO UPDATE SET intent = excluded.intent, suspended = excluded.suspended, revision = excluded.revision, smoked = excluded.smoked,
		ttl = excluded.ttl, expires = excluded.expires, expiry = excluded.expiry`,
		c.ID, c.Name, c.Infrastructure, c.Intent, c.Suspended, c.Revision, c.Smoked, c.Created.UnixMilli(),
		c.Project, c.TTL.Milliseconds(), millis(&c.Expires), c.Expiry)
	if err != nil {
		return fmt.Errorf("cannot write cluster %s: %w", c.Name, err)
	}
	return nil
}

// DeleteCluster removes a cluster and all its rows but operations and events.
func (t *Tx) DeleteCluster(id string) error {
	t.touchCluster(id)
	_, err := t.exec("DELETE FROM cluster WHERE id = ?", id)
	return err
}

// PutRevision keeps a revision.
func (t *Tx) PutRevision(cluster string, number int64, doc any) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("cannot write revision: %w", err)
	}
	_, err = t.exec("INSERT INTO revision(cluster, number, doc) VALUES(?,?,?)", cluster, number, string(b))
	return err
}

// Revision reads a revision into doc.
func (t *Tx) Revision(cluster string, number int64, doc any) error {
	s, err := row(t, fmt.Sprintf("revision %d", number), func(scan func(...any) error) (string, error) {
		var s string
		return s, scan(&s)
	}, "SELECT doc FROM revision WHERE cluster = ? AND number = ?", cluster, number)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(s), doc)
}

// PutStack keeps the files of a stack under its digest.
func (t *Tx) PutStack(digest, name string, bundle map[string][]byte) error {
	b, err := json.Marshal(bundle)
	if err != nil {
		return fmt.Errorf("cannot write stack: %w", err)
	}
	_, err = t.exec("INSERT INTO stack(digest, name, bundle) VALUES(?,?,?) ON CONFLICT(digest) DO NOTHING", digest, name, b)
	return err
}

// Stack returns the files of a stack by digest.
func (t *Tx) Stack(digest string) (name string, bundle map[string][]byte, err error) {
	type kept struct {
		name string
		data []byte
	}
	k, err := row(t, "stack "+digest, func(scan func(...any) error) (kept, error) {
		var k kept
		return k, scan(&k.name, &k.data)
	}, "SELECT name, bundle FROM stack WHERE digest = ?", digest)
	if err != nil {
		return "", nil, err
	}
	return k.name, bundle, json.Unmarshal(k.data, &bundle)
}

// NextOrdinal takes the next ordinal of a group; they are never given twice.
func (t *Tx) NextOrdinal(cluster, group string) (int, error) {
	return row(t, "ordinal", func(scan func(...any) error) (int, error) {
		var n int
		return n, scan(&n)
	}, `INSERT INTO ordinal(cluster, grp, next) VALUES(?,?,2) ON CONFLICT(cluster, grp) DO UPDATE SET next = next + 1 RETURNING next - 1`, cluster, group)
}

// PeekOrdinals returns the next free ordinal of each group used so far.
func (t *Tx) PeekOrdinals(cluster string) (map[string]int, error) {
	type pair struct {
		group string
		next  int
	}
	ps, err := rows(t, func(scan func(...any) error) (pair, error) {
		var p pair
		return p, scan(&p.group, &p.next)
	}, "SELECT grp, next FROM ordinal WHERE cluster = ?", cluster)
	out := map[string]int{}
	for _, p := range ps {
		out[p.group] = p.next
	}
	return out, err
}

// Node is one row: what is wanted of a node and where it is. What Facts and Java point
// to is shared by all who read it: nobody may change it.
type Node struct {
	ID, Cluster, Name, Group string
	Ordinal                  int
	Intent                   agentapi.Intent
	Revision                 int64
	Infrastructure           string
	Address, Host            string
	MemoryMB, CPUs           int
	Reason                   string
	Facts                    *agentapi.Facts
	Java                     *agentapi.Java
	Generation               int64
	Rendered                 string
	Incarnation              int64
	Instance                 string
}

const nodeColumns = `id, cluster, name, grp, ordinal, intent, revision, infrastructure, address, host, memory_mb, cpus, reason,
	facts, java, generation, rendered, incarnation, instance`

func (t *Tx) scanNode(scan func(...any) error) (n Node, err error) {
	var facts, java string
	if err := scan(&n.ID, &n.Cluster, &n.Name, &n.Group, &n.Ordinal, &n.Intent, &n.Revision, &n.Infrastructure, &n.Address, &n.Host,
		&n.MemoryMB, &n.CPUs, &n.Reason, &facts, &java, &n.Generation, &n.Rendered, &n.Incarnation, &n.Instance); err != nil {
		return n, err
	}
	if n.Facts, err = t.store.facts.of(facts); err != nil {
		return n, err
	}
	n.Java, err = t.store.javas.of(java)
	return n, err
}

// Nodes returns the nodes of a cluster, or of all with cluster "", in order of
// name.
func (t *Tx) Nodes(cluster string) ([]Node, error) {
	if cluster == "" {
		return rows(t, t.scanNode, "SELECT "+nodeColumns+" FROM node ORDER BY cluster, grp, ordinal")
	}
	return rows(t, t.scanNode, "SELECT "+nodeColumns+" FROM node WHERE cluster = ? ORDER BY grp, ordinal", cluster)
}

// Node returns a node by id.
func (t *Tx) Node(id string) (Node, error) {
	return row(t, "node "+id, t.scanNode, "SELECT "+nodeColumns+" FROM node WHERE id = ?", id)
}

// HasNode reports whether a node is there.
func (t *Tx) HasNode(id string) (bool, error) {
	return row(t, "node "+id, func(scan func(...any) error) (bool, error) {
		var there bool
		return there, scan(&there)
	}, "SELECT EXISTS (SELECT 1 FROM node WHERE id = ?)", id)
}

// PutNode inserts or updates a node.
func (t *Tx) PutNode(n Node) error {
	t.touchWish(n.Cluster, n.ID)
	facts, java := "", ""
	if n.Facts != nil {
		b, err := json.Marshal(n.Facts)
		if err != nil {
			return err
		}
		facts = string(b)
	}
	if n.Java != nil {
		b, err := json.Marshal(n.Java)
		if err != nil {
			return err
		}
		java = string(b)
	}
	_, err := t.exec(`INSERT INTO node(`+nodeColumns+`) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT(id) DO UPDATE SET intent = excluded.intent, revision = excluded.revision, facts = excluded.facts, java = excluded.java,
		memory_mb = excluded.memory_mb, cpus = excluded.cpus,
		generation = excluded.generation, rendered = excluded.rendered, incarnation = excluded.incarnation, instance = excluded.instance`,
		n.ID, n.Cluster, n.Name, n.Group, n.Ordinal, n.Intent, n.Revision, n.Infrastructure, n.Address, n.Host, n.MemoryMB, n.CPUs, n.Reason,
		facts, java, n.Generation, n.Rendered, n.Incarnation, n.Instance)
	if err != nil {
		return fmt.Errorf("cannot write node %s: %w", n.Name, err)
	}
	return nil
}

// DeleteNode removes a node.
func (t *Tx) DeleteNode(id, cluster string) error {
	t.touchWish(cluster, id)
	t.Touch(MembersTopic(cluster))
	_, err := t.exec("DELETE FROM node WHERE id = ?", id)
	return err
}

// Once is the permit of a cluster-wide one-time task.
type Once struct {
	Task, Node, State string
	At                time.Time
}

// States of a one-time task.
const (
	OnceRunning = "running"
	OnceDone    = "done"
)

func scanOnce(scan func(...any) error) (Once, error) {
	var o Once
	var at int64
	err := scan(&o.Task, &o.Node, &o.State, &at)
	o.At = time.UnixMilli(at)
	return o, err
}

// Onces returns the one-time tasks of a cluster that began.
func (t *Tx) Onces(cluster string) ([]Once, error) {
	return rows(t, scanOnce, "SELECT task, node, state, at FROM once WHERE cluster = ? ORDER BY task", cluster)
}

// PutOnce writes the state of a one-time task.
func (t *Tx) PutOnce(cluster string, o Once) error {
	t.touchCluster(cluster)
	_, err := t.exec(`INSERT INTO once(cluster, task, node, state, at) VALUES(?,?,?,?,?)
		ON CONFLICT(cluster, task) DO UPDATE SET node = excluded.node, state = excluded.state, at = excluded.at`,
		cluster, o.Task, o.Node, o.State, t.now.UnixMilli())
	return err
}

// ReleaseOnce gives back permits a node holds for tasks it has not done, so
// that another may.
func (t *Tx) ReleaseOnce(cluster, node string) error {
	_, err := t.exec("DELETE FROM once WHERE cluster = ? AND node = ? AND state = ?", cluster, node, OnceRunning)
	return err
}

// Observed is the last report of a node.
type Observed struct {
	Report agentapi.Report
	At     time.Time
}

// PutObserved keeps a report unless a newer one is there; it says whether it did.
func (t *Tx) PutObserved(cluster string, r agentapi.Report) (bool, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return false, err
	}
	n, err := t.exec(`INSERT INTO observed(node, incarnation, sequence, generation, doc, at) VALUES(?,?,?,?,?,?)
		ON CONFLICT(node) DO UPDATE SET incarnation = excluded.incarnation, sequence = excluded.sequence, generation = excluded.generation,
		doc = excluded.doc, at = excluded.at
		WHERE excluded.incarnation > observed.incarnation OR (excluded.incarnation = observed.incarnation AND excluded.sequence > observed.sequence)`,
		r.Node, r.Incarnation, r.Sequence, r.Generation, string(b), t.now.UnixMilli())
	if n > 0 {
		t.touchNode(cluster, r.Node)
	}
	return n > 0, err
}

func scanObserved(scan func(...any) error) (Observed, error) {
	var o Observed
	var doc string
	var at int64
	if err := scan(&doc, &at); err != nil {
		return o, err
	}
	o.At = time.UnixMilli(at)
	return o, json.Unmarshal([]byte(doc), &o.Report)
}

// Observed returns the last report of a node; ErrNotFound before the first.
func (t *Tx) Observed(node string) (Observed, error) {
	return row(t, "report of node "+node, scanObserved, "SELECT doc, at FROM observed WHERE node = ?", node)
}

// ObservedOf returns the last reports of a cluster's nodes by node id.
func (t *Tx) ObservedOf(cluster string) (map[string]Observed, error) {
	os, err := rows(t, scanObserved, "SELECT o.doc, o.at FROM observed o JOIN node n ON n.id = o.node WHERE n.cluster = ?", cluster)
	out := make(map[string]Observed, len(os))
	for _, o := range os {
		out[o.Report.Node] = o
	}
	return out, err
}

// Task is a piece of work on a node outside its services.
type Task struct {
	ID, Cluster, Node, Kind, Name string
	Task                          agentapi.Task
	State                         agentapi.TaskState
	Status                        agentapi.TaskStatus
	Created                       time.Time
}

const taskColumns = "id, cluster, node, kind, name, doc, state, status, created"

func scanTask(scan func(...any) error) (Task, error) {
	var k Task
	var doc, status string
	var created int64
	if err := scan(&k.ID, &k.Cluster, &k.Node, &k.Kind, &k.Name, &doc, &k.State, &status, &created); err != nil {
		return k, err
	}
	k.Created = time.UnixMilli(created)
	if err := json.Unmarshal([]byte(doc), &k.Task); err != nil {
		return k, err
	}
	return k, json.Unmarshal([]byte(status), &k.Status)
}

// PutTask inserts or updates a task.
func (t *Tx) PutTask(k Task) error {
	doc, err := json.Marshal(k.Task)
	if err != nil {
		return err
	}
	status, err := json.Marshal(k.Status)
	if err != nil {
		return err
	}
	t.touchWish(k.Cluster, k.Node)
	_, err = t.exec(`INSERT INTO task(`+taskColumns+`) VALUES(?,?,?,?,?,?,?,?,?)
		ON CONFLICT(id) DO UPDATE SET doc = excluded.doc, state = excluded.state, status = excluded.status`,
		k.ID, k.Cluster, k.Node, k.Kind, k.Name, string(doc), k.State, string(status), k.Created.UnixMilli())
	return err
}

// Task returns a task by id.
func (t *Tx) Task(id string) (Task, error) {
	return row(t, "task "+id, scanTask, "SELECT "+taskColumns+" FROM task WHERE id = ?", id)
}

// Tasks returns a cluster's tasks, newest first; kind filters where given.
func (t *Tx) Tasks(cluster, kind string) ([]Task, error) {
	return rows(t, scanTask, "SELECT "+taskColumns+" FROM task WHERE cluster = ? AND (? = '' OR kind = ?) ORDER BY created DESC, id", cluster, kind, kind)
}

// OpenTasks returns the tasks a node still has to do or is doing.
func (t *Tx) OpenTasks(node string) ([]Task, error) {
	return rows(t, scanTask, "SELECT "+taskColumns+" FROM task WHERE node = ? AND state IN ('todo','running') ORDER BY created, id", node)
}

// PutToken keeps the digest of a one-time join token.
func (t *Tx) PutToken(hash, node string, expires time.Time) error {
	_, err := t.exec("INSERT INTO token(hash, node, expires) VALUES(?,?,?)", hash, node, expires.UnixMilli())
	return err
}

// TakeToken uses up a join token; false when it is unknown, of another node or
// too old.
func (t *Tx) TakeToken(hash, node string) (bool, error) {
	n, err := t.exec("DELETE FROM token WHERE hash = ? AND node = ? AND expires > ?", hash, node, t.now.UnixMilli())
	return n > 0, err
}

// ClearTokens removes a node's tokens.
func (t *Tx) ClearTokens(node string) error {
	_, err := t.exec("DELETE FROM token WHERE node = ?", node)
	return err
}
