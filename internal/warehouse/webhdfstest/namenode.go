package webhdfstest

import (
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

func (s *Store) nameNode(w http.ResponseWriter, r *http.Request) {
	if s.note(w, r, "name") {
		return
	}
	if r.URL.Path == "/jmx" {
		s.jmx(w)
		return
	}
	name := path.Clean("/" + strings.TrimPrefix(r.URL.Path, prefix))
	q := r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	var body any
	var fail *exception
	switch q.Get("op") {
	case "CREATE":
		s.redirect(w, r)
		return
	case "OPEN", "APPEND", "GETFILECHECKSUM":
		if n := s.tree.nodes[name]; n != nil && !n.folder {
			s.redirect(w, r)
			return
		}
		fail = missing(name)
	case "RENAME":
		body, fail = s.rename(name, q)
	case "GETHOMEDIRECTORY":
		body = map[string]string{"Path": "/user/" + q.Get("user.name")}
	case "GETTRASHROOT":
		body = map[string]string{"Path": "/user/" + q.Get("user.name") + "/.Trash"}
	case "MKDIRS":
		if !s.tree.mkdirs(name, q.Get("user.name")) {
			fail = occupied(name)
		}
		body = map[string]bool{"boolean": true}
	case "DELETE":
		body, fail = s.delete(name, q.Get("recursive") == "true")
	default:
		if body, fail = s.look(name, q); body == nil && fail == nil {
			body, fail = s.set(name, q)
		}
	}
	switch {
	case fail != nil:
		Refuse(w, fail.status, fail.name, fail.message)
	case body == nil:
		w.WriteHeader(http.StatusOK)
	default:
		answer(w, http.StatusOK, body)
	}
}

func (s *Store) redirect(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Location", s.Data.URL+r.URL.RequestURI()+"&namenoderpcaddress=nn:8020")
	w.WriteHeader(http.StatusTemporaryRedirect)
}

func (s *Store) rename(from string, q url.Values) (any, *exception) {
	to := path.Clean(q.Get("destination"))
	source, target := s.tree.nodes[from], s.tree.nodes[to]
	parent := s.tree.nodes[path.Dir(to)]
	if strings.EqualFold(q.Get("renameoptions"), "overwrite") {
		if source == nil || parent == nil {
			return nil, missing(from)
		}
		s.tree.remove(to)
		s.tree.move(from, to)
		return nil, nil
	}
	if source != nil && target != nil && target.folder {
		to = path.Join(to, path.Base(from))
		target, parent = s.tree.nodes[to], target
	}
	if source == nil || target != nil || parent == nil || !parent.folder {
		return map[string]bool{"boolean": false}, nil
	}
	s.tree.move(from, to)
	return map[string]bool{"boolean": true}, nil
}

func (s *Store) delete(name string, recursive bool) (any, *exception) {
	n := s.tree.nodes[name]
	if n == nil {
		return map[string]bool{"boolean": false}, nil
	}
	if n.folder && !recursive && len(s.tree.children(name)) > 0 {
		return nil, &exception{http.StatusForbidden, "PathIsNotEmptyDirectoryException", name + " is non empty"}
	}
	s.tree.remove(name)
	return map[string]bool{"boolean": true}, nil
}

// look answers what changes nothing; nil if the operation is none of those.
func (s *Store) look(name string, q url.Values) (any, *exception) {
	n := s.tree.nodes[name]
	switch q.Get("op") {
	case "GETFILESTATUS", "LISTSTATUS", "LISTSTATUS_BATCH", "GETCONTENTSUMMARY":
		if n == nil {
			return nil, missing(name)
		}
	}
	switch q.Get("op") {
	case "GETFILESTATUS":
		return map[string]any{"FileStatus": n.status("")}, nil
	case "LISTSTATUS":
		return s.listing(name, ""), nil
	case "LISTSTATUS_BATCH":
		return map[string]any{"DirectoryListing": map[string]any{
			"partialListing": s.listing(name, q.Get("startAfter")+q.Get("startafter")), "remainingEntries": 0,
		}}, nil
	case "GETCONTENTSUMMARY":
		var files, folders, length int64
		for _, p := range s.tree.below(name) {
			if below := s.tree.nodes[p]; below.folder {
				folders++
			} else {
				files, length = files+1, length+int64(len(below.data))
			}
		}
		return map[string]any{"ContentSummary": map[string]int64{
			"directoryCount": folders, "fileCount": files, "length": length, "spaceConsumed": length, "quota": n.names, "spaceQuota": n.space,
		}}, nil
	}
	return nil, nil
}

func (s *Store) listing(name, after string) any {
	statuses := []any{}
	if n := s.tree.nodes[name]; !n.folder {
		statuses = append(statuses, n.status(""))
	}
	for _, p := range s.tree.children(name) {
		if base := path.Base(p); base > after {
			statuses = append(statuses, s.tree.nodes[p].status(base))
		}
	}
	return map[string]any{"FileStatuses": map[string]any{"FileStatus": statuses}}
}

// set changes what is known about a path.
func (s *Store) set(name string, q url.Values) (any, *exception) {
	n := s.tree.nodes[name]
	if n == nil {
		return nil, missing(name)
	}
	number := func(key string) int64 { v, _ := strconv.ParseInt(q.Get(key), 10, 64); return v }
	switch q.Get("op") {
	case "SETOWNER":
		n.owner, n.group = q.Get("owner"), q.Get("group")
	case "SETPERMISSION":
		n.mode = q.Get("permission")
	case "SETQUOTA":
		n.names, n.space = number("namespacequota"), number("storagespacequota")
	case "SETTIMES":
		n.modified = time.UnixMilli(number("modificationtime"))
	case "TRUNCATE":
		n.data = n.data[:number("newlength")]
		return map[string]bool{"boolean": true}, nil
	case "CONCAT":
		for source := range strings.SplitSeq(q.Get("sources"), ",") {
			if s.tree.nodes[source] == nil {
				return nil, missing(source)
			}
			n.data = append(n.data, s.tree.nodes[source].data...)
			s.tree.remove(source)
		}
	default:
		return nil, &exception{http.StatusBadRequest, "UnsupportedOperationException", q.Get("op") + " is not supported"}
	}
	return nil, nil
}
