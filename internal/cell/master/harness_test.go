package master

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/mesos/v1client"
)

// env is a running master and how to reach it.
type env struct {
	t         testing.TB
	cfg       Config
	m         *Master
	url       string
	transport http.RoundTripper
	stop      func()
}

// authorize takes the user name for the principal; everybody's password is "pw".
func authorize(r *http.Request) (string, error) {
	user, password, _ := r.BasicAuth()
	switch {
	case user == "stranger":
		return "", fmt.Errorf("%w: stranger", ErrForbidden)
	case password != "pw":
		return "", errors.New("who is it?")
	}
	return user, nil
}

func config(dir string) Config {
	return Config{
		Dir: dir, Hostname: "master.test", Address: netip.MustParseAddrPort("127.0.0.1:5050"), Cluster: "cell", Authorize: authorize,
	}
}

// bubble runs a test against a master in a synctest bubble: time is virtual and
// HTTP goes through pipes.
func bubble(t *testing.T, f func(*env)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		e := &env{t: t, cfg: config(dir), url: "http://master.test:5050"}
		e.start()
		defer func() { e.stop() }()
		f(e)
	})
}

// start makes a master on the env's directory; an earlier one is stopped.
func (e *env) start() {
	if e.stop != nil {
		e.stop()
	}
	m, err := New(e.cfg)
	if err != nil {
		e.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	e.m = m
	handlers := &sync.WaitGroup{}
	e.transport = &pipes{handler: m.Handler(), running: handlers}
	e.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			e.t.Error(err)
		}
		handlers.Wait()
	})
}

// loopback serves the env's master on a real socket.
func loopback(t *testing.T, cfg Config) *env {
	e := &env{t: t, cfg: cfg}
	t.Cleanup(e.serve())
	return e
}

func (e *env) serve() (stop func()) {
	e.start()
	server := httptest.NewServer(e.m.Handler())
	transport := &http.Transport{MaxIdleConnsPerHost: 256}
	e.transport, e.url = transport, server.URL
	return func() {
		e.stop()
		server.Close()
		transport.CloseIdleConnections()
	}
}

// pipes carries HTTP to a handler in the same process, without sockets.
type pipes struct {
	handler http.Handler
	running *sync.WaitGroup
}

func (p *pipes) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	reader, writer := io.Pipe()
	w := &pipeWriter{writer: writer, header: http.Header{}, wrote: make(chan int, 1)}
	stop := context.AfterFunc(ctx, func() { reader.CloseWithError(ctx.Err()) })
	p.running.Go(func() {
		p.handler.ServeHTTP(w, r.Clone(ctx))
		w.WriteHeader(http.StatusOK)
		stop()
		writer.Close()
	})
	select {
	case code := <-w.wrote:
		return &http.Response{
			StatusCode: code, Header: w.header.Clone(), Request: r, ProtoMajor: 1, ProtoMinor: 1,
			Body: closer{reader, func() { cancel(); reader.Close() }},
		}, nil
	case <-ctx.Done():
		cancel()
		return nil, ctx.Err()
	}
}

type closer struct {
	io.Reader
	close func()
}

func (c closer) Close() error { c.close(); return nil }

type pipeWriter struct {
	writer *io.PipeWriter
	header http.Header
	once   sync.Once
	wrote  chan int
}

func (w *pipeWriter) Header() http.Header  { return w.header }
func (w *pipeWriter) WriteHeader(code int) { w.once.Do(func() { w.wrote <- code }) }
func (w *pipeWriter) Flush()               {}
func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.writer.Write(p)
}

// send makes one request as "tester" and returns status and body.
func (e *env) send(method, path, body string, headers ...string) (int, string) {
	e.t.Helper()
	r, err := http.NewRequest(method, e.url+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	r.SetBasicAuth("tester", "pw")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if r.Header.Set(headers[i], headers[i+1]); headers[i+1] == "" {
			r.Header.Del(headers[i])
		}
	}
	client := &http.Client{Transport: e.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return resp.StatusCode, string(bytes.TrimSpace(text))
}

// get reads JSON.
func (e *env) get(path string, into any) {
	e.t.Helper()
	code, text := e.send(http.MethodGet, path, "")
	if code != http.StatusOK {
		e.t.Fatalf("GET %s: %d %s", path, code, text)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		e.t.Fatalf("GET %s: %v", path, err)
	}
	conforms(e.t, path, text)
}

// metric is one number of /metrics/snapshot.
func (e *env) metric(name string) float64 {
	var all map[string]float64
	e.get("/metrics/snapshot", &all)
	v, ok := all[name]
	if !ok {
		e.t.Errorf("there is no metric %s", name)
	}
	return v
}

// scheduler is a framework under test's control.
type scheduler struct {
	e      *env
	stream *v1client.Stream
	id     string
	events chan mesos.Event
	last   error // why events was closed
}

func named(name string, capabilities ...string) mesos.FrameworkInfo {
	info := mesos.FrameworkInfo{Name: name, User: "nobody", FailoverTimeout: 3600}
	for _, c := range append(capabilities, mesos.CapPartitionAware) {
		info.Capabilities = append(info.Capabilities, mesos.Capability{Type: c})
	}
	return info
}

func (e *env) client(user string) *v1client.Client {
	client, err := v1client.New(v1client.Config{
		URL: e.url, Transport: e.transport, Authorize: func(r *http.Request) { r.SetBasicAuth(user, "pw") },
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return client
}

// subscribe opens a stream and reads it to its end.
func (e *env) subscribe(sub mesos.Subscribe) *scheduler {
	e.t.Helper()
	stream, err := e.client("sched").Subscribe(context.Background(), sub)
	if err != nil {
		e.t.Fatal(err)
	}
	s := &scheduler{e: e, stream: stream, events: make(chan mesos.Event, 100_000)}
	go func() {
		defer close(s.events)
		for {
			event, err := stream.Next()
			if err != nil {
				s.last = err
				return
			}
			if event.Type != mesos.EventHeartbeat {
				s.events <- event
			}
		}
	}()
	e.t.Cleanup(stream.Close)
	return s
}

// register subscribes and takes SUBSCRIBED.
func (e *env) register(info mesos.FrameworkInfo) *scheduler {
	e.t.Helper()
	s := e.subscribe(mesos.Subscribe{FrameworkInfo: info})
	s.id = s.next(mesos.EventSubscribed).Subscribed.FrameworkID.Value
	return s
}

const patience = time.Minute

// next returns the next event, which must be of this type.
func (s *scheduler) next(kind string) mesos.Event {
	s.e.t.Helper()
	select {
	case event, ok := <-s.events:
		if !ok {
			s.e.t.Fatalf("the stream ended (%v) instead of telling %s", s.last, kind)
		}
		if event.Type != kind {
			text, _ := json.Marshal(event)
			s.e.t.Fatalf("got %s instead of %s", text, kind)
		}
		return event
	case <-time.After(patience):
		s.e.t.Fatalf("nothing was told; %s was expected", kind)
	}
	panic("not reached")
}

// skip takes events until one of this type.
func (s *scheduler) skip(kind string) mesos.Event {
	s.e.t.Helper()
	for {
		select {
		case event, ok := <-s.events:
			if !ok {
				s.e.t.Fatalf("the stream ended (%v) instead of telling %s", s.last, kind)
			}
			if event.Type == kind {
				return event
			}
		case <-time.After(patience):
			s.e.t.Fatalf("%s was not told", kind)
		}
	}
}

// status skips to the next update.
func (s *scheduler) status() mesos.TaskStatus {
	s.e.t.Helper()
	return s.skip(mesos.EventUpdate).Update.Status
}

// quiet wants no event to be there. It is for bubbles.
func (s *scheduler) quiet() {
	s.e.t.Helper()
	synctest.Wait()
	select {
	case event, ok := <-s.events:
		text, _ := json.Marshal(event)
		s.e.t.Fatalf("got %s (%v %v)", text, ok, s.last)
	default:
	}
}

// over wants the stream to end without another event.
func (s *scheduler) over() {
	s.e.t.Helper()
	select {
	case event, ok := <-s.events:
		if ok {
			s.e.t.Fatalf("got %+v after the end", event)
		}
	case <-time.After(patience):
		s.e.t.Fatal("the stream does not end")
	}
}

func (s *scheduler) call(call mesos.Call) {
	s.e.t.Helper()
	if err := s.stream.Call(context.Background(), call); err != nil {
		s.e.t.Fatal(err)
	}
}

func (s *scheduler) ack(status mesos.TaskStatus) {
	s.e.t.Helper()
	s.call(mesos.Call{Type: mesos.CallAcknowledge, Acknowledge: &mesos.Acknowledge{
		AgentID: *status.AgentID, TaskID: status.TaskID, UUID: status.UUID,
	}})
}

// seconds is a filter.
func filters(seconds float64) *mesos.Filters { return &mesos.Filters{RefuseSeconds: &seconds} }

// todo is a task for an offer, which uses what the text says.
func todo(t testing.TB, id, use string, offer mesos.Offer) mesos.TaskInfo {
	t.Helper()
	resources, err := mesos.ParseResources(use)
	if err != nil {
		t.Fatal(err)
	}
	return mesos.TaskInfo{
		Name: id, TaskID: mesos.ID{Value: id}, AgentID: offer.AgentID, Resources: resources,
		Command: &mesos.CommandInfo{Value: "sleep 1000"},
	}
}

// launch accepts an offer with tasks; the rest may be offered again at once.
func (s *scheduler) launch(offer mesos.Offer, tasks ...mesos.TaskInfo) {
	s.e.t.Helper()
	s.call(mesos.Call{Type: mesos.CallAccept, Accept: &mesos.Accept{
		OfferIDs: []mesos.ID{offer.ID}, Filters: filters(0),
		Operations: []mesos.Operation{{Type: mesos.OperationLaunch, Launch: &mesos.Launch{TaskInfos: tasks}}},
	}})
}

func (s *scheduler) kill(id string) {
	s.e.t.Helper()
	s.call(mesos.Call{Type: mesos.CallKill, Kill: &mesos.Kill{TaskID: mesos.ID{Value: id}}})
}

// offer skips to the next offers, of which there must be one.
func (s *scheduler) offer() mesos.Offer {
	s.e.t.Helper()
	offers := s.skip(mesos.EventOffers).Offers.Offers
	if len(offers) != 1 {
		s.e.t.Fatalf("%d offers", len(offers))
	}
	return offers[0]
}
