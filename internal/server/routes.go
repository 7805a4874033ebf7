package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/op"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// maxDocument bounds a definition file in a request.
const maxDocument = 1 << 20

// maxEscaped is how many bytes JSON may take for one of a text.
const maxEscaped = 6

// maxBody bounds a request's body, in bytes: a definition travels as text in JSON.
func maxBody(id string) int64 {
	if id == "plan" || id == "apply" {
		return maxEscaped*maxDocument + 64<<10
	}
	return maxDocument
}

// tooLarge refuses a definition that is larger than one may be.
func tooLarge(f api.File) error {
	if len(f.Content) > maxDocument {
		return fmt.Errorf("%w: a definition may have at most %d MiB", cluster.ErrInvalid, maxDocument>>20)
	}
	return nil
}

// body is an answer with a JSON body.
type body[T any] struct{ Body T }

func answer[T any](v T, err error) (*body[T], error) {
	if err != nil {
		return nil, problem(err)
	}
	return &body[T]{v}, nil
}

// Named names a cluster in a path. It is exported because huma fills only exported fields.
type Named struct {
	Name string `path:"name" doc:"Cluster"`
}

// Numbered numbers an operation in a path. It is exported because huma fills only exported fields.
type Numbered struct {
	ID int64 `path:"id" doc:"Operation"`
}

// WorkloadPath names a cluster and a kind of workload. It is exported because huma fills only exported fields.
type WorkloadPath struct {
	Name string `path:"name" doc:"Cluster"`
	Kind string `path:"kind" enum:"job,topology" doc:"Kind of workload"`
}

// WorkloadID names a workload. It is exported because huma fills only exported fields.
type WorkloadID struct {
	WorkloadPath
	ID string `path:"id" doc:"Workload"`
}

type fileInput struct{ Body api.File }

// problem turns an error into what travels over HTTP.
func problem(err error) error {
	p := &api.Problem{Status: http.StatusInternalServerError, Detail: err.Error()}
	var guard *cluster.GuardError
	var ds api.Diagnostics
	switch {
	case errors.As(err, &ds):
		p.Status, p.Type, p.Diagnostics, p.Detail = http.StatusUnprocessableEntity, api.ProblemInvalid, ds, ""
	case errors.As(err, &guard):
		p.Status, p.Type = http.StatusConflict, api.ProblemGuard
	case errors.Is(err, store.ErrNotFound):
		p.Status, p.Type = http.StatusNotFound, api.ProblemNotFound
	case errors.Is(err, cluster.ErrBusy), errors.Is(err, op.ErrState):
		p.Status, p.Type = http.StatusConflict, api.ProblemBusy
	case errors.Is(err, store.ErrFull):
		return full(fmt.Errorf("%w; free some space and ask again", err))
	case errors.Is(err, cluster.ErrInvalid):
		p.Status, p.Type = http.StatusUnprocessableEntity, api.ProblemInvalid
	case errors.Is(err, cluster.ErrUnsupported):
		p.Status, p.Type = http.StatusNotFound, api.ProblemUnsupported
	}
	p.Title = http.StatusText(p.Status)
	return p
}

// newProblem makes huma's own errors problems too.
func newProblem(status int, msg string, errs ...error) huma.StatusError {
	p := &api.Problem{Status: status, Title: http.StatusText(status), Detail: msg}
	for _, err := range errs {
		if err == nil {
			continue
		}
		d := api.Diagnostic{Severity: api.SeverityError, Summary: err.Error()}
		if detail, ok := errors.AsType[*huma.ErrorDetail](err); ok {
			d.Address, d.Summary = detail.Location, detail.Message
		}
		p.Diagnostics = append(p.Diagnostics, d)
	}
	if status == http.StatusUnprocessableEntity || status == http.StatusBadRequest {
		p.Type = api.ProblemInvalid
	}
	return p
}

// API builds the REST API over a manager; mux receives it.
func API(mux *http.ServeMux, s *Server) huma.API {
	huma.NewError = newProblem
	cfg := huma.DefaultConfig("Howdah", "1")
	cfg.Info.Description = "Deploys and runs data platform clusters. Long work returns operations; /v1/events streams what happens."
	cfg.DocsPath, cfg.SchemasPath, cfg.CreateHooks = "", "", nil
	a := humago.New(mux, cfg)
	a.UseMiddleware(s.room)
	s.definitions(a)
	s.clusters(a)
	s.operations(a)
	s.workloads(a)
	s.artifacts(a)
	s.tokens(a)
	s.keeping(a)
	s.authorities(a)
	s.audits(a)
	s.security(a)
	s.projects(a)
	s.events(a)
	s.sessions(a)
	return a
}

// onlyAdmins lists operations that take away what cannot be brought back, or
// give access to others.
func onlyAdmins(id string) bool {
	return slices.Contains([]string{
		"delete-cluster", "shutdown", "create-token", "replace-agent", "begin-backup", "get-backup", "goroutines", "exec-node",
		"list-tokens", "revoke-token", "list-audit", "security", "list-authorities", "rotate-authority", "retire-authority", "rejoin-node", "set-quota",
	}, id)
}

// onlyFor refuses a caller who may not ask for an operation.
func onlyFor(ctx context.Context, id string) error {
	if who := callerOf(ctx); onlyAdmins(id) && !who.Role.Covers(tenant.Admin) {
		return &api.Problem{Status: http.StatusForbidden, Title: http.StatusText(http.StatusForbidden), Detail: forbidden(who)}
	}
	return nil
}

// route is one row of the API.
func route[I, O any](a huma.API, method, path, id, summary string, do func(context.Context, *I) (*O, error)) {
	h := func(ctx context.Context, in *I) (*O, error) {
		if err := onlyFor(ctx, id); err != nil {
			return nil, err
		}
		return do(ctx, in)
	}
	huma.Register(a, huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, MaxBodyBytes: maxBody(id),
		Errors: []int{
			http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict,
			http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusInternalServerError,
			http.StatusServiceUnavailable, http.StatusInsufficientStorage,
		},
	}, h)
}

func (s *Server) definitions(a huma.API) {
	route(a, http.MethodGet, "/v1/info", "info", "What answers", func(context.Context, *struct{}) (*body[api.Info], error) {
		return answer(s.info(), nil)
	})
	route(a, http.MethodPost, "/v1/plan", "plan", "What applying a file would do", func(ctx context.Context, in *fileInput) (*body[api.Planned], error) {
		if err := tooLarge(in.Body); err != nil {
			return nil, problem(err)
		}
		plans, ds, err := s.manager.Plan(ctx, in.Body)
		if err == nil {
			err = ds.Err()
		}
		return answer(api.Planned{Plans: plans, Diagnostics: ds}, withAll(err, ds))
	})
	route(a, http.MethodPost, "/v1/apply", "apply", "Apply a file", func(ctx context.Context, in *fileInput) (*body[api.Applied], error) {
		if err := tooLarge(in.Body); err != nil {
			return nil, problem(err)
		}
		ops, plans, ds, err := s.manager.Apply(ctx, in.Body)
		if err == nil {
			err = ds.Err()
		}
		if ops == nil {
			ops = []api.Operation{}
		}
		return answer(api.Applied{Operations: ops, Plans: plans, Diagnostics: ds}, withAll(err, ds))
	})
	route(a, http.MethodPost, "/v1/shutdown", "shutdown", "End the server; services and agents go on", func(context.Context, *struct{}) (*body[api.Info], error) {
		s.shutdown()
		return answer(s.info(), nil)
	})
}

// withAll keeps warnings beside errors.
func withAll(err error, ds api.Diagnostics) error {
	if _, ok := errors.AsType[api.Diagnostics](err); ok {
		return ds
	}
	return err
}

func (s *Server) clusters(a huma.API) {
	m := s.manager
	route(a, http.MethodGet, "/v1/clusters", "list-clusters", "All clusters", func(ctx context.Context, _ *struct{}) (*body[[]api.ClusterStatus], error) {
		cs, err := m.List(ctx)
		if cs == nil {
			cs = []api.ClusterStatus{}
		}
		return answer(cs, err)
	})
	route(a, http.MethodGet, "/v1/clusters/{name}", "get-cluster", "One cluster", func(ctx context.Context, in *Named) (*body[api.ClusterStatus], error) {
		return answer(m.Get(ctx, in.Name))
	})
	type deletion struct {
		Named
		Destroy string `query:"destroyData" doc:"Name of the cluster again, where it holds data or others use it"`
	}
	route(a, http.MethodDelete, "/v1/clusters/{name}", "delete-cluster", "Delete a cluster", func(ctx context.Context, in *deletion) (*body[*api.Operation], error) {
		return answer(m.Delete(ctx, in.Name, in.Destroy))
	})
	route(a, http.MethodPost, "/v1/clusters/{name}/start", "start-cluster", "Start a cluster", func(ctx context.Context, in *Named) (*body[*api.Operation], error) {
		return answer(m.Start(ctx, in.Name))
	})
	type stopping struct {
		Named
		Suspend bool `query:"suspend" doc:"Only until the platform is up again"`
	}
	route(a, http.MethodPost, "/v1/clusters/{name}/stop", "stop-cluster", "Stop a cluster", func(ctx context.Context, in *stopping) (*body[*api.Operation], error) {
		return answer(m.Stop(ctx, in.Name, in.Suspend))
	})
	route(a, http.MethodPost, "/v1/clusters/{name}/smoke", "smoke-cluster", "Run a cluster's own test", func(ctx context.Context, in *Named) (*body[*api.Operation], error) {
		return answer(m.Smoke(ctx, in.Name))
	})
	route(a, http.MethodGet, "/v1/clusters/{name}/explain", "explain-cluster", "Why a cluster is not ready", func(ctx context.Context, in *Named) (*body[[]api.Finding], error) {
		return answer(m.Explain(ctx, in.Name))
	})
	route(a, http.MethodGet, "/v1/clusters/{name}/java", "cluster-java", "Java a cluster's tools need", func(ctx context.Context, in *Named) (*body[api.JavaRange], error) {
		r, err := m.Java(ctx, in.Name)
		return answer(api.JavaRange(r), err)
	})
	type clientInput struct {
		Named
		Body api.ClientRequest
	}
	route(a, http.MethodPost, "/v1/clusters/{name}/client", "cluster-client", "Command line client for a machine", func(ctx context.Context, in *clientInput) (*body[api.ClientBundle], error) {
		b := in.Body
		return answer(m.Client(ctx, in.Name, b.Home, stack.Host{
			Dir: b.Home, Cache: b.Cache,
			Java: agentapi.Java{Home: b.JavaHome, Bin: b.JavaBin, Key: b.JavaKey, Major: b.Major},
		}))
	})
}

func (s *Server) operations(a huma.API) {
	m := s.manager
	type listing struct {
		Cluster string `query:"cluster" doc:"Only of this cluster"`
		Limit   int    `query:"limit" default:"50" minimum:"1" maximum:"1000" doc:"At most so many"`
	}
	route(a, http.MethodGet, "/v1/operations", "list-operations", "Operations, newest first", func(ctx context.Context, in *listing) (*body[[]api.Operation], error) {
		os, err := m.Operations(ctx, in.Cluster, in.Limit)
		if os == nil {
			os = []api.Operation{}
		}
		return answer(os, err)
	})
	route(a, http.MethodGet, "/v1/operations/{id}", "get-operation", "One operation with its steps", func(ctx context.Context, in *Numbered) (*body[api.Operation], error) {
		return answer(m.Operation(ctx, in.ID))
	})
	type stepInput struct {
		Numbered
		Step int64 `query:"step" doc:"Step; all failed ones where absent"`
	}
	control := func(verb, summary string, do func(context.Context, *stepInput) error) {
		route(a, http.MethodPost, "/v1/operations/{id}/"+verb, verb+"-operation", summary, func(ctx context.Context, in *stepInput) (*body[api.Operation], error) {
			if err := do(ctx, in); err != nil {
				return nil, problem(err)
			}
			return answer(m.Operation(ctx, in.ID))
		})
	}
	e := m.Engine()
	control("retry", "Run failed steps again", func(ctx context.Context, in *stepInput) error { return e.Retry(ctx, in.ID, in.Step) })
	control("skip", "Take a failed step as done", func(ctx context.Context, in *stepInput) error { return e.Skip(ctx, in.ID, in.Step) })
	control("abandon", "Give a failed operation up; what it did stays", func(ctx context.Context, in *stepInput) error { return e.Abandon(ctx, in.ID) })
	control("cancel", "Stop an operation; what is in flight finishes", func(ctx context.Context, in *stepInput) error { return e.Cancel(ctx, in.ID) })
}

func (s *Server) workloads(a huma.API) {
	m := s.manager
	base := "/v1/clusters/{name}/workloads/{kind}"
	route(a, http.MethodGet, base, "list-workloads", "What runs and ran", func(ctx context.Context, in *WorkloadPath) (*body[[]api.Workload], error) {
		ws, err := m.Workloads(ctx, in.Name, in.Kind)
		if ws == nil {
			ws = []api.Workload{}
		}
		return answer(ws, err)
	})
	type submission struct {
		WorkloadPath
		Body api.Submission
	}
	route(a, http.MethodPost, base, "submit-workload", "Submit a workload", func(ctx context.Context, in *submission) (*body[api.Workload], error) {
		return answer(m.Submit(ctx, in.Name, in.Kind, in.Body))
	})
	route(a, http.MethodGet, base+"/{id}", "get-workload", "One workload", func(ctx context.Context, in *WorkloadID) (*body[api.Workload], error) {
		return answer(m.Workload(ctx, in.Name, in.Kind, in.ID))
	})
	route(a, http.MethodDelete, base+"/{id}", "kill-workload", "End a workload", func(ctx context.Context, in *WorkloadID) (*struct{}, error) {
		if err := m.KillWorkload(ctx, in.Name, in.Kind, in.ID); err != nil {
			return nil, problem(err)
		}
		return nil, nil
	})
	type spread struct {
		WorkloadID
		Body api.Rebalance
	}
	route(a, http.MethodPost, base+"/{id}/rebalance", "rebalance-workload", "Spread a running workload anew", func(ctx context.Context, in *spread) (*struct{}, error) {
		if err := m.RebalanceWorkload(ctx, in.Name, in.Kind, in.ID, in.Body); err != nil {
			return nil, problem(err)
		}
		return nil, nil
	})
	route(a, http.MethodGet, base+"/{id}/logs", "workload-logs", "Client command that prints the logs", func(ctx context.Context, in *WorkloadID) (*body[api.Command], error) {
		argv, err := m.WorkloadLogs(ctx, in.Name, in.Kind, in.ID)
		return answer(api.Command{Argv: argv}, err)
	})
}

func (s *Server) artifacts(a huma.API) {
	route(a, http.MethodGet, "/v1/artifacts", "list-artifacts", "Artifact sets and how far they are here", func(context.Context, *struct{}) (*body[[]api.ArtifactSet], error) {
		return answer(s.manager.Artifacts(), nil)
	})
	route(a, http.MethodGet, "/v1/stacks", "list-stacks", "Kinds of clusters", func(context.Context, *struct{}) (*body[[]api.Stack], error) {
		var out []api.Stack
		for _, name := range s.stacks.Names() {
			st, _ := s.stacks.Get(name)
			out = append(out, st.Describe())
		}
		return answer(out, nil)
	})
}
