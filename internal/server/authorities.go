package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"howdah.dev/howdah/api"
)

// NamedNode names a node in a path. It is exported because huma fills only exported fields.
type NamedNode struct {
	Node string `path:"node" maxLength:"200" doc:"Name or id of the node"`
}

// authorities serves what certificates of agents are signed with.
func (s *Server) authorities(a huma.API) {
	m := s.manager
	route(a, http.MethodGet, "/v1/authorities", "list-authorities", "Certificate authorities, and which nodes have a certificate of which", func(ctx context.Context, _ *struct{}) (*body[api.Authorities], error) {
		return answer(m.Authorities(ctx))
	})
	route(a, http.MethodPost, "/v1/authorities/rotate", "rotate-authority", "Make a new certificate authority; the old one stays trusted until it is retired", func(ctx context.Context, _ *struct{}) (*body[api.Authorities], error) {
		return answer(m.RotateAuthority(ctx))
	})
	type retirement struct {
		Force bool `query:"force" doc:"Also while nodes depend on it; they must join again"`
	}
	route(a, http.MethodPost, "/v1/authorities/retire", "retire-authority", "End the trust in the older certificate authority", func(ctx context.Context, in *retirement) (*body[api.Authorities], error) {
		return answer(m.RetireAuthority(ctx, in.Force))
	})
	route(a, http.MethodPost, "/v1/nodes/{node}/rejoin", "rejoin-node", "Let a node join again whose certificate is good no longer", func(ctx context.Context, in *NamedNode) (*body[api.Rejoined], error) {
		return answer(m.Rejoin(ctx, in.Node))
	})
}
