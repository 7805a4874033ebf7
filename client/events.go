package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"howdah.dev/howdah/api"
)

// EventOptions choose events.
type EventOptions struct {
	After     int64 // id of the last event seen; 0 for new ones only
	All       bool  // where After is 0: all that are kept
	Cluster   string
	Operation int64
}

// maxEvent bounds one event of a stream, in bytes.
const maxEvent = 4 << 20

// Events yields what happens until ctx ends or the stream breaks; the last
// error says why. Resume with the id of the last event.
func (c *Client) Events(ctx context.Context, o EventOptions) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		path := fmt.Sprintf("/v1/events?operation=%d&cluster=%s", o.Operation, url.QueryEscape(o.Cluster))
		if o.After != 0 || o.All {
			path += fmt.Sprintf("&after=%d", o.After)
		}
		resp, err := c.send(ctx, http.MethodGet, path, "", nil)
		if err != nil {
			yield(api.Event{}, err)
			return
		}
		defer resp.Body.Close()
		sc := bufio.NewScanner(resp.Body)
		sc.Buffer(nil, maxEvent)
		for sc.Scan() {
			data, ok := strings.CutPrefix(sc.Text(), "data: ")
			if !ok {
				continue
			}
			var e api.Event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				yield(e, err)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		if ctx.Err() == nil {
			yield(api.Event{}, errors.Join(fmt.Errorf("%w: the stream ended", ErrUnreachable), sc.Err()))
		}
	}
}

// Times between tries to reach a server that went.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 2 * time.Second
)

// Watch is Events over lost connections: it resumes after the last event, so that
// none is lost and none comes twice, until ctx ends or no server has answered for
// patience.
func (c *Client) Watch(ctx context.Context, o EventOptions, patience time.Duration) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		lost, pause := time.Now(), retryFirst
		for ctx.Err() == nil {
			err := c.startAt(ctx, &o)
			if err == nil {
				for e, streamErr := range c.Events(ctx, o) {
					if err = streamErr; err != nil {
						break
					}
					lost, pause, o.After = time.Now(), retryFirst, e.ID
					if !yield(e, nil) {
						return
					}
				}
			}
			if ctx.Err() != nil {
				return
			}
			if !errors.Is(err, ErrUnreachable) || time.Since(lost) > patience {
				yield(api.Event{}, err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, retryMost)
		}
	}
}

// startAt fixes where new events begin, so that none is missed while the first
// connection is lost before its first event.
func (c *Client) startAt(ctx context.Context, o *EventOptions) error {
	if o.After != 0 || o.All {
		return nil
	}
	newest, err := c.History(ctx, "", 1)
	if err == nil && len(newest) > 0 {
		o.After = newest[0].ID
	}
	return err
}
