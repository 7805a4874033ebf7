package server

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/tenant"
)

// maxTokenLife is the longest a token may be good for.
const maxTokenLife = 10 * 365 * 24 * time.Hour

func (s *Server) tokens(a huma.API) {
	type input struct{ Body api.TokenRequest }
	route(a, http.MethodPost, "/v1/tokens", "create-token", "Make a token", func(ctx context.Context, in *input) (*body[api.Token], error) {
		return answer(s.makeToken(ctx, in.Body))
	})
}

func (s *Server) makeToken(ctx context.Context, r api.TokenRequest) (api.Token, error) {
	who := callerOf(ctx)
	if who.Project != tenant.DefaultProject || who.Role != tenant.Admin {
		return api.Token{}, fmt.Errorf("%w: only admins of project %s make tokens", cluster.ErrInvalid, tenant.DefaultProject)
	}
	role, err := tenant.ParseRole(r.Role)
	if err != nil {
		return api.Token{}, fmt.Errorf("%w: %w", cluster.ErrInvalid, err)
	}
	life := time.Duration(r.Seconds) * time.Second
	if life < 0 || life > maxTokenLife {
		return api.Token{}, fmt.Errorf("%w: a token may be good for at most ten years", cluster.ErrInvalid)
	}
	now := time.Now().UTC().Truncate(time.Second)
	t := tenant.Token{ID: uuid.NewString(), Name: r.Name, Project: r.Project, Role: role, Issued: now}
	if life > 0 {
		t.Expires = now.Add(life)
	}
	text, err := s.authority.Sign(t)
	if err != nil {
		return api.Token{}, err
	}
	return api.Token{ID: t.ID, Project: t.Project, Role: string(t.Role), Expires: t.Expires, Token: text}, nil
}
