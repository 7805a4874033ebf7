package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// scoped lets callers of projects reach what is theirs and nothing else, by the
// address alone, so that no route can be forgotten: what names a cluster or an
// operation is not found unless it is the project's; what is open to all answers
// with the project's part; everything else is the default project's.
func (s *Server) scoped(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := callerOf(r.Context())
		if who.Role == "" { // nobody: the registry asks for itself
			h.ServeHTTP(w, r)
			return
		}
		scope := cluster.Scope{By: nameOf(who)}
		if who.Project != tenant.DefaultProject {
			scope.Project = who.Project
		}
		r = r.WithContext(cluster.WithScope(r.Context(), scope))
		if scope.Project != "" {
			switch err := s.reaches(r); {
			case errors.Is(err, errForeign):
				writeProblem(w, http.StatusForbidden, "this is for tokens of project "+tenant.DefaultProject+"; the token is one of project "+who.Project)
				return
			case err != nil:
				writeError(w, err)
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

// nameOf is how people know who calls.
func nameOf(who tenant.Token) string {
	if who.Name != "" {
		return who.Name
	}
	return "token " + who.ID
}

// projectOf is the project whose part of the installation a request is about; "" for
// the whole.
func projectOf(ctx context.Context) string { return cluster.ScopeOf(ctx).Project }

// reaches returns nil where a caller of a project may ask for an address.
func (s *Server) reaches(r *http.Request) error {
	at := strings.Split(r.URL.EscapedPath(), "/")[1:] // as the mux takes it apart
	for i := range at {
		part, err := url.PathUnescape(at[i])
		if err != nil {
			return errForeign
		}
		at[i] = part
	}
	switch {
	case len(at) >= 2 && at[0] == "clusters":
		return s.manager.Owns(r.Context(), at[1])
	case len(at) >= 3 && at[0] == "v1" && at[1] == "clusters":
		return s.manager.Owns(r.Context(), at[2])
	case len(at) >= 3 && at[0] == "v1" && at[1] == "operations":
		id, err := strconv.ParseInt(at[2], 10, 64)
		if err != nil {
			return fmt.Errorf("operation %q: %w", at[2], store.ErrNotFound)
		}
		return s.manager.OwnsOperation(r.Context(), id)
	case len(at) == 3 && at[0] == "v1" && (at[1] == "blobs" || at[1] == "projects"):
		at[2] = "{}"
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if at[0] == "v2" || openToAll(method+" /"+strings.Join(at, "/")) {
		return nil
	}
	return errForeign
}

// openToAll lists what tokens of every project may ask for: it shows or takes only
// what is theirs, or what is nobody's.
func openToAll(asked string) bool {
	return slices.Contains([]string{
		"GET /", "GET /v1/info", "GET /openapi.json", "GET /openapi.yaml",
		"POST /v1/plan", "POST /v1/apply", "GET /v1/clusters", "GET /v1/operations", "GET /v1/history", "GET /v1/events",
		"GET /v1/stacks", "GET /v1/artifacts", "POST /v1/blobs", "GET /v1/blobs/{}", "GET /v1/projects", "GET /v1/projects/{}",
	}, asked)
}

// errForeign is returned for what is the default project's.
var errForeign = errors.New("only for the default project")

// ProjectPath names a project. It is exported because huma fills only exported fields.
type ProjectPath struct {
	Project string `path:"project" pattern:"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" maxLength:"63" doc:"Project"`
}

func (s *Server) projects(a huma.API) {
	m := s.manager
	route(a, http.MethodGet, "/v1/projects", "list-projects", "Projects, what they have and what they may have", func(ctx context.Context, _ *struct{}) (*body[[]api.Project], error) {
		return answer(m.Projects(ctx))
	})
	route(a, http.MethodGet, "/v1/projects/{project}", "get-project", "One project", func(ctx context.Context, in *ProjectPath) (*body[api.Project], error) {
		return answer(m.Project(ctx, in.Project))
	})
	type quota struct {
		ProjectPath
		Body api.Quota
	}
	route(a, http.MethodPut, "/v1/projects/{project}/quota", "set-quota", "Say what a project may have", func(ctx context.Context, in *quota) (*body[api.Project], error) {
		return answer(m.SetQuota(ctx, in.Project, in.Body))
	})
}
