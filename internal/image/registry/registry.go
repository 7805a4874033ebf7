// Package registry owns the HTTP surface of the image store: the distribution
// specification of the Open Container Initiative, version 1.1, under /v2/.
//
// It must not know who users are (Config.Authorize does) nor how images are kept
// (imagestore does).
package registry

import (
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strings"

	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/imagestore"
)

// Actions that Authorize is asked for.
const (
	ActionLogin  = "login" // of GET /v2/; the repository is empty
	ActionPull   = "pull"
	ActionPush   = "push"
	ActionDelete = "delete"
)

// ErrUnauthenticated is what Authorize returns, or wraps, when it does not know who
// asks: the client is told to log in. Any other error is a refusal.
var ErrUnauthenticated = errors.New("log in first")

// Config says what is served and to whom.
type Config struct {
	Store *imagestore.Store
	// Authorize decides. repo is <project>/<name...>, and safe.
	Authorize func(r *http.Request, repo, action string) error
	// Realm is the address at which a client changes its login into a token, as the
	// distribution project's token specification has it. Basic logins alone if nil.
	Realm func(r *http.Request) string
	Log   *slog.Logger // slog.Default if nil
}

type server struct{ cfg Config }

// call is one request to a repository.
type call struct {
	*server
	w    http.ResponseWriter
	r    *http.Request
	repo *imagestore.Repo
	arg  string // what follows the kind in the path
}

// route is one kind of address; see table.
type route struct {
	path    *regexp.Regexp
	methods map[string]operation
}

// operation is what a method does, and the right it needs.
type operation struct {
	action string
	do     func(*call) error
}

// table is every address below a repository. Names hold slashes, so the kinds are
// found from the right.
func table() []route {
	read := func(do func(*call) error) map[string]operation {
		return map[string]operation{http.MethodGet: {ActionPull, do}, http.MethodHead: {ActionPull, do}}
	}
	manifests := read((*call).getManifest)
	manifests[http.MethodPut] = operation{ActionPush, (*call).putManifest}
	manifests[http.MethodDelete] = operation{ActionDelete, (*call).deleteManifest}
	return []route{
		{regexp.MustCompile(`^(.+)/manifests/([^/]+)$`), manifests},
		{regexp.MustCompile(`^(.+)/blobs/uploads()/?$`), map[string]operation{http.MethodPost: {ActionPush, (*call).startUpload}}},
		{regexp.MustCompile(`^(.+)/blobs/uploads/([^/]+)$`), map[string]operation{
			http.MethodGet:    {ActionPush, (*call).uploadStatus},
			http.MethodPatch:  {ActionPush, (*call).patchUpload},
			http.MethodPut:    {ActionPush, (*call).putUpload},
			http.MethodDelete: {ActionPush, (*call).cancelUpload},
		}},
		{regexp.MustCompile(`^(.+)/blobs/([^/]+)$`), read((*call).getBlob)},
		{regexp.MustCompile(`^(.+)/tags/list()$`), map[string]operation{http.MethodGet: {ActionPull, (*call).listTags}}},
		{regexp.MustCompile(`^(.+)/referrers/([^/]+)$`), map[string]operation{http.MethodGet: {ActionPull, (*call).listReferrers}}},
	}
}

// New returns the handler of everything under /v2/.
func New(cfg Config) http.Handler {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &server{cfg}
	routes := table()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		if err := s.serve(routes, w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

func (s *server) serve(routes []route, w http.ResponseWriter, r *http.Request) error {
	rest, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	if !ok && r.URL.Path != "/v2" {
		return &failure{http.StatusNotFound, codeUnsupported, "there is nothing at this address"}
	}
	switch rest {
	case "":
		return s.ping(w, r)
	case "_catalog":
		return s.catalog(w, r)
	}
	for _, t := range routes {
		m := t.path.FindStringSubmatch(rest)
		if m == nil {
			continue
		}
		op, ok := t.methods[r.Method]
		if !ok {
			return &failure{http.StatusMethodNotAllowed, codeUnsupported, "the method " + r.Method + " is not supported here"}
		}
		repo, err := s.repo(r, m[1], op.action)
		if err != nil {
			return err
		}
		return op.do(&call{s, w, r, repo, m[2]})
	}
	return &failure{http.StatusNotFound, codeUnsupported, "there is nothing at this address"}
}

// repo checks a repository's name and the caller's right to it.
func (s *server) repo(r *http.Request, name, action string) (*imagestore.Repo, error) {
	repo, err := s.cfg.Store.Repo(name)
	if err != nil {
		return nil, &failure{http.StatusBadRequest, codeNameInvalid, err.Error()}
	}
	if !strings.Contains(name, "/") {
		return nil, &failure{http.StatusBadRequest, codeNameInvalid, "names are PROJECT/NAME; " + name + " has no project"}
	}
	if err := s.cfg.Authorize(r, name, action); err != nil {
		return nil, denied(err)
	}
	return repo, nil
}

// ping tells a client that this is a registry, and whether its login is good.
func (s *server) ping(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return &failure{http.StatusMethodNotAllowed, codeUnsupported, "the method " + r.Method + " is not supported here"}
	}
	if err := s.cfg.Authorize(r, "", ActionLogin); err != nil {
		return denied(err)
	}
	return writeJSON(w, "application/json", struct{}{})
}

// reference checks a tag or digest from an address.
func reference(s string) error {
	if strings.Contains(s, ":") {
		_, err := parseDigest(s)
		return err
	}
	if err := image.CheckTag(s); err != nil {
		return &failure{http.StatusBadRequest, codeTagInvalid, err.Error()}
	}
	return nil
}
