// Package agentserver serves the connections agents keep: it turns their
// requests into calls of the cluster manager. Which node a request comes from
// is told by an identity function that is given to it; a node never speaks for
// another. It must not know how machines are made or what runs on them.
package agentserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"

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
	// Identify tells which node a request comes from; false when it proves none.
	// Over a network that is ByCertificate.
	Identify func(r *http.Request) (node string, ok bool)
	// Blobs serves the blob {sum} of the path; nil serves none.
	Blobs http.Handler
	// Archives takes the archive {task} {step} of the path, of any size; nil takes
	// none. NodeOf tells it who sends.
	Archives http.Handler
}

// ByCertificate takes the node from the verified certificate of the connection.
func ByCertificate(r *http.Request) (node string, ok bool) { return tenant.NodeOf(r.TLS) }

// New makes the handler. Only joining works without an identity.
func New(cfg Config) http.Handler {
	codec := connect.WithHandlerOptions(connect.WithCodec(agentapi.Codec{}), connect.WithReadMaxBytes(maxMessage))
	small := connect.WithHandlerOptions(connect.WithCodec(agentapi.Codec{}), connect.WithReadMaxBytes(maxJoin))
	mux := http.NewServeMux()
	mux.Handle(agentapi.PathJoin, connect.NewUnaryHandler(agentapi.PathJoin,
		func(ctx context.Context, r *connect.Request[agentapi.JoinRequest]) (*connect.Response[agentapi.JoinResponse], error) {
			out, err := cfg.Manager.Join(ctx, *r.Msg)
			return connect.NewResponse(&out), rpcError(err)
		}, small))
	mux.Handle(agentapi.PathWatch, cfg.identified(connect.NewServerStreamHandler(agentapi.PathWatch,
		func(ctx context.Context, r *connect.Request[agentapi.WatchRequest], st *connect.ServerStream[agentapi.WatchEvent]) error {
			if err := own(ctx, r.Msg.Node); err != nil {
				return err
			}
			return rpcError(cfg.Manager.Watch(ctx, *r.Msg, st.Send))
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

// identified lets only requests through that prove which node they come from.
func (cfg Config) identified(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		node, ok := cfg.Identify(r)
		if !ok {
			http.Error(w, "a node's certificate is needed", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), nodeKey{}, node)))
	})
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
