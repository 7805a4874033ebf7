package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// maxTokenLife is the longest a token may be good for.
const maxTokenLife = 10 * 365 * 24 * time.Hour

func (s *Server) tokens(a huma.API) {
	type input struct{ Body api.TokenRequest }
	route(a, http.MethodPost, "/v1/tokens", "create-token", "Make a token", func(_ context.Context, in *input) (*body[api.Token], error) {
		return answer(s.makeToken(in.Body))
	})
}

func (s *Server) makeToken(r api.TokenRequest) (api.Token, error) {
	role, err := tenant.ParseRole(r.Role)
	if err != nil {
		return api.Token{}, fmt.Errorf("%w: %w", cluster.ErrInvalid, err)
	}
	if r.Seconds < 0 || r.Seconds > int64(maxTokenLife/time.Second) {
		return api.Token{}, fmt.Errorf("%w: a token may be good for at most ten years", cluster.ErrInvalid)
	}
	now := time.Now().UTC().Truncate(time.Second)
	t := tenant.Token{ID: uuid.NewString(), Name: r.Name, Project: r.Project, Role: role, Issued: now}
	if r.Seconds > 0 {
		t.Expires = now.Add(time.Duration(r.Seconds) * time.Second)
	}
	text, err := s.authority.Sign(t)
	if err != nil {
		return api.Token{}, err
	}
	return api.Token{ID: t.ID, Project: t.Project, Role: string(t.Role), Expires: t.Expires, Token: text}, nil
}

// revoked tells whether a token is taken back. A node's token ends with its
// node; where that cannot be found out it does not open either.
func (s *Server) revoked(id string) bool {
	node, ok := tenant.NodeOfToken(id)
	if !ok {
		return false
	}
	err := s.store.View(context.Background(), func(tx *store.Tx) error {
		_, err := tx.Node(node)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.log.Warn("cannot check a node's token", "node", node, "error", err)
	}
	return err != nil
}
