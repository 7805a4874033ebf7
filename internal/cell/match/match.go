// Package match owns the choice of workers: which offers take how many instances
// of an app, with which resources and ports, and in a sentence why others do not.
// It is pure; chance comes from a seed. It must not know the scheduler's state,
// back-off, or how a task is written.
package match

import (
	"cmp"
	"encoding/binary"
	"math/rand/v2"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/mesos"
)

// Request is an app that wants instances.
type Request struct {
	App  string // path id, for sentences
	Role string // offers to other roles are refused; "" takes any
	// Accepted are the roles whose resources may be used, mesos.DefaultRole for
	// unreserved ones. Empty: those of Role and unreserved ones.
	Accepted  []string
	CPUs      float64
	Mem       float64 // MB
	Disk      float64 // MB
	GPUs      int
	Ports     []Port // in the order of the app's port list
	Container bool   // cannot run as a plain command
	// Constraints are those of the app, normalised and without problems.
	Constraints []app.Constraint
	// Existing are the active instances that constraints look at. Marathon looks at
	// those of the newest configuration only; else none with hostname UNIQUE could
	// ever be replaced where it runs.
	Existing []*instance.Instance
	Count    int // instances wanted; 0 only explains
	// MaxPerOffer bounds the launches from one offer; 0: no bound.
	MaxPerOffer int
	Seed        uint64 // for the choice of ports
}

// Port is a wanted port of the host.
type Port struct {
	Number int  // 0: any
	None   bool // the container's port is not seen on the host; a place holder
}

// Offer is what a worker offers, and what the scheduler knows of the worker.
type Offer struct {
	mesos.Offer
	// Runtimes are what the worker can run containers with, as workers tell it:
	// docker, runc, plain. Empty: not known, and then nothing is refused for it.
	Runtimes []string
	Leaving  bool // is being drained: takes nothing new
}

// Launch is one instance to start.
type Launch struct {
	AgentID    string
	Offers     []mesos.ID // all offers of the worker, to be accepted together
	Host       string
	Address    string // of the worker, "" when the offer does not say
	Region     string
	Zone       string
	Attributes []mesos.Attribute
	Ports      []int // as Request.Ports; 0 for None
	Resources  []mesos.Resource
	Role       string // the role the offer was made to
}

// Find chooses workers for up to req.Count instances, and says why those refuse
// that take none. Offers of one worker to one role are joined. A worker that could take one
// but was not needed refuses nothing.
//
// Where constraints leave a choice, instances spread: to the value of GROUP_BY
// with the fewest instances, then to the worker with the fewest of this app, then
// to the one with room for most, then by host name.
func Find(req Request, offers []Offer) ([]Launch, Refusals) {
	s := newSearch(req, offers)
	launches := make([]Launch, 0, max(0, min(req.Count, 1024)))
	for len(launches) < req.Count {
		c := s.best()
		if c == nil {
			break
		}
		launches = append(launches, s.place(c))
	}
	return launches, s.refusals(len(offers))
}

// search is one run of Find.
type search struct {
	req     Request
	need    need
	filters []filter
	roles   []string
	rules   []*rule // of constraints
	workers []*worker
	classes []*class
	random  *rand.Rand
}

func newSearch(req Request, offers []Offer) *search {
	s := &search{req: req, need: needOf(req), filters: filters(), roles: req.Accepted, random: rand.New(rand.NewPCG(req.Seed, 0))} //nolint:gosec // ports are no secret
	if len(s.roles) == 0 {
		s.roles = []string{req.Role, mesos.DefaultRole}
	}
	s.workers = s.join(offers)
	names, here := map[string]string{}, map[string]int{}
	for _, w := range s.workers {
		names[w.id] = w.host
	}
	for _, i := range req.Existing {
		here[i.AgentID]++
	}
	for _, c := range req.Constraints {
		s.rules = append(s.rules, newRule(c, req.Existing, names))
	}
	for _, w := range s.workers {
		w.load = here[w.id]
		w.values = make([]value, len(s.rules))
		for n, r := range s.rules {
			w.values[n] = r.valueOf(w)
		}
	}
	s.classify()
	return s
}

// class is workers that are the same to every constraint that looks at other
// instances: one answer holds for all of them.
type class struct {
	workers queue // by preference
}

func (s *search) classify() {
	byKey := map[string]*class{}
	var key []byte
	for _, w := range s.workers {
		if !s.allows(w, fixed) {
			continue
		}
		key = key[:0]
		for n, r := range s.rules {
			if r.counts() {
				key = binary.AppendVarint(key, int64(w.values[n].group))
			}
		}
		c := byKey[string(key)]
		if c == nil {
			c = &class{}
			byKey[string(key)] = c
			s.classes = append(s.classes, c)
		}
		w.room = s.room(w)
		c.workers = append(c.workers, w)
	}
	for _, c := range s.classes {
		c.workers.init()
	}
}

// best returns the class whose first worker takes the next instance.
func (s *search) best() *class {
	var found *class
	for _, c := range s.classes {
		for len(c.workers) > 0 && !s.fits(c.workers[0]) {
			c.workers.pop() // what does not fit now will not fit later
		}
		if len(c.workers) == 0 || found != nil && !s.prefers(c.workers[0], found.workers[0]) || !s.allows(c.workers[0], counting) {
			continue
		}
		found = c
	}
	return found
}

// prefers compares the first workers of two classes.
func (s *search) prefers(a, b *worker) bool {
	grouped := 0
	for n, r := range s.rules {
		if r.operator == app.GroupBy {
			grouped += r.having(a.values[n]) - r.having(b.values[n])
		}
	}
	return grouped < 0 || grouped == 0 && less(a, b)
}

func (s *search) fits(w *worker) bool {
	if s.req.MaxPerOffer > 0 && w.placed >= s.req.MaxPerOffer*len(w.offers) {
		return false
	}
	return w.room > 0 && s.allows(w, resources)
}

func (s *search) place(c *class) Launch {
	w := c.workers[0]
	l := Launch{
		AgentID: w.id, Offers: w.offers, Host: w.host, Address: w.address, Region: w.region, Zone: w.zone,
		Attributes: w.attributes, Role: w.role,
	}
	l.Ports, l.Resources = w.take(s.need, s.req.Ports, s.random)
	w.placed++
	w.load++
	w.room = s.room(w)
	for n, r := range s.rules {
		r.add(w.values[n])
	}
	c.workers.fix()
	return l
}

// less tells whether a is to be preferred to b.
func less(a, b *worker) bool {
	return cmp.Or(cmp.Compare(a.load, b.load), cmp.Compare(b.room, a.room), cmp.Compare(a.host, b.host), cmp.Compare(a.id, b.id)) < 0
}
