package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// asToken serves as if a token had been shown.
func (s *Server) asToken(who tenant.Token) http.Handler {
	h := s.scoped(s.handler())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(withCaller(r.Context(), who)))
	})
}

// TestPostureAdmitsProjects: other projects' tokens open the API in the shared posture
// alone.
func TestPostureAdmitsProjects(t *testing.T) {
	s := webServer(t)
	h := httptest.NewServer(s.authenticated(s.scoped(s.handler())))
	defer h.Close()
	token := s.tokenOf(t, "shop", tenant.Viewer)
	for posture, want := range map[string][2]int{PostureSingle: {403, 403}, PostureShared: {200, 404}} {
		s.cfg.Options.Posture = posture
		list, _ := call(t, http.MethodGet, h.URL+"/v1/clusters", token)
		one, _ := call(t, http.MethodGet, h.URL+"/v1/clusters/theirs", token)
		if got := [2]int{list, one}; got != want {
			t.Errorf("%s answers %v, want %v", posture, got, want)
		}
		if code, _ := call(t, http.MethodPost, h.URL+"/v1/apply", token); code != http.StatusForbidden {
			t.Errorf("%s: a viewer applies: %d", posture, code)
		}
	}
}

// patient is a recorder that takes deadlines.
type patient struct {
	*httptest.ResponseRecorder
	wrote func(body string) // is told the whole body after each write
}

func (p patient) Write(data []byte) (int, error) {
	n, err := p.ResponseRecorder.Write(data)
	p.wrote(p.Body.String())
	return n, err
}

func (patient) SetWriteDeadline(time.Time) error { return nil }

// TestEveryRouteIsScoped asks each route of the API as an admin of another project:
// what is the default project's is not found, as what does not exist; what is open
// shows nothing of it; everything else is refused.
func TestEveryRouteIsScoped(t *testing.T) {
	s := webServer(t)
	apply := func(project, name string) int64 {
		t.Helper()
		ctx := cluster.WithScope(context.Background(), cluster.Scope{Project: project, By: "me"})
		ops, _, ds, err := s.manager.Apply(ctx, api.File{Name: "c.yaml", Content: "name: " + name + "\nstack: toy\n"})
		if err != nil || len(ds) > 0 || len(ops) != 1 {
			t.Fatal(ops, ds, err)
		}
		return ops[0].ID
	}
	theirs, mine := apply("", "theirs"), apply("shop", "mine")
	h := s.asToken(tenant.Token{ID: "1", Name: "clerk", Project: "shop", Role: tenant.Admin})
	ask := func(method, path string) (int, string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var body io.Reader = http.NoBody
		if method != http.MethodGet && method != http.MethodDelete {
			body = strings.NewReader("{}")
		}
		r := httptest.NewRequest(method, path, body).WithContext(ctx)
		r.Header.Set("Content-Type", "application/json")
		w := patient{httptest.NewRecorder(), func(string) {}}
		if strings.HasPrefix(path, "/v1/events") { // it has no end: what is one's own was made last
			w.wrote = func(body string) {
				if strings.Contains(body, `"mine"`) {
					cancel()
				}
			}
		}
		h.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	fill := func(path, name string, id int64) string {
		path = strings.Replace(path, "/clusters/{name}", "/clusters/"+name, 1)
		path = strings.Replace(path, "/operations/{id}", "/operations/"+strconv.FormatInt(id, 10), 1)
		return strings.NewReplacer("{kind}", "job", "{project}", "shop", "{id}", "x", "{sum}", strings.Repeat("0", 64)).Replace(path)
	}
	asked := map[int]int{}
	for path, item := range OpenAPI().Paths {
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "PUT": item.Put, "POST": item.Post, "DELETE": item.Delete, "PATCH": item.Patch} {
			if op == nil {
				continue
			}
			query := ""
			if path == "/v1/events" {
				query = "?after=1"
			}
			code, body := ask(method, fill(path, "theirs", theirs)+query)
			asked[code]++
			owned := strings.Contains(path, "/clusters/{name}") || strings.Contains(path, "/operations/{id}")
			open := openToAll(method + " " + strings.Replace(path, "{project}", "{}", 1))
			switch {
			case owned:
				none, nothing := ask(method, fill(path, "nobody", 999))
				same := strings.NewReplacer("theirs", "X", "nobody", "X", "operation "+strconv.FormatInt(theirs, 10), "X", "operation 999", "X")
				if code != http.StatusNotFound || none != code || same.Replace(body) != same.Replace(nothing) {
					t.Errorf("%s %s answers %d %s; what is not there answers %d %s", method, path, code, body, none, nothing)
				}
				if code, body := ask(method, fill(path, "mine", mine)); code == http.StatusForbidden || code == http.StatusNotFound && strings.Contains(body, `"cluster mine: not found`) {
					t.Errorf("%s %s of one's own answers %d %s", method, path, code, body)
				}
			case open:
				if code == http.StatusForbidden || code == http.StatusNotFound || strings.Contains(body, "theirs") {
					t.Errorf("%s %s answers %d %s", method, path, code, body)
				}
			case code != http.StatusForbidden || !strings.Contains(body, "the token is one of project shop"):
				t.Errorf("%s %s answers %d %s, want 403", method, path, code, body)
			}
		}
	}
	if asked[http.StatusNotFound] < 15 || asked[http.StatusForbidden] < 3 || asked[http.StatusOK] < 8 {
		t.Errorf("answers %v: too few were asked", asked)
	}
	for path, want := range map[string]int{
		"/":                           http.StatusOK,
		"/clusters/theirs/toy/v1/x":   http.StatusNotFound,
		"/v1/clusters/theirs":         http.StatusNotFound,
		"/v1/clusters/%74heirs":       http.StatusNotFound,
		"/v1/clusters/mine/../theirs": http.StatusTemporaryRedirect, // to the clean address, which is asked again
		"/v1//clusters/theirs":        http.StatusForbidden,
		"/v1/operations/x":            http.StatusNotFound,
		"/v1/operations/" + strconv.FormatInt(mine, 10): http.StatusOK,
		"/v1/projects/default":                          http.StatusNotFound,
		"/v1/something/new":                             http.StatusForbidden,
	} {
		if code, body := ask(http.MethodGet, path); code != want || strings.Contains(body, "theirs of") || path == "/" && strings.Contains(body, "theirs") {
			t.Errorf("GET %s answers %d, want %d: %s", path, code, want, body)
		}
	}
	for _, path := range []string{"/v1/history", "/v1/events?after=1", "/v1/operations", "/v1/clusters"} {
		if _, body := ask(http.MethodGet, path); !strings.Contains(body, `"mine"`) {
			t.Errorf("GET %s does not show what is one's own: %s", path, body)
		}
	}
}

// TestResumeCountsNobodyElse: a reader of a project that resumes where events are gone,
// or after one that never was, hears of it; no number tells what others did.
func TestResumeCountsNobodyElse(t *testing.T) {
	s := webServer(t)
	for project, name := range map[string]string{"": "theirs", "shop": "mine"} {
		ctx := cluster.WithScope(context.Background(), cluster.Scope{Project: project, By: "me"})
		if _, _, ds, err := s.manager.Apply(ctx, api.File{Name: "c.yaml", Content: "name: " + name + "\nstack: toy\n"}); err != nil || len(ds) > 0 {
			t.Fatal(ds, err)
		}
	}
	var own []int64
	err := s.store.Update(t.Context(), func(tx *store.Tx) error {
		for _, of := range []string{"theirs", "theirs", "theirs", "mine", "theirs", "mine", "theirs", "theirs"} {
			if err := tx.Event(api.Event{Type: "test", Cluster: of, Message: of}); err != nil {
				return err
			}
		}
		if _, err := tx.Prune(store.Keep{Events: 6, Operations: 1, Revisions: 1}); err != nil {
			return err
		}
		es, err := tx.EventsOf("shop", 0, "", 0, 10)
		for _, e := range es {
			own = append(own, e.ID)
		}
		return err
	})
	if err != nil || len(own) != 2 {
		t.Fatal(own, err)
	}
	read := func(after int64, want int) (got []api.Event) {
		t.Helper()
		ctx, cancel := context.WithTimeout(cluster.WithScope(t.Context(), cluster.Scope{Project: "shop"}), time.Minute)
		defer cancel()
		s.stream(ctx, EventsInput{After: after}, func(m sse.Message) error {
			e := m.Data.(api.Event)
			if int64(m.ID) != e.ID {
				t.Errorf("the stream's id is %d, the event's %d", m.ID, e.ID)
			}
			if got = append(got, e); len(got) == want {
				cancel()
			}
			return nil
		})
		if len(got) != want {
			t.Fatalf("after %d: %+v", after, got)
		}
		return got
	}
	gone := read(1, 3)
	if e := gone[0]; e.ID != 1 || e.Type != api.EventLost || e.Data != nil || e.Message != "not all events after 1 are kept any more; yours may be among those that are gone" {
		t.Errorf("%+v", e)
	}
	if gone[1].ID != own[0] || gone[2].ID != own[1] {
		t.Errorf("after what is gone come %+v, want %v", gone[1:], own)
	}
	want := fmt.Sprintf("event 999 is not known here, the newest is %d: an earlier state was restored", own[1])
	if e := read(999, 1)[0]; e.ID != own[1] || e.Type != api.EventLost || e.Message != want {
		t.Errorf("%+v, want %s", e, want)
	}
}
