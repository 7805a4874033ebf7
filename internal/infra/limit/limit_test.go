package limit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/infra/limit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cloud is an infrastructure that bears so many calls at a time, for a while
// each, and refuses more. It notes what it sees.
type cloud struct {
	bears int // 0 for any
	takes time.Duration
	after time.Duration // told with a refusal
	mulls time.Duration // before it refuses or takes a call

	mu      sync.Mutex
	calls   int
	most    int
	refused int
	done    []string
}

func (c *cloud) call(ctx context.Context, name string) error {
	time.Sleep(c.mulls)
	c.mu.Lock()
	if c.bears > 0 && c.calls >= c.bears {
		c.refused++
		c.mu.Unlock()
		return infra.Throttled(c.after, "too many calls")
	}
	c.calls++
	c.most = max(c.most, c.calls)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.calls--
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(c.takes):
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = append(c.done, name)
	return nil
}

func (c *cloud) counts() (refused, made int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused, len(c.done)
}

func (c *cloud) Inventory(ctx context.Context) (infra.Inventory, error) {
	return infra.Inventory{Reason: "inventory"}, c.call(ctx, "inventory")
}

func (c *cloud) Create(ctx context.Context, r infra.CreateRequest) error {
	return c.call(ctx, "create "+r.Key)
}

func (c *cloud) Delete(ctx context.Context, ref infra.Ref) error {
	return c.call(ctx, "delete "+ref.Key)
}

func (c *cloud) Power(ctx context.Context, ref infra.Ref, on bool) error {
	return c.call(ctx, fmt.Sprintf("power %s %v", ref.Key, on))
}

func (c *cloud) Describe(ctx context.Context, ref infra.Ref) (infra.Description, error) {
	return infra.Description{Powered: true}, c.call(ctx, "describe "+ref.Key)
}

// modest is a cloud that says how many calls it bears.
type modest struct {
	*cloud
	limit int
}

func (m modest) Limit() int { return m.limit }

func node(i int) infra.CreateRequest {
	return infra.CreateRequest{Ref: infra.Ref{Key: fmt.Sprintf("n%03d", i)}}
}

// all makes n creates at once and waits for them.
func all(ctx context.Context, d *limit.Driver, n int) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = d.Create(ctx, node(i)) })
	}
	wg.Wait()
	return errs
}

// TestLimit: no more calls are under way than the driver says, and 16 when it
// says nothing; each kind of call takes its turn.
func TestLimit(t *testing.T) {
	for name, tt := range map[string]struct {
		driver func(*cloud) infra.Driver
		want   int
	}{
		"unknown":  {func(c *cloud) infra.Driver { return c }, 16},
		"modest":   {func(c *cloud) infra.Driver { return modest{c, 3} }, 3},
		"no words": {func(c *cloud) infra.Driver { return modest{c, 0} }, 16},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cloud{takes: time.Second}
				d := limit.New(tt.driver(c))
				ctx := context.Background()
				var wg sync.WaitGroup
				for i := range 20 {
					ref := node(i).Ref
					wg.Go(func() {
						inv, err := d.Inventory(ctx)
						desc, err2 := d.Describe(ctx, ref)
						if inv.Reason != "inventory" || !desc.Powered {
							t.Errorf("answers are lost: %+v %+v", inv, desc)
						}
						if err := errors.Join(err, err2, d.Create(ctx, node(i)), d.Power(ctx, ref, true), d.Delete(ctx, ref)); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if c.most != tt.want || len(c.done) != 100 {
					t.Errorf("%d calls were under way at once, want %d; %d were made, want 100", c.most, tt.want, len(c.done))
				}
			})
		})
	}
}

// TestTurns: first come, first served; who waits can be asked for what.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{takes: time.Minute}
		d := limit.New(modest{c, 2})
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() { _ = d.Create(t.Context(), node(i)) })
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		for key, want := range map[string]string{"n000": "", "n001": "", "n002": "its turn: 2 calls under way", "n005": "its turn: 2 calls under way", "other": ""} {
			if got := d.Waits(key); got != want {
				t.Errorf("%s waits for %q, want %q", key, got, want)
			}
		}
		wg.Wait()
		if want := []string{"create n000", "create n001", "create n002", "create n003", "create n004", "create n005"}; !slices.Equal(c.done, want) {
			t.Errorf("done in the order %v", c.done)
		}
		if got := d.Waits("n005"); got != "" {
			t.Errorf("it still waits for %s", got)
		}
	})
}

// TestThrottled: a refusal halves what is allowed, once for all that were under
// way together; then nothing is asked for as long as the infrastructure wants;
// the call comes first afterwards, and more is tried bit by bit.
func TestThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{takes: time.Second, bears: 6, after: 20 * time.Second}
		d := limit.New(c)
		began := time.Now()
		errs := make(chan error, 1)
		go func() { errs <- errors.Join(all(t.Context(), d, 16)...) }()
		synctest.Wait()
		if refused, _ := c.counts(); refused == 0 || d.Allowed() != 8 {
			t.Errorf("after %d refusals of calls that were made together %d are allowed, want 8", refused, d.Allowed())
		}
		time.Sleep(15 * time.Second)
		waiting := 0
		for i := range 16 {
			if d.Waits(node(i).Key) == "its turn: the infrastructure asks for fewer calls, again in 5s" {
				waiting++
			}
		}
		if _, made := c.counts(); waiting != 10 || made != 6 {
			t.Errorf("%d calls wait because of the refusal, %d are made; want 10 and 6", waiting, made)
		}
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); len(c.done) != 16 || took < 20*time.Second || took > 2*time.Minute {
			t.Errorf("%d calls made in %s", len(c.done), took)
		}
		c.mu.Lock()
		c.bears, c.most = 0, 0
		c.mu.Unlock()
		if err := errors.Join(all(t.Context(), d, 400)...); err != nil {
			t.Fatal(err)
		}
		if c.most != 16 || d.Allowed() != 16 {
			t.Errorf("after successes %d calls are made at once, %d are allowed; want 16 again", c.most, d.Allowed())
		}
	})
}

// TestRefusedTogether: calls that were under way together and are all refused
// count as one refusal.
func TestRefusedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{takes: time.Second, bears: 6, mulls: time.Second, after: time.Minute}
		d := limit.New(c)
		errs := make(chan error, 1)
		go func() { errs <- errors.Join(all(t.Context(), d, 16)...) }()
		time.Sleep(3 * time.Second)
		if refused, made := c.counts(); refused != 10 || made != 6 || d.Allowed() != 8 {
			t.Errorf("%d calls are refused, %d made, %d allowed; want 10, 6 and 8", refused, made, d.Allowed())
		}
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	})
}

// TestPatience: an infrastructure that refuses for ever is given up, in words,
// and pauses between tries grow.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := limit.New(never{&cloud{}})
		began := time.Now()
		err := d.Create(t.Context(), node(1))
		took := time.Since(began)
		if infra.KindOf(err) != infra.KindThrottled || err.Error() != "for 10m0s it was one call too many: never" {
			t.Errorf("%v", err)
		}
		if took < limit.Patience || took > limit.Patience+time.Minute {
			t.Errorf("given up after %s", took)
		}
		if n := len(d.Driver.(never).done); n < 20 || n > 40 {
			t.Errorf("asked %d times", n)
		}
	})
}

// never refuses everything.
type never struct{ *cloud }

func (n never) Create(context.Context, infra.CreateRequest) error {
	n.done = append(n.done, "")
	return infra.Throttled(0, "never")
}

// TestTooLong: a call that does not come back is ended, so that its turn goes
// to another.
func TestTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := limit.New(modest{&cloud{takes: 24 * time.Hour}, 1})
		began := time.Now()
		for i, err := range all(t.Context(), d, 2) {
			if err == nil || err.Error() != "the infrastructure did not answer in 5m0s" || infra.KindOf(err) != infra.KindTemporary {
				t.Errorf("call %d: %v", i, err)
			}
		}
		if took := time.Since(began); took != 2*limit.Longest {
			t.Errorf("took %s", took)
		}
	})
}

// TestContext: a call whose context ends while it waits is not made, and who
// waits is told of it.
func TestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{takes: time.Hour / 60}
		d := limit.New(modest{c, 1})
		go func() { _ = d.Create(t.Context(), node(0)) }()
		synctest.Wait()
		ctx, cancel := context.WithCancelCause(t.Context())
		var told []bool
		watched := limit.Watched(ctx, func(waits bool) { told = append(told, waits) })
		errs := make(chan error, 1)
		go func() { errs <- d.Create(watched, node(1)) }()
		synctest.Wait()
		if !slices.Equal(told, []bool{true}) {
			t.Errorf("told %v", told)
		}
		cancel(errors.New("not wanted any more"))
		if err := <-errs; err == nil || err.Error() != "cannot have its turn: not wanted any more" || infra.KindOf(err) != infra.KindTemporary {
			t.Errorf("%v", err)
		}
		if d.Waits("n001") != "" {
			t.Errorf("it waits for %s", d.Waits("n001"))
		}
		told = nil
		watched = limit.Watched(t.Context(), func(waits bool) { told = append(told, waits) })
		if err := d.Create(watched, node(2)); err != nil {
			t.Fatal(err)
		}
		if err := d.Create(watched, node(3)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(told, []bool{true, false}) {
			t.Errorf("told %v: once it waited, once it did not", told)
		}
		if err := d.Create(ctx, node(4)); err == nil {
			t.Error("a call was made whose context had ended")
		}
		if want := []string{"create n000", "create n002", "create n003"}; !slices.Equal(c.done, want) {
			t.Errorf("made: %v", c.done)
		}
	})
}

// TestNoCallIsLost: whatever an infrastructure bears and however long it takes,
// each call is made exactly once or its context ended; afterwards nothing is
// held back, and never were more calls under way than allowed.
func TestNoCallIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := &cloud{
			bears: rapid.IntRange(0, 20).Draw(rt, "bears"), takes: time.Duration(rapid.IntRange(0, 5000).Draw(rt, "takes")) * time.Millisecond,
			after: time.Duration(rapid.IntRange(0, 3).Draw(rt, "after")) * time.Second,
		}
		most, calls := rapid.IntRange(1, 30).Draw(rt, "limit"), rapid.IntRange(1, 60).Draw(rt, "calls")
		patience := make([]time.Duration, calls)
		for i := range patience {
			patience[i] = time.Duration(rapid.SampledFrom([]int{3600, 3600, 3600, 0, 1, 5}).Draw(rt, "seconds")) * time.Second
		}
		var wrong []string
		synctest.Test(t, func(t *testing.T) {
			d := limit.New(modest{c, most})
			errs := make([]error, calls)
			var wg sync.WaitGroup
			for i := range calls {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), patience[i])
					defer cancel()
					errs[i] = d.Create(ctx, node(i))
				})
			}
			wg.Wait()
			made := map[string]int{}
			for _, name := range c.done {
				made[name]++
			}
			for i, err := range errs {
				n := made["create "+node(i).Key]
				if err == nil && n != 1 || err != nil && (n != 0 || patience[i] == time.Hour) {
					wrong = append(wrong, fmt.Sprintf("call %d was made %d times: %v", i, n, err))
				}
				if w := d.Waits(node(i).Key); w != "" {
					wrong = append(wrong, fmt.Sprintf("call %d still waits for %s", i, w))
				}
			}
			if c.most > most {
				wrong = append(wrong, fmt.Sprintf("%d calls were under way", c.most))
			}
			c.bears = 0
			if err := errors.Join(all(t.Context(), d, most)...); err != nil {
				wrong = append(wrong, err.Error())
			}
			if a := d.Allowed(); a < 1 || a > most {
				wrong = append(wrong, fmt.Sprintf("%d calls are allowed", a))
			}
		})
		if len(wrong) > 0 {
			rt.Fatal(wrong)
		}
	})
}
