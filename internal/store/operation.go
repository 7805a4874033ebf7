package store

import (
	"database/sql"
	"fmt"
	"time"

	"howdah.dev/howdah/api"
)

// Operation is one row: the durable execution of a plan.
type Operation struct {
	ID                int64
	Cluster, Name     string // id and name of the cluster
	Kind              string
	State             api.OperationState
	Reason            string
	Args              string // JSON, of the kind
	Planned           bool
	Created           time.Time
	Started, Finished *time.Time
	Project           string // of the cluster
	By                string // who asked for it
	Cause             string // why, where nobody did
}

const operationColumns = "id, cluster, cluster_name, kind, state, reason, args, planned, created, started, finished, project, asked_by, cause"

func scanOperation(scan func(...any) error) (Operation, error) {
	var o Operation
	var created int64
	var started, finished sql.NullInt64
	err := scan(&o.ID, &o.Cluster, &o.Name, &o.Kind, &o.State, &o.Reason, &o.Args, &o.Planned, &created, &started, &finished, &o.Project, &o.By, &o.Cause)
	o.Created, o.Started, o.Finished = time.UnixMilli(created), fromMillis(started), fromMillis(finished)
	return o, err
}

// InsertOperation adds an operation and returns its number.
func (t *Tx) InsertOperation(o Operation) (int64, error) {
	t.Touch(TopicOperations)
	t.touchCluster(o.Cluster)
	return row(t, "operation", func(scan func(...any) error) (int64, error) {
		var id int64
		return id, scan(&id)
	}, `INSERT INTO operation(cluster, cluster_name, kind, state, reason, args, planned, created, started, finished, project, asked_by, cause)
		VALUES(?,?,?,?,?,?,?,?,?,?,coalesce(nullif(?, ''), 'default'),?,?) RETURNING id`,
		o.Cluster, o.Name, o.Kind, o.State, o.Reason, o.Args, o.Planned, t.now.UnixMilli(), millis(o.Started), millis(o.Finished), o.Project, o.By, o.Cause)
}

// UpdateOperation writes the changeable part of an operation.
func (t *Tx) UpdateOperation(o Operation) error {
	t.Touch(TopicOperations)
	t.touchCluster(o.Cluster)
	return t.must(fmt.Sprintf("operation %d", o.ID),
		"UPDATE operation SET state = ?, reason = ?, planned = ?, started = ?, finished = ? WHERE id = ?",
		o.State, o.Reason, o.Planned, millis(o.Started), millis(o.Finished), o.ID)
}

// Operation returns an operation by number.
func (t *Tx) Operation(id int64) (Operation, error) {
	return row(t, fmt.Sprintf("operation %d", id), scanOperation, "SELECT "+operationColumns+" FROM operation WHERE id = ?", id)
}

// OpenOperations returns the operations that are not final, oldest first.
func (t *Tx) OpenOperations() ([]Operation, error) {
	return rows(t, scanOperation, "SELECT "+operationColumns+" FROM operation WHERE state IN ('queued','running','failed') ORDER BY id")
}

// Operations returns operations, newest first; cluster (a name) filters where given.
func (t *Tx) Operations(cluster string, limit int) ([]Operation, error) {
	return rows(t, scanOperation, "SELECT "+operationColumns+" FROM operation WHERE ? = '' OR cluster_name = ? ORDER BY id DESC LIMIT ?", cluster, cluster, limit)
}

// Step is one row of an operation's journal.
type Step struct {
	ID, Operation            int64
	Kind, Node, Title, Phase string
	State                    api.StepState
	Key                      string
	Args                     string // JSON, of the kind
	Waiting                  string
	Until, NotBefore         *time.Time
	Error                    string
	Tries                    int
	Started, Finished        *time.Time
	Optional                 bool // its failure is none of the operation's
	After                    []int64
}

const stepColumns = "id, operation, kind, node, title, phase, state, key, args, waiting, until, not_before, error, tries, started, finished, optional"

func scanStep(scan func(...any) error) (Step, error) {
	var s Step
	var until, notBefore, started, finished sql.NullInt64
	err := scan(&s.ID, &s.Operation, &s.Kind, &s.Node, &s.Title, &s.Phase, &s.State, &s.Key, &s.Args, &s.Waiting,
		&until, &notBefore, &s.Error, &s.Tries, &started, &finished, &s.Optional)
	s.Until, s.NotBefore, s.Started, s.Finished = fromMillis(until), fromMillis(notBefore), fromMillis(started), fromMillis(finished)
	return s, err
}

// InsertStep adds a step and returns its number.
func (t *Tx) InsertStep(s Step) (int64, error) {
	id, err := row(t, "step", func(scan func(...any) error) (int64, error) {
		var id int64
		return id, scan(&id)
	}, `INSERT INTO step(operation, kind, node, title, phase, state, key, args, optional) VALUES(?,?,?,?,?,?,?,?,?) RETURNING id`,
		s.Operation, s.Kind, s.Node, s.Title, s.Phase, s.State, s.Key, s.Args, s.Optional)
	if err != nil {
		return 0, err
	}
	for _, after := range s.After {
		if _, err := t.exec("INSERT INTO step_dep(step, after) VALUES(?,?) ON CONFLICT DO NOTHING", id, after); err != nil {
			return 0, err
		}
	}
	return id, nil
}

// UpdateStep writes the changeable part of a step.
func (t *Tx) UpdateStep(s Step) error {
	return t.must(fmt.Sprintf("step %d", s.ID),
		`UPDATE step SET state = ?, waiting = ?, until = ?, not_before = ?, error = ?, tries = ?, started = ?, finished = ? WHERE id = ?`,
		s.State, s.Waiting, millis(s.Until), millis(s.NotBefore), s.Error, s.Tries, millis(s.Started), millis(s.Finished), s.ID)
}

// Step returns a step by number, without what it comes after.
func (t *Tx) Step(id int64) (Step, error) {
	return row(t, fmt.Sprintf("step %d", id), scanStep, "SELECT "+stepColumns+" FROM step WHERE id = ?", id)
}

// Steps returns an operation's steps with what they come after.
func (t *Tx) Steps(operation int64) ([]Step, error) { return t.stepsBut(operation, "") }

// StepsLeft returns those of an operation's steps that are not done, with what they come
// after, done or not.
func (t *Tx) StepsLeft(operation int64) ([]Step, error) { return t.stepsBut(operation, api.StepDone) }

// stepsBut returns the steps that are not in a state.
func (t *Tx) stepsBut(operation int64, state api.StepState) ([]Step, error) {
	steps, err := rows(t, scanStep, "SELECT "+stepColumns+" FROM step WHERE operation = ? AND state <> ? ORDER BY id", operation, state)
	if err != nil {
		return nil, err
	}
	deps, err := rows(t, func(scan func(...any) error) ([2]int64, error) {
		var d [2]int64
		return d, scan(&d[0], &d[1])
	}, "SELECT d.step, d.after FROM step_dep d JOIN step s ON s.id = d.step WHERE s.operation = ? AND s.state <> ? ORDER BY d.after", operation, state)
	if err != nil {
		return nil, err
	}
	at := make(map[int64]int, len(steps))
	for i := range steps {
		at[steps[i].ID] = i
	}
	for _, d := range deps {
		s := &steps[at[d[0]]]
		s.After = append(s.After, d[1])
	}
	return steps, nil
}

// API returns the operation as users see it.
func (o Operation) API(steps []Step) api.Operation {
	out := api.Operation{ID: o.ID, Cluster: o.Name, Kind: o.Kind, State: o.State, Reason: o.Reason, By: o.By, Cause: o.Cause, Created: o.Created, Started: o.Started, Finished: o.Finished}
	if len(steps) > 0 {
		out.Steps = make([]api.Step, 0, len(steps))
	}
	for _, s := range steps {
		out.Steps = append(out.Steps, api.Step{
			ID: s.ID, Kind: s.Kind, Node: s.Node, Title: s.Title, Phase: s.Phase, State: s.State, Waiting: s.Waiting,
			Until: s.Until, Error: s.Error, Tries: s.Tries, Optional: s.Optional, After: s.After, Started: s.Started, Finished: s.Finished,
		})
	}
	return out
}
