package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"howdah.dev/howdah/internal/warehouse/webhdfstest"
)

// TestForeignRedirects: a redirect leads to a DataNode and to what was asked,
// or it is not followed.
func TestForeignRedirects(t *testing.T) {
	var reached atomic.Int32
	foreign := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer foreign.Close()
	w := newWorld(t, nil)
	w.store.Put("/data/clicks/a", "a")
	const same = prefix + "/data/clicks/a?op=OPEN&user.name=ads"
	data := w.store.Data.URL
	for location, message := range map[string]string{
		foreign.URL + same:              "the warehouse redirected to an address that is none of its DataNodes",
		w.server.URL + same:             "the warehouse redirected to an address that is none of its DataNodes",
		"http://169.254.169.254" + same: "the warehouse redirected to an address that is none of its DataNodes",
		same:                            "the warehouse redirected to an address that is none of its DataNodes", // the NameNode itself
		"ftp" + strings.TrimPrefix(data, "http") + same: "the warehouse redirected to an address that is not HTTP",
		strings.Replace(data, "//", "//u:p@", 1) + same: "the warehouse redirected to an address that is not HTTP",
		data + "/jmx": "the warehouse redirected to another path or operation than was asked",
		data + strings.Replace(same, "/a", "/../b", 1):    "the warehouse redirected to another path or operation than was asked",
		data + strings.Replace(same, "OPEN", "DELETE", 1): "the warehouse redirected to another path or operation than was asked",
		data + strings.Replace(same, "=ads", "=root", 1):  "the warehouse redirected to another path or operation than was asked",
		"": "the warehouse named no DataNode for OPEN",
	} {
		w.store.Intercept(func(rw http.ResponseWriter, r *http.Request, node string) bool {
			if node == "data" || r.URL.Path == "/jmx" {
				return false
			}
			if location != "" {
				rw.Header().Set("Location", location)
			}
			rw.WriteHeader(http.StatusTemporaryRedirect)
			return true
		})
		resp, body := w.do("GET", "/data/clicks/a?op=OPEN", nil)
		if want := refused("IOException", "java.io.IOException", message); resp.StatusCode != 502 || body != want {
			t.Errorf("%s: %s, %s", location, resp.Status, body)
		}
	}
	if reached.Load() > 0 {
		t.Error("the foreign server was reached")
	}
}

// TestListedDataNodes: a list that was given goes before what the NameNode says,
// and addresses that no DataNode has are refused even when listed.
func TestListedDataNodes(t *testing.T) {
	list := []string{"elsewhere:9864", "169.254.169.254:80"}
	w := newWorld(t, func(c *Config) {
		c.DataNodes = func(context.Context) ([]string, error) { return list, nil }
	})
	w.store.Put("/data/clicks/a", "a")
	if resp, _ := w.do("GET", "/data/clicks/a?op=OPEN", nil); resp.StatusCode != 502 {
		t.Errorf("not listed: %s", resp.Status)
	}
	list = append(list, strings.TrimPrefix(w.store.Data.URL, "http://"))
	if resp, _ := w.do("GET", "/data/clicks/a?op=OPEN", nil); resp.StatusCode != 200 {
		t.Errorf("listed: %s", resp.Status)
	}
	w.store.Intercept(func(rw http.ResponseWriter, r *http.Request, _ string) bool {
		rw.Header().Set("Location", "http://169.254.169.254:80"+r.URL.RequestURI())
		rw.WriteHeader(http.StatusTemporaryRedirect)
		return true
	})
	if resp, _ := w.do("GET", "/data/clicks/a?op=OPEN", nil); resp.StatusCode != 502 {
		t.Errorf("link-local: %s", resp.Status)
	}
}

// dead is an address that nothing listens on, and whose port is given to nobody.
const dead = "127.0.0.1:1"

func TestNameNodes(t *testing.T) {
	standby := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		webhdfstest.Refuse(w, 403, "StandbyException", "Operation category READ is not supported in state standby")
	}))
	defer standby.Close()
	var all []string
	w := newWorld(t, func(c *Config) { c.NameNodes = func() []string { return all } })
	if resp, body := w.do("PUT", "/data/clicks/x?op=MKDIRS", nil); resp.StatusCode != 503 ||
		body != refused("RetriableException", "org.apache.hadoop.ipc.RetriableException", "the warehouse is not running; try again") {
		t.Errorf("none: %s, %s", resp.Status, body)
	}
	all = []string{"http://" + dead, standby.URL, w.store.Name.URL}
	if resp, body := w.do("PUT", "/data/clicks/x?op=MKDIRS", nil); resp.StatusCode != 200 {
		t.Errorf("one is active: %s, %s", resp.Status, body)
	}
	all = []string{"http://" + dead}
	resp, body := w.do("PUT", "/data/clicks/x?op=MKDIRS", nil)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" ||
		body != refused("RetriableException", "org.apache.hadoop.ipc.RetriableException", "the warehouse cannot be reached; try again") {
		t.Errorf("dead: %s, %s", resp.Status, body)
	}
}

// TestLostAnswer: a change whose answer was lost is not made again elsewhere.
func TestLostAnswer(t *testing.T) {
	w := newWorld(t, nil)
	var asked atomic.Int32
	cut := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		panic(http.ErrAbortHandler)
	}))
	defer cut.Close()
	w.gateway.cfg.NameNodes = func() []string { return []string{cut.URL, w.store.Name.URL} }
	w.store.Put("/data/clicks/a", "a")
	if resp, _ := w.do("DELETE", "/data/clicks/a?op=DELETE", nil); resp.StatusCode != 503 {
		t.Errorf("change: %s", resp.Status)
	}
	w.wantFile("/data/clicks/a", "a")
	if resp, _ := w.do("GET", "/data/clicks/a?op=GETFILESTATUS", nil); resp.StatusCode != 200 {
		t.Errorf("question: %s", resp.Status)
	}
	if asked.Load() < 2 {
		t.Error("the first NameNode was not asked")
	}
}

// TestDeadDataNode: another DataNode is asked for, and the body goes there whole.
func TestDeadDataNode(t *testing.T) {
	w := newWorld(t, nil)
	w.gateway.cfg.DataNodes = func(context.Context) ([]string, error) {
		return []string{dead, strings.TrimPrefix(w.store.Data.URL, "http://")}, nil
	}
	w.store.Intercept(func(rw http.ResponseWriter, r *http.Request, node string) bool {
		op := r.URL.Query().Get("op")
		if node != "name" || op != "CREATE" && op != "OPEN" || r.URL.Query().Get("excludedatanodes") == dead {
			return false
		}
		rw.Header().Set("Location", "http://"+dead+r.URL.RequestURI())
		rw.WriteHeader(http.StatusTemporaryRedirect)
		return true
	})
	if resp, body := w.do("PUT", "/data/clicks/a?op=CREATE", strings.NewReader("whole")); resp.StatusCode != 201 {
		t.Errorf("create: %s, %s", resp.Status, body)
	}
	w.wantFile("/data/clicks/a", "whole")
	if resp, body := w.do("GET", "/data/clicks/a?op=OPEN", nil); resp.StatusCode != 200 || body != "whole" {
		t.Errorf("open: %s, %s", resp.Status, body)
	}
}

// TestStreaming: contents flow while they come; nothing waits for the end.
func TestStreaming(t *testing.T) {
	w := newWorld(t, nil)
	arrived := make(chan string, 1)
	rest := make(chan struct{})
	w.store.Intercept(func(rw http.ResponseWriter, r *http.Request, node string) bool {
		if node != "data" {
			return false
		}
		if r.Method == http.MethodGet {
			io.WriteString(rw, "first")
			rw.(http.Flusher).Flush()
			<-rest
			io.WriteString(rw, " last")
			return true
		}
		first := make([]byte, 5)
		io.ReadFull(r.Body, first)
		arrived <- string(first)
		io.Copy(io.Discard, r.Body)
		rw.WriteHeader(http.StatusCreated)
		return true
	})
	body, more := io.Pipe()
	go func() {
		io.WriteString(more, "first")
		if got := <-arrived; got != "first" {
			t.Errorf("arrived %q", got)
		}
		io.WriteString(more, " last")
		more.Close()
	}()
	if resp, text := w.do("PUT", "/data/clicks/a?op=CREATE", body); resp.StatusCode != 201 {
		t.Errorf("create: %s, %s", resp.Status, text)
	}
	w.store.Put("/data/clicks/a", "")
	req, _ := http.NewRequestWithContext(t.Context(), "GET", w.server.URL+prefix+"/data/clicks/a?op=OPEN&token=secret", nil)
	resp, err := w.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "first" {
		t.Errorf("%q, %v", first, err)
	}
	close(rest)
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != " last" {
		t.Errorf("%q, %v", text, err)
	}
}

// TestBrokenUpload: what breaks off is never ended cleanly, and is recorded.
func TestBrokenUpload(t *testing.T) {
	w := newWorld(t, nil)
	ended := make(chan error, 1)
	w.store.Intercept(func(_ http.ResponseWriter, r *http.Request, node string) bool {
		if node != "data" {
			return false
		}
		_, err := io.Copy(io.Discard, r.Body)
		ended <- err
		return true
	})
	for _, length := range []int64{-1, 100} {
		body, more := io.Pipe()
		req, _ := http.NewRequestWithContext(t.Context(), "PUT", w.server.URL+prefix+"/data/clicks/a?op=CREATE&token=secret", body)
		req.ContentLength = length
		go func() {
			io.WriteString(more, "some")
			more.CloseWithError(errors.New("killed"))
		}()
		if resp, err := w.http.Do(req); err == nil {
			resp.Body.Close()
			t.Errorf("length %d: %s", length, resp.Status)
		}
		if err := <-ended; err == nil {
			t.Errorf("length %d: the DataNode saw a whole body", length)
		}
	}
	// The handler ends after its caller is gone.
	waitFor(t, func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.records) == 2 })
	for _, r := range w.audited() {
		if r.Status/100 == 2 || r.Reason == "" {
			t.Errorf("recorded as done: %+v", r)
		}
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for range 12000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("it did not come about")
}

// TestIdle: a transfer that stands still is ended, either way.
func TestIdle(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Idle = 300 * time.Millisecond })
	hang := make(chan struct{})
	defer close(hang)
	w.store.Put("/data/clicks/a", "a")
	w.store.Intercept(func(rw http.ResponseWriter, r *http.Request, node string) bool {
		if node == "data" && r.Method == http.MethodGet {
			io.WriteString(rw, "begun")
			rw.(http.Flusher).Flush()
			<-hang
		}
		return false
	})
	body, more := io.Pipe()
	go io.WriteString(more, "some")
	resp, text := w.do("PUT", "/data/clicks/b?op=CREATE", body)
	if want := refused("IOException", "java.io.IOException", "no data moved for too long, so the transfer was ended"); resp.StatusCode != 408 || text != want {
		t.Errorf("upload: %s, %s", resp.Status, text)
	}
	more.Close()
	req, _ := http.NewRequestWithContext(t.Context(), "GET", w.server.URL+prefix+"/data/clicks/a?op=OPEN&token=secret", nil)
	download, err := w.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer download.Body.Close()
	if got, err := io.ReadAll(download.Body); err == nil || string(got) != "begun" {
		t.Errorf("download: %q ended cleanly", got)
	}
}

// TestHeaderLimit: a header that is too large is not read.
func TestHeaderLimit(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Header = 4 << 10 })
	if resp, _ := w.do("GET", "/data/clicks?op=GETFILESTATUS&x="+strings.Repeat("x", 32<<10), nil); resp.StatusCode != 431 {
		t.Error(resp.Status)
	}
}

// TestSlowAnswer: a DataNode that takes long over the end of a file is waited for.
func TestSlowAnswer(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Idle = 2 * time.Second })
	w.store.Intercept(func(rw http.ResponseWriter, r *http.Request, node string) bool {
		if node != "data" {
			return false
		}
		io.Copy(io.Discard, r.Body)
		time.Sleep(2500 * time.Millisecond) // longer than Idle: that is what is tested
		rw.WriteHeader(http.StatusCreated)
		return true
	})
	for _, body := range []io.Reader{strings.NewReader("whole"), io.MultiReader(strings.NewReader("whole"))} {
		if resp, text := w.do("PUT", "/data/clicks/a?op=CREATE&overwrite=true", body); resp.StatusCode != 201 {
			t.Errorf("%s, %s", resp.Status, text)
		}
	}
}

// TestKeepAlive: connections live on after transfers, refused ones too.
func TestKeepAlive(t *testing.T) {
	w := newWorld(t, nil)
	var opened atomic.Int32
	w.http.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		opened.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	for i := range 20 {
		if resp, body := w.do("PUT", fmt.Sprintf("/data/clicks/%d?op=CREATE", i), strings.NewReader("x")); resp.StatusCode != 201 {
			t.Fatalf("%s, %s", resp.Status, body)
		}
		if resp, body := w.do("GET", fmt.Sprintf("/data/clicks/%d?op=OPEN", i), nil); body != "x" {
			t.Fatalf("%s, %s", resp.Status, body)
		}
	}
	// The client gives up one that it has not seen all of its request go out on within
	// 50 ms, as on a busy machine.
	if n := opened.Load(); n > 4 {
		t.Errorf("%d connections were opened", n)
	}
}

func TestRequestsAtOnce(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Requests = 2 })
	w.grants["other"] = w.grants["secret"]
	var inside atomic.Int32
	hold := make(chan struct{})
	w.store.Intercept(func(_ http.ResponseWriter, r *http.Request, _ string) bool {
		if strings.HasSuffix(r.URL.Path, "/slow") {
			inside.Add(1)
			<-hold
		}
		return false
	})
	done := make(chan struct{}, 2)
	for range 2 {
		go func() {
			w.do("GET", "/data/clicks/slow?op=GETFILESTATUS", nil)
			done <- struct{}{}
		}()
	}
	waitFor(t, func() bool { return inside.Load() == 2 })
	resp, body := w.do("GET", "/data/clicks?op=GETFILESTATUS", nil)
	if want := refused("RetriableException", "org.apache.hadoop.ipc.RetriableException", "more than 2 requests at once with this token; try again"); resp.StatusCode != 429 || body != want {
		t.Errorf("%s, %s", resp.Status, body)
	}
	if resp, _ := w.do("GET", "/data/clicks?op=GETFILESTATUS&token=other", nil); resp.StatusCode != 404 {
		t.Errorf("another token: %s", resp.Status)
	}
	close(hold)
	<-done
	<-done
	waitFor(t, func() bool {
		resp, _ := w.do("GET", "/data/clicks?op=GETFILESTATUS", nil)
		return resp.StatusCode == 404
	})
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := newTokens(Limits{BytesPerSecond: 1 << 20, Requests: 1})
		began := time.Now()
		for range 64 { // 4 MiB in requests of one chunk: a second's worth at once, the rest in time
			leave, ok := tokens.enter("a")
			if !ok {
				t.Fatal("refused")
			}
			if err := tokens.wait(t.Context(), "a", chunk); err != nil {
				t.Fatal(err)
			}
			leave()
		}
		if took := time.Since(began).Round(10 * time.Millisecond); took != 3*time.Second {
			t.Errorf("4 MiB took %v", took)
		}
		time.Sleep(2 * forgetAfter)
		leave, _ := tokens.enter("b")
		leave()
		if len(tokens.byText) != 1 {
			t.Errorf("%d tokens are remembered", len(tokens.byText))
		}
	})
}

// TestRevoked: a long transfer ends when its token is taken back.
func TestRevoked(t *testing.T) {
	w := newWorld(t, nil)
	c := &call{op: operations["OPEN"], token: "secret"}
	f, ctx := w.gateway.newFlow(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), c)
	defer f.stop()
	f.checked = time.Now().Add(-recheck)
	if err := f.moved(1); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	delete(w.grants, "secret")
	w.mu.Unlock()
	if err := f.moved(1); err != nil {
		t.Errorf("asked too often: %v", err)
	}
	f.checked = time.Now().Add(-recheck)
	if err := f.moved(1); !errors.Is(err, errBadToken) || !errors.Is(context.Cause(ctx), errBadToken) {
		t.Errorf("%v, %v", err, context.Cause(ctx))
	}
}
