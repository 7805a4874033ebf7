package v1client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
)

// leaderOf is a peer that speaks a master's side: it keeps what it is asked.
type leaderOf struct {
	server *httptest.Server
	asked  chan *http.Request
	calls  chan mesos.Call
	events chan mesos.Event // told to whoever subscribes
	refuse http.HandlerFunc // answers instead, if it is not nil
}

func serve(t *testing.T) *leaderOf {
	l := &leaderOf{asked: make(chan *http.Request, 10), calls: make(chan mesos.Call, 10), events: make(chan mesos.Event, 10)}
	l.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var call mesos.Call
		if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
			t.Error(err)
		}
		l.asked <- r
		l.calls <- call
		switch {
		case l.refuse != nil:
			l.refuse(w, r)
		case call.Type != mesos.CallSubscribe:
			w.WriteHeader(http.StatusAccepted)
		default:
			w.Header().Set("Mesos-Stream-Id", "stream-1")
			w.WriteHeader(http.StatusOK)
			l.tell(w, r)
		}
	}))
	t.Cleanup(l.server.Close)
	return l
}

// tell writes events until there are no more or nobody listens.
func (l *leaderOf) tell(w http.ResponseWriter, r *http.Request) {
	for {
		_ = http.NewResponseController(w).Flush()
		select {
		case event, ok := <-l.events:
			if !ok {
				return
			}
			_ = mesos.WriteRecord(w, event)
		case <-r.Context().Done():
			return
		}
	}
}

func (l *leaderOf) client(t *testing.T, url string) *Client {
	t.Helper()
	c, err := New(Config{URL: url, Authorize: func(r *http.Request) { r.Header.Set("Authorization", "Bearer token") }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func welcome(interval float64) mesos.Event {
	return mesos.Event{Type: mesos.EventSubscribed, Subscribed: &mesos.Subscribed{
		FrameworkID: mesos.ID{Value: "f-1"}, HeartbeatIntervalSeconds: interval,
	}}
}

func TestSubscribeAndCallThroughRedirect(t *testing.T) {
	leader := serve(t)
	follower := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", strings.TrimPrefix(leader.server.URL, "http:")+r.URL.Path)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	defer follower.Close()
	stream, err := leader.client(t, follower.URL).Subscribe(t.Context(), mesos.Subscribe{FrameworkInfo: mesos.FrameworkInfo{Name: "f", User: "u"}})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	r, call := <-leader.asked, <-leader.calls
	if r.URL.Path != "/api/v1/scheduler" || r.Header.Get("Authorization") != "Bearer token" || r.Header.Get("Mesos-Stream-Id") != "" ||
		r.Header.Get("Accept") != "application/json" || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %v", r.URL, r.Header)
	}
	if call.Type != mesos.CallSubscribe || call.FrameworkID != nil || call.Subscribe.FrameworkInfo.Name != "f" {
		t.Errorf("%+v", call)
	}
	leader.events <- welcome(15)
	if event, err := stream.Next(); err != nil || event.Type != mesos.EventSubscribed {
		t.Fatalf("%+v %v", event, err)
	}
	if err := stream.Call(t.Context(), mesos.Call{Type: mesos.CallRevive}); err != nil {
		t.Fatal(err)
	}
	// The call goes to the leader itself and says whose it is.
	r, call = <-leader.asked, <-leader.calls
	if r.Header.Get("Mesos-Stream-Id") != "stream-1" || r.Header.Get("Authorization") != "Bearer token" || call.FrameworkID.Value != "f-1" {
		t.Errorf("%v %+v", r.Header, call)
	}
	leader.refuse = func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Framework is not subscribed", http.StatusForbidden)
	}
	err = stream.Call(t.Context(), mesos.Call{Type: mesos.CallRevive})
	var status *StatusError
	if !errors.As(err, &status) || status.Status != http.StatusForbidden {
		t.Fatal(err)
	}
	if got := err.Error(); got != "cannot call REVIVE: the master answers 403 Forbidden: Framework is not subscribed" {
		t.Error(got)
	}
	close(leader.events)
	if _, err := stream.Next(); !errors.Is(err, io.EOF) || err.Error() != "cannot read the master's events: EOF" {
		t.Error(err)
	}
}

func TestSubscribeFails(t *testing.T) {
	answer := func(code int, location string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "sorry\n")
		}
	}
	for _, c := range []struct {
		name   string
		refuse http.HandlerFunc
		want   string
	}{
		{"unauthorized", answer(401, ""), "the master answers 401 Unauthorized: sorry"},
		{"no leader", answer(503, ""), "the master answers 503 Service Unavailable: sorry"},
		{"loop", answer(307, "/api/v1/scheduler"), "the masters redirect to each other"},
		{"nowhere", answer(307, ""), `the master redirects to "", which is no address`},
		{"silence", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer within 50ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leader := serve(t)
			leader.refuse = c.refuse
			client := leader.client(t, leader.server.URL)
			if c.name == "silence" {
				client.timeout = 50 * time.Millisecond
			}
			_, err := client.Subscribe(t.Context(), mesos.Subscribe{})
			want := "cannot subscribe at " + strings.TrimPrefix(leader.server.URL, "http://") + ": " + c.want
			if err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

func TestLeaderIsNotFollowedOutOfEncryption(t *testing.T) {
	for _, c := range []struct{ from, to, want, err string }{
		{"https://a:1/api/v1/scheduler", "//b:2/api/v1/scheduler", "https://b:2/api/v1/scheduler", ""},
		{"https://a:1/api/v1/scheduler", "//b:2", "https://b:2/api/v1/scheduler", ""},
		{"https://a:1/x", "http://b:2/x", "", "the master redirects to http://b:2/x, which is not encrypted"},
	} {
		client, err := New(Config{URL: c.from})
		if err != nil {
			t.Fatal(err)
		}
		got, err := leader(client.url, c.to)
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Error(err)
			}
			continue
		}
		if err != nil || got.String() != c.want {
			t.Errorf("%v %v", got, err)
		}
	}
}

func TestSilentStreamEnds(t *testing.T) {
	leader := serve(t)
	stream, err := leader.client(t, leader.server.URL).Subscribe(t.Context(), mesos.Subscribe{})
	if err != nil {
		t.Fatal(err)
	}
	leader.events <- welcome(0.02)
	if _, err := stream.Next(); err != nil {
		t.Fatal(err)
	}
	const want = "cannot read the master's events: nothing was heard of the master for five heartbeats"
	if _, err := stream.Next(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestStreamEndsWithContext(t *testing.T) {
	leader := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := leader.client(t, leader.server.URL).Subscribe(ctx, mesos.Subscribe{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := stream.Next(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestBadURL(t *testing.T) {
	for _, url := range []string{"", "master:5050", "ftp://master", "http://"} {
		if _, err := New(Config{URL: url}); err == nil || !strings.HasSuffix(err.Error(), "it is not like http://host:port") {
			t.Errorf("%q: %v", url, err)
		}
	}
}
