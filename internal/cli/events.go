package cli

import (
	"context"
	"slices"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
)

// serverGone is how long a command waits for a server that does not answer.
const serverGone = 30 * time.Second

// events prints what happens to operations' clusters, for programs: one value
// a line, none twice, the last ones too, also when the server is started again.
type events struct {
	app      *app
	cl       *client.Client
	ops      []int64
	clusters []string
	last     int64 // printed, or older than the operations
}

func newEvents(a *app, cl *client.Client, ops []api.Operation) *events {
	e := &events{app: a, cl: cl}
	for _, o := range ops {
		e.ops, e.clusters = append(e.ops, o.ID), append(e.clusters, o.Cluster)
	}
	return e
}

// begin finds the first event of the operations.
func (e *events) begin(ctx context.Context) {
	newest, err := e.cl.History(ctx, "", 1)
	if err == nil && len(newest) > 0 {
		e.last = newest[0].ID
	}
	for _, id := range e.ops {
		first, err := e.cl.OperationHistory(ctx, id, 1)
		if err == nil && len(first) > 0 {
			e.last = min(e.last, first[0].ID-1)
		}
	}
}

// stream prints from the operations' first events on, until ctx ends.
func (e *events) stream(ctx context.Context) {
	e.begin(ctx)
	for ev, err := range e.cl.Watch(ctx, client.EventOptions{After: e.last, All: e.last == 0}, serverGone) {
		if err != nil {
			return
		}
		e.print(ev)
	}
}

// rest prints what the stream did not bring any more.
func (e *events) rest(ctx context.Context) {
	newest, err := e.cl.History(ctx, "", 1)
	if err != nil || len(newest) == 0 || newest[0].ID <= e.last {
		return
	}
	for ev, err := range e.cl.Watch(ctx, client.EventOptions{After: e.last, All: e.last == 0}, serverGone) {
		if err != nil {
			return
		}
		e.print(ev)
		if ev.ID >= newest[0].ID {
			return
		}
	}
}

func (e *events) print(ev api.Event) {
	if ev.ID <= e.last && ev.Type != api.EventLost {
		return
	}
	e.last = ev.ID
	if ev.Type == api.EventLost || slices.Contains(e.clusters, ev.Cluster) {
		_ = e.app.print(ev, nil) // the reader may have gone
	}
}
