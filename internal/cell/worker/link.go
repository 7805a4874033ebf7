package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/google/uuid"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/workerapi"
)

// Times and sizes of the connection to the master.
const (
	minBackoff   = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
	registerTime = 30 * time.Second // until the first order
	callTime     = 10 * time.Second
	silence      = 5 // pings that may stay away
	maxOrder     = 4 << 20
)

// link is one connection to the master, from its registration on.
type link struct {
	master  string
	session string
	agent   mesos.ID
	ctx     context.Context //nolint:containedctx // the link is the context: it ends with the connection
	cancel  context.CancelCauseFunc
	told    map[string]bool // UUIDs that went with the registration
}

var (
	errSilent = errors.New("the master is silent")
	errFenced = errors.New("another worker with our id is connected")
)

// current returns the link, nil when there is none, and what is closed when that
// changes.
func (w *Worker) current() (*link, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.link, w.changed
}

func (w *Worker) setLink(l *link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.link = l
	close(w.changed)
	w.changed = make(chan struct{})
}

// serve keeps a connection to the master until ctx ends.
func (w *Worker) serve(ctx context.Context) {
	backoff := minBackoff
	for ctx.Err() == nil {
		began := time.Now()
		err := w.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		w.log.Warn("no connection to the master; trying again", "error", err)
		if time.Since(began) > maxBackoff {
			backoff = minBackoff
		}
		pause := backoff/2 + rand.N(backoff) //nolint:gosec // spreads workers
		if errors.Is(err, errFenced) {
			pause = maxBackoff
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// connect registers and carries out orders until the connection ends.
func (w *Worker) connect(life context.Context) error {
	ctx, cancel := context.WithCancelCause(life)
	defer cancel(nil)
	l := &link{master: strings.TrimSuffix(w.cfg.Master(), "/"), session: uuid.NewString(), ctx: ctx, cancel: cancel, told: map[string]bool{}}
	// Fires when nothing was heard for too long.
	watchdog := time.AfterFunc(registerTime, func() { cancel(errSilent) })
	defer watchdog.Stop()
	body, err := w.register(l)
	if err != nil {
		return cause(ctx, err)
	}
	defer body.Close()
	defer w.setLink(nil)
	reader, quiet := mesos.NewRecordReader(body, maxOrder), registerTime
	for {
		text, err := reader.Next()
		if err != nil {
			return cause(ctx, err)
		}
		var o workerapi.Order
		if err := json.Unmarshal(text, &o); err != nil {
			return fmt.Errorf("cannot read an order: %w", err)
		}
		if r := o.Registered; o.Type == workerapi.OrderRegistered && r != nil {
			if r.PingSeconds > 0 {
				quiet = time.Duration(silence * r.PingSeconds * float64(time.Second))
			}
			if err := w.registered(l, r.AgentID); err != nil {
				return err
			}
		}
		watchdog.Reset(quiet)
		w.obey(life, l, o)
	}
}

// cause prefers why we ended a connection to how that was noticed.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// register opens the stream of orders.
func (w *Worker) register(l *link) (io.ReadCloser, error) {
	w.mu.Lock()
	reg := workerapi.Register{Info: w.info, Session: l.session, Runtimes: w.Runtimes(), Address: w.cfg.Address}
	w.mu.Unlock()
	for _, t := range w.all() {
		rec, tell := t.snapshot()
		if !tell {
			continue
		}
		if len(rec.Pending) > 0 {
			l.told[string(rec.Pending[0].UUID)] = true
		}
		reg.Tasks = append(reg.Tasks, workerapi.Task{FrameworkID: rec.FrameworkID, Info: rec.Info, Status: rec.Status, Pending: rec.Pending})
	}
	resp, err := w.post(l.ctx, l.master+workerapi.PathSubscribe, reg)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp)
	}
	return resp.Body, nil
}

func (w *Worker) post(ctx context.Context, url string, v any) (*http.Response, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("cannot speak to the master: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("cannot speak to the master: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.cfg.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("cannot speak to the master: %w", err)
	}
	return resp, nil
}

// refusal reads why the master refused, and closes the answer.
func refusal(resp *http.Response) error {
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
	return fmt.Errorf("the master answers %s: %s", resp.Status, bytes.TrimSpace(text))
}

// call says something to the master. When the master does not want us any more, the
// connection ends.
func (w *Worker) call(ctx context.Context, l *link, c workerapi.Call) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	stop := context.AfterFunc(l.ctx, cancel)
	defer stop()
	c.AgentID, c.Session = l.agent, l.session
	resp, err := w.post(ctx, l.master+workerapi.PathCall, c)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusAccepted {
		return resp.Body.Close()
	}
	err = refusal(resp)
	switch resp.StatusCode {
	case http.StatusConflict:
		l.cancel(errFenced)
	case http.StatusNotFound:
		l.cancel(err)
	}
	return err
}

// registered keeps the id that the master gave, and lets statuses flow.
func (w *Worker) registered(l *link, id mesos.ID) error {
	l.agent = id
	w.mu.Lock()
	was := w.info.ID
	w.info.ID = &id
	w.mu.Unlock()
	if was == nil || *was != id {
		text, err := json.Marshal(id)
		if err == nil {
			err = renameio.WriteFile(w.idFile(), text, 0o600)
		}
		if err != nil {
			return fmt.Errorf("cannot keep the worker's id: %w", err)
		}
	}
	w.log.Info("registered", "master", l.master, "worker", id.Value)
	w.setLink(l)
	return nil
}

func (w *Worker) idFile() string { return filepath.Join(w.cfg.Dir, "agent.json") }

func (w *Worker) loadID() error {
	text, err := os.ReadFile(w.idFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var id mesos.ID
	if err == nil {
		err = json.Unmarshal(text, &id)
	}
	if err != nil {
		return fmt.Errorf("cannot read the worker's id: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.info.ID = &id
	return nil
}
