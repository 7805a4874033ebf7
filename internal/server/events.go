package server

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/store"
)

// slow is how long a client may take nothing of a stream before it is cut; it
// resumes where it was.
const slow = 30 * time.Second

// eventBatch is how many events are read at once.
const eventBatch = 500

// EventsInput chooses events. It is exported because huma fills only exported fields.
type EventsInput struct {
	After     int64  `query:"after" default:"-1" minimum:"-1" doc:"Id of the last event seen; 0 for all that are kept; only new ones where absent"`
	Last      string `header:"Last-Event-ID" doc:"As after, by clients that resume; it counts before after"`
	Cluster   string `query:"cluster" doc:"Only of this cluster"`
	Operation int64  `query:"operation" doc:"Only of this operation"`
}

// Resolve takes over the header; what is no id is refused.
func (in *EventsInput) Resolve(huma.Context) []error {
	if in.Last == "" {
		return nil
	}
	after, err := strconv.ParseInt(in.Last, 10, 64)
	if err != nil || after < 0 {
		return []error{huma.Error400BadRequest(fmt.Sprintf("Last-Event-ID: %.40q is no id of an event; send the id of the last event seen, or leave it away", in.Last))}
	}
	in.After = after
	return nil
}

// events streams the history: first what was missed since the given event,
// then what happens.
func (s *Server) events(a huma.API) {
	type recent struct {
		Cluster   string `query:"cluster" doc:"Only of this cluster"`
		Operation int64  `query:"operation" doc:"Only of this operation, from its first event on"`
		Limit     int    `query:"limit" default:"200" minimum:"1" maximum:"5000" doc:"At most so many"`
	}
	route(a, http.MethodGet, "/v1/history", "history", "The newest events, oldest first", func(ctx context.Context, in *recent) (*body[[]api.Event], error) {
		out := []api.Event{}
		err := s.store.View(ctx, func(tx *store.Tx) error {
			if in.Operation != 0 {
				es, err := tx.EventsOf(projectOf(ctx), 0, in.Cluster, in.Operation, in.Limit)
				out = append(out, es...)
				return err
			}
			es, err := tx.RecentEventsOf(projectOf(ctx), in.Cluster, in.Limit)
			out = append(out, es...)
			return err
		})
		return answer(out, err)
	})
	sse.WriteTimeout = slow
	sse.Register(a, huma.Operation{
		OperationID: "events", Method: http.MethodGet, Path: "/v1/events", Summary: "What happens, as server-sent events",
		Errors: []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusInternalServerError},
	},
		map[string]any{"event": api.Event{}}, func(ctx context.Context, in *EventsInput, send sse.Sender) { s.stream(ctx, *in, send) })
}

// stream sends events until ctx ends or the client takes no more.
func (s *Server) stream(ctx context.Context, in EventsInput, send sse.Sender) {
	sub := s.store.Subscribe(store.TopicEvents)
	defer sub.Close()
	lost, err := s.resume(ctx, &in)
	if err != nil || lost != nil && send(sse.Message{ID: int(lost.ID), Data: *lost}) != nil {
		return
	}
	after := in.After
	for {
		var events []api.Event
		err := s.store.View(ctx, func(tx *store.Tx) (err error) {
			events, err = tx.EventsOf(projectOf(ctx), after, in.Cluster, in.Operation, eventBatch)
			return err
		})
		if err != nil {
			return
		}
		for _, e := range events {
			after = e.ID
			if err := send(sse.Message{ID: int(e.ID), Data: e}); err != nil {
				return
			}
		}
		if len(events) == eventBatch {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-sub.C:
		}
	}
}

// resume finds where a stream begins. Who resumes behind what is kept, or after
// what there is, is told so by an event of its own. A project is told no number that
// counts what others did.
func (s *Server) resume(ctx context.Context, in *EventsInput) (*api.Event, error) {
	asked, project := in.After, projectOf(ctx)
	var first, last, seen int64 // seen is the newest the reader may know of
	err := s.store.View(ctx, func(tx *store.Tx) (err error) {
		if first, last, err = tx.KeptEvents(); err != nil || asked <= last {
			return err // seen is told only to who asks for more than there is
		}
		newest, err := tx.RecentEventsOf(project, "", 1)
		if len(newest) > 0 {
			seen = newest[0].ID
		}
		return err
	})
	lost := api.Event{ID: asked, Time: time.Now(), Type: api.EventLost}
	switch {
	case err != nil:
		return nil, err
	case asked < 0:
		in.After = last
		return nil, nil
	case asked > last:
		in.After, lost.ID = last, seen
		lost.Message = fmt.Sprintf("event %d is not known here, the newest is %d: an earlier state was restored", asked, seen)
	case asked > 0 && asked < first-1 && project != "":
		lost.Message = fmt.Sprintf("not all events after %d are kept any more; yours may be among those that are gone", asked)
	case asked > 0 && asked < first-1:
		in.After, lost.ID = first-1, first-1
		lost.Message = fmt.Sprintf("%d events after %d are not kept any more; the oldest kept is %d", first-1-asked, asked, first)
		lost.Data = map[string]any{"gone": first - 1 - asked}
	default:
		return nil, nil
	}
	return &lost, nil
}
