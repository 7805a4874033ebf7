package gateway

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// chunk is how much of a file's contents is moved at a time, in bytes.
const chunk = 64 << 10

// forgetAfter is how long a token that is not in use is remembered. Its rate
// must outlive its requests, or many small ones would not be limited.
const forgetAfter = time.Minute

// tokens counts what each token has under way.
type tokens struct {
	limits Limits
	mu     sync.Mutex
	byText map[string]*usage
	swept  time.Time
}

type usage struct {
	active int
	last   time.Time
	rate   *rate.Limiter // nil: no limit
}

func newTokens(l Limits) *tokens {
	return &tokens{limits: l, byText: map[string]*usage{}}
}

// enter counts a request of a token, until leave; false if it has too many.
func (t *tokens) enter(token string) (leave func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.sweep(now)
	u := t.byText[token]
	if u == nil {
		u = &usage{}
		if bps := t.limits.BytesPerSecond; bps > 0 {
			u.rate = rate.NewLimiter(rate.Limit(bps), max(chunk, int(min(bps, 1<<30))))
		}
		t.byText[token] = u
	}
	if u.active >= t.limits.Requests {
		return nil, false
	}
	u.active++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		u.active--
		u.last = time.Now()
	}, true
}

func (t *tokens) sweep(now time.Time) {
	if now.Sub(t.swept) < forgetAfter {
		return
	}
	t.swept = now
	for token, u := range t.byText {
		if u.active == 0 && now.Sub(u.last) >= forgetAfter {
			delete(t.byText, token)
		}
	}
}

// wait holds back n bytes, at most chunk, until the token's rate allows them.
func (t *tokens) wait(ctx context.Context, token string, n int) error {
	t.mu.Lock()
	u := t.byText[token]
	t.mu.Unlock()
	if u == nil || u.rate == nil {
		return nil
	}
	return u.rate.WaitN(ctx, n)
}
