package sim

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/internal/infra"
)

// Limit is how many calls may be under way.
func (c *Cloud) Limit() int { return c.cfg.Limit }

// Inventory lists the hosts.
func (c *Cloud) Inventory(ctx context.Context) (infra.Inventory, error) {
	inv := infra.Inventory{Addresses: c.cfg.Addresses, First: firstNode, Identity: true}
	for _, name := range c.hosts {
		inv.Hosts = append(inv.Hosts, infra.Host{Name: name, CPUs: c.cfg.CPUs, MemoryMB: c.cfg.MemoryMB, DiskFreeMB: plenty})
	}
	return inv, c.do(ctx, CallInventory, infra.Ref{Name: "inventory"}, func(Fault) error { return nil })
}

// do answers a call: it takes its time, half before it acts and half after,
// and has the fault it was given.
func (c *Cloud) do(ctx context.Context, call Call, ref infra.Ref, act func(Fault) error) error {
	c.mu.Lock()
	fault, nth := c.choose(call, ref.Name)
	c.calls++
	crowded := c.cfg.Throttle > 0 && c.calls > c.cfg.Throttle
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.calls--
	}()
	if crowded {
		return infra.Throttled(c.cfg.RetryAfter, "cannot %s %s: more than %d calls are under way", call, ref.Name, c.cfg.Throttle)
	}
	half := c.latency(call, ref.Name, nth) / 2
	if !sleep(ctx, half) {
		return cutOff(ctx, call, ref.Name)
	}
	switch fault.Do {
	case Fail:
		return fault.err(call, ref.Name)
	case Stall:
		<-ctx.Done()
		return cutOff(ctx, call, ref.Name)
	default: // it acts
	}
	c.mu.Lock()
	err := act(fault)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	switch fault.Do {
	case Lose, Half:
		return lost(call, ref.Name)
	case Hang:
		<-ctx.Done()
		return cutOff(ctx, call, ref.Name)
	default: // it answers
	}
	if !sleep(ctx, half) {
		return cutOff(ctx, call, ref.Name)
	}
	return nil
}

// latency is how long a call takes.
func (c *Cloud) latency(call Call, node string, nth int) time.Duration {
	d := c.cfg.Latency[call]
	if d == 0 || c.cfg.Jitter == 0 {
		return d
	}
	return time.Duration(float64(d) * (1 + c.cfg.Jitter*(2*c.dice("latency", call, node, nth).Float64()-1)))
}

// find returns a node's machine. c.mu is held.
func (c *Cloud) find(ref infra.Ref) (*machine, error) {
	m := c.nodes[slot(ref)]
	if m == nil {
		return nil, infra.Errorf(infra.KindNotFound, "node %s is not there", ref.Name)
	}
	if m.ref.Key != ref.Key {
		return nil, infra.Errorf(infra.KindConflict, "cannot use %s of cluster %s: it belongs to %s", ref.Name, ref.Cluster, m.ref.Key)
	}
	return m, nil
}

// slot is where a node is: no two have one name.
func slot(ref infra.Ref) infra.Ref { return infra.Ref{Cluster: ref.Cluster, Name: ref.Name} }

// Create makes a machine, then switches it on.
func (c *Cloud) Create(ctx context.Context, r infra.CreateRequest) error {
	if err := c.check(r); err != nil {
		return err
	}
	return c.do(ctx, CallCreate, r.Ref, func(f Fault) error {
		m, err := c.find(r.Ref)
		if infra.KindOf(err) == infra.KindNotFound && err != nil {
			m, err = c.make(r)
		}
		if err != nil || f.Do == Half {
			return err
		}
		m.invite(r.Join)
		c.switchOn(m, CallCreate, f)
		return nil
	})
}

// check finds everything that is wrong with a request.
func (c *Cloud) check(r infra.CreateRequest) error {
	var wrong []string
	if r.Key == "" || r.Cluster == "" || r.Name == "" {
		wrong = append(wrong, "it needs a key, a cluster and a name")
	}
	if a, err := netip.ParseAddr(r.Address); err != nil || !c.cfg.Addresses.Contains(a) {
		wrong = append(wrong, fmt.Sprintf("address %q is not in %s", r.Address, c.cfg.Addresses))
	}
	if _, known := slices.BinarySearch(c.hosts, r.Host); !known {
		wrong = append(wrong, fmt.Sprintf("there is no host %q", r.Host))
	}
	if r.MemoryMB < 0 || r.CPUs < 0 {
		wrong = append(wrong, fmt.Sprintf("%d MiB and %d CPUs are no size", r.MemoryMB, r.CPUs))
	}
	if len(wrong) > 0 {
		return infra.Errorf(infra.KindInvalid, "cannot make %s: %s", r.Name, strings.Join(wrong, "; "))
	}
	return nil
}

// make makes a machine that is switched off. c.mu is held.
func (c *Cloud) make(r infra.CreateRequest) (*machine, error) {
	switch {
	case c.over:
		return nil, infra.Errorf(infra.KindTemporary, "cannot make %s: the simulation is over", r.Name)
	case c.cfg.Quota > 0 && len(c.nodes) >= c.cfg.Quota:
		return nil, infra.Errorf(infra.KindQuota, "cannot make %s: the quota of %d nodes is used up", r.Name, c.cfg.Quota)
	case c.used[r.Host]+r.MemoryMB > c.cfg.MemoryMB:
		return nil, infra.Errorf(infra.KindCapacity, "cannot make %s: %s has %d MiB left, %d are needed", r.Name, r.Host, c.cfg.MemoryMB-c.used[r.Host], r.MemoryMB)
	}
	m := &machine{ref: r.Ref, address: r.Address, host: r.Host, memoryMB: r.MemoryMB, cpus: r.CPUs}
	c.nodes[slot(r.Ref)] = m
	c.used[r.Host] += r.MemoryMB
	c.record(CallCreate, m, Made)
	return m, nil
}

// Delete switches a machine off, then removes it.
func (c *Cloud) Delete(ctx context.Context, ref infra.Ref) error {
	return c.do(ctx, CallDelete, ref, func(f Fault) error {
		m, err := c.find(ref)
		if err != nil {
			if infra.KindOf(err) == infra.KindNotFound {
				return nil
			}
			return err
		}
		c.switchOff(m, CallDelete)
		if f.Do == Half {
			return nil
		}
		c.remove(m, CallDelete)
		return nil
	})
}

// remove takes a machine away. c.mu is held.
func (c *Cloud) remove(m *machine, call Call) {
	c.switchOff(m, call)
	delete(c.nodes, slot(m.ref))
	c.used[m.host] -= m.memoryMB
	c.record(call, m, Removed)
}

// Power switches a machine on or off.
func (c *Cloud) Power(ctx context.Context, ref infra.Ref, on bool) error {
	return c.do(ctx, CallPower, ref, func(f Fault) error {
		m, err := c.find(ref)
		if err != nil {
			return err
		}
		if on {
			c.switchOn(m, CallPower, f)
		} else {
			c.switchOff(m, CallPower)
		}
		return nil
	})
}

// Describe says whether a machine is on.
func (c *Cloud) Describe(ctx context.Context, ref infra.Ref) (infra.Description, error) {
	var d infra.Description
	err := c.do(ctx, CallDescribe, ref, func(Fault) error {
		m, err := c.find(ref)
		if err == nil {
			d.Powered = m.powered
		}
		return err
	})
	if err != nil {
		return infra.Description{}, err
	}
	return d, nil
}

// Run starts agents that died, of machines that are on, until ctx ends.
func (c *Cloud) Run(ctx context.Context) error {
	for sleep(ctx, reviveEvery) {
		c.mu.Lock()
		for _, m := range c.nodes {
			if m.powered && m.crashed {
				c.startAgent(m, 0)
			}
		}
		c.mu.Unlock()
	}
	return context.Cause(ctx)
}
