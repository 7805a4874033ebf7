package webhdfstest

import (
	"crypto/md5"
	"encoding/hex"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

func (s *Store) dataNode(w http.ResponseWriter, r *http.Request) {
	if s.note(w, r, "data") {
		return
	}
	name := path.Clean(strings.TrimPrefix(r.URL.Path, prefix))
	switch r.URL.Query().Get("op") {
	case "CREATE", "APPEND":
		s.write(w, r, name)
	default:
		s.read(w, r, name)
	}
}

func (s *Store) read(w http.ResponseWriter, r *http.Request, name string) {
	text, ok := s.Get(name)
	if !ok {
		Refuse(w, http.StatusNotFound, "FileNotFoundException", "File does not exist: "+name)
		return
	}
	q := r.URL.Query()
	if q.Get("op") == "GETFILECHECKSUM" {
		sum := md5.Sum([]byte(text))
		answer(w, http.StatusOK, map[string]any{"FileChecksum": map[string]any{
			"algorithm": "MD5-of-0MD5-of-512CRC32C", "bytes": hex.EncodeToString(sum[:]), "length": 28,
		}})
		return
	}
	offset, _ := strconv.Atoi(q.Get("offset"))
	offset = min(offset, len(text))
	text = text[offset:]
	if length, err := strconv.Atoi(q.Get("length")); err == nil {
		text = text[:min(length, len(text))]
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = io.WriteString(w, text)
}

// write makes a file and fills it. Who is first to make it is decided here;
// readers see no contents before the end.
func (s *Store) write(w http.ResponseWriter, r *http.Request, name string) {
	q := r.URL.Query()
	s.mu.Lock()
	n := s.tree.nodes[name]
	if q.Get("op") == "CREATE" {
		if n != nil && (n.folder || q.Get("overwrite") != "true") {
			e := occupied(name)
			if n.writing {
				e = &exception{http.StatusForbidden, "AlreadyBeingCreatedException", "Failed to CREATE_FILE " + name + " because this file lease is currently owned by another"}
			}
			s.mu.Unlock()
			Refuse(w, e.status, e.name, e.message)
			return
		}
		s.tree.mkdirs(path.Dir(name), q.Get("user.name"))
		n = s.tree.make(false, q.Get("user.name"))
		s.tree.nodes[name] = n
	}
	if n != nil {
		n.writing = true
	}
	s.mu.Unlock()
	data, err := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n != nil {
		n.writing = false
	}
	if n == nil || !s.tree.holds(n) {
		e := missing(name)
		Refuse(w, e.status, e.name, e.message+" (no lease)")
		return
	}
	n.data, n.modified = append(n.data, data...), time.Now() // also what came of a broken body
	if err != nil {
		return
	}
	if q.Get("op") == "CREATE" {
		w.Header().Set("Location", "hdfs://nn:8020"+name)
		w.WriteHeader(http.StatusCreated)
	}
}
