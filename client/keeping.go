package client

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"howdah.dev/howdah/api"
)

// ReplaceAgent has a node's agent started anew with the program the installation
// has now; the node's services go on. It returns when the former agent has ended.
func (c *Client) ReplaceAgent(ctx context.Context, cluster, node string) error {
	return c.call(ctx, http.MethodPost, clusterPath(cluster, "/nodes/", url.PathEscape(node), "/replace-agent"), nil, nil)
}

// BeginBackup has the data copied that clusters keep.
func (c *Client) BeginBackup(ctx context.Context, r api.BackupRequest) (api.Backup, error) {
	return post[api.Backup](ctx, c, "/v1/backups", r)
}

// Backup says how far a backup is.
func (c *Client) Backup(ctx context.Context, id string) (api.Backup, error) {
	return get[api.Backup](ctx, c, "/v1/backups/"+url.PathEscape(id))
}

// maxText bounds a text the server answers with, in bytes.
const maxText = 64 << 20

// Goroutines returns what every goroutine of the server does.
func (c *Client) Goroutines(ctx context.Context) (string, error) {
	resp, err := c.send(ctx, http.MethodGet, "/v1/goroutines", "", nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxText))
	return string(data), err
}
