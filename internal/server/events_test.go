package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/server"
	"howdah.dev/howdah/internal/store"
)

// history makes events 1 to last in a home whose server does not run, of which keep
// are kept.
func history(t *testing.T, h server.Home, last, keep int) {
	t.Helper()
	if err := h.Prepare(); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Config{Path: h.Database()})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	err = st.Update(t.Context(), func(tx *store.Tx) error {
		for i := range last {
			if err := tx.Event(api.Event{Type: "test", Operation: int64(i%2 + 1), Message: fmt.Sprint("event ", i+1)}); err != nil {
				return err
			}
		}
		_, err := tx.Prune(store.Keep{Events: keep, Operations: 1, Revisions: 1})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestEventsResume: a reader gets what comes after the event it names, each once; what
// it cannot get any more it is told; what is no event's id is refused.
func TestEventsResume(t *testing.T) {
	h := newHome(t)
	history(t, h, 12, 8) // 5 to 12 are kept
	r := serve(t, h)
	for _, tt := range []struct {
		o    client.EventOptions
		want string
	}{
		{client.EventOptions{After: 9}, "10 event 10, 11 event 11, 12 event 12"},
		{client.EventOptions{After: 9, Operation: 1}, "11 event 11"},
		{client.EventOptions{All: true, Operation: 2}, "6 event 6, 8 event 8, 10 event 10, 12 event 12"},
		{client.EventOptions{After: 4}, "5 event 5, 6 event 6"},
		{client.EventOptions{After: 2}, "4 2 events after 2 are not kept any more; the oldest kept is 5, 5 event 5"},
		{client.EventOptions{After: 99}, "12 event 99 is not known here, the newest is 12: an earlier state was restored"},
	} {
		want := strings.Split(tt.want, ", ")
		if tt.o.After == 99 {
			want = []string{tt.want}
		}
		var got []string
		for e, err := range r.c.Events(t.Context(), tt.o) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(e.ID, " ", e.Message))
			if lost := strings.Contains(e.Message, "kept") || strings.Contains(e.Message, "known"); lost != (e.Type == api.EventLost) {
				t.Errorf("%q is a %s", e.Message, e.Type)
			}
			if len(got) == len(want) {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt.o, diff)
		}
	}
	first, err := r.c.OperationHistory(t.Context(), 2, 2)
	if err != nil || len(first) != 2 || first[0].ID != 6 || first[1].ID != 8 {
		t.Errorf("the first events of an operation are %+v %v", first, err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, id := range []string{"abc", "-1", "1e3", `"7"`, "99999999999999999999"} {
		got := send(t, c, http.MethodGet, r.info.Address+"/v1/events", nil, http.Header{"Authorization": {"Bearer " + r.token(t)}, "Last-Event-Id": {id}})
		p := problem(t, got)
		data, _ := json.Marshal(p.Diagnostics)
		if got.status != http.StatusBadRequest || !strings.Contains(string(data), "is no id of an event; send the id of the last event seen, or leave it away") {
			t.Errorf("%q: %d %s", id, got.status, got.body)
		}
	}
}

// TestWatchOverServers: a reader that watches goes on where it was when another server
// has taken over.
func TestWatchOverServers(t *testing.T) {
	h := newHome(t)
	history(t, h, 3, 100)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan int64)
	over := make(chan error, 1)
	go func() {
		for e, err := range client.New(client.Config{Socket: h.Socket()}).Watch(ctx, client.EventOptions{All: true}, 1e12) {
			if err != nil {
				over <- err
				break
			}
			got <- e.ID
		}
		close(over)
	}()
	next := func(want ...int64) {
		t.Helper()
		for _, id := range want {
			select {
			case have := <-got:
				if have != id {
					t.Fatalf("it got event %d, want %d", have, id)
				}
			case err := <-over:
				t.Fatalf("it ended: %v", err)
			}
		}
	}
	for round := range int64(3) { // no server runs when it begins
		if round > 0 {
			history(t, h, 2, 100)
		}
		t.Run("a server", func(t *testing.T) {
			serve(t, h)
			if round == 0 {
				next(1, 2, 3)
			} else {
				next(2*round+2, 2*round+3)
			}
		})
	}
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
}
