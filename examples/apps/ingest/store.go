package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	prefix    = "/webhdfs/v1"
	maxAnswer = 16 << 20 // bytes of anything that is read
	// askTimeout and sendTimeout bound one request; contents take longer.
	askTimeout  = 30 * time.Second
	sendTimeout = 10 * time.Minute
	// giveUp is how long the warehouse may be away before we end.
	giveUp = 10 * time.Minute
)

var (
	errMissing = errors.New("it does not exist")
	errExists  = errors.New("it exists already")
	errSource  = errors.New("the sources cannot be read again")
)

// refused is an answer that trying again does not change.
type refused struct{ message string }

func (e *refused) Error() string { return e.message }

// store is the warehouse over WebHDFS: a gateway, or a NameNode.
type store struct {
	cfg    config
	health *health
	http   *http.Client
}

func newStore(cfg config, h *health) *store {
	return &store{cfg: cfg, health: h, http: &http.Client{
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			ResponseHeaderTimeout: 90 * time.Second,
		},
		// Redirects are followed by hand: a body must not be sent twice.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// try does something until the warehouse answers.
func (s *store) try(ctx context.Context, do func() error) error {
	pause, began := 100*time.Millisecond, time.Now()
	for {
		err := do()
		var no *refused
		if err == nil || errors.Is(err, errMissing) || errors.Is(err, errExists) || errors.As(err, &no) || errors.Is(err, errSource) {
			s.health.answered(nil)
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.health.answered(err)
		if time.Since(began) > giveUp {
			return fmt.Errorf("the warehouse is away for %v: %w", giveUp, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, 5*time.Second)
		}
	}
}

// ask sends an operation without a body.
func (s *store) ask(ctx context.Context, method, op, name string, params url.Values) (*http.Response, error) {
	q := url.Values{"op": {op}}
	if s.cfg.user != "" {
		q.Set("user.name", s.cfg.user)
	}
	maps.Copy(q, params)
	u := *s.cfg.webhdfs
	u.Path += prefix + name
	u.RawQuery = q.Encode()
	return s.send(ctx, method, &u, nil, 0)
}

// send makes one request. The answer has status 2xx or 307.
func (s *store) send(ctx context.Context, method string, u *url.URL, body io.Reader, size int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, &refused{err.Error()}
	}
	if body != nil {
		req.ContentLength = size
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	// The token is read each time, since it may be replaced, and is for the
	// gateway only, not for where a redirect leads.
	if s.cfg.tokenFile != "" && u.Host == s.cfg.webhdfs.Host {
		token, err := os.ReadFile(s.cfg.tokenFile)
		if err != nil {
			return nil, &refused{"cannot read the token: " + err.Error()}
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 || resp.StatusCode == http.StatusTemporaryRedirect {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp)
}

// there is how HDFS says that a file is there already: whole, being written by
// another, or cut short a moment ago.
var there = []string{"FileAlreadyExistsException", "AlreadyBeingCreatedException", "RecoveryInProgressException"}

// refusal turns an answer into an error: one that will stay, or another.
func refusal(resp *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var answer struct {
		RemoteException struct{ Exception, Message string }
	}
	_ = json.Unmarshal(data, &answer)
	e := answer.RemoteException
	switch {
	case e.Exception == "FileNotFoundException":
		return fmt.Errorf("%s: %w", strings.TrimPrefix(resp.Request.URL.Path, prefix), errMissing)
	case slices.Contains(there, e.Exception):
		return errExists
	case e.Exception == "RetriableException", e.Exception == "StandbyException", e.Exception == "SafeModeException",
		resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusRequestTimeout, e.Exception == "":
		return fmt.Errorf("the warehouse answered %s: %s", resp.Status, e.Message)
	}
	return &refused{"the warehouse refused: " + e.Message}
}

// call asks, and decodes the answer unless it is nil.
func (s *store) call(ctx context.Context, method, op, name string, params url.Values, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	resp, err := s.ask(ctx, method, op, name, params)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && answer != nil {
		err = json.Unmarshal(data, answer)
	}
	return err
}

// create makes a file of what write writes, size bytes; errExists if it is
// there and must not be replaced. A file that broke off may be there.
func (s *store) create(ctx context.Context, name string, replace bool, size int64, write func(io.Writer) error) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	resp, err := s.ask(ctx, http.MethodPut, "CREATE", name, url.Values{"overwrite": {strconv.FormatBool(replace)}})
	if err != nil {
		return err
	}
	resp.Body.Close()
	target, err := resp.Location()
	if err != nil {
		return fmt.Errorf("the warehouse did not say where to write: %w", err)
	}
	pr, pw := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := write(pw)
		pw.CloseWithError(err)
		written <- err
	}()
	resp, err = s.send(ctx, http.MethodPut, target, pr, size)
	pr.CloseWithError(errStopped)
	if werr := <-written; werr != nil && !errors.Is(werr, errStopped) && !errors.Is(werr, io.ErrClosedPipe) {
		err = fmt.Errorf("%w: %w", errSource, werr) // why the request failed
	}
	if resp != nil {
		resp.Body.Close()
	}
	return err
}

var errStopped = errors.New("nobody reads on")

func (s *store) createText(ctx context.Context, name string, replace bool, text []byte) error {
	return s.create(ctx, name, replace, int64(len(text)), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// entry is one entry of a listing.
type entry struct {
	Name     string `json:"pathSuffix"`
	Type     string `json:"type"`
	Length   int64  `json:"length"`
	Modified int64  `json:"modificationTime"` // milliseconds
}

func (s *store) list(ctx context.Context, name string) (map[string]entry, error) {
	var answer struct {
		FileStatuses struct{ FileStatus []entry }
	}
	err := s.try(ctx, func() error { return s.call(ctx, http.MethodGet, "LISTSTATUS", name, nil, &answer) })
	entries := map[string]entry{}
	for _, e := range answer.FileStatuses.FileStatus {
		entries[e.Name] = e
	}
	return entries, err
}

func (s *store) status(ctx context.Context, name string) (entry, error) {
	var answer struct{ FileStatus entry }
	err := s.try(ctx, func() error { return s.call(ctx, http.MethodGet, "GETFILESTATUS", name, nil, &answer) })
	return answer.FileStatus, err
}

// read returns a small file.
func (s *store) read(ctx context.Context, name string) (data []byte, err error) {
	err = s.try(ctx, func() error { data, err = s.readOnce(ctx, name); return err })
	return data, err
}

func (s *store) readOnce(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	resp, err := s.ask(ctx, http.MethodGet, "OPEN", name, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusTemporaryRedirect {
		resp.Body.Close()
		target, err := resp.Location()
		if err != nil {
			return nil, err
		}
		if resp, err = s.send(ctx, http.MethodGet, target, nil, 0); err != nil {
			return nil, err
		}
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
}

// mkdir makes a folder and its parents.
func (s *store) mkdir(ctx context.Context, name string) error {
	return s.try(ctx, func() error { return s.call(ctx, http.MethodPut, "MKDIRS", name, nil, nil) })
}

// remove deletes a file, or a folder with all in it; missing is no error.
func (s *store) remove(ctx context.Context, name string) error {
	return s.try(ctx, func() error {
		return s.call(ctx, http.MethodDelete, "DELETE", name, url.Values{"recursive": {"true"}}, nil)
	})
}

// rename moves a file in one step and never replaces one. It is not tried
// again: false also says that an earlier try, whose answer was lost, moved it.
func (s *store) rename(ctx context.Context, from, to string) (bool, error) {
	var answer struct {
		Boolean bool `json:"boolean"`
	}
	err := s.call(ctx, http.MethodPut, "RENAME", from, url.Values{"destination": {to}}, &answer)
	return answer.Boolean, err
}
