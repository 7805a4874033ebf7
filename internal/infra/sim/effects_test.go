package sim

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"howdah.dev/howdah/internal/infra"
)

func request(i int) infra.CreateRequest {
	return infra.CreateRequest{
		Ref: infra.Ref{Key: fmt.Sprintf("key-%d", i), Cluster: "c", Name: fmt.Sprintf("n%d", i)}, Address: fmt.Sprintf("10.0.0.%d", i), Host: "sim-1", MemoryMB: 100,
	}
}

// in runs a test of an infrastructure in a bubble.
func in(t *testing.T, cfg Config, fn func(*testing.T, *Cloud)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg.Dial = new(Network).Dial
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fn(t, c)
	})
}

func did(c *Cloud) string {
	var out []string
	for _, e := range c.Effects() {
		out = append(out, e.Node+" "+string(e.What))
	}
	return strings.Join(out, ", ")
}

// TestEffects: what a call with a fault answers, when, and what it did.
func TestEffects(t *testing.T) {
	for _, tt := range []struct {
		fault Fault
		call  Call
		err   string
		kind  infra.Kind
		took  time.Duration
		did   string
	}{
		{Fault{}, CallCreate, "", "", 10 * time.Second, "n1 made, n1 on"},
		{Fault{Do: Fail}, CallCreate, "cannot create n1: temporary, as the simulation was told", infra.KindTemporary, 5 * time.Second, ""},
		{Fault{Do: Fail, Kind: infra.KindAuth}, CallCreate, "cannot create n1: auth, as the simulation was told", infra.KindAuth, 5 * time.Second, ""},
		{Fault{Do: Lose}, CallCreate, "cannot create n1: no answer came", infra.KindTemporary, 5 * time.Second, "n1 made, n1 on"},
		{Fault{Do: Half}, CallCreate, "cannot create n1: no answer came", infra.KindTemporary, 5 * time.Second, "n1 made"},
		{Fault{Do: Hang}, CallCreate, "cannot create n1 in time: context deadline exceeded", infra.KindTemporary, time.Minute, "n1 made, n1 on"},
		{Fault{Do: Stall}, CallCreate, "cannot create n1 in time: context deadline exceeded", infra.KindTemporary, time.Minute, ""},
		{Fault{Do: Half}, CallDelete, "cannot delete n1: no answer came", infra.KindTemporary, 0, "n1 made, n1 on, n1 off"},
		{Fault{Do: Lose}, CallDelete, "cannot delete n1: no answer came", infra.KindTemporary, 0, "n1 made, n1 on, n1 off, n1 removed"},
	} {
		t.Run(strings.ReplaceAll(fmt.Sprint(tt.call, tt.fault.Do, tt.fault.Kind), " ", "-"), func(t *testing.T) {
			tt.fault.Call = tt.call
			in(t, Config{Latency: map[Call]time.Duration{CallCreate: 10 * time.Second}, Faults: []Fault{tt.fault}}, func(t *testing.T, c *Cloud) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				call := func() error { return c.Create(ctx, request(1)) }
				if tt.call == CallDelete {
					if err := call(); err != nil {
						t.Fatal(err)
					}
					call = func() error { return c.Delete(ctx, request(1).Ref) }
				}
				began, text := time.Now(), ""
				err := call()
				if err != nil {
					text = err.Error()
				}
				if text != tt.err || err != nil && infra.KindOf(err) != tt.kind {
					t.Errorf("answers %q (%s), want %q (%s)", text, infra.KindOf(err), tt.err, tt.kind)
				}
				if took := time.Since(began); took != tt.took {
					t.Errorf("took %s, want %s", took, tt.took)
				}
				if got := did(c); got != tt.did {
					t.Errorf("did %q, want %q", got, tt.did)
				}
			})
		})
	}
}

// TestWhich: faults come with the calls they are meant for.
func TestWhich(t *testing.T) {
	for _, tt := range []struct {
		fault Fault
		want  string // which of three creates of n1 and three of n2 fail
	}{
		{Fault{}, "x.. ..."},
		{Fault{Nth: 2}, ".x. ..."},
		{Fault{Nth: 5}, "... .x."},
		{Fault{Nth: 2, Times: 3}, ".xx x.."},
		{Fault{Nth: 3, Times: -1}, "..x xxx"},
		{Fault{Node: "n2", Nth: 2}, "... .x."},
		{Fault{Call: CallDelete}, "... ..."},
		{Fault{Chance: 1}, "xxx xxx"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			tt.fault.Do = Fail
			in(t, Config{Faults: []Fault{tt.fault}}, func(t *testing.T, c *Cloud) {
				var got strings.Builder
				for i := range 6 {
					if i == 3 {
						got.WriteByte(' ')
					}
					if c.Create(t.Context(), request(1+i/3)) != nil {
						got.WriteByte('x')
					} else {
						got.WriteByte('.')
					}
				}
				if got.String() != tt.want {
					t.Errorf("%+v: %s, want %s", tt.fault, got.String(), tt.want)
				}
			})
		})
	}
}

// TestInvalid: everything that is wrong with a request is said at once.
func TestInvalid(t *testing.T) {
	in(t, Config{}, func(t *testing.T, c *Cloud) {
		err := c.Create(t.Context(), infra.CreateRequest{Ref: infra.Ref{Name: "n1"}, Address: "192.168.0.1", Host: "other", MemoryMB: -1})
		want := `cannot make n1: it needs a key, a cluster and a name; address "192.168.0.1" is not in 10.0.0.0/8; there is no host "other"; -1 MiB and 0 CPUs are no size`
		if err == nil || err.Error() != want || infra.KindOf(err) != infra.KindInvalid {
			t.Errorf("%v", err)
		}
		if did(c) != "" {
			t.Errorf("it did %s", did(c))
		}
	})
}

// TestTwice finds what was done more often than once.
func TestTwice(t *testing.T) {
	change := func(key string, what What) Change { return Change{Key: key, Node: "n", What: what} }
	got := Twice([]Change{
		change("a", Made), change("a", On), change("a", Off), change("a", On), change("a", Removed), change("b", Made), change("b", Made),
		change("b", Removed), change("b", Removed), change("c", Removed),
	})
	want := []string{"n (b) was made more than once", "n (b) was removed more than once", "n (c) was removed and not made"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q", got)
	}
}
