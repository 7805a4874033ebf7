// Package place chooses a host and an address for each new node, or says in a
// sentence why it cannot. It is pure: values in, values out. It must not know
// drivers or the store.
package place

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"howdah.dev/howdah/internal/number"
)

// Request is a node that wants a place.
type Request struct {
	Name     string
	MemoryMB int
	CPUs     int
	DiskGB   int  // to be set aside; 0 for what is needed
	Optional bool // the others are placed without it, and before it
}

// Host is a place that has room.
type Host struct {
	Name     string
	MemoryMB int // in all
	CPUs     int // shared: more may be asked than there are
	DiskGB   int // free now
}

// Used is what is taken already.
type Used struct {
	Host     string
	MemoryMB int
	DiskGB   int // set aside
	Address  string
}

// Placement is where a node goes, and why. An optional one without a place has no
// host; the reason then says what is missing.
type Placement struct {
	Name    string
	Host    string
	Address string
	Reason  string
}

// Space is what nodes are placed on.
type Space struct {
	Hosts     []Host
	Addresses netip.Prefix
	First     int // first address that may be given
	Used      []Used
}

// Place gives every request a host and an address, or returns sentences that
// say what is missing; then nothing is placed. An optional request may go without. The
// result depends only on the arguments: needed requests first, the host with most
// free memory first, then by name; the lowest free address.
func Place(reqs []Request, space Space) ([]Placement, []string) {
	free, disk := map[string]int{}, map[string]int{}
	for _, h := range space.Hosts {
		free[h.Name], disk[h.Name] = h.MemoryMB, h.DiskGB
	}
	taken := map[string]bool{}
	for _, u := range space.Used {
		free[u.Host] -= u.MemoryMB
		disk[u.Host] -= u.DiskGB
		taken[u.Address] = true
	}
	before := freeNow(space.Hosts, free)
	var out []Placement
	var missing []Request
	var noDisk []string
	next := addresses(space)
	without := func(r Request, why string) { out = append(out, Placement{Name: r.Name, Reason: why}) }
	for _, r := range neededFirst(reqs) {
		host, ok := roomiest(space.Hosts, free, r.MemoryMB)
		if !ok {
			if r.Optional {
				without(r, fmt.Sprintf("no host has %s MiB free: %s", number.Thousands(r.MemoryMB), strings.Join(freeNow(space.Hosts, free), ", ")))
				continue
			}
			missing = append(missing, r)
			continue
		}
		if r.DiskGB > 0 && disk[host] < r.DiskGB {
			why := fmt.Sprintf("%s needs %s GiB of disk; %s has %s GiB that are not set aside", r.Name, number.Thousands(r.DiskGB), host, number.Thousands(max(0, disk[host])))
			if r.Optional {
				without(r, why)
				continue
			}
			noDisk = append(noDisk, why)
			continue
		}
		addr, ok := next(taken)
		if !ok && r.Optional {
			without(r, fmt.Sprintf("no address is left in %s", space.Addresses))
			continue
		}
		if !ok {
			return nil, []string{fmt.Sprintf("no address is left in %s for %s; %d are in use", space.Addresses, r.Name, len(space.Used)+len(out))}
		}
		free[host] -= r.MemoryMB
		disk[host] -= r.DiskGB
		out = append(out, Placement{
			Name: r.Name, Host: host, Address: addr,
			Reason: fmt.Sprintf("%s has most memory free (%s MiB of which %s go to it)", host, number.Thousands(free[host]+r.MemoryMB), number.Thousands(r.MemoryMB)),
		})
	}
	if len(missing) > 0 {
		needed := slices.DeleteFunc(slices.Clone(reqs), func(r Request) bool { return r.Optional })
		return nil, append(refusals(needed, missing, before), noDisk...)
	}
	if len(noDisk) > 0 {
		return nil, noDisk
	}
	return out, nil
}

// neededFirst puts requests that must be met before those that may go without.
func neededFirst(reqs []Request) []Request {
	out := slices.Clone(reqs)
	slices.SortStableFunc(out, func(a, b Request) int { return order(a.Optional) - order(b.Optional) })
	return out
}

func order(optional bool) int {
	if optional {
		return 1
	}
	return 0
}

// addresses returns a generator of free addresses.
func addresses(space Space) func(taken map[string]bool) (string, bool) {
	a := space.Addresses.Addr()
	for range space.First {
		a = a.Next()
	}
	return func(taken map[string]bool) (string, bool) {
		for ; space.Addresses.Contains(a) && space.Addresses.Contains(a.Next()); a = a.Next() {
			if s := a.String(); !taken[s] {
				taken[s] = true
				a = a.Next()
				return s, true
			}
		}
		return "", false
	}
}

func roomiest(hosts []Host, free map[string]int, need int) (string, bool) {
	fits := slices.DeleteFunc(slices.Clone(hosts), func(h Host) bool { return free[h.Name] < need })
	if len(fits) == 0 {
		return "", false
	}
	best := slices.MinFunc(fits, func(a, b Host) int {
		return cmp.Or(cmp.Compare(free[b.Name], free[a.Name]), strings.Compare(a.Name, b.Name))
	})
	return best.Name, true
}

func freeNow(hosts []Host, free map[string]int) []string {
	if len(hosts) == 0 {
		return []string{"there is no host"}
	}
	var out []string
	for _, h := range hosts {
		out = append(out, fmt.Sprintf("%s has %s MiB free", h.Name, number.Thousands(free[h.Name])))
	}
	return out
}

// maxNamed bounds how many nodes a refusal names.
const maxNamed = 5

func refusals(reqs, missing []Request, before []string) []string {
	total := 0
	for _, r := range reqs {
		total += r.MemoryMB
	}
	names := make([]string, len(missing))
	for i, r := range missing {
		names[i] = r.Name
	}
	if n := len(names) - maxNamed; n > 0 {
		names = append(names[:maxNamed], fmt.Sprintf("and %d more", n))
	}
	return []string{fmt.Sprintf("%d of %d new nodes have no room: all need %s MiB, %s; left over: %s",
		len(missing), len(reqs), number.Thousands(total), strings.Join(before, ", "), strings.Join(names, ", "))}
}
