package master

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
)

const (
	defaultRefuse = 5 * time.Second
	maxRefuse     = 365 * 24 * time.Hour
	maxFilters    = 16 // of one framework and role for one worker; the oldest goes
	// What is less than both is not worth an offer (Mesos: MIN_CPUS, MIN_MEM).
	minCPUs = 0.01
	minMem  = 32
)

// offer is what one framework may use of one worker; nobody else is offered it.
type offer struct {
	id        string
	framework *framework
	worker    *worker
	role      string
	use       mesos.Resources // allocated to nobody
}

// filterKey names what a framework refused.
type filterKey struct{ framework, role, worker string }

// filter keeps from offering what was refused, or less.
type filter struct {
	refused mesos.Resources
	until   time.Time
}

// allocate offers what is free on workers that something changed on. It goes
// worker by worker; on each the framework that waits longest comes first, but for
// one that has resources reserved there.
func (c *core) allocate() {
	if len(c.open) == 0 {
		return
	}
	batches := map[*framework][]mesos.Offer{}
	var order []*framework
	for _, w := range sortedBy(c.open) {
		for _, turn := range c.turns(w) {
			o := c.offerTo(turn.framework, turn.role, w)
			if o == nil {
				continue
			}
			if batches[turn.framework] == nil {
				order = append(order, turn.framework)
			}
			batches[turn.framework] = append(batches[turn.framework], o.event())
		}
	}
	clear(c.open)
	for _, f := range order {
		c.counts.addN("offers", len(batches[f]))
		c.send(f, mesos.Event{Type: mesos.EventOffers, Offers: &mesos.Offers{Offers: batches[f]}})
	}
}

// turn is a role of a framework that may be offered something.
type turn struct {
	framework *framework
	role      string
	reserved  bool // there is something for this role alone
	last      uint64
}

func (c *core) turns(w *worker) []turn {
	free := w.free()
	var turns []turn
	for _, f := range c.frameworks {
		if f.out == nil {
			continue
		}
		for _, role := range f.roles {
			if f.suppressed[role] {
				continue
			}
			reserved := slices.ContainsFunc(free, func(r mesos.Resource) bool { return role != mesos.DefaultRole && r.ReservedFor() == role })
			turns = append(turns, turn{f, role, reserved, f.turn})
		}
	}
	slices.SortFunc(turns, func(a, b turn) int {
		if a.reserved != b.reserved {
			return cmp.Compare(btoi(b.reserved), btoi(a.reserved))
		}
		return cmp.Or(cmp.Compare(a.last, b.last), cmp.Compare(a.framework.id, b.framework.id))
	})
	return turns
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// offerTo offers what is free on a worker for a role, if it is worth it and was not
// refused.
func (c *core) offerTo(f *framework, role string, w *worker) *offer {
	use := w.free().For(role)
	if !f.info.Has(mesos.CapReservationRefinement) {
		use = use.Where(func(r mesos.Resource) bool { return len(r.Reservations) <= 1 }) // the older form cannot say more
	}
	if use.Scalar("cpus") < minCPUs && use.Scalar("mem") < minMem || c.filtered(filterKey{f.id, role, w.id}, use) {
		return nil
	}
	c.nextOffer++
	c.turn++
	f.turn = c.turn
	id := c.saved.ID + "-O" + strconv.Itoa(c.saved.Starts) + "-" + strconv.Itoa(c.nextOffer)
	o := &offer{id: id, framework: f, worker: w, role: role, use: use}
	c.offers[id], f.offers[id], w.offered[id] = o, o, o
	w.counted = false
	c.changed()
	return o
}

// event is the offer as its framework is told it.
func (o *offer) event() mesos.Offer {
	f, w := o.framework, o.worker
	out := mesos.Offer{
		ID: mesos.ID{Value: o.id}, FrameworkID: mesos.ID{Value: f.id}, AgentID: mesos.ID{Value: w.id},
		Hostname: w.info.Hostname, URL: w.url(), Domain: w.info.Domain, Attributes: w.info.Attributes,
		Resources: f.form(o.use),
	}
	if f.info.Has(mesos.CapMultiRole) {
		out.Resources = mesos.Resources(out.Resources).Allocate(o.role)
		out.AllocationInfo = &mesos.AllocationInfo{Role: o.role}
	}
	return out
}

// form writes resources as the framework understands them.
func (f *framework) form(rs mesos.Resources) mesos.Resources {
	if f.info.Has(mesos.CapReservationRefinement) {
		return rs.Refined()
	}
	return rs.Legacy()
}

// withdraw ends an offer, used, refused or rescinded. What it held is free again.
func (c *core) withdraw(o *offer) {
	delete(c.offers, o.id)
	delete(o.framework.offers, o.id)
	delete(o.worker.offered, o.id)
	c.reopen(o.worker)
	c.changed()
}

// rescindAll takes back all offers of a worker.
func (c *core) rescindAll(w *worker) {
	for _, o := range sortedBy(w.offered) {
		c.withdraw(o)
		c.send(o.framework, mesos.Event{Type: mesos.EventRescind, Rescind: &mesos.Rescind{OfferID: mesos.ID{Value: o.id}}})
	}
}

// recoverOffers takes back all offers of a framework that will not answer them.
func (c *core) recoverOffers(f *framework) {
	for _, o := range f.offers {
		c.withdraw(o)
	}
}

// refuse keeps resources from being offered again for a while.
func (c *core) refuse(o *offer, left mesos.Resources, filters *mesos.Filters) {
	d := refuseTime(filters)
	if d == 0 || left.Empty() {
		return
	}
	key := filterKey{o.framework.id, o.role, o.worker.id}
	fresh := filter{refused: left, until: c.now.Add(d)}
	kept := slices.DeleteFunc(slices.Clone(c.filters[key]), func(old filter) bool {
		return !old.until.After(c.now) || !old.until.After(fresh.until) && left.Contains(old.refused)
	})
	if len(kept) >= maxFilters {
		kept = kept[1:]
	}
	c.filters[key] = append(kept, fresh)
}

func refuseTime(filters *mesos.Filters) time.Duration {
	if filters == nil || filters.RefuseSeconds == nil {
		return defaultRefuse
	}
	s := *filters.RefuseSeconds
	if !(s >= 0) {
		return defaultRefuse
	}
	return time.Duration(min(s, maxRefuse.Seconds()) * float64(time.Second))
}

// filtered tells whether the framework has refused at least as much.
func (c *core) filtered(key filterKey, use mesos.Resources) bool {
	return slices.ContainsFunc(c.filters[key], func(f filter) bool {
		return f.until.After(c.now) && f.refused.Contains(use)
	})
}

// forgetFilters drops filters whose time is over; what they held back is offered.
func (c *core) forgetFilters() {
	for key, filters := range c.filters {
		kept := slices.DeleteFunc(slices.Clone(filters), func(f filter) bool { return !f.until.After(c.now) })
		if len(kept) == len(filters) {
			continue
		}
		c.filters[key] = kept
		if len(kept) == 0 {
			delete(c.filters, key)
		}
		if w := c.workers[key.worker]; w != nil {
			c.reopen(w)
		}
	}
}

// forgetFiltersOf drops the filters of a framework, of one of its roles if that is
// not empty.
func (c *core) forgetFiltersOf(framework, role string) {
	for key := range c.filters {
		if key.framework == framework && (role == "" || key.role == role) {
			delete(c.filters, key)
		}
	}
}

// revive forgets what was refused, and ends a suppression.
func (c *core) revive(f *framework, roles []string) {
	c.counts.add("messages_revive_offers")
	for _, role := range f.orAll(roles) {
		delete(f.suppressed, role)
		c.forgetFiltersOf(f.id, role)
	}
	c.openAll()
	c.changed()
}

// suppress ends offers for roles until they are revived.
func (c *core) suppress(f *framework, roles []string) {
	c.counts.add("messages_suppress_offers")
	for _, role := range f.orAll(roles) {
		f.suppressed[role] = true
	}
	c.changed()
}

// orAll returns those of the roles that are the framework's; none given means all.
func (f *framework) orAll(roles []string) []string {
	if len(roles) == 0 {
		return f.roles
	}
	return slices.DeleteFunc(slices.Clone(roles), func(role string) bool { return !slices.Contains(f.roles, role) })
}

// decline gives offers back. Those that are gone already are no mistake.
func (c *core) decline(f *framework, d *mesos.Decline) {
	c.counts.add("messages_decline_offers")
	for _, id := range d.OfferIDs {
		if o := f.offers[id.Value]; o != nil {
			c.refuse(o, o.use, d.Filters)
			c.withdraw(o)
		}
	}
}
