package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answering returns a client of a server that gives one answer to everything.
func answering(t *testing.T, answer http.HandlerFunc) *client.Client {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return client.New(client.Config{URL: s.URL + "/", Token: "secret", HTTP: s.Client()})
}

// TestProblems: errors come back as problems, whatever stands between the
// client and the server.
func TestProblems(t *testing.T) {
	for _, tt := range []struct {
		name, kind, body string
		status           int
		want             api.Problem
		text             string
	}{
		{
			"a problem", "application/problem+json", `{"type":"guard","title":"Conflict","status":409,"detail":"it holds data"}`, 409,
			api.Problem{Type: "guard", Title: "Conflict", Status: 409, Detail: "it holds data"},
			"it holds data",
		},
		{
			"with findings", "application/problem+json",
			`{"type":"invalid","title":"Unprocessable Entity","status":422,"diagnostics":[{"severity":"error","address":"name","summary":"is missing","source":{"file":"a","line":1,"column":2}},{"severity":"error","summary":"more"}]}`, 422,
			api.Problem{Type: "invalid", Title: "Unprocessable Entity", Status: 422, Diagnostics: api.Diagnostics{
				{Severity: api.SeverityError, Address: "name", Summary: "is missing", Source: &api.Position{File: "a", Line: 1, Column: 2}},
				{Severity: api.SeverityError, Summary: "more"},
			}},
			"a:1:2  error  name: is missing\nerror  more",
		},
		{
			"a proxy's page", "text/html", "<html>no route</html>\n", 502,
			api.Problem{Title: "502 Bad Gateway", Status: 502, Detail: "<html>no route</html>"},
			"<html>no route</html>",
		},
		{"nothing", "", "", 503, api.Problem{Title: "503 Service Unavailable", Status: 503}, "503 Service Unavailable"},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			})
			_, err := c.Clusters(t.Context())
			p, ok := errors.AsType[*api.Problem](err)
			if !ok {
				t.Fatalf("no problem: %v", err)
			}
			if diff := cmp.Diff(tt.want, *p); diff != "" {
				t.Error(diff)
			}
			if err.Error() != tt.text {
				t.Errorf("it reads %q, want %q", err, tt.text)
			}
		})
	}
}

// TestBigProblem: an error is read up to a limit.
func TestBigProblem(t *testing.T) {
	c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write(bytes.Repeat([]byte("x"), 9<<20)) // the client may hang up before
	})
	_, err := c.Info(t.Context())
	p, ok := errors.AsType[*api.Problem](err)
	if !ok || len(p.Detail) != 8<<20 {
		t.Errorf("%T of %d bytes", err, len(err.Error()))
	}
}

// TestUnreachable: a server that is not there is told from one that refuses.
func TestUnreachable(t *testing.T) {
	for name, cfg := range map[string]client.Config{
		"socket": {Socket: filepath.Join(t.TempDir(), "api.sock")}, "address": {URL: "http://127.0.0.1:1"},
	} {
		c := client.New(cfg)
		if _, err := c.Info(t.Context()); !errors.Is(err, client.ErrUnreachable) {
			t.Errorf("%s: %v", name, err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("enough")
		cancel(reason)
		if _, err := c.Info(ctx); !errors.Is(err, reason) || errors.Is(err, client.ErrUnreachable) {
			t.Errorf("%s, given up: %v", name, err)
		}
	}
}

// TestRequests: what goes over the wire.
func TestRequests(t *testing.T) {
	var got []string
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Authorization")+" "+string(body)))
		fmt.Fprint(w, "null")
	})
	ctx := t.Context()
	_, _ = c.Plan(ctx, api.File{Name: "a", Content: "b"})
	_, _ = c.Cluster(ctx, "a/b c")
	_, _ = c.Delete(ctx, "store", "st&re")
	_, _ = c.Stop(ctx, "store", true)
	_, _ = c.Operations(ctx, "", 5)
	_, _ = c.Control(ctx, 3, "retry", 7)
	_, _ = c.Workload(ctx, "batch", "job", "job_1/../x")
	want := []string{
		`POST /v1/plan Bearer secret {"name":"a","content":"b"}`,
		"GET /v1/clusters/a%2Fb%20c Bearer secret",
		"DELETE /v1/clusters/store?destroyData=st%26re Bearer secret",
		"POST /v1/clusters/store/stop?suspend=true Bearer secret",
		"GET /v1/operations?cluster=&limit=5 Bearer secret",
		"POST /v1/operations/3/retry?step=7 Bearer secret",
		"GET /v1/clusters/batch/workloads/job/job_1%2F..%2Fx Bearer secret",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestBadAnswer: what is no JSON is said, not taken for empty.
func TestBadAnswer(t *testing.T) {
	c := answering(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	if _, err := c.Clusters(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "cannot read the server's answer: ") {
		t.Error(err)
	}
}

// TestEvents: a stream is read event by event, resumed by number, and says why
// it ended.
func TestEvents(t *testing.T) {
	var asked []string
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query().Get("after")+" "+r.URL.Query().Get("cluster"))
		fmt.Fprint(w, ": comment\nid: 8\nevent: event\ndata: {\"id\":8,\"type\":\"a\",\"message\":\"one\"}\n\nid: 9\ndata: {\"id\":9,\"type\":\"b\",\"message\":\"two\"}\n\n")
	})
	var got []string
	var end error
	for e, err := range c.Events(t.Context(), client.EventOptions{After: 7, Cluster: "zk"}) {
		if err != nil {
			end = err
			break
		}
		got = append(got, fmt.Sprint(e.ID, e.Type, e.Message))
	}
	if diff := cmp.Diff([]string{"8aone", "9btwo"}, got); diff != "" {
		t.Error(diff)
	}
	if !errors.Is(end, client.ErrUnreachable) || end.Error() != "no server answers: the stream ended" {
		t.Errorf("it ended by %v", end)
	}
	for range c.Events(t.Context(), client.EventOptions{After: 9}) {
		break // a reader that leaves early leaves nothing behind
	}
	if diff := cmp.Diff([]string{"7 zk", "9 "}, asked); diff != "" {
		t.Error(diff)
	}
}

// TestSocket: on the server's host the socket is all that is needed.
func TestSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "howdah-c-") //nolint:usetesting // the path of a unix socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { //nolint:gosec // a test's own
		w.Header().Set("Connection", "close")
		fmt.Fprint(w, `{"version":"1"}`)
	})}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	info, err := client.New(client.Config{Socket: filepath.Join(dir, "s")}).Info(t.Context())
	if err != nil || info.Version != "1" {
		t.Errorf("%+v %v", info, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	<-ended
}
