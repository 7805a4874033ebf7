package marathon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Check runs a small command as an app, sees it run, and removes it.
func (c *Client) Check(ctx context.Context, id string) error {
	definition := map[string]any{"id": id, "cmd": "echo ready; exec sleep 600", "cpus": 0.01, "mem": 16, "instances": 1}
	r, err := c.Put(ctx, id, definition, true)
	if err != nil {
		return fmt.Errorf("cannot run an app: %w", err)
	}
	// An app that does not run is removed as well, or it would be tried for ever.
	err = c.runs(ctx, id, r.DeploymentID)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if err != nil {
		err = fmt.Errorf("%w%s", err, c.why(last, id))
	}
	if _, remove := c.Delete(last, id); remove != nil {
		return errors.Join(err, fmt.Errorf("cannot remove the app %s: %w", id, remove))
	}
	if err != nil {
		return err
	}
	return c.gone(ctx, id)
}

// runs waits until an app has come up.
func (c *Client) runs(ctx context.Context, id, deployment string) error {
	if err := c.Wait(ctx, deployment, nil); err != nil {
		return err
	}
	app, err := c.App(ctx, id)
	if err == nil && app.TasksRunning != 1 {
		err = fmt.Errorf("the app %s has %d running tasks, not 1", id, app.TasksRunning)
	}
	return err
}

// gone returns when an app is not there any more.
func (c *Client) gone(ctx context.Context, id string) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		err := c.Call(ctx, http.MethodGet, "/v2/apps"+path(id), nil, nil, nil)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the app %s does not end: %w", id, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// why says what keeps an app from running, as far as the cell knows.
func (c *Client) why(ctx context.Context, id string) string {
	var text strings.Builder
	if queue, err := c.Queue(ctx); err == nil {
		for _, q := range queue {
			if q.App.ID == id {
				for _, r := range q.Reasons {
					text.WriteString("\n  " + r)
				}
			}
		}
	}
	if app, err := c.App(ctx, id); err == nil && app.LastFailure != nil {
		text.WriteString("\n  last failure: " + app.LastFailure.Message)
	}
	return text.String()
}
