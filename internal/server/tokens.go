package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/image/registry"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/tenant"
)

// How long a token may be good for at most, by posture.
const (
	maxTokenLife  = 10 * 365 * 24 * time.Hour
	maxSharedLife = 366 * 24 * time.Hour
)

func (s *Server) tokens(a huma.API) {
	type input struct{ Body api.TokenRequest }
	route(a, http.MethodPost, "/v1/tokens", "create-token", "Make a token", func(ctx context.Context, in *input) (*body[api.Token], error) {
		return answer(s.makeToken(ctx, in.Body))
	})
	route(a, http.MethodGet, "/v1/tokens", "list-tokens", "What is kept of tokens, newest first", func(ctx context.Context, _ *struct{}) (*body[[]api.TokenInfo], error) {
		return answer(s.listTokens(ctx))
	})
	type named struct {
		ID string `path:"id" minLength:"1" maxLength:"100" doc:"Id of the token, or its beginning"`
	}
	route(a, http.MethodDelete, "/v1/tokens/{id}", "revoke-token", "Take a token back", func(ctx context.Context, in *named) (*body[api.TokenInfo], error) {
		return answer(s.revokeToken(ctx, in.ID))
	})
}

// makeToken makes a token; what is kept of it is kept before anybody has it.
func (s *Server) makeToken(ctx context.Context, r api.TokenRequest) (api.Token, error) {
	role, err := tenant.ParseRole(r.Role)
	if err != nil {
		return api.Token{}, fmt.Errorf("%w: %w", cluster.ErrInvalid, err)
	}
	switch {
	case r.Seconds < 0 || r.Seconds > int64(maxTokenLife/time.Second):
		return api.Token{}, fmt.Errorf("%w: a token may be good for at most ten years", cluster.ErrInvalid)
	case s.shared() && (r.Seconds == 0 || r.Seconds > int64(maxSharedLife/time.Second)):
		return api.Token{}, fmt.Errorf("%w: in the shared posture a token must have an end, within a year: howdah token create --for 720h", cluster.ErrInvalid)
	}
	now := time.Now().UTC().Truncate(time.Second)
	t := tenant.Token{ID: uuid.NewString(), Name: r.Name, Project: r.Project, Role: role, Issued: now}
	kept := store.AccessToken{ID: t.ID, Name: t.Name, Project: t.Project, Role: r.Role, CreatedBy: callerOf(ctx).ID, Issued: now}
	if r.Seconds > 0 {
		t.Expires = now.Add(time.Duration(r.Seconds) * time.Second)
		kept.Expires = &t.Expires
	}
	text, err := s.authority.Sign(t)
	if err != nil {
		return api.Token{}, err
	}
	if err := s.store.Update(ctx, func(tx *store.Tx) error { return tx.PutAccessToken(kept) }); err != nil {
		return api.Token{}, err
	}
	return api.Token{ID: t.ID, Project: t.Project, Role: string(t.Role), Expires: t.Expires, Token: text}, nil
}

func (s *Server) listTokens(ctx context.Context) ([]api.TokenInfo, error) {
	out := []api.TokenInfo{}
	err := s.store.View(ctx, func(tx *store.Tx) error {
		ts, err := tx.AccessTokens()
		for _, t := range ts {
			out = append(out, tokenInfo(t, time.Now()))
		}
		return err
	})
	return out, err
}

func tokenInfo(t store.AccessToken, now time.Time) api.TokenInfo {
	out := api.TokenInfo{ID: t.ID, Name: t.Name, Project: t.Project, Role: t.Role, CreatedBy: t.CreatedBy, Issued: t.Issued, State: "good"}
	if t.Expires != nil {
		out.Expires = *t.Expires
		if !now.Before(*t.Expires) {
			out.State = "ended"
		}
	}
	if t.Revoked != nil {
		out.Revoked, out.State = *t.Revoked, "revoked"
	}
	return out
}

// revokeToken takes back the token whose id begins so. It is in force here when this
// returns, and in cells when their agents have heard of it.
func (s *Server) revokeToken(ctx context.Context, beginning string) (api.TokenInfo, error) {
	var out api.TokenInfo
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		all, err := tx.AccessTokens()
		if err != nil {
			return err
		}
		found := slices.DeleteFunc(all, func(t store.AccessToken) bool { return !strings.HasPrefix(t.ID, beginning) })
		switch len(found) {
		case 0:
			return fmt.Errorf("token %s: %w; howdah token list shows those that can be taken back", beginning, store.ErrNotFound)
		case 1:
		default:
			return fmt.Errorf("%w: the ids of %d tokens begin with %s; give more of it", cluster.ErrInvalid, len(found), beginning)
		}
		if err := tx.RevokeAccessToken(found[0].ID); err != nil {
			return err
		}
		now := tx.Now()
		if found[0].Revoked == nil {
			found[0].Revoked = &now
		}
		out = tokenInfo(found[0], now)
		return nil
	})
	if err != nil {
		return out, err
	}
	return out, s.restrict(ctx)
}

// restrict puts in force what the store says of tokens: here, and in cells.
func (s *Server) restrict(ctx context.Context) error {
	var r tenant.Restrictions
	err := s.store.View(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		ts, err := tx.AccessTokens()
		for _, t := range ts {
			if t.Revoked != nil && (t.Expires == nil || time.Now().Before(*t.Expires)) {
				r.Revoked = append(r.Revoked, t.ID)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Sort(r.Revoked)
	if s.shared() {
		r.MaxLife = int64(maxSharedLife / time.Second)
	}
	s.restrictions.Store(&r)
	s.manager.Restrict(r)
	return nil
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

// refuse says why a signed token gives no access; "" where it does. A node's token
// ends with its node; where that cannot be found out it does not open either.
func (s *Server) refuse(t tenant.Token) string {
	node, ok := tenant.NodeOfToken(t.ID)
	if !ok {
		return s.restrictions.Load().Refuse(t)
	}
	err := s.store.View(context.Background(), func(tx *store.Tx) error {
		n, err := tx.Node(node)
		if err == nil && n.Intent == agentapi.IntentGone {
			return store.ErrNotFound
		}
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "its node is not there any more"
	case err != nil:
		s.log.Warn("cannot check a node's token", "node", node, "error", err)
		return "its node cannot be looked up"
	}
	return ""
}
