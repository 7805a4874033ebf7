// Package agentserver serves the connections agents keep: it turns their
// requests into calls of the cluster manager. Which node a request comes from
// is told by an identity function that is given to it; a node never speaks for
// another. It must not know how machines are made or what runs on them.
package agentserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// Limits of what agents send, in bytes. Joining needs no certificate.
const (
	maxJoin    = 64 << 10
	maxMessage = 8 << 20
)

// Config is what the handler needs.
type Config struct {
	Manager *cluster.Manager
	// Identify tells which node a request comes from, or why it proves none. Over a
	// network that is ByCertificate.
	Identify func(r *http.Request) (tenant.Peer, error)
	// Audit records a join or a renewal of a node from an address, which err ended
	// where it is not nil; nil records none.
	Audit func(ctx context.Context, what, node, origin string, err error)
	// Blobs serves the blob {sum} of the path; nil serves none.
	Blobs http.Handler
	// Archives takes the archive {task} {step} of the path, of any size; nil takes
	// none. NodeOf tells it who sends.
	Archives http.Handler
	Log      *slog.Logger
}

// ByCertificate takes the node from the certificate of the connection, as long as it
// and its authority are good.
func ByCertificate(a *tenant.Authority) func(r *http.Request) (tenant.Peer, error) {
	return func(r *http.Request) (tenant.Peer, error) { return a.Peer(r.TLS, time.Now()) }
}

// New makes the handler. Only joining works without an identity.
func New(cfg Config) http.Handler {
	if cfg.Audit == nil {
		cfg.Audit = func(context.Context, string, string, string, error) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	codec := connect.WithHandlerOptions(connect.WithCodec(agentapi.Codec{}), connect.WithReadMaxBytes(maxMessage))
	small := connect.WithHandlerOptions(connect.WithCodec(agentapi.Codec{}), connect.WithReadMaxBytes(maxJoin))
	mux := http.NewServeMux()
	mux.Handle(agentapi.PathJoin, connect.NewUnaryHandler(agentapi.PathJoin,
		func(ctx context.Context, r *connect.Request[agentapi.JoinRequest]) (*connect.Response[agentapi.JoinResponse], error) {
			out, err := cfg.Manager.Join(ctx, *r.Msg)
			cfg.Audit(ctx, "join", r.Msg.Node, r.Peer().Addr, err)
			return connect.NewResponse(&out), rpcError(err)
		}, small))
	mux.Handle(agentapi.PathRenew, cfg.identified(connect.NewUnaryHandler(agentapi.PathRenew,
		func(ctx context.Context, r *connect.Request[agentapi.RenewRequest]) (*connect.Response[agentapi.RenewResponse], error) {
			if err := own(ctx, r.Msg.Node); err != nil {
				return nil, err
			}
			out, err := cfg.Manager.Renew(ctx, *r.Msg)
			cfg.Audit(ctx, "renew", r.Msg.Node, r.Peer().Addr, err)
			return connect.NewResponse(&out), rpcError(err)
		}, small)))
	mux.Handle(agentapi.PathWatch, cfg.identified(connect.NewServerStreamHandler(agentapi.PathWatch,
		func(ctx context.Context, r *connect.Request[agentapi.WatchRequest], st *connect.ServerStream[agentapi.WatchEvent]) error {
			if err := own(ctx, r.Msg.Node); err != nil {
				return err
			}
			return rpcError(cfg.Manager.Watch(ctx, r.Msg, st.Send))
		}, codec)))
	mux.Handle(agentapi.PathReport, cfg.identified(connect.NewUnaryHandler(agentapi.PathReport,
		func(ctx context.Context, r *connect.Request[agentapi.Report]) (*connect.Response[agentapi.ReportResponse], error) {
			if err := own(ctx, r.Msg.Node); err != nil {
				return nil, err
			}
			out, err := cfg.Manager.Report(ctx, *r.Msg)
			return connect.NewResponse(&out), rpcError(err)
		}, codec)))
	mux.Handle(agentapi.PathPermit, cfg.identified(connect.NewUnaryHandler(agentapi.PathPermit,
		func(ctx context.Context, r *connect.Request[agentapi.PermitRequest]) (*connect.Response[agentapi.PermitResponse], error) {
			if err := own(ctx, r.Msg.Node); err != nil {
				return nil, err
			}
			out, err := cfg.Manager.Permit(ctx, *r.Msg)
			return connect.NewResponse(&out), rpcError(err)
		}, codec)))
	if cfg.Blobs != nil {
		mux.Handle("GET "+agentapi.PathBlob+"{sum}", cfg.identified(cfg.Blobs))
	}
	all := http.NewServeMux()
	all.Handle("/", http.MaxBytesHandler(mux, maxMessage))
	if cfg.Archives != nil {
		all.Handle("PUT "+agentapi.PathSend+"{task}/{step}", cfg.identified(cfg.Archives))
	}
	// A session goes on as long as people want it to, and its frames are bounded.
	all.Handle("POST "+agentapi.PathSession+"{id}", cfg.identified(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		node, _ := r.Context().Value(nodeKey{}).(string)
		cfg.Manager.Broker().Serve(w, r, node, r.PathValue("id"))
	})))
	return all
}

// nodeKey is where a request's context holds the node it comes from.
type nodeKey struct{}

// NodeOf returns the node a request comes from; "" outside of the handlers here.
func NodeOf(ctx context.Context) string {
	node, _ := ctx.Value(nodeKey{}).(string)
	return node
}

// identified lets only requests through that prove which node they come from, and of
// nodes that are there. An open request ends when that is no longer so.
func (cfg Config) identified(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := cfg.Identify(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		ctx, leave, err := cfg.Manager.Admit(r.Context(), peer)
		switch {
		case errors.Is(err, cluster.ErrDenied):
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		case err != nil:
			cfg.Log.Warn("cannot admit an agent", "node", peer.Node, "error", err)
			http.Error(w, "the server cannot tell who asks; its log says why", http.StatusServiceUnavailable)
			return
		}
		defer leave()
		defer endWriting(ctx, w)()
		h.ServeHTTP(w, r.WithContext(context.WithValue(ctx, nodeKey{}, peer.Node)))
	})
}

// endWriting ends what is being written too, whether or not its reader takes it, when
// a context ends with the right to it. The function it returns is called before the
// handler returns.
func endWriting(ctx context.Context, w http.ResponseWriter) (done func()) {
	var mu sync.Mutex
	over := false
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if !over && errors.Is(context.Cause(ctx), cluster.ErrDenied) {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0)) // of a stream that may have ended
		}
	})
	return func() {
		stop()
		mu.Lock()
		defer mu.Unlock()
		over = true
	}
}

// own refuses a node that speaks for another.
func own(ctx context.Context, node string) error {
	if have, _ := ctx.Value(nodeKey{}).(string); have != node {
		return connect.NewError(connect.CodePermissionDenied, fmt.Errorf("the certificate is of node %s, not %s", have, node))
	}
	return nil
}

func rpcError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		return connect.NewError(connect.CodeNotFound, err)
	case errors.Is(err, agentapi.ErrProtocol):
		return connect.NewError(connect.CodeFailedPrecondition, err)
	case errors.Is(err, cluster.ErrDenied):
		return connect.NewError(connect.CodePermissionDenied, err)
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, err)
	}
	return connect.NewError(connect.CodeInternal, err)
}
