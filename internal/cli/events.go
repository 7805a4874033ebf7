package cli

import (
	"context"
	"slices"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
)

// events prints what happens to operations' clusters, for programs: one value
// a line, none twice, the last ones too.
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

// recentEvents bounds what is looked at for events the stream did not bring.
const recentEvents = 200

// stream prints from the operations' first events on, until ctx ends or the
// server goes.
func (e *events) stream(ctx context.Context) {
	history, err := e.cl.History(ctx, "", recentEvents)
	if err != nil {
		return
	}
	begun := false
	for _, ev := range history {
		begun = begun || slices.Contains(e.ops, ev.Operation)
		if begun {
			e.print(ev)
		}
		e.last = ev.ID
	}
	for ev, err := range e.cl.Events(ctx, client.EventOptions{After: e.last}) {
		if err != nil {
			return
		}
		e.print(ev)
	}
}

// rest prints what the stream did not bring any more.
func (e *events) rest(ctx context.Context) {
	history, err := e.cl.History(ctx, "", recentEvents)
	if err != nil {
		return
	}
	for _, ev := range history {
		e.print(ev)
	}
}

func (e *events) print(ev api.Event) {
	if ev.ID <= e.last {
		return
	}
	e.last = ev.ID
	if slices.Contains(e.clusters, ev.Cluster) {
		_ = e.app.print(ev, nil) // the reader may have gone
	}
}
