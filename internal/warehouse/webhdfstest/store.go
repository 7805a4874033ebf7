package webhdfstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const prefix = "/webhdfs/v1"

// Request is one request as a node got it.
type Request struct {
	Node   string // name or data
	Method string
	Path   string
	Query  url.Values
	Header http.Header
}

// Store is the files, with the two nodes that serve them.
type Store struct {
	Name *httptest.Server // NameNode
	Data *httptest.Server // DataNode

	mu        sync.Mutex
	tree      *tree
	requests  []Request
	intercept func(w http.ResponseWriter, r *http.Request, node string) bool
}

// New starts a store that ends with the test.
func New(t testing.TB) *Store {
	s := &Store{tree: newTree()}
	s.Data = httptest.NewServer(http.HandlerFunc(s.dataNode))
	s.Name = httptest.NewServer(http.HandlerFunc(s.nameNode))
	t.Cleanup(s.Data.Close)
	t.Cleanup(s.Name.Close)
	return s
}

// Intercept makes f see every request first; true means that it answered.
func (s *Store) Intercept(f func(w http.ResponseWriter, r *http.Request, node string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// Requests returns what was asked since the last call.
func (s *Store) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.requests
	s.requests = nil
	return all
}

// Put makes or replaces a file.
func (s *Store) Put(name, data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tree.mkdirs(path.Dir(name), "root")
	n := s.tree.make(false, "root")
	n.data = []byte(data)
	s.tree.nodes[name] = n
}

// Mkdir makes a folder.
func (s *Store) Mkdir(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tree.mkdirs(name, "root")
}

// Age makes a file look older.
func (s *Store) Age(name string, by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tree.nodes[name].modified = time.Now().Add(-by)
}

// Remove deletes a path and all below it.
func (s *Store) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tree.remove(name)
}

// Get returns a file's contents; false if it is not there.
func (s *Store) Get(name string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.tree.nodes[name]
	if n == nil || n.folder {
		return "", false
	}
	return string(n.data), true
}

// Paths returns what is below a folder, relative to it, folders with a slash.
func (s *Store) Paths(folder string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, p := range s.tree.below(folder) {
		if rel, ok := strings.CutPrefix(p, folder+"/"); ok {
			if s.tree.nodes[p].folder {
				rel += "/"
			}
			out = append(out, rel)
		}
	}
	slices.Sort(out)
	return out
}

// note keeps a request, and lets a test answer it.
func (s *Store) note(w http.ResponseWriter, r *http.Request, node string) (answered bool) {
	s.mu.Lock()
	s.requests = append(s.requests, Request{node, r.Method, r.URL.Path, r.URL.Query(), r.Header.Clone()})
	f := s.intercept
	s.mu.Unlock()
	return f != nil && f(w, r, node)
}

// exception is a refusal in Hadoop's words.
type exception struct {
	status  int
	name    string
	message string
}

func missing(name string) *exception {
	return &exception{http.StatusNotFound, "FileNotFoundException", "File does not exist: " + name}
}

func occupied(name string) *exception {
	return &exception{http.StatusForbidden, "FileAlreadyExistsException", name + " already exists"}
}

// Refuse answers the way Hadoop refuses.
func Refuse(w http.ResponseWriter, status int, exception, message string) {
	answer(w, status, map[string]any{"RemoteException": map[string]string{
		"exception": exception, "javaClassName": "org.apache.hadoop." + exception, "message": message + "\n\tat org.apache.hadoop.Example",
	}})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Set-Cookie", "hadoop.auth=u")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (n *inode) status(suffix string) map[string]any {
	kind, length := "FILE", len(n.data)
	if n.folder {
		kind = "DIRECTORY"
	}
	return map[string]any{
		"pathSuffix": suffix, "type": kind, "length": length, "owner": n.owner, "group": n.group, "permission": n.mode,
		"replication": 1, "blockSize": 128 << 20, "fileId": n.id, "modificationTime": n.modified.UnixMilli(), "accessTime": 0,
	}
}

func (s *Store) jmx(w http.ResponseWriter) {
	host := strings.TrimPrefix(s.Data.URL, "http://")
	live := fmt.Sprintf(`{"dn:9866":{"infoAddr":%q,"infoSecureAddr":"","xferaddr":"127.0.0.1:9866"}}`, host)
	answer(w, http.StatusOK, map[string]any{"beans": []any{map[string]string{"LiveNodes": live}}})
}
