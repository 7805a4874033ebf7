package client

import (
	"context"
	"net/http"
	"net/url"

	"howdah.dev/howdah/api"
)

// Projects lists the projects that are there for the caller.
func (c *Client) Projects(ctx context.Context) ([]api.Project, error) {
	return get[[]api.Project](ctx, c, "/v1/projects")
}

// Project returns one project.
func (c *Client) Project(ctx context.Context, name string) (api.Project, error) {
	return get[api.Project](ctx, c, "/v1/projects/"+url.PathEscape(name))
}

// SetQuota says what a project may have.
func (c *Client) SetQuota(ctx context.Context, name string, q api.Quota) (api.Project, error) {
	var out api.Project
	err := c.call(ctx, http.MethodPut, "/v1/projects/"+url.PathEscape(name)+"/quota", q, &out)
	return out, err
}
