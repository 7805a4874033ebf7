package sim

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"sync"
	"time"

	"howdah.dev/howdah/internal/infra"
)

// machine is one node. The cloud's lock guards what the infrastructure knows of
// it, its own lock what is on its disk and what runs on it.
type machine struct {
	ref      infra.Ref
	address  string
	host     string
	memoryMB int
	cpus     int

	powered bool
	crashed bool // the agent ended and is to be started again
	doomed  bool // it has been given a time to die
	agent   *agent
	boots   int         // starts of agents
	death   *time.Timer // nil unless it dies by itself

	mu       sync.Mutex
	join     []byte
	joined   bool
	cert     [][]byte // with Agents.TLS
	key      *ecdsa.PrivateKey
	services []service
	done     []string // cluster-wide one-time tasks whose evidence is on the disk
}

// node is what others see. The cloud's lock is held.
func (m *machine) node() Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Node{
		Ref: m.ref, Address: m.address, Host: m.host, MemoryMB: m.memoryMB, CPUs: m.cpus,
		Powered: m.powered, Joined: m.joined, Agent: m.agent != nil && !m.crashed,
	}
}

// invite puts a join file on the disk, unless the agent has an identity.
func (m *machine) invite(join []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.joined {
		m.join = join
	}
}

// switchOn powers a machine; its agent starts when it has booted. c.mu is held.
func (c *Cloud) switchOn(m *machine, call Call, f Fault) {
	if m.powered || c.over {
		return
	}
	m.powered = true
	c.record(call, m, On)
	if f.Do == Dies && !m.doomed {
		m.doomed = true
		m.death = time.AfterFunc(f.After, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.nodes[slot(m.ref)] == m {
				c.switchOff(m, "")
			}
		})
	}
	if f.Do != NeverBoots {
		c.startAgent(m, c.cfg.Agents.Boot)
	}
}

// switchOff ends all that runs on a machine. c.mu is held.
func (c *Cloud) switchOff(m *machine, call Call) {
	if !m.powered {
		return
	}
	m.halt()
	m.powered = false
	m.mu.Lock()
	for i := range m.services {
		m.services[i].killed()
	}
	m.mu.Unlock()
	c.record(call, m, Off)
}

// halt ends the machine's agent. c.mu is held.
func (m *machine) halt() {
	if m.death != nil {
		m.death.Stop()
	}
	if m.agent != nil {
		m.agent.end()
		m.agent = nil
	}
	m.crashed = false
}

// startAgent starts a new agent after a while. c.mu is held.
func (c *Cloud) startAgent(m *machine, after time.Duration) {
	if c.over {
		return
	}
	m.boots++
	m.crashed = false
	a := &agent{cloud: c, m: m}
	a.instance = hex(c.dice("instance", m.ref.Key, m.boots).Uint64())
	var ctx context.Context
	ctx, a.end = context.WithCancel(c.life)
	m.agent = a
	c.wg.Add(1) // until the agent has ended
	c.wg.Go(func() { a.boot(ctx, after) })
}

// Certificate returns the certificate and the key of a node, by the node's key;
// false while it has none of its own.
func (c *Cloud) Certificate(key string) (tls.Certificate, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.nodes {
		if m.ref.Key == key {
			m.mu.Lock()
			defer m.mu.Unlock()
			return tls.Certificate{Certificate: m.cert, PrivateKey: m.key}, m.cert != nil
		}
	}
	return tls.Certificate{}, false
}

// named returns a machine by its node's name. c.mu is held.
func (c *Cloud) named(node string) *machine {
	for _, m := range c.nodes {
		if m.ref.Name == node {
			return m
		}
	}
	return nil
}

// change does something to a node by name; false when there is none.
func (c *Cloud) change(node string, fn func(*machine)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.named(node)
	if m == nil {
		return false
	}
	fn(m)
	return true
}

// Crash ends a node's agent as a kill does; the infrastructure starts another
// within a second. What runs on the node goes on. False when there is no such
// node.
func (c *Cloud) Crash(node string) bool {
	return c.change(node, func(m *machine) {
		if m.agent != nil {
			m.agent.end()
			m.agent, m.crashed = nil, true
		}
	})
}

// Die switches a machine off as a failed power supply does. False when there
// is no such node.
func (c *Cloud) Die(node string) bool {
	return c.change(node, func(m *machine) { c.switchOff(m, "") })
}

// Vanish removes a machine behind its owner's back. False when there is no
// such node.
func (c *Cloud) Vanish(node string) bool {
	return c.change(node, func(m *machine) { c.remove(m, "") })
}

// Occupy puts a machine of somebody else where a node would be.
func (c *Cloud) Occupy(cluster, node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := &machine{ref: infra.Ref{Key: "somebody else", Cluster: cluster, Name: node}, host: c.hosts[0]}
	c.nodes[slot(m.ref)] = m
	c.record("", m, Made)
}
