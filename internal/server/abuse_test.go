package server_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/store"
)

// overTCP opens a connection to the API and writes text to it.
func (r *running) overTCP(t *testing.T, text string) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(r.info.Address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	_, _ = io.WriteString(c, text) // it may be cut before the end
	return c
}

// TestDeepDocuments: a document nested without end is refused at its place, without
// memory of its size.
func TestDeepDocuments(t *testing.T) {
	const deep = 100_000
	r := serve(t, newHome(t))
	definition := func(name, content string) string {
		data, err := json.Marshal(api.File{Name: name, Content: content})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, tt := range []struct {
		name, body string
		status     int
		summary    string
		line, col  int
	}{
		{"JSON", definition("a.json", strings.Repeat("[", deep)), 422, "values are nested more than 100 deep", 1, 102},
		{"JSON of objects", definition("a.json", strings.Repeat(`{"a":`, deep)), 422, "values are nested more than 100 deep", 1, 506},
		{"YAML", definition("a.yaml", strings.Repeat("- ", deep)+"x"), 422, "values are nested more than 10000 deep", 1, 20001},
		{"flow YAML", definition("a.yaml", strings.Repeat("[", deep)), 422, "values are nested more than 10000 deep", 1, 10001},
		{"the request itself", strings.Repeat("[", deep), 400, "invalid character '[' exceeded max depth", 0, 0},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		got := r.overSocket(t, http.MethodPost, "/v1/plan", strings.NewReader(tt.body))
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		taken := int64(after.TotalAlloc-before.TotalAlloc) >> 20 //nolint:gosec // a difference of counters
		if got.status != tt.status {
			t.Errorf("%s: %d %.300s", tt.name, got.status, got.body)
			continue
		}
		p := problem(t, got)
		if len(p.Diagnostics) == 0 || p.Diagnostics[0].Summary != tt.summary {
			t.Errorf("%s: %.300s", tt.name, got.body)
			continue
		}
		if at := p.Diagnostics[0].Source; tt.line > 0 && (at == nil || at.Line != tt.line || at.Column != tt.col) {
			t.Errorf("%s: found at %+v, want %d:%d", tt.name, at, tt.line, tt.col)
		}
		if taken > 64 || took > 20*time.Second {
			t.Errorf("%s: %d MiB were taken and %s", tt.name, taken, took)
		}
		t.Logf("%s, %d deep, %d KiB: refused after %d ms; %d MiB allocated in all", tt.name, deep, len(tt.body)>>10, took.Milliseconds(), taken)
	}
}

// TestTooMuch: floods of headers and bodies are refused with an answer, and the server
// answers others as before.
func TestTooMuch(t *testing.T) {
	r := serve(t, newHome(t))
	authorization := "Authorization: Bearer " + r.token(t) + "\r\n"
	var many strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&many, "X-%d: y\r\n", i)
	}
	large := `{"name":"a.yaml","content":"` + strings.Repeat("x", 10<<20) + `"}`
	post := func(path string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, authorization, len(large), large)
	}
	for _, tt := range []struct{ name, request, status string }{
		{"a header of 1 MiB", "GET /v1/info HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + strings.Repeat("y", 1<<20) + "\r\n\r\n", "431 Request Header Fields Too Large"},
		{"10,000 headers", "GET /v1/info HTTP/1.1\r\nHost: 127.0.0.1\r\n" + many.String() + "\r\n", "431 Request Header Fields Too Large"},
		{"a line without end", "GET /" + strings.Repeat("a", 1<<20), "431 Request Header Fields Too Large"},
		{"no HTTP", strings.Repeat("\x16\x03\x01", 1000) + "\r\n\r\n", "400 Bad Request"},
		{"a token of 10 MiB", post("/v1/tokens"), "413 Request Entity Too Large"},
		{"a definition of 10 MiB", post("/v1/plan"), "413 Request Entity Too Large"},
	} {
		line, err := bufio.NewReader(r.overTCP(t, tt.request)).ReadString('\n')
		if got := strings.TrimSpace(strings.TrimPrefix(line, "HTTP/1.1 ")); got != tt.status {
			t.Errorf("%s: %q %v, want %q", tt.name, got, err, tt.status)
		}
		if _, err := r.c.Info(t.Context()); err != nil {
			t.Errorf("after %s: %v", tt.name, err)
		}
	}
}

// TestSlowHeader: who sends a byte a second never gets to a handler, and is cut.
func TestSlowHeader(t *testing.T) {
	t.Parallel()
	r := serve(t, newHome(t))
	const most = 10 // seconds that a header may take
	began := time.Now()
	var clients sync.WaitGroup
	for range 20 {
		c := r.overTCP(t, "GET /v1/info HTTP/1.1\r\n")
		clients.Go(func() {
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				if _, err := io.WriteString(c, "X"); err != nil {
					return
				}
				<-tick.C
			}
		})
	}
	clients.Wait()
	if took := time.Since(began); took < most*time.Second || took > time.Minute {
		t.Errorf("20 clients that send one byte a second were cut after %s, want %d s", took, most)
	} else {
		t.Logf("20 clients that send one byte a second were cut after %.1f s", took.Seconds())
	}
}

// TestSlowReaderOfServer: a server cuts who follows events and takes none, after 30 s. It
// takes as long, so only make soak waits.
func TestSlowReaderOfServer(t *testing.T) {
	if os.Getenv("SOAK") == "" {
		t.Skip("it takes 45 s; TestSlowReader and TestSlowReaderOfEvents have a shorter limit")
	}
	const events = 4000
	h := newHome(t)
	st, err := store.Open(t.Context(), store.Config{Path: h.Database()})
	if err != nil {
		t.Fatal(err)
	}
	err = st.Update(t.Context(), func(tx *store.Tx) error {
		for range events {
			if err := tx.Event(api.Event{Type: "test", Message: strings.Repeat("a long message ", 400)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	r := serve(t, h)
	follow := "GET /v1/events?after=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + r.token(t) + "\r\n\r\n"
	read := func(wait time.Duration) (got int, err error) {
		c := r.overTCP(t, follow) // the kernel takes some MiB for it
		select {
		case <-t.Context().Done():
		case <-time.After(wait):
		}
		in := bufio.NewScanner(c)
		for in.Buffer(nil, 1<<20); got < events-1 && in.Scan(); {
			if strings.HasPrefix(in.Text(), "id: ") {
				got++
			}
		}
		return got, in.Err()
	}
	if got, err := read(20 * time.Second); got != events-1 {
		t.Errorf("who took nothing for 20 s got %d events of %d: %v", got, events-1, err)
	}
	got, err := read(45 * time.Second)
	if got >= events-1 {
		t.Errorf("who took nothing for 45 s got all %d events", got)
	}
	t.Logf("who took nothing for 20 s got all %d events; who took nothing for 45 s was cut: %d came, then %v", events-1, got, err)
}

// TestManyClients: 200 clients that poll all get right answers.
func TestManyClients(t *testing.T) {
	r := serve(t, newHome(t))
	want := r.overSocket(t, http.MethodGet, "/v1/stacks", nil).body
	const clients, times = 200, 5
	authorization := "Bearer " + r.token(t)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			for range times {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.info.Address+"/v1/stacks", nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Authorization", authorization)
				resp, err := (&http.Client{Transport: transport}).Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
					t.Errorf("%d %v %.200s", resp.StatusCode, err, got)
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d clients got %d right answers of %d bytes", clients, clients*times, len(want))
}
