package marathon_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/cell/scheduler"
)

// event is one event of the stream.
type event struct {
	kind, id string
	text     string
	data     map[string]any
}

// app is the app an event is about.
func (e event) app() string {
	for _, key := range []string{"appId", "runSpecId"} {
		if id, ok := e.data[key].(string); ok {
			return id
		}
	}
	return ""
}

// stream gathers events.
type stream struct {
	t      testing.TB
	mu     sync.Mutex
	events []event
	bad    []string     // what is no frame
	blank  atomic.Int32 // empty lines beside those that end events
	ended  bool
	close  context.CancelFunc
}

// listen opens a stream of events and reads it until the test ends.
func (c *cell) listen(query string, headers ...string) *stream {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{t: c.t, close: cancel}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.api.URL+"/v2/events"+query, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req) //nolint:bodyclose // when the test ends
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		c.t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	done := make(chan struct{})
	go func() { defer close(done); s.read(resp.Body) }()
	c.t.Cleanup(func() { cancel(); <-done; _ = resp.Body.Close() })
	return s
}

var portPattern = regexp.MustCompile(`"ports":\[31\d\d\d\]`)

var frame = regexp.MustCompile(`^event: (\w+)\r\ndata: (.*)\r\n(?:id: (\S+)\r\n)?$`)

func (s *stream) read(from io.Reader) {
	r := bufio.NewReader(from)
	text := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			s.mu.Lock()
			s.ended = true
			s.mu.Unlock()
			return
		}
		if line != "\r\n" {
			text += line
			continue
		}
		if text != "" {
			s.add(text)
		} else {
			s.blank.Add(1)
		}
		text = ""
	}
}

func (s *stream) add(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := frame.FindStringSubmatch(text)
	e := event{text: text}
	if m == nil || json.Unmarshal([]byte(m[2]), &e.data) != nil {
		s.bad = append(s.bad, text)
		return
	}
	e.kind, e.id = m[1], m[3]
	if e.data["eventType"] != e.kind {
		s.bad = append(s.bad, text)
	}
	if e.kind != noise {
		conforms(s.t, "events.json#/$defs/"+e.kind, m[2])
	}
	s.events = append(s.events, e)
}

// noise is a kind of event that only tests know.
const noise = "noise"

func (s *stream) all() []event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]event(nil), s.events...)
}

// until waits for events that fulfil a condition, and returns them.
func (s *stream) until(c *cell, what string, is func([]event) bool) []event {
	c.t.Helper()
	c.until("events: "+what, func() bool { return is(s.all()) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.bad) > 0 {
		c.t.Errorf("these are no events: %q", s.bad)
	}
	return append([]event(nil), s.events...)
}

// has tells whether an event of a kind came.
func has(kind string) func([]event) bool {
	return func(es []event) bool {
		return slices.ContainsFunc(es, func(e event) bool { return e.kind == kind })
	}
}

// through tells whether the end of a deployment was told.
func through(deployment string) func([]event) bool {
	return func(es []event) bool {
		return slices.ContainsFunc(es, func(e event) bool {
			return e.kind == "deployment_success" && e.data["id"] == deployment
		})
	}
}

// keys returns the names in an event's payload.
func (e event) keys() string {
	var names []string
	dec := json.NewDecoder(strings.NewReader(e.text[strings.IndexByte(e.text, '{'):]))
	_, _ = dec.Token()
	for dec.More() {
		name, _ := dec.Token()
		names = append(names, fmt.Sprint(name))
		var value json.RawMessage
		_ = dec.Decode(&value)
	}
	return strings.Join(names, " ")
}

// TestEvents: each kind of event has the payload that clients know.
func TestEvents(t *testing.T) {
	c := newCell(t, cellConfig{})
	s := c.listen("?plan-format=light")
	c.run("/g/a", `"instances": 1`)
	c.ok(http.MethodPut, "/v2/apps/g/a", `{"healthChecks": [{"protocol": "COMMAND", "command": {"value": "true"}}]}`, nil)
	var id string
	c.until("the new version runs", func() bool {
		for _, task := range c.app("/g/a").Tasks {
			for _, w := range c.workers {
				if info := w.Task(task.ID); info != nil && info.HealthCheck != nil {
					id = task.ID
					return w.Tasks()[id] == "TASK_RUNNING"
				}
			}
		}
		return false
	})
	for _, w := range c.workers {
		w.Health(c.live, id, true)
	}
	c.until("it is healthy", func() bool { return c.settled("/g/a") && c.app("/g/a").Healthy == 1 })
	if code, _ := c.call(http.MethodPut, "/v2/apps/g/a/b", `{"cmd": "x"}`); code != 409 {
		t.Error(code)
	}
	c.ok(http.MethodDelete, "/v2/apps/g/a", "", nil)
	es := s.until(c, "the app is gone", has("app_terminated_event"))
	got := map[string]string{}
	for _, e := range es {
		got[e.kind] = e.keys()
	}
	const head = "eventType timestamp "
	want := map[string]string{
		"event_stream_attached":         head + "remoteAddress",
		"api_post_event":                head + "clientIp uri appDefinition",
		"group_change_success":          head + "groupId version",
		"group_change_failed":           head + "groupId version reason",
		"deployment_info":               head + "plan currentStep",
		"deployment_step_success":       head + "plan currentStep",
		"deployment_success":            head + "id plan",
		"status_update_event":           head + "slaveId taskId taskStatus message appId host ipAddresses ports version",
		"instance_changed_event":        head + "instanceId condition runSpecId agentId host runSpecVersion",
		"add_health_check_event":        head + "appId version healthCheck",
		"remove_health_check_event":     head + "appId",
		"health_status_changed_event":   head + "appId instanceId version alive",
		"instance_health_changed_event": head + "instanceId runSpecId healthy runSpecVersion",
		"app_terminated_event":          head + "appId",
	}
	for _, kind := range []string{"scheduler_registered_event", "event_stream_detached"} {
		delete(got, kind) // came before or after
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestEventFilter: only the kinds asked for come.
func TestEventFilter(t *testing.T) {
	c := newCell(t, cellConfig{})
	s := c.listen("?event_type=deployment_success&event_type=app_terminated_event")
	c.run("/a", `"instances": 1`)
	c.ok(http.MethodDelete, "/v2/apps/a", "", nil)
	var kinds []string
	for _, e := range s.until(c, "three", func(es []event) bool { return len(es) == 3 }) {
		kinds = append(kinds, e.kind)
	}
	if diff := cmp.Diff([]string{"deployment_success", "app_terminated_event", "deployment_success"}, kinds); diff != "" {
		t.Error(diff)
	}
}

// TestEventReplay: who comes back with the last id it saw misses nothing.
func TestEventReplay(t *testing.T) {
	c := newCell(t, cellConfig{})
	s := c.listen("?event_type=deployment_success")
	c.run("/a", `"instances": 1`)
	last := s.until(c, "one", has("deployment_success"))[0]
	s.close()
	c.run("/b", `"instances": 0`)
	c.run("/c", `"instances": 0`)
	again := c.listen("?event_type=deployment_success", "Last-Event-ID: "+last.id)
	got := again.until(c, "two", func(es []event) bool { return len(es) == 2 })
	for i, id := range []string{"/b", "/c"} {
		if !strings.Contains(got[i].text, `"app":"`+id+`"`) {
			t.Errorf("event %d is %s", i, got[i].text)
		}
	}
	// After a restart of the scheduler the numbers begin anew: the client is told.
	c.stop()
	c.start()
	lost := c.listen("?event_type=deployment_success", "Last-Event-ID: "+got[1].id)
	lost.until(c, "the loss", has("events_lost"))
}

// TestKeepAlive: a stream without events shows that it is alive.
func TestKeepAlive(t *testing.T) {
	c := newCell(t, cellConfig{keepAlive: 10 * time.Millisecond})
	s := c.listen("?event_type=none")
	c.until("empty lines come", func() bool { return s.blank.Load() > 3 })
}

// TestSlowListener: a client that does not read is cut off, others are not, and
// nobody waits.
func TestSlowListener(t *testing.T) {
	c := newCell(t, cellConfig{})
	good := c.listen("?event_type=noise")
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.api.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "GET /v2/events?event_type=noise HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n")
	line, err := bufio.NewReader(io.LimitReader(conn, 15)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) || !strings.HasPrefix(line, "HTTP/1.1 200") {
		t.Fatalf("%s %v", line, err)
	}
	// It must have joined before the noise: its own arrival is an event.
	const batches, each = 100, 200
	body := struct {
		Text string `json:"text"`
	}{strings.Repeat("x", 1000)}
	for n := range batches {
		for range each {
			c.hub.Publish(scheduler.Event{Type: noise, At: time.Now(), Body: body})
		}
		good.until(c, "all so far", func(es []event) bool { return len(es) == (n+1)*each })
	}
	// What the slow one has not taken is bounded; when it reads at last, the stream ends.
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	n, err := io.Copy(io.Discard, conn)
	if err != nil || n >= batches*each*1000 {
		t.Errorf("it read %d bytes: %v", n, err)
	}
	if good.ended {
		t.Error("the good client was cut off too")
	}
}
