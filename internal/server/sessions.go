package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/session"
)

// idleExec ends a command that neither reads nor writes anything for so long.
const idleExec = time.Hour

// Bounds of a command in a request.
const (
	maxExecArgs  = 1024
	maxExecBytes = 32 << 10
)

// ExecInput is a command for a node. It is exported because huma fills only exported fields.
type ExecInput struct {
	Named
	Node string   `path:"node" doc:"Node"`
	Argv []string `query:"arg,explode" doc:"The program and its arguments, one each"`
	TTY  bool     `query:"tty" doc:"On a terminal of its own"`
	Term string   `query:"term" maxLength:"64" doc:"Kind of terminal, as TERM says"`
	Rows uint16   `query:"rows" doc:"Lines of the terminal"`
	Cols uint16   `query:"cols" doc:"Columns of the terminal"`
}

// sessions are routes that go on while a client is there: they are joined with the
// node's agent.
func (s *Server) sessions(a huma.API) {
	stream(a, huma.Operation{
		OperationID: "logs", Method: http.MethodGet, Path: "/v1/clusters/{name}/logs", Summary: "Lines of a cluster's logs, merged by time",
		Description: "One api.LogLine a line, or with Accept: text/plain its text. With follow the answer goes on until the client leaves.",
		Responses: map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
			"application/x-ndjson": {Schema: a.OpenAPI().Components.Schemas.Schema(typeOf[api.LogLine](), true, "")},
			"text/plain":           {Schema: &huma.Schema{Type: huma.TypeString}},
		}}},
	}, s.logs)
	stream(a, huma.Operation{
		OperationID: "exec-node", Method: http.MethodGet, Path: "/v1/clusters/{name}/nodes/{node}/exec", Summary: "Run a command on a node, as a web socket",
		Description: "Each binary message is a frame: a byte of kind, then data. 0 input (none ends it), 1 output, 2 errors, 3 the exit code in decimal (last), 4 the terminal's size as JSON, 5 why it cannot go on (last).",
		Responses:   map[string]*huma.Response{"101": {Description: "The socket is open"}}, Errors: []int{http.StatusUpgradeRequired},
	}, s.exec)
}

// stream registers a route that writes its answer itself. What is refused before is
// a problem, as everywhere.
func stream[I any](a huma.API, op huma.Operation, do func(context.Context, *I) (func(*http.Request, http.ResponseWriter), error)) {
	op.Errors = append(op.Errors, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusInternalServerError)
	huma.Register(a, op, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		if err := onlyFor(ctx, op.OperationID); err != nil {
			return nil, err
		}
		serve, err := do(ctx, in)
		if err != nil {
			return nil, problem(err)
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			r, w := humago.Unwrap(hc)
			serve(r, w)
		}}, nil
	})
}

func (s *Server) exec(ctx context.Context, in *ExecInput) (func(*http.Request, http.ResponseWriter), error) {
	bytes := 0
	for _, arg := range in.Argv {
		bytes += len(arg)
		if strings.ContainsRune(arg, 0) {
			return nil, fmt.Errorf("%w: an argument of the command holds a zero byte", cluster.ErrInvalid)
		}
	}
	switch {
	case len(in.Argv) == 0 || in.Argv[0] == "":
		return nil, fmt.Errorf("%w: name the command: arg=PROGRAM&arg=...", cluster.ErrInvalid)
	case len(in.Argv) > maxExecArgs || bytes > maxExecBytes:
		return nil, fmt.Errorf("%w: a command may have at most %d arguments of together %d KiB", cluster.ErrInvalid, maxExecArgs, maxExecBytes>>10)
	}
	targets, err := s.manager.Targets(ctx, in.Name, in.Node)
	if err != nil {
		return nil, err
	}
	return func(r *http.Request, w http.ResponseWriter) { s.serveExec(r, w, in, targets[0]) }, nil
}

// serveExec opens the socket first: of what is no web socket, or comes from another
// site's page, which is the library's default to refuse, nothing may run.
func (s *Server) serveExec(r *http.Request, w http.ResponseWriter, in *ExecInput, t cluster.Target) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		writeProblem(w, http.StatusUpgradeRequired, "a command has both directions at once: connect with a web socket")
		return
	}
	socket, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // answered already
	}
	defer func() { _ = socket.CloseNow() }()
	socket.SetReadLimit(1 + api.MaxFrame)
	ctx := r.Context()
	refuse := func(err error) {
		_ = socket.Write(ctx, websocket.MessageBinary, append([]byte{api.FrameError}, err.Error()...))
		_ = socket.Close(websocket.StatusNormalClosure, "")
	}
	if err := s.manager.NoteExec(ctx, in.Name, t, callerOf(ctx).Name, in.Argv[0]); err != nil {
		refuse(err)
		return
	}
	se, err := s.manager.Open(ctx, t, agentapi.SessionRequest{Kind: agentapi.SessionExec, Exec: &agentapi.ExecRequest{
		Argv: in.Argv, TTY: in.TTY, Term: in.Term, Rows: in.Rows, Cols: in.Cols,
	}}, idleExec)
	if err != nil {
		refuse(err)
		return
	}
	defer se.Close()
	if err := carry(ctx, socket, se); err != nil {
		refuse(fmt.Errorf("the command on %s was cut off: %w", t.Name, err))
	}
}

// Times of pings to the caller of a command.
const (
	pingEvery = 2 * time.Second
	pingTime  = time.Second
)

// carry passes frames on until the command or the caller ends; an error is for the
// caller.
func carry(ctx context.Context, socket *websocket.Conn, se *session.Session) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go hearken(ctx, socket, se)
	go func() {
		for {
			kind, data, err := socket.Read(ctx)
			if err != nil || kind != websocket.MessageBinary || len(data) == 0 {
				break
			}
			if data[0] != api.FrameStdin && data[0] != api.FrameResize || se.Send(data[0], data[1:]) != nil {
				break
			}
		}
		cancel()
	}()
	stop := context.AfterFunc(ctx, func() { se.End(context.Canceled) }) // wakes the other direction up
	defer stop()
	for {
		kind, data, err := se.Recv()
		if err != nil {
			if ctx.Err() != nil {
				return nil // the caller has gone
			}
			return err
		}
		wctx, done := context.WithTimeout(ctx, slow)
		err = socket.Write(wctx, websocket.MessageBinary, append([]byte{kind}, data...))
		done()
		if err != nil {
			return nil //nolint:nilerr // the caller has gone
		}
		if kind == api.FrameExit || kind == api.FrameError {
			_ = socket.Close(websocket.StatusNormalClosure, "")
			return nil
		}
	}
}

// hearken ends the session when the caller is gone. While a command does not read its
// input nobody reads what the caller says, so that only writing shows it; for the same
// reason an answer that stays away means nothing.
func hearken(ctx context.Context, socket *websocket.Conn, se *session.Session) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pingEvery):
		}
		wait, cancel := context.WithTimeout(ctx, pingTime)
		err := socket.Ping(wait)
		late := wait.Err() != nil
		cancel()
		if err != nil && !late {
			se.End(context.Canceled)
			return
		}
	}
}
