// Package probe asks programs questions: an HTTP GET, a TCP connection, or a
// protocol client's check, and whether an expression holds over the answer. It
// knows no kind of program.
package probe

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
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"

	"howdah.dev/howdah/internal/agentapi"
)

// maxBody bounds how much of an answer is read.
const maxBody = 4 << 20

// defaultTimeout is the longest time for one question.
const defaultTimeout = 2 * time.Second

// Adapter answers a named check about the program at an address with a value
// expressions can look into.
type Adapter func(ctx context.Context, address, check string) (any, error)

// Prober asks. The zero value is not usable; see New.
type Prober struct {
	client   *http.Client
	adapters map[string]Adapter

	mu       sync.Mutex
	programs map[string]*vm.Program
}

// New makes a prober with the given protocol clients.
func New(adapters map[string]Adapter) *Prober {
	return &Prober{
		client: &http.Client{Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: defaultTimeout}).DialContext, MaxIdleConnsPerHost: 1,
			IdleConnTimeout: 10 * time.Second, Proxy: nil,
		}},
		adapters: adapters, programs: map[string]*vm.Program{},
	}
}

// Close drops idle connections.
func (p *Prober) Close() { p.client.CloseIdleConnections() }

// Ask asks once. Nil means that the probe holds; the error says what was
// found instead.
func (p *Prober) Ask(ctx context.Context, q agentapi.Probe) error {
	return p.AskOf(ctx, q, time.Time{})
}

// AskOf is Ask about a program that was started at a known time, so that
// answers about an earlier life of it can be told apart.
func (p *Prober) AskOf(ctx context.Context, q agentapi.Probe, started time.Time) error {
	timeout := q.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch {
	case q.HTTP != "":
		return p.do(ctx, agentapi.Request{Method: http.MethodGet, URL: q.HTTP, Expect: q.Expect}, q.Says, started)
	case q.TCP != "":
		return dial(ctx, q.TCP)
	case q.Adapter != "":
		return p.adapter(ctx, q, started)
	}
	return nil
}

// Do makes one HTTP request and checks its answer.
func (p *Prober) Do(ctx context.Context, r agentapi.Request) error {
	return p.do(ctx, r, "", time.Time{})
}

func (p *Prober) do(ctx context.Context, r agentapi.Request, says string, started time.Time) error {
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, strings.NewReader(r.Body))
	if err != nil {
		return fmt.Errorf("cannot ask %s: %w", r.URL, err)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return plain(err, req.URL.Host)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return plain(err, req.URL.Host)
	}
	if r.Expect == "" {
		if resp.StatusCode >= http.StatusBadRequest {
			return fmt.Errorf("%s answers %s", req.URL.Host, resp.Status)
		}
		return nil
	}
	var body any
	_ = json.Unmarshal(data, &body) // what is no JSON has text only
	return p.expect(r.Expect, says, answer(resp.StatusCode, body, string(data), started), req.URL.Host)
}

func dial(ctx context.Context, addr string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return plain(err, addr)
	}
	return c.Close()
}

func (p *Prober) adapter(ctx context.Context, q agentapi.Probe, started time.Time) error {
	ask, ok := p.adapters[q.Adapter]
	if !ok {
		return fmt.Errorf("this howdah has no protocol client %s", q.Adapter)
	}
	v, err := ask(ctx, q.Address, q.Check)
	if err != nil {
		return plain(err, q.Address)
	}
	if q.Expect == "" {
		return nil
	}
	return p.expect(q.Expect, q.Says, answer(0, v, "", started), q.Address)
}

// answer is what expressions look into; started is in milliseconds since 1970,
// 0 where it is not known.
func answer(status int, body any, text string, started time.Time) map[string]any {
	ms := 0
	if !started.IsZero() {
		ms = int(started.UnixMilli())
	}
	return map[string]any{"status": status, "body": body, "text": text, "started": ms}
}

// errNotYet is an answer that does not hold what is expected of it.
var errNotYet = errors.New("not yet")

// expect evaluates a condition over an answer.
func (p *Prober) expect(src, says string, answer map[string]any, who string) error {
	prog, err := p.program(src, expr.AsBool())
	if err != nil {
		return err
	}
	v, err := expr.Run(prog, answer)
	if ok, _ := v.(bool); err == nil && ok {
		return nil
	}
	if status, _ := answer["status"].(int); status >= http.StatusBadRequest {
		return fmt.Errorf("%s answers status %d%s", who, status, reason(answer["body"]))
	}
	if words := p.words(says, answer); words != "" {
		return errors.New(words)
	}
	return errNotYet
}

// words are what a program's answer says, as an expression finds it; empty where
// it finds none.
func (p *Prober) words(says string, answer map[string]any) string {
	if says == "" {
		return ""
	}
	prog, err := p.program(says)
	if err != nil {
		return ""
	}
	v, err := expr.Run(prog, answer)
	words, _ := v.(string)
	if err != nil {
		return ""
	}
	return short(words)
}

// maxReason bounds how much of a program's own words is repeated, in bytes.
const maxReason = 200

// reason is what an error's body says in words, as many programs have it: a
// member "message", at the top or one below. It is empty where there is none.
func reason(body any) string {
	top, _ := body.(map[string]any)
	words, _ := top["message"].(string)
	for _, k := range slices.Sorted(maps.Keys(top)) {
		if below, ok := top[k].(map[string]any); ok && words == "" {
			words, _ = below["message"].(string)
		}
	}
	if words = short(words); words == "" {
		return ""
	}
	return ": " + words
}

// short is the first line of a text, and not much of it.
func short(words string) string {
	words, _, _ = strings.Cut(strings.TrimSpace(words), "\n")
	if len(words) > maxReason {
		words = strings.ToValidUTF8(words[:maxReason], "") + "…"
	}
	return words
}

func (p *Prober) program(src string, options ...expr.Option) (*vm.Program, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if prog, ok := p.programs[src]; ok {
		return prog, nil
	}
	options = append(options, expr.Env(types.Map{"status": types.Int, "body": types.Any, "text": types.String, "started": types.Int}))
	prog, err := expr.Compile(src, options...)
	if err != nil {
		return nil, fmt.Errorf("cannot use %s: %w", src, err)
	}
	p.programs[src] = prog
	return prog, nil
}

// plain puts network errors into the words people use.
func plain(err error, who string) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s refuses", who)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return fmt.Errorf("%s does not answer", who)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%s hangs up", who)
	}
	return fmt.Errorf("%s: %w", who, err)
}
