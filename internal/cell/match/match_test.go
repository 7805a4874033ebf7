package match

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/mesos"
)

// offer reads a worker's offer: host name, resources and attributes as
// mesos-agent takes them.
func offer(t testing.TB, host, resources, attributes string) Offer {
	t.Helper()
	rs, err := mesos.ParseResources(resources)
	if err != nil {
		t.Fatal(err)
	}
	as, err := mesos.ParseAttributes(attributes)
	if err != nil {
		t.Fatal(err)
	}
	return Offer{Offer: mesos.Offer{
		ID: mesos.ID{Value: "offer-" + host}, AgentID: mesos.ID{Value: "agent-" + host}, Hostname: host,
		Resources: rs, Attributes: as,
	}}
}

func at(o Offer, region, zone string) Offer {
	d := &mesos.FaultDomain{}
	d.Region.Name, d.Zone.Name = region, zone
	o.Domain = &mesos.DomainInfo{FaultDomain: d}
	return o
}

const plenty = "cpus:8;mem:8192;disk:8192;ports:[31000-31999]"

func existing(t testing.TB, where ...Offer) []*instance.Instance {
	t.Helper()
	var out []*instance.Instance
	for n, o := range where {
		i := &instance.Instance{
			ID: fmt.Sprintf("shop.instance-%d", n), Condition: instance.Running,
			AgentID: o.AgentID.Value, Host: o.Hostname, Attributes: o.Attributes,
		}
		if o.Domain != nil {
			i.Region, i.Zone = o.Domain.FaultDomain.Region.Name, o.Domain.FaultDomain.Zone.Name
		}
		out = append(out, i)
	}
	return out
}

// hosts writes where launches went, in order.
func hosts(launches []Launch) string {
	var out []string
	for _, l := range launches {
		out = append(out, l.Host)
	}
	return strings.Join(out, " ")
}

func TestConstraints(t *testing.T) {
	a := at(offer(t, "a", plenty, "rack:r1;size:2.5;slots:[1-2,5-6];disks:{ssd,hdd};only:x"), "eu", "z1")
	b := at(offer(t, "b", plenty, "rack:r1;size:2.4999;slots:[1-2];disks:{hdd}"), "eu", "z2")
	c := at(offer(t, "c", plenty, "rack:r2;size:4;slots:[7-7];disks:{ssd}"), "us", "z3")
	d := at(offer(t, "d", plenty, "rack:r3"), "", "")
	all := []Offer{a, b, c, d}
	for _, x := range []struct {
		constraint string
		running    []Offer
		count      int
		want       string
		refused    string
	}{
		{"hostname UNIQUE", nil, 5, "a b c d", ""},
		{"hostname UNIQUE", []Offer{a, c}, 5, "b d", `
a: hostname UNIQUE: already runs an instance of /shop
c: hostname UNIQUE: already runs an instance of /shop
`},
		{"@hostname UNIQUE", []Offer{a}, 1, "b", "\na: @hostname UNIQUE: already runs an instance of /shop\n"},
		{"rack UNIQUE", nil, 5, "a c d", "\nb: rack UNIQUE: an instance of /shop already runs with r1\n"},
		{"@zone UNIQUE", nil, 5, "a b c", "\nd: @zone UNIQUE: has no zone\n"},
		{"only UNIQUE", nil, 5, "a", `
b: only UNIQUE: has no attribute only
c: only UNIQUE: has no attribute only
d: only UNIQUE: has no attribute only
`},

		{"rack CLUSTER r1", nil, 3, "a b a", `
c: rack CLUSTER r1: has r2
d: rack CLUSTER r1: has r3
`},
		{"rack CLUSTER", []Offer{c}, 2, "c c", `
a: rack CLUSTER: has r1, instances of /shop run elsewhere
b: rack CLUSTER: has r1, instances of /shop run elsewhere
d: rack CLUSTER: has r3, instances of /shop run elsewhere
`},
		{"rack CLUSTER", nil, 3, "a b a", `
c: rack CLUSTER: has r2, instances of /shop run elsewhere
d: rack CLUSTER: has r3, instances of /shop run elsewhere
`},
		{"hostname CLUSTER c", nil, 2, "c c", `
a: hostname CLUSTER c: has a
b: hostname CLUSTER c: has b
d: hostname CLUSTER c: has d
`},
		{"rack CLUSTER r1", []Offer{c}, 1, "", `
a: rack CLUSTER r1: has r1, instances of /shop run elsewhere
b: rack CLUSTER r1: has r1, instances of /shop run elsewhere
c: rack CLUSTER r1: has r2
d: rack CLUSTER r1: has r3
`},
		{"@region CLUSTER", []Offer{c}, 1, "c", `
a: @region CLUSTER: has eu, instances of /shop run elsewhere
b: @region CLUSTER: has eu, instances of /shop run elsewhere
d: @region CLUSTER: has no region
`},

		{"rack GROUP_BY", nil, 6, "a c d b c d", ""},
		{"rack GROUP_BY", []Offer{a, a, c}, 2, "d c", `
a: rack GROUP_BY: r1 has 2 instances of /shop, another has 1
b: rack GROUP_BY: r1 has 2 instances of /shop, another has 1
`},
		{"rack GROUP_BY 4", []Offer{a}, 9, "c d", `
a: rack GROUP_BY 4: r1 has 1 instance of /shop, which run in 3 of 4 groups
b: rack GROUP_BY 4: r1 has 1 instance of /shop, which run in 3 of 4 groups
`},
		{"rack GROUP_BY 3", []Offer{a}, 4, "c d b c", "\na: rack GROUP_BY 3: r1 has 2 instances of /shop, another has 1\n"},
		{"hostname GROUP_BY", []Offer{a}, 3, "b c d", ""},

		{"hostname LIKE [ab]", nil, 2, "a b", `
c: hostname LIKE [ab]: has c
d: hostname LIKE [ab]: has d
`},
		{"rack LIKE r", nil, 1, "", `
a: rack LIKE r: has r1
b: rack LIKE r: has r1
c: rack LIKE r: has r2
d: rack LIKE r: has r3
`},
		{"rack LIKE r1|r2", nil, 3, "a b c", "\nd: rack LIKE r1|r2: has r3\n"},
		{`slots LIKE \[1-2,5-6\]`, nil, 1, "a", `
b: slots LIKE \[1-2,5-6\]: has [1-2]
c: slots LIKE \[1-2,5-6\]: has [7-7]
d: slots LIKE \[1-2,5-6\]: has no attribute slots
`},
		{`disks LIKE \{.*ssd.*\}`, nil, 2, "a c", `
b: disks LIKE \{.*ssd.*\}: has {hdd}
d: disks LIKE \{.*ssd.*\}: has no attribute disks
`},
		{"size LIKE 2.5", nil, 1, "a", `
b: size LIKE 2.5: has 2.4999
c: size LIKE 2.5: has 4
d: size LIKE 2.5: has no attribute size
`},
		{"rack LIKE (", nil, 1, "", `
a: rack LIKE (: has r1
b: rack LIKE (: has r1
c: rack LIKE (: has r2
d: rack LIKE (: has r3
`},

		{"rack UNLIKE r[12]", nil, 1, "d", `
a: rack UNLIKE r[12]: has r1
b: rack UNLIKE r[12]: has r1
c: rack UNLIKE r[12]: has r2
`},
		{"only UNLIKE x", nil, 4, "b c d b", "\na: only UNLIKE x: has x\n"},
		{"hostname UNLIKE a", nil, 3, "b c d", "\na: hostname UNLIKE a: has a\n"},

		{"rack MAX_PER 2", []Offer{a}, 9, "b c d c d", "\na: rack MAX_PER 2: r1 has 2 instances of /shop\n"},
		{"hostname MAX_PER 1", []Offer{a, b, c}, 9, "d", `
a: hostname MAX_PER 1: a has 1 instance of /shop
b: hostname MAX_PER 1: b has 1 instance of /shop
c: hostname MAX_PER 1: c has 1 instance of /shop
`},
		{"@region MAX_PER 1", nil, 9, "a c", `
b: @region MAX_PER 1: eu has 1 instance of /shop
d: @region MAX_PER 1: has no region
`},

		{"rack IS r2", nil, 1, "c", `
a: rack IS r2: has r1
b: rack IS r2: has r1
d: rack IS r2: has r3
`},
		{"size IS 2.5", nil, 2, "a b", `
c: size IS 2.5: has 4
d: size IS 2.5: has no attribute size
`},
		{"size IS 4.0004", nil, 1, "c", `
a: size IS 4.0004: has 2.5
b: size IS 4.0004: has 2.4999
d: size IS 4.0004: has no attribute size
`},
		{"slots IS [7-7]", nil, 1, "", `
a: slots IS [7-7]: has [1-2,5-6]
b: slots IS [7-7]: has [1-2]
c: slots IS [7-7]: has [7-7]
d: slots IS [7-7]: has no attribute slots
`},
		{"hostname IS b", nil, 1, "b", `
a: hostname IS b: has a
c: hostname IS b: has c
d: hostname IS b: has d
`},
		{"@zone IS z2", nil, 1, "b", `
a: @zone IS z2: has z1
c: @zone IS z2: has z3
d: @zone IS z2: has no zone
`},
	} {
		t.Run(fmt.Sprintf("%s/%d", x.constraint, x.count), func(t *testing.T) {
			launches, refused := Find(Request{
				App: "/shop", CPUs: 1, Count: x.count, Constraints: []app.Constraint{strings.Fields(x.constraint)},
				Existing: existing(t, x.running...),
			}, all)
			if got := hosts(launches); got != x.want {
				t.Errorf("went to %q, want %q", got, x.want)
			}
			if diff := cmp.Diff(strings.TrimPrefix(x.refused, "\n"), refused.String()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSeveralConstraints(t *testing.T) {
	offers := []Offer{
		offer(t, "a", plenty, "rack:r1"), offer(t, "b", plenty, "rack:r1"),
		offer(t, "c", plenty, "rack:r2"), offer(t, "d", plenty, "rack:r3"),
	}
	launches, refused := Find(Request{
		App: "/shop", CPUs: 1, Count: 9,
		Constraints: []app.Constraint{{"hostname", "UNIQUE"}, {"rack", "GROUP_BY"}, {"rack", "UNLIKE", "r3"}},
	}, offers)
	if got := hosts(launches); got != "a c b" {
		t.Errorf("went to %q", got)
	}
	if got, want := refused.String(), "d: rack UNLIKE r3: has r3\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestInstancesNotedUnderAnAddress(t *testing.T) {
	a, b := offer(t, "a", plenty, ""), offer(t, "b", plenty, "")
	have := existing(t, a)
	have[0].Host = "127.1.2.5"
	launches, _ := Find(Request{App: "/shop", CPUs: 1, Count: 2, Constraints: []app.Constraint{{"hostname", "UNIQUE"}}, Existing: have}, []Offer{a, b})
	if got := hosts(launches); got != "b" {
		t.Errorf("went to %q", got)
	}
}

func TestIsRoundsHalfToEven(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"1", "1.000", true},
		{"1.0005", "1", true},
		{"1.0015", "1.002", true},
		{"1.0025", "1.002", true},
		{"1.0006", "1.001", true},
		{"1.0004", "1", true},
		{"1.0016", "1.001", false},
		{"-1.0005", "-1", true},
		{"-1.0015", "-1.002", true},
		{"0.1", ".1", true},
		{"1e3", "1000", false},
		{"1/2", "0.5", false},
		{"x", "x", false},
		{"0x10", "16", false},
		{"", "0", false},
		{strings.Repeat("9", 41), strings.Repeat("9", 41), false},
	} {
		a, okA := thousandths(c.a)
		b, okB := thousandths(c.b)
		if got := okA && okB && a.Cmp(b) == 0; got != c.same {
			t.Errorf("%s and %s: %v %v", c.a, c.b, a, b)
		}
	}
}

func TestRefusals(t *testing.T) {
	named := offer(t, "worker-2", "cpus:0.5;mem:64;disk:10;ports:[31000-31000]", "")
	named.URL = &mesos.URL{Address: mesos.Address{IP: "127.1.2.5", Port: 5051}}
	other := offer(t, "worker-3", plenty, "")
	other.AllocationInfo = &mesos.AllocationInfo{Role: "ops"}
	plain, leaving := offer(t, "worker-4", plenty, ""), offer(t, "worker-5", plenty, "")
	plain.Runtimes, leaving.Leaving = []string{"plain"}, true
	reserved := offer(t, "worker-6", "cpus(ops):4;mem(qa):512", "")
	full := []Offer{named}
	for _, c := range []struct {
		name   string
		req    Request
		offers []Offer
		reason string
		want   string
	}{
		{"cpus", Request{CPUs: 2}, full, InsufficientCpus, "worker-2 (127.1.2.5): needs 2 cpus; 0.5 are free\n"},
		{"one cpu", Request{CPUs: 1}, full, InsufficientCpus, "worker-2 (127.1.2.5): needs 1 cpu; 0.5 are free\n"},
		{"memory", Request{CPUs: 0.1, Mem: 64.001}, full, InsufficientMemory, "worker-2 (127.1.2.5): needs 64.001 MB of memory; 64 are free\n"},
		{"disk", Request{Disk: 11}, full, InsufficientDisk, "worker-2 (127.1.2.5): needs 11 MB of disk; 10 are free\n"},
		{"gpus", Request{GPUs: 1}, full, InsufficientGpus, "worker-2 (127.1.2.5): needs 1 gpu; 0 are free\n"},
		{"ports", Request{Ports: []Port{{}, {}}}, full, InsufficientPorts, "worker-2 (127.1.2.5): needs 2 ports; 1 is free\n"},
		{"exact port", Request{Ports: []Port{{Number: 80}}}, full, InsufficientPorts, "worker-2 (127.1.2.5): needs port 80; it is not free\n"},
		{"exact ports", Request{Ports: []Port{{Number: 80}, {Number: 443}, {Number: 31000}}}, full, InsufficientPorts, "worker-2 (127.1.2.5): needs ports 80, 443; they are not free\n"},
		{"exact and any", Request{Ports: []Port{{Number: 31000}, {}}}, full, InsufficientPorts, "worker-2 (127.1.2.5): needs 2 ports; 1 is free\n"},
		{"offered to others", Request{Role: "dev", CPUs: 1}, []Offer{other}, UnfulfilledRole, "worker-3: is offered to role ops, the app has role dev\n"},
		{"reserved for others", Request{Role: "dev", CPUs: 1}, []Offer{reserved}, UnfulfilledRole, "worker-6: has only resources of role ops, qa, the app accepts those of dev, *\n"},
		{"unreserved is not accepted", Request{Role: "dev", Accepted: []string{"dev"}, CPUs: 1}, full, UnfulfilledRole, "worker-2 (127.1.2.5): has only resources of role *, the app accepts those of dev\n"},
		{"no container", Request{CPUs: 1, Container: true}, []Offer{plain}, UnfulfilledConstraint, "worker-4: runs only plain commands, the app needs a container\n"},
		{"drained", Request{CPUs: 1}, []Offer{leaving}, AgentMaintenance, "worker-5: is being drained\n"},
		{
			"the first reason counts",
			Request{CPUs: 99, Mem: 9999, Constraints: []app.Constraint{{"rack", "IS", "r1"}}},
			full, UnfulfilledConstraint, "worker-2 (127.1.2.5): rack IS r1: has no attribute rack\n",
		},
		{"a plain command", Request{CPUs: 1}, []Offer{plain}, "", ""},
		{"nothing is wanted", Request{}, full, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			launches, refused := Find(c.req, c.offers) // Count 0: only explains
			if len(launches) != 0 || refused.String() != c.want {
				t.Errorf("%d launches, %swant\n%s", len(launches), refused, c.want)
			}
			if len(refused.Workers) > 0 && refused.Workers[0].Reason != c.reason {
				t.Errorf("reason %s, want %s", refused.Workers[0].Reason, c.reason)
			}
			c.req.Count = 1
			if launches, _ := Find(c.req, c.offers); len(launches) == 1 != (c.want == "") {
				t.Errorf("%d launches", len(launches))
			}
		})
	}
}

func TestSummaryIsAFunnel(t *testing.T) {
	offers := []Offer{
		offer(t, "a", "cpus:0.5", "rack:r1"), offer(t, "a", "cpus:0.25", "rack:r1"), // joined: still too little
		offer(t, "b", "cpus:4", "rack:r2"), offer(t, "c", "cpus:4;mem:10", "rack:r1"), offer(t, "d", "cpus:4;mem:1000", "rack:r1"),
	}
	launches, refused := Find(Request{App: "/shop", CPUs: 1, Mem: 500, Count: 9, Constraints: []app.Constraint{{"rack", "IS", "r1"}}}, offers)
	if hosts(launches) != "d d" {
		t.Errorf("went to %s", hosts(launches))
	}
	want := []Reject{
		{UnfulfilledRole, 0, 5},
		{UnfulfilledConstraint, 1, 5},
		{NoCorrespondingReservationFound, 0, 4},
		{AgentMaintenance, 0, 4},
		{InsufficientCpus, 2, 4},
		{InsufficientMemory, 1, 2},
		{InsufficientDisk, 0, 1},
		{InsufficientGpus, 0, 1},
		{InsufficientPorts, 0, 1},
		{DeclinedScarceResources, 0, 1},
	}
	if diff := cmp.Diff(want, refused.Summary()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSpread(t *testing.T) {
	small, big := offer(t, "small", "cpus:2", ""), offer(t, "big", "cpus:8", "")
	other := offer(t, "other", "cpus:4", "")
	for _, c := range []struct {
		name    string
		req     Request
		want    string
		running []Offer
	}{
		{"fewest of the app, then most room", Request{Count: 5}, "big other small big other", nil},
		{"those that run count", Request{Count: 3}, "other small other", []Offer{big, big}},
		{"until all is full", Request{Count: 99}, "big other small big other small big other big other big big big big", nil},
		{"so many of an offer", Request{Count: 99, MaxPerOffer: 2}, "big other small big other small", nil},
	} {
		c.req.App, c.req.CPUs, c.req.Existing = "/shop", 1, existing(t, c.running...)
		launches, _ := Find(c.req, []Offer{small, big, other})
		if got := hosts(launches); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestPorts(t *testing.T) {
	o := offer(t, "a", "cpus:8;ports:[31000-31009]", "")
	reserved, err := mesos.ParseResources("ports(dev):[80-81,443-443]")
	if err != nil {
		t.Fatal(err)
	}
	o.Resources = append(o.Resources, mesos.Resources(reserved).Allocate("dev")...)
	req := Request{App: "/shop", Role: "dev", Count: 1, Seed: 7, Ports: []Port{{Number: 31005}, {}, {None: true}, {Number: 443}, {}, {}, {Number: 31005}}}
	launches, refused := Find(req, []Offer{o})
	if len(launches) != 1 {
		t.Fatal(refused)
	}
	got := launches[0].Ports
	// Of the free ones, reserved ports go first: both of them, then one of the others.
	if got[0] != 31005 || got[2] != 0 || got[3] != 443 || got[6] != 31005 || got[1]+got[4] != 161 || got[5] < 31000 || got[5] == 31005 {
		t.Errorf("ports %v", got)
	}
	var taken strings.Builder
	for _, r := range launches[0].Resources {
		fmt.Fprintf(&taken, "%s of %s to %s: %d\n", r.Name, r.ReservedFor(), r.AllocatedTo(), len(r.Ranges.Range))
	}
	if want := "ports of dev to dev: 2\nports of * to : 2\n"; taken.String() != want && taken.String() != "ports of dev to dev: 2\nports of * to : 1\n" {
		t.Errorf("took\n%s", taken.String())
	}
	if again, _ := Find(req, []Offer{o}); !cmp.Equal(launches, again) {
		t.Error("the same seed chose other ports")
	}
	differs := false
	for seed := range uint64(20) {
		req.Seed = seed
		other, _ := Find(req, []Offer{o})
		differs = differs || !cmp.Equal(launches[0].Ports, other[0].Ports)
	}
	if !differs {
		t.Error("all seeds chose the same ports")
	}
}

func TestReservedResourcesGoFirst(t *testing.T) {
	for _, refined := range []bool{false, true} {
		rs, err := mesos.ParseResources("cpus:4;cpus(dev):1;mem:512;mem(dev):512;mem(ops):512;disk(*):9")
		if err != nil {
			t.Fatal(err)
		}
		if rs = rs.Allocate("dev"); refined {
			rs = rs.Refined()
		}
		o := Offer{Offer: mesos.Offer{AgentID: mesos.ID{Value: "x"}, Resources: rs, AllocationInfo: &mesos.AllocationInfo{Role: "dev"}}}
		launches, refused := Find(Request{Role: "dev", CPUs: 1.5, Mem: 100, Disk: 9, Count: 1}, []Offer{o})
		if len(launches) != 1 {
			t.Fatal(refused)
		}
		want, err := mesos.ParseResources("cpus(dev):1;cpus:0.5;mem(dev):100;disk:9")
		if err != nil {
			t.Fatal(err)
		}
		if want = want.Allocate("dev"); refined {
			want = want.Refined()
		}
		if got := mesos.Resources(launches[0].Resources); !got.Contains(want) || !want.Contains(got) || !rs.Contains(got) {
			t.Errorf("took %+v", got)
		}
	}
}

func TestOffersThatMakeNoSense(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(-1), -1} {
		o := Offer{Offer: mesos.Offer{Resources: []mesos.Resource{mesos.NewScalar("cpus", v), mesos.NewRanges("ports", mesos.Range{Begin: 70000, End: math.MaxUint64})}}}
		if launches, _ := Find(Request{CPUs: 1, Count: 1}, []Offer{o}); len(launches) != 0 {
			t.Errorf("%v cpus: %+v", v, launches)
		}
		if launches, _ := Find(Request{Ports: []Port{{}}, Count: 1}, []Offer{o}); len(launches) != 0 {
			t.Errorf("no such ports: %+v", launches)
		}
	}
	endless := Offer{Offer: mesos.Offer{Resources: []mesos.Resource{mesos.NewScalar("cpus", math.Inf(1)), mesos.NewScalar("cpus", math.MaxFloat64)}}}
	if launches, _ := Find(Request{CPUs: 1, Count: 3}, []Offer{endless}); len(launches) != 3 {
		t.Errorf("%d launches", len(launches))
	}
}

func TestFor(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := &app.App{
		ID: "/shop", Role: "dev", CPUs: 0.5, Mem: 64, Disk: 1, Constraints: []app.Constraint{{"hostname", "UNIQUE"}},
		AcceptedResourceRoles: []string{"*"},
		Networks:              []app.Network{{Mode: app.ModeBridge}},
		Container: &app.Container{Type: app.TypeDocker, Docker: &app.Docker{Image: "shop"}, PortMappings: []app.PortMapping{
			{ContainerPort: 80, HostPort: new(0)}, {ContainerPort: 81}, {ContainerPort: 82, HostPort: new(8082)},
		}},
	}
	newer := &instance.Instance{ID: "newer", Condition: instance.Killing, Version: at}
	got := For(a, at, []*instance.Instance{
		newer, {ID: "older", Condition: instance.Running, Version: at.Add(-1)}, {ID: "ended", Condition: instance.Failed, Version: at},
	})
	want := Request{
		App: "/shop", Role: "dev", CPUs: 0.5, Mem: 64, Disk: 1, Container: true, Accepted: []string{"*"}, Constraints: a.Constraints,
		Ports: []Port{{}, {None: true}, {Number: 8082}}, Existing: []*instance.Instance{newer},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	a.Networks, a.Container, a.PortDefinitions = []app.Network{{Mode: app.ModeHost}}, nil, []app.PortDefinition{{Port: 10001}, {Port: 0}}
	if diff := cmp.Diff([]Port{{}, {}}, For(a, at, nil).Ports); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if a.RequirePorts = true; !cmp.Equal([]Port{{Number: 10001}, {}}, For(a, at, nil).Ports) {
		t.Errorf("with requirePorts: %v", For(a, at, nil).Ports)
	}
}
