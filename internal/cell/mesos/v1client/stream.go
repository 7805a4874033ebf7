package v1client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
)

// Stream is one subscription. Next is for one goroutine; Call and Close are for
// any.
type Stream struct {
	client  *Client
	at      *url.URL // the leader that answered
	id      string
	body    io.Closer
	cancel  context.CancelCauseFunc
	cause   func() error // why the stream's context ended, if it did
	records *mesos.RecordReader

	watch   *time.Timer   // ends a stream that is silent
	silence time.Duration // only Next changes it

	mu        sync.Mutex
	framework *mesos.ID
}

func (s *Stream) expire() {
	s.cancel(errors.New("nothing was heard of the master for five heartbeats"))
}

// Next returns the next event, heartbeats too. After an error the stream is over.
// io.EOF is a stream that the master ended.
func (s *Stream) Next() (mesos.Event, error) {
	var event mesos.Event
	record, err := s.records.Next()
	if err != nil {
		if cause := s.cause(); cause != nil {
			err = cause
		}
		s.Close()
		return event, fmt.Errorf("cannot read the master's events: %w", err)
	}
	if err := json.Unmarshal(record, &event); err != nil {
		s.Close()
		return event, fmt.Errorf("cannot read the master's events: %w", err)
	}
	if sub := event.Subscribed; sub != nil {
		s.mu.Lock()
		s.framework = &sub.FrameworkID
		s.mu.Unlock()
		if beat := sub.HeartbeatIntervalSeconds; beat > 0 && beat < 3600 {
			s.silence = time.Duration(beats * beat * float64(time.Second))
		}
	}
	s.watch.Reset(s.silence)
	return event, nil
}

// Call says something to the master that gave this stream. The framework's id is
// filled in.
func (s *Stream) Call(ctx context.Context, call mesos.Call) error {
	if call.FrameworkID == nil {
		s.mu.Lock()
		call.FrameworkID = s.framework
		s.mu.Unlock()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.client.timeout, fmt.Errorf("no answer within %s", s.client.timeout))
	defer cancel()
	resp, _, err := s.client.post(ctx, s.at, s.id, call)
	if err != nil {
		return fmt.Errorf("cannot call %s: %w", call.Type, because(ctx, err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted && resp.StatusCode != http.StatusOK {
		return fmt.Errorf("cannot call %s: %w", call.Type, refusal(resp))
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxMessage)) // so that the connection is used again
	return nil
}

// Close ends the stream; the master sees its framework disconnect.
func (s *Stream) Close() {
	s.watch.Stop()
	s.cancel(nil)
	_ = s.body.Close()
}
