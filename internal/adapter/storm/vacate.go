package storm

import (
	"context"
	"errors"
	"fmt"
)

// Vacate moves the workers of a host elsewhere and returns how many it still
// has. Nimbus moves no worker that lives, whatever its supervisor offers, so
// each topology with workers there is spread anew. That waits until nimbus
// knows that the host offers no slot, or the workers would come back; and until
// another host has room, where a topology would be left without any worker.
func (c *Client) Vacate(ctx context.Context, host string) (left int, err error) {
	cluster, err := c.Cluster(ctx)
	if err != nil {
		return 0, err
	}
	room, offers := cluster.beside(host)
	var errs []error
	for _, sum := range cluster.Topologies {
		t, err := c.Topology(ctx, sum.ID, AllTime)
		if errors.Is(err, ErrNotFound) {
			continue // it was killed meanwhile
		}
		if err != nil {
			return 0, err
		}
		here := t.workersOn(host)
		left += here
		switch {
		case here == 0 || offers || t.Status == StatusKilled || t.Status == StatusRebalancing:
		case room == 0 && here == len(t.Workers):
			errs = append(errs, fmt.Errorf("cannot move topology %s: no other supervisor has a free slot", t.Name))
		default:
			room = max(0, room-here)
			errs = append(errs, c.Rebalance(ctx, t.Name, Options{}))
		}
	}
	return left, errors.Join(errs...)
}

// beside counts the free slots of other hosts, and says whether the host itself
// still offers any.
func (c Cluster) beside(host string) (free int, offers bool) {
	for _, s := range c.Supervisors {
		switch {
		case s.Host == host:
			offers = offers || s.Slots > 0
		case !s.Blacklisted:
			free += max(0, s.Slots-s.Used)
		}
	}
	return free, offers
}

func (t Topology) workersOn(host string) int {
	n := 0
	for _, w := range t.Workers {
		if w.Host == host {
			n++
		}
	}
	return n
}
