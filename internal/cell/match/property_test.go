package match

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/mesos"
)

func drawOffer(rt *rapid.T, n int) Offer {
	var rs mesos.Resources
	for _, name := range []string{"cpus", "mem", "disk", "gpus"} {
		for _, role := range []string{"", "dev", "ops", "dev"} {
			if rapid.Bool().Draw(rt, "has") {
				r := mesos.NewScalar(name, float64(rapid.IntRange(0, 3000).Draw(rt, name))/1000)
				r.Role = role
				rs = append(rs, r)
			}
		}
	}
	begin := uint64(31000)
	for range rapid.IntRange(0, 3).Draw(rt, "port ranges") {
		begin += rapid.Uint64Range(1, 5).Draw(rt, "gap")
		end := begin + rapid.Uint64Range(0, 4).Draw(rt, "size")
		r := mesos.NewRanges("ports", mesos.Range{Begin: begin, End: end})
		r.Role = rapid.SampledFrom([]string{"", "dev", "ops"}).Draw(rt, "role")
		rs, begin = append(rs, r), end+1
	}
	rs = rs.Allocate("dev")
	if rapid.Bool().Draw(rt, "refined") {
		rs = rs.Refined()
	}
	agent := rapid.IntRange(0, 4).Draw(rt, "agent")
	o := Offer{Offer: mesos.Offer{
		ID: mesos.ID{Value: fmt.Sprint("o", n)}, AgentID: mesos.ID{Value: fmt.Sprint("a", agent)}, Hostname: fmt.Sprint("h", agent),
		Resources: rs, AllocationInfo: &mesos.AllocationInfo{Role: "dev"},
		Attributes: []mesos.Attribute{{Name: "rack", Type: mesos.Text, Text: &mesos.TextValue{Value: fmt.Sprint("r", agent%2)}}},
	}}
	return o
}

func drawRequest(rt *rapid.T) Request {
	thousandths := func(label string, most int) float64 { return float64(rapid.IntRange(0, most).Draw(rt, label)) / 1000 }
	req := Request{
		App: "/x", Role: "dev", CPUs: thousandths("cpus", 900), Mem: thousandths("mem", 900), Disk: thousandths("disk", 300),
		GPUs: rapid.IntRange(0, 1).Draw(rt, "gpus"), Count: rapid.IntRange(0, 30).Draw(rt, "count"),
		MaxPerOffer: rapid.IntRange(0, 3).Draw(rt, "most"), Seed: rapid.Uint64().Draw(rt, "seed"),
		Accepted: rapid.SampledFrom([][]string{nil, {"*"}, {"dev"}, {"dev", "*"}}).Draw(rt, "accepted"),
		Constraints: rapid.SampledFrom([][]app.Constraint{
			nil, nil, {{"hostname", "UNIQUE"}}, {{"rack", "GROUP_BY"}}, {{"rack", "MAX_PER", "2"}, {"hostname", "GROUP_BY"}}, {{"rack", "CLUSTER"}},
		}).Draw(rt, "constraints"),
	}
	for range rapid.IntRange(0, 3).Draw(rt, "ports") {
		p := Port{None: rapid.IntRange(0, 4).Draw(rt, "none") == 0}
		if rapid.IntRange(0, 3).Draw(rt, "exact") == 0 {
			p.Number = rapid.IntRange(31000, 31010).Draw(rt, "port")
		}
		req.Ports = append(req.Ports, p)
	}
	return req
}

// TestNeverMoreThanOffered holds that what is taken of a worker was offered by
// it, that each instance gets exactly what it needs, and that a worker which takes
// nothing has a reason or was not needed.
func TestNeverMoreThanOffered(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var offers []Offer
		offered := map[string]mesos.Resources{}
		ids := map[string][]mesos.ID{}
		for n := range rapid.IntRange(0, 8).Draw(rt, "offers") {
			// Each worker's ports are offered once: shift those of later offers.
			o := drawOffer(rt, n)
			for k := range o.Resources {
				if r := o.Resources[k].Ranges; r != nil {
					for g := range r.Range {
						r.Range[g].Begin += uint64(100 * n)
						r.Range[g].End += uint64(100 * n)
					}
				}
			}
			offers = append(offers, o)
			offered[o.AgentID.Value] = offered[o.AgentID.Value].Add(o.Resources)
			ids[o.AgentID.Value] = append(ids[o.AgentID.Value], o.ID)
		}
		before := fmt.Sprintf("%+v", offers)
		req := drawRequest(rt)
		launches, refused := Find(req, offers)
		if got := fmt.Sprintf("%+v", offers); got != before {
			rt.Fatal("the offers were changed")
		}
		if len(launches) > req.Count {
			rt.Fatalf("%d launches of %d", len(launches), req.Count)
		}
		taken, each := map[string]mesos.Resources{}, map[string]int{}
		for _, l := range launches {
			checkLaunch(rt, req, l)
			if !slices.Equal(l.Offers, ids[l.AgentID]) {
				rt.Fatalf("%s launches with offers %v of %v", l.AgentID, l.Offers, ids[l.AgentID])
			}
			for _, r := range l.Resources {
				// Added one by one, a port taken twice would vanish in the sum.
				if r.Ranges != nil && overlap(taken[l.AgentID].Ranges("ports"), r.Ranges.Range) {
					rt.Fatalf("a port of %s is taken twice: %+v", l.AgentID, launches)
				}
				taken[l.AgentID] = taken[l.AgentID].Add(mesos.Resources{r})
			}
			each[l.AgentID]++
		}
		for agent, t := range taken {
			if !offered[agent].Contains(t) {
				rt.Fatalf("%s offers %+v, taken %+v", agent, offered[agent], t)
			}
			if req.MaxPerOffer > 0 && each[agent] > req.MaxPerOffer*len(ids[agent]) {
				rt.Fatalf("%d launches on %s", each[agent], agent)
			}
		}
		for _, r := range refused.Workers {
			if each[r.AgentID] > 0 || r.Text == "" || !slices.Contains(Reasons(), r.Reason) {
				rt.Fatalf("refusal %+v", r)
			}
		}
		if len(launches) < req.Count && len(refused.Workers)+len(each) != len(ids) {
			rt.Fatalf("%d of %d placed; of %d workers %d took some and %d refuse", len(launches), req.Count, len(ids), len(each), len(refused.Workers))
		}
	})
}

func checkLaunch(rt *rapid.T, req Request, l Launch) {
	took := mesos.Resources(l.Resources)
	for name, want := range map[string]float64{"cpus": req.CPUs, "mem": req.Mem, "disk": req.Disk, "gpus": float64(req.GPUs)} {
		if took.Scalar(name) != want {
			rt.Fatalf("%s: %v taken, %v wanted", name, took.Scalar(name), want)
		}
	}
	roles := req.Accepted
	if len(roles) == 0 {
		roles = []string{"dev", "*"}
	}
	for _, r := range took {
		if !slices.Contains(roles, r.ReservedFor()) || r.AllocatedTo() != "dev" {
			rt.Fatalf("took %+v, accepted are %v", r, roles)
		}
	}
	numbers := map[int]bool{}
	for n, p := range req.Ports {
		got := l.Ports[n]
		if p.None != (got == 0) || !p.None && p.Number != 0 && p.Number != got || p.Number == 0 && got != 0 && numbers[got] {
			rt.Fatalf("ports %v for %+v", l.Ports, req.Ports)
		}
		if got != 0 {
			numbers[got] = true
		}
	}
	free := 0
	for _, g := range took.Ranges("ports") {
		free += int(g.End-g.Begin) + 1
	}
	if free != len(numbers) {
		rt.Fatalf("took %d ports for %v", free, l.Ports)
	}
}

func overlap(a, b []mesos.Range) bool {
	for _, x := range a {
		for _, y := range b {
			if x.Begin <= y.End && y.Begin <= x.End {
				return true
			}
		}
	}
	return false
}

func TestBalance(t *testing.T) {
	if Balance([]app.Constraint{{"hostname", "UNIQUE"}}) != nil {
		t.Error("only GROUP_BY asks for balance")
	}
	for _, c := range []struct {
		have, constraints string
		n                 int
		want              string
	}{
		{"a1 a2 a3 b1", "rack GROUP_BY", 1, "a1"},
		{"a1 a2 a3 b1", "rack GROUP_BY", 2, "a1 a2"},
		{"b1 a1 a2 a3", "rack GROUP_BY", 3, "a1 a2 b1"},
		{"a1 a2 b1 b2 c1", "rack GROUP_BY", 2, "a1 b1"},
		{"a1 b1 c1", "rack GROUP_BY", 1, "a1"},
		{"a1 b1 c1", "rack GROUP_BY", 9, "a1 b1 c1"},
		{"a1 a2 -1 -2 -3", "rack GROUP_BY", 1, "-1"},
		{"a1 a2 a1 b1 b1 b1", "rack GROUP_BY hostname GROUP_BY", 2, "a1 b1"},
		{"", "rack GROUP_BY", 2, ""},
	} {
		var constraints []app.Constraint
		for pair := range slices.Chunk(strings.Fields(c.constraints), 2) {
			constraints = append(constraints, pair)
		}
		var have []*instance.Instance
		for word := range strings.FieldsSeq(c.have) { // rack and host; the id is both
			i := &instance.Instance{ID: word, Host: word[1:]}
			if word[0] != '-' {
				i.Attributes = []mesos.Attribute{{Name: "rack", Type: mesos.Text, Text: &mesos.TextValue{Value: word[:1]}}}
			}
			have = append(have, i)
		}
		if got := strings.Join(Balance(constraints)(have, c.n), " "); got != c.want {
			t.Errorf("%s by %s, %d: %q, want %q", c.have, c.constraints, c.n, got, c.want)
		}
	}
}

// BenchmarkFind places 500 instances over 200 offers; 20 ms is the budget.
func BenchmarkFind(b *testing.B) {
	var offers []Offer
	for n := range 200 {
		o := offer(b, fmt.Sprintf("worker-%03d", n), "cpus:16;mem:65536;disk:100000;ports:[31000-32000]", fmt.Sprintf("rack:r%d;size:%d", n%10, n%3))
		offers = append(offers, o)
	}
	for name, constraints := range map[string][]app.Constraint{
		"free": nil, "rack": {{"rack", "GROUP_BY"}}, "host": {{"hostname", "GROUP_BY"}, {"rack", "LIKE", "r[0-9]"}}, "most": {{"hostname", "MAX_PER", "3"}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				req := Request{App: "/x", CPUs: 0.1, Mem: 128, Ports: []Port{{}, {}}, Count: 500, Constraints: constraints}
				if launches, refused := Find(req, offers); len(launches) != 500 {
					b.Fatal(refused)
				}
			}
		})
	}
}
