// Package health owns asking an instance from outside whether it is well: over
// HTTP, HTTPS or TCP, again and again. What an answer means for the instance is
// for its caller to say.
package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxBody bounds what is kept of an answer.
const maxBody = 4 << 10

// Protocols of checks.
const (
	HTTP  = "HTTP"
	HTTPS = "HTTPS"
	TCP   = "TCP"
)

// Check is a question and how often it is asked.
type Check struct {
	Protocol string
	Host     string
	Port     int
	Path     string
	Delay    time.Duration // before the first question
	Interval time.Duration // between two questions
	Timeout  time.Duration // of one question
	Codes    []int         // answers that are good; none means 200 to 399
}

// Answer is what a question came to.
type Answer struct {
	OK     bool
	Cause  string // why not
	Status int    // of HTTP; 0 without an answer
	Type   string // Content-Type
	Body   string // its beginning
}

// Asker asks. Its zero value is not ready: use New.
type Asker struct {
	client *http.Client
	slots  chan struct{}
}

// New returns an asker that has at most limit questions open at once.
func New(limit int) *Asker {
	transport := &http.Transport{
		DisableKeepAlives: true,                                  // each question shows that a connection can be made
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as Marathon: an instance's certificate is for its users
	}
	return &Asker{
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		slots:  make(chan struct{}, limit),
	}
}

// Run asks until ctx ends, and reports every answer.
func (a *Asker) Run(ctx context.Context, c Check, report func(Answer)) {
	wait := time.NewTimer(c.Delay)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		select {
		case <-ctx.Done():
			return
		case a.slots <- struct{}{}:
		}
		answer := a.Ask(ctx, c)
		<-a.slots
		if ctx.Err() != nil {
			return
		}
		report(answer)
		wait.Reset(c.Interval)
	}
}

// Ask asks once.
func (a *Asker) Ask(ctx context.Context, c Check) Answer {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	address := net.JoinHostPort(c.Host, strconv.Itoa(c.Port))
	var answer Answer
	var err error
	if c.Protocol == TCP {
		err = connect(ctx, address)
		answer.OK = err == nil
	} else {
		answer, err = a.get(ctx, strings.ToLower(c.Protocol)+"://"+address+"/"+strings.TrimPrefix(c.Path, "/"), c.Codes)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		answer.Cause = fmt.Sprintf("no answer from %s within %s", address, c.Timeout)
	case err != nil:
		answer.Cause = err.Error()
	}
	return answer
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

func connect(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (a *Asker) get(ctx context.Context, url string, good []int) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("User-Agent", "howdah-health")
	resp, err := a.client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{OK: isGood(resp.StatusCode, good), Status: resp.StatusCode, Type: resp.Header.Get("Content-Type"), Body: strings.ToValidUTF8(string(body), "?")}
	if !answer.OK {
		answer.Cause = "the answer is " + resp.Status
	}
	return answer, nil
}

func isGood(status int, good []int) bool {
	if len(good) == 0 {
		return status >= http.StatusOK && status < http.StatusBadRequest
	}
	return slices.Contains(good, status)
}
