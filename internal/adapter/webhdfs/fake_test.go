package webhdfs

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// seen is one request a fake server got.
type seen struct {
	Method, Path, Query, Body string
}

// fake plays a NameNode and a DataNode with answers recorded from Hadoop 3.5.0.
type fake struct {
	t        *testing.T
	nn, dn   *httptest.Server
	mu       sync.Mutex
	requests []seen
	// answer decides what the NameNode says: status and file in testdata, or
	// 307 for a redirect to the DataNode.
	answer func(op string, r *http.Request) (int, string)
	data   func(w http.ResponseWriter, r *http.Request, body string)
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t}
	f.dn = httptest.NewServer(http.HandlerFunc(f.dataNode))
	f.nn = httptest.NewServer(http.HandlerFunc(f.nameNode))
	t.Cleanup(f.dn.Close)
	t.Cleanup(f.nn.Close)
	return f
}

// always makes the NameNode give one answer to everything.
func (f *fake) always(status int, file string) *fake {
	f.answer = func(string, *http.Request) (int, string) { return status, file }
	return f
}

func (f *fake) client() *Client {
	return New(Config{Addresses: []string{f.nn.URL}, User: "ann", HTTP: f.nn.Client()})
}

func (f *fake) note(r *http.Request) string {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, seen{r.Method, r.URL.Path, r.URL.RawQuery, string(body)})
	return string(body)
}

func (f *fake) nameNode(w http.ResponseWriter, r *http.Request) {
	f.note(r)
	status, file := f.answer(r.URL.Query().Get("op"), r)
	if status == http.StatusTemporaryRedirect {
		w.Header().Set("Location", f.dn.URL+r.URL.RequestURI()+"&namenoderpcaddress=nn:8020")
	}
	w.WriteHeader(status)
	w.Write(f.file(file))
}

func (f *fake) dataNode(w http.ResponseWriter, r *http.Request) {
	f.data(w, r, f.note(r))
}

// file returns testdata/name, or the name itself if it is JSON.
func (f *fake) file(name string) []byte {
	if name == "" || name[0] == '{' {
		return []byte(name)
	}
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		f.t.Error(err)
	}
	return b
}
