package place_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"howdah.dev/howdah/internal/place"
)

func space(memory ...int) place.Space {
	s := place.Space{Addresses: netip.MustParsePrefix("127.9.0.0/24"), First: 10}
	for i, m := range memory {
		s.Hosts = append(s.Hosts, place.Host{Name: fmt.Sprintf("host-%c", 'a'+i), MemoryMB: m, CPUs: 4})
	}
	return s
}

func requests(memory ...int) []place.Request {
	var out []place.Request
	for i, m := range memory {
		out = append(out, place.Request{Name: fmt.Sprintf("n%d", i+1), MemoryMB: m, CPUs: 1})
	}
	return out
}

func TestPlace(t *testing.T) {
	used := space(4000, 4000)
	used.Used = []place.Used{{Host: "host-a", MemoryMB: 3000, Address: "127.9.0.10"}, {Host: "host-b", MemoryMB: 500, Address: "127.9.0.12"}}
	tiny := space(4000)
	tiny.Addresses, tiny.First = netip.MustParsePrefix("127.9.0.0/30"), 1
	for _, tt := range []struct {
		name  string
		space place.Space
		reqs  []place.Request
		want  []string
		why   []string
	}{
		{name: "nothing asked", space: space(100)},
		{name: "the roomiest first, then by name", space: space(1000, 2000, 2000), reqs: requests(500, 500, 500, 500), want: []string{
			"n1 host-b 127.9.0.10: host-b has most memory free (2,000 MiB of which 500 go to it)",
			"n2 host-c 127.9.0.11: host-c has most memory free (2,000 MiB of which 500 go to it)",
			"n3 host-b 127.9.0.12: host-b has most memory free (1,500 MiB of which 500 go to it)",
			"n4 host-c 127.9.0.13: host-c has most memory free (1,500 MiB of which 500 go to it)",
		}},
		{name: "around what is there", space: used, reqs: requests(1000, 1000), want: []string{
			"n1 host-b 127.9.0.11: host-b has most memory free (3,500 MiB of which 1,000 go to it)",
			"n2 host-b 127.9.0.13: host-b has most memory free (2,500 MiB of which 1,000 go to it)",
		}},
		{name: "exactly full", space: space(1000), reqs: requests(400, 600), want: []string{
			"n1 host-a 127.9.0.10: host-a has most memory free (1,000 MiB of which 400 go to it)",
			"n2 host-a 127.9.0.11: host-a has most memory free (600 MiB of which 600 go to it)",
		}},
		{name: "no room", space: space(1000, 12345), reqs: requests(10000, 10000, 900), why: []string{
			"1 of 3 new nodes have no room: all need 20,900 MiB, host-a has 1,000 MiB free, host-b has 12,345 MiB free; left over: n2",
		}},
		{name: "no host", space: space(), reqs: requests(1), why: []string{"1 of 1 new nodes have no room: all need 1 MiB, there is no host; left over: n1"}},
		{name: "no address", space: tiny, reqs: requests(1, 1, 1), why: []string{"no address is left in 127.9.0.0/30 for n3; 2 are in use"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			placed, why := place.Place(tt.reqs, tt.space)
			var got []string
			for _, p := range placed {
				got = append(got, fmt.Sprintf("%s %s %s: %s", p.Name, p.Host, p.Address, p.Reason))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.why, why); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestPlaceHolds: whatever is asked, hosts are never overfull, addresses are
// free, unique and inside the prefix, and the answer is the same each time.
func TestPlaceHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := place.Space{Addresses: netip.MustParsePrefix(rapid.SampledFrom([]string{"127.9.0.0/28", "127.9.0.0/24", "10.0.0.16/29"}).Draw(t, "prefix"))}
		s.First = rapid.IntRange(1, 5).Draw(t, "first")
		for i := range rapid.IntRange(0, 4).Draw(t, "hosts") {
			s.Hosts = append(s.Hosts, place.Host{Name: fmt.Sprintf("h%d", i), MemoryMB: rapid.IntRange(0, 4000).Draw(t, "memory")})
		}
		free := map[string]int{}
		for _, h := range s.Hosts {
			free[h.Name] = h.MemoryMB
		}
		taken := map[string]bool{}
		for range rapid.IntRange(0, 6).Draw(t, "used") {
			if len(s.Hosts) == 0 {
				break
			}
			h := rapid.SampledFrom(s.Hosts).Draw(t, "on").Name
			a := s.Addresses.Addr()
			for range rapid.IntRange(0, 6).Draw(t, "address") {
				a = a.Next()
			}
			u := place.Used{Host: h, MemoryMB: rapid.IntRange(0, free[h]).Draw(t, "takes"), Address: a.String()}
			free[h] -= u.MemoryMB
			taken[u.Address] = true
			s.Used = append(s.Used, u)
		}
		var reqs []place.Request
		for i := range rapid.IntRange(0, 20).Draw(t, "requests") {
			reqs = append(reqs, place.Request{Name: fmt.Sprint("n", i), MemoryMB: rapid.IntRange(0, 1500).Draw(t, "needs")})
		}
		before := slices.Clone(s.Used)
		placed, why := place.Place(reqs, s)
		if again, whyAgain := place.Place(reqs, s); !slices.Equal(placed, again) || !slices.Equal(why, whyAgain) {
			t.Fatal("two answers to one question")
		}
		if !slices.Equal(before, s.Used) {
			t.Fatal("the argument was changed")
		}
		if len(why) > 0 {
			if placed != nil {
				t.Fatal("refused, and placed all the same")
			}
			return
		}
		if len(placed) != len(reqs) {
			t.Fatalf("%d of %d placed without a reason", len(placed), len(reqs))
		}
		for i, p := range placed {
			free[p.Host] -= reqs[i].MemoryMB
			if free[p.Host] < 0 {
				t.Fatalf("%s is overfull by %d", p.Host, -free[p.Host])
			}
			a := netip.MustParseAddr(p.Address)
			if taken[p.Address] || !s.Addresses.Contains(a) || a == s.Addresses.Masked().Addr() || !s.Addresses.Contains(a.Next()) {
				t.Fatalf("address %s of %s is taken or no host's", p.Address, s.Addresses)
			}
			taken[p.Address] = true
		}
	})
}
