package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"howdah.dev/howdah/api"
)

// Authorities lists the certificate authorities.
func (c *Client) Authorities(ctx context.Context) (api.Authorities, error) {
	return get[api.Authorities](ctx, c, "/v1/authorities")
}

// RotateAuthority makes a new certificate authority.
func (c *Client) RotateAuthority(ctx context.Context) (api.Authorities, error) {
	return post[api.Authorities](ctx, c, "/v1/authorities/rotate", nil)
}

// RetireAuthority ends the trust in the older certificate authority; with force
// also while nodes depend on it.
func (c *Client) RetireAuthority(ctx context.Context, force bool) (api.Authorities, error) {
	return post[api.Authorities](ctx, c, "/v1/authorities/retire?force="+strconv.FormatBool(force), nil)
}

// RejoinNode lets a node join again whose certificate is good no longer.
func (c *Client) RejoinNode(ctx context.Context, node string) (api.Rejoined, error) {
	return post[api.Rejoined](ctx, c, "/v1/nodes/"+url.PathEscape(node)+"/rejoin", nil)
}

// Tokens lists what is kept of tokens, newest first.
func (c *Client) Tokens(ctx context.Context) ([]api.TokenInfo, error) {
	return get[[]api.TokenInfo](ctx, c, "/v1/tokens")
}

// RevokeToken takes a token back; id may be its beginning.
func (c *Client) RevokeToken(ctx context.Context, id string) (api.TokenInfo, error) {
	var out api.TokenInfo
	err := c.call(ctx, http.MethodDelete, "/v1/tokens/"+url.PathEscape(id), nil, &out)
	return out, err
}

// AuditFilter chooses rows of the audit record; empty fields choose all.
type AuditFilter struct {
	Since     time.Time
	Who, What string
	Limit     int // 200 where 0
}

// Audit returns the newest rows of the audit record, oldest first.
func (c *Client) Audit(ctx context.Context, f AuditFilter) ([]api.AuditEntry, error) {
	q := url.Values{}
	if !f.Since.IsZero() {
		q.Set("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	for k, v := range map[string]string{"who": f.Who, "what": f.What} {
		if v != "" {
			q.Set(k, v)
		}
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return get[[]api.AuditEntry](ctx, c, "/v1/audit?"+q.Encode())
}

// Security returns the posture and each risk that is open.
func (c *Client) Security(ctx context.Context) (api.Security, error) {
	return get[api.Security](ctx, c, "/v1/security")
}
