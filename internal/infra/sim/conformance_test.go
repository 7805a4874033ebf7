package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/infra/infratest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConformance: no server answers these agents; they are there all the same.
func TestConformance(t *testing.T) {
	infratest.Run(t, infratest.Harness{New: func(t *testing.T, trouble infratest.Trouble) *infratest.Site {
		cfg := Config{Hosts: 2, CPUs: 8, MemoryMB: 4096, Dial: new(Network).Dial}
		refuse := func(k infra.Kind) { cfg.Faults = []Fault{{Call: CallCreate, Do: Fail, Kind: k}} }
		switch trouble {
		case infratest.NeverBoots:
			cfg.Faults = []Fault{{Call: CallCreate, Do: NeverBoots}}
		case infratest.Slow:
			cfg.Latency = map[Call]time.Duration{}
			for _, c := range []Call{CallCreate, CallDelete, CallPower, CallDescribe, CallInventory} {
				cfg.Latency[c] = time.Hour
			}
		case infratest.Auth:
			refuse(infra.KindAuth)
		case infratest.Throttled:
			refuse(infra.KindThrottled)
		case infratest.Quota:
			cfg.Quota = 1
		case infratest.Capacity:
			cfg.MemoryMB = 64
		case infratest.None:
		}
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		if trouble == infratest.Quota {
			c.Occupy("other", "node")
		}
		return site(c)
	}})
}

func site(c *Cloud) *infratest.Site {
	at := func(ref infra.Ref, fn func(*machine)) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if m := c.nodes[slot(ref)]; m != nil {
			fn(m)
		}
	}
	return &infratest.Site{
		Driver: c,
		Node: func(i int) infra.CreateRequest {
			return infra.CreateRequest{
				Ref:     infra.Ref{Key: fmt.Sprintf("key-%d", i), Cluster: "c", Name: fmt.Sprintf("c-worker-%d", i)},
				Address: netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}).String(), Host: "sim-1", MemoryMB: 128, CPUs: 1,
				Join: []byte(`{"token":"` + infratest.Secret + `"}`),
			}
		},
		Agents: func(ref infra.Ref) (n int) {
			at(ref, func(m *machine) {
				if m.agent != nil && m.ref.Key == ref.Key {
					n++
				}
			})
			return n
		},
		Occupy: func(ref infra.Ref) { c.Occupy(ref.Cluster, ref.Name) },
		Things: func() (out []string) {
			for _, n := range c.Nodes() {
				out = append(out, fmt.Sprintf("%s/%s of %s, on: %v", n.Cluster, n.Name, n.Key, n.Powered))
			}
			return out
		},
		Write: func(ref infra.Ref) { at(ref, func(m *machine) { m.done = append(m.done, "data") }) },
		Data: func(ref infra.Ref) (found bool) {
			at(ref, func(m *machine) { found = slices.Contains(m.done, "data") })
			return found
		},
		CutShort: func(call string, r infra.CreateRequest) {
			c.mu.Lock()
			c.cfg.Faults = append(c.cfg.Faults, Fault{Call: Call(call), Node: r.Name, Nth: c.counts[counter{Call(call), r.Name}] + 1, Do: Half})
			c.mu.Unlock()
			if call == "create" {
				_ = c.Create(c.life, r)
			} else {
				_ = c.Delete(c.life, r.Ref)
			}
		},
	}
}
