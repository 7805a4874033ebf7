package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// nodeKey carries the node a client certificate names.
type nodeKey struct{}

// Limits of what agents send, in bytes. Joining needs no certificate.
const (
	maxJoin    = 64 << 10
	maxMessage = 8 << 20
)

// agentHandler serves agents. Only joining works without a certificate.
func (s *Server) agentHandler() http.Handler {
	codec := connect.WithHandlerOptions(connect.WithCodec(agentapi.Codec{}), connect.WithReadMaxBytes(maxMessage))
	small := connect.WithHandlerOptions(connect.WithCodec(agentapi.Codec{}), connect.WithReadMaxBytes(maxJoin))
	mux := http.NewServeMux()
	mux.Handle(agentapi.PathJoin, connect.NewUnaryHandler(agentapi.PathJoin,
		func(ctx context.Context, r *connect.Request[agentapi.JoinRequest]) (*connect.Response[agentapi.JoinResponse], error) {
			out, err := s.manager.Join(ctx, *r.Msg)
			return connect.NewResponse(&out), rpcError(err)
		}, small))
	mux.Handle(agentapi.PathWatch, identified(connect.NewServerStreamHandler(agentapi.PathWatch,
		func(ctx context.Context, r *connect.Request[agentapi.WatchRequest], st *connect.ServerStream[agentapi.WatchEvent]) error {
			if err := own(ctx, r.Msg.Node); err != nil {
				return err
			}
			return rpcError(s.manager.Watch(ctx, *r.Msg, st.Send))
		}, codec)))
	mux.Handle(agentapi.PathReport, identified(connect.NewUnaryHandler(agentapi.PathReport,
		func(ctx context.Context, r *connect.Request[agentapi.Report]) (*connect.Response[agentapi.ReportResponse], error) {
			if err := own(ctx, r.Msg.Node); err != nil {
				return nil, err
			}
			out, err := s.manager.Report(ctx, *r.Msg)
			return connect.NewResponse(&out), rpcError(err)
		}, codec)))
	mux.Handle(agentapi.PathPermit, identified(connect.NewUnaryHandler(agentapi.PathPermit,
		func(ctx context.Context, r *connect.Request[agentapi.PermitRequest]) (*connect.Response[agentapi.PermitResponse], error) {
			if err := own(ctx, r.Msg.Node); err != nil {
				return nil, err
			}
			out, err := s.manager.Permit(ctx, *r.Msg)
			return connect.NewResponse(&out), rpcError(err)
		}, codec)))
	mux.Handle("GET "+agentapi.PathBlob+"{sum}", identified(http.HandlerFunc(s.serveBlob)))
	return http.MaxBytesHandler(mux, maxMessage)
}

// identified lets only clients with a node's certificate through.
func identified(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		node, ok := tenant.NodeOf(r.TLS)
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
	case errors.Is(err, cluster.ErrDenied):
		return connect.NewError(connect.CodePermissionDenied, err)
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, err)
	}
	return connect.NewError(connect.CodeInternal, err)
}

// serveBlob serves a blob by digest, ranges included.
func (s *Server) serveBlob(w http.ResponseWriter, r *http.Request) {
	sum := r.PathValue("sum")
	f, err := s.manager.Blob(strings.ToLower(sum))
	if err != nil {
		writeProblem(w, http.StatusNotFound, "there is no blob "+sum)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, f)
}
