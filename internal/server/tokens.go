package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/image/registry"
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

const (
	// imageTokenPath is where a login becomes a token for images. No repository can
	// be there: their names have two parts.
	imageTokenPath = "/v2/token"
	// imageTokenLife is how long such a token is good for; clients fetch another in
	// the middle of a transfer.
	imageTokenLife = 5 * time.Minute
)

// realm is the address of imageToken for who made a request.
func realm(r *http.Request) string { return "http://" + r.Host + imageTokenPath }

// imageToken changes a login into a short-lived token, good for no more than was
// asked for, as the distribution project's token specification has it: see
// https://distribution.github.io/distribution/spec/auth/token/.
func (s *Server) imageToken(w http.ResponseWriter, r *http.Request) {
	t := callerOf(r.Context())
	if t.Role == "" {
		w.Header().Set("WWW-Authenticate", `Basic realm="howdah"`)
		writeProblem(w, http.StatusUnauthorized, "log in with a token of howdah as the password")
		return
	}
	now := time.Now().UTC().Truncate(time.Second)
	ends := now.Add(imageTokenLife)
	if !t.Expires.IsZero() && t.Expires.Before(ends) {
		ends = t.Expires
	}
	t.Issued, t.Expires = now, ends
	if onlyPulls(r.URL.Query()["scope"]) {
		t.Role = tenant.Viewer
	}
	text, err := s.authority.Sign(t)
	if err != nil {
		s.log.Error("cannot sign a token for images", "error", err)
		writeProblem(w, http.StatusInternalServerError, "no token can be made; the server's log says why")
		return
	}
	writeJSON(w, http.StatusOK, "application/json", map[string]any{
		"token": text, "access_token": text, "expires_in": int(ends.Sub(now).Seconds()), "issued_at": now,
	})
}

// onlyPulls tells whether scopes such as repository:shop/web:pull ask for nothing
// but reading.
func onlyPulls(scopes []string) bool {
	for scope := range strings.FieldsSeq(strings.Join(scopes, " ")) {
		if scope[strings.LastIndex(scope, ":")+1:] != registry.ActionPull {
			return false
		}
	}
	return len(scopes) > 0
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
