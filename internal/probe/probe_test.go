package probe_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// web is a program that answers by HTTP.
func web(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/json", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"state":"up","seen":1000,"list":[1,2]}`) })
	mux.HandleFunc("/text", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "imok") })
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"state":"down"}`)
	})
	mux.HandleFunc("/refused", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"RemoteException":{"exception":"SafeModeException","message":"Cannot create file. Name node is in safe mode.\nIt was turned on."}}`)
	})
	mux.HandleFunc("/wordy", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `{"message":"%s"}`, strings.Repeat("é", 150))
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/gone", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/huge", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 5<<20)) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// nobody is an address that nobody listens on, and whose port is given to nobody.
const nobody = "127.0.0.1:1"

func TestAsk(t *testing.T) {
	s := web(t)
	host := s.Listener.Addr().String()
	adapters := map[string]probe.Adapter{"toy": func(_ context.Context, address, check string) (any, error) {
		if check == "fail" {
			return nil, errors.New("no leader")
		}
		return map[string]any{"address": address, "check": check}, nil
	}}
	p := probe.New(adapters)
	defer p.Close()
	for _, tt := range []struct {
		name string
		q    agentapi.Probe
		want string // error; "" where the probe holds
	}{
		{"nothing asked", agentapi.Probe{}, ""},
		{"tcp", agentapi.Probe{TCP: host}, ""},
		{"tcp refused", agentapi.Probe{TCP: nobody}, nobody + " refuses"},
		{"http", agentapi.Probe{HTTP: s.URL + "/text"}, ""},
		{"http refused", agentapi.Probe{HTTP: "http://" + nobody + "/"}, nobody + " refuses"},
		{"http error", agentapi.Probe{HTTP: s.URL + "/broken"}, host + " answers 503 Service Unavailable"},
		{"http hangs up", agentapi.Probe{HTTP: s.URL + "/gone"}, host + " hangs up"},
		{"http too slow", agentapi.Probe{HTTP: s.URL + "/slow", Timeout: 50 * time.Millisecond}, host + " does not answer"},
		{"no address", agentapi.Probe{HTTP: "http://%"}, `cannot ask http://%: parse "http://%": invalid URL escape "%"`},
		{"body", agentapi.Probe{HTTP: s.URL + "/json", Expect: `body.state == "up" && len(body.list) == 2`}, ""},
		{"body not yet", agentapi.Probe{HTTP: s.URL + "/json", Expect: `body.state == "down"`}, "not yet"},
		{"its own words", agentapi.Probe{HTTP: s.URL + "/json", Expect: `body.state == "down"`, Says: `"it is " + body.state`}, "it is up"},
		{"words that are not there", agentapi.Probe{HTTP: s.URL + "/json", Expect: `body.state == "down"`, Says: "body.no.such.field"}, "not yet"},
		{"field that is not there", agentapi.Probe{HTTP: s.URL + "/json", Expect: `body.no.such.field == 1`}, "not yet"},
		{"text", agentapi.Probe{HTTP: s.URL + "/text", Expect: `text == "imok" && body == nil`}, ""},
		{"text is read up to a limit", agentapi.Probe{HTTP: s.URL + "/huge", Expect: `len(text) == 4 * 1024 * 1024`}, ""},
		{"status", agentapi.Probe{HTTP: s.URL + "/broken", Expect: `status == 503 && body.state == "down"`}, ""},
		{"status not expected", agentapi.Probe{HTTP: s.URL + "/broken", Expect: `body.state == "up"`}, host + " answers status 503"},
		{"status not expected, with its reason", agentapi.Probe{HTTP: s.URL + "/refused", Expect: "status == 201"}, host + " answers status 403: Cannot create file. Name node is in safe mode."},
		{"status not expected, with a long reason", agentapi.Probe{HTTP: s.URL + "/wordy", Expect: "status == 201"}, host + " answers status 403: " + strings.Repeat("é", 100) + "…"},
		{"condition that is none", agentapi.Probe{HTTP: s.URL + "/text", Expect: `text`}, "cannot use text: expected bool, but got string"},
		{"adapter", agentapi.Probe{Adapter: "toy", Address: "there", Check: "leader", Expect: `body.address == "there" && body.check == "leader"`}, ""},
		{"adapter not yet", agentapi.Probe{Adapter: "toy", Address: "there", Check: "leader", Expect: `body.check == "x"`}, "not yet"},
		{"adapter without condition", agentapi.Probe{Adapter: "toy"}, ""},
		{"adapter fails", agentapi.Probe{Adapter: "toy", Address: "there", Check: "fail"}, "there: no leader"},
		{"no such adapter", agentapi.Probe{Adapter: "none"}, "this howdah has no protocol client none"},
		{"unknown start", agentapi.Probe{HTTP: s.URL + "/text", Expect: `started == 0`}, ""},
	} {
		got := ""
		if err := p.Ask(t.Context(), tt.q); err != nil {
			got = strings.TrimSpace(strings.Split(err.Error(), "\n")[0])
		}
		if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestAskOf: an answer about an earlier life of a program can be told apart.
func TestAskOf(t *testing.T) {
	s := web(t)
	p := probe.New(map[string]probe.Adapter{"toy": func(context.Context, string, string) (any, error) { return map[string]any{"seen": 1000.0}, nil }})
	defer p.Close()
	for _, q := range []agentapi.Probe{
		{HTTP: s.URL + "/json", Expect: "body.seen >= started"},
		{Adapter: "toy", Expect: "body.seen >= started"},
	} {
		if err := p.AskOf(t.Context(), q, time.UnixMilli(1000)); err != nil {
			t.Errorf("an answer of this life: %v", err)
		}
		if err := p.AskOf(t.Context(), q, time.UnixMilli(1001)); err == nil {
			t.Error("an answer of an earlier life counts")
		}
	}
}

func TestDo(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, 10)
		n, _ := r.Body.Read(body)
		fmt.Fprintf(w, "%s %s", r.Method, body[:n])
	}))
	defer s.Close()
	p := probe.New(nil)
	defer p.Close()
	if err := p.Do(t.Context(), agentapi.Request{Method: http.MethodPut, URL: s.URL, Body: "hello", Expect: `text == "PUT hello"`}); err != nil {
		t.Error(err)
	}
}
