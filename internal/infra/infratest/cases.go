package infratest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"howdah.dev/howdah/internal/infra"
)

// cases is the contract.
var cases = []struct {
	name    string
	trouble Trouble
	run     func(*bench)
}{
	{"inventory has room for nodes, and addresses", None, inventory},
	{"create makes a node that is on and starts its agent", None, createMakes},
	{"create again with the same key adopts: one node, one agent", None, createAdopts},
	{"create of a node that is off switches it on", None, createSwitchesOn},
	{"create never waits for a machine to boot", NeverBoots, createNeverWaits},
	{"create after one that was cut short makes one node", None, createCutShort},
	{"what belongs to somebody else is a conflict and is not touched", None, foreign},
	{"another key in the same place is a conflict", None, otherKey},
	{"delete removes the node, its agent and all that create made", None, deleteRemoves},
	{"delete of what is not there is done", None, deleteAbsent},
	{"delete after one that was cut short leaves nothing", None, deleteCutShort},
	{"delete touches no other node", None, deleteOnlyOurs},
	{"a new key after a delete is a new node without the old data", None, reborn},
	{"power off ends the agent and keeps the data, power on brings it back, both as often as one likes", None, power},
	{"power of what is not there is not-found", None, powerAbsent},
	{"describe of what is not there is not-found", None, describeAbsent},
	{"a call repeated after its answer was lost ends in the same state", None, lostAnswers},
	{"a call whose time is over returns soon, and repeated it completes", None, ended},
	{"a call that is slow returns when its time is over", Slow, slow},
	{"parallel calls for different nodes each have their effect", None, parallel},
	{"not being allowed is auth", Auth, refusal(infra.KindAuth)},
	{"a quota that is used up is quota", Quota, refusal(infra.KindQuota)},
	{"no room is capacity", Capacity, refusal(infra.KindCapacity)},
	{"too many calls is throttled", Throttled, refusal(infra.KindThrottled)},
}

func inventory(b *bench) {
	inv, err := b.Driver.Inventory(b.Context())
	b.must(err)
	r := b.Node(1)
	if len(inv.Hosts) == 0 {
		b.Fatal("there is no host")
	}
	for _, h := range inv.Hosts {
		if h.Name == "" || h.CPUs < r.CPUs || h.MemoryMB < r.MemoryMB || h.DiskFreeMB <= 0 {
			b.Errorf("host %+v has no room for %d CPUs and %d MiB", h, r.CPUs, r.MemoryMB)
		}
	}
	if !inv.Addresses.IsValid() || inv.First < 1 {
		b.Errorf("addresses are %s from the %d. on", inv.Addresses, inv.First)
	}
	if !inv.Identity && inv.Reason == "" {
		b.Error("nodes have no identity of their own and nobody says why")
	}
	again, err := b.Driver.Inventory(b.Context())
	b.must(err)
	if again.Hosts[0].Name != inv.Hosts[0].Name {
		b.Errorf("a host was called %s and now %s", inv.Hosts[0].Name, again.Hosts[0].Name)
	}
}

func createMakes(b *bench) {
	r := b.Node(1)
	b.power(r.Ref, "gone")
	b.create(r)
	b.power(r.Ref, "on")
	b.agents(r.Ref, 1)
}

func createAdopts(b *bench) {
	r := b.Node(1)
	b.create(r)
	b.agents(r.Ref, 1)
	b.Write(r.Ref)
	before := b.Things()
	b.create(r)
	b.create(r)
	if after := b.Things(); !slices.Equal(before, after) {
		b.Errorf("there is %v, before %v", after, before)
	}
	b.power(r.Ref, "on")
	b.agents(r.Ref, 1)
	if !b.Data(r.Ref) {
		b.Error("its data is gone")
	}
}

func createSwitchesOn(b *bench) {
	r := b.Node(1)
	b.create(r)
	b.must(b.Driver.Power(b.Context(), r.Ref, false))
	b.power(r.Ref, "off")
	b.create(r)
	b.power(r.Ref, "on")
	b.agents(r.Ref, 1)
}

func createNeverWaits(b *bench) {
	r := b.Node(1)
	b.must(b.quick("create", func() error { return b.Driver.Create(b.Context(), r) }))
	b.power(r.Ref, "on")
	b.must(b.quick("delete", func() error { return b.Driver.Delete(b.Context(), r.Ref) }))
	b.power(r.Ref, "gone")
}

func createCutShort(b *bench) {
	whole, cut := b.Node(1), b.Node(2)
	b.create(whole)
	one := len(b.Things())
	b.CutShort("create", cut)
	b.create(cut)
	b.power(cut.Ref, "on")
	b.agents(cut.Ref, 1)
	b.must(b.Driver.Delete(b.Context(), whole.Ref))
	if things := b.Things(); len(things) != one {
		b.Errorf("a node that was made at once is %d things; one made in two attempts is %v", one, things)
	}
}

// untouched checks that every call for a node is a conflict and changes nothing.
func (b *bench) untouched(r infra.CreateRequest) {
	b.Helper()
	before := b.Things()
	b.kind(b.Driver.Create(b.Context(), r), infra.KindConflict)
	b.kind(b.Driver.Delete(b.Context(), r.Ref), infra.KindConflict)
	b.kind(b.Driver.Power(b.Context(), r.Ref, false), infra.KindConflict)
	_, err := b.Driver.Describe(b.Context(), r.Ref)
	b.kind(err, infra.KindConflict)
	if after := b.Things(); !slices.Equal(before, after) {
		b.Errorf("it was touched: there is %v, before %v", after, before)
	}
}

func foreign(b *bench) {
	r := b.Node(1)
	b.Occupy(r.Ref)
	b.untouched(r)
}

func otherKey(b *bench) {
	r := b.Node(1)
	b.create(r)
	b.agents(r.Ref, 1)
	other := r
	other.Key += "-other"
	b.untouched(other)
	b.power(r.Ref, "on")
	b.agents(r.Ref, 1)
}

func deleteRemoves(b *bench) {
	r := b.Node(1)
	before := b.Things()
	b.create(r)
	b.agents(r.Ref, 1)
	b.Write(r.Ref)
	b.must(b.Driver.Delete(b.Context(), r.Ref))
	b.power(r.Ref, "gone")
	b.agents(r.Ref, 0)
	if after := b.Things(); !slices.Equal(before, after) {
		b.Errorf("left behind: %v, before %v", after, before)
	}
}

func deleteAbsent(b *bench) {
	r := b.Node(1)
	b.must(b.Driver.Delete(b.Context(), r.Ref))
	b.create(r)
	b.must(b.Driver.Delete(b.Context(), r.Ref))
	b.must(b.Driver.Delete(b.Context(), r.Ref))
}

func deleteCutShort(b *bench) {
	r := b.Node(1)
	before := b.Things()
	b.create(r)
	b.agents(r.Ref, 1)
	b.CutShort("delete", r)
	b.must(b.Driver.Delete(b.Context(), r.Ref))
	b.power(r.Ref, "gone")
	b.agents(r.Ref, 0)
	if after := b.Things(); !slices.Equal(before, after) {
		b.Errorf("left behind: %v, before %v", after, before)
	}
}

func deleteOnlyOurs(b *bench) {
	a, other := b.Node(1), b.Node(2)
	b.create(a)
	b.create(other)
	b.agents(other.Ref, 1)
	b.Write(other.Ref)
	b.must(b.Driver.Delete(b.Context(), a.Ref))
	b.power(other.Ref, "on")
	b.agents(other.Ref, 1)
	if !b.Data(other.Ref) {
		b.Error("the other node's data is gone")
	}
}

func reborn(b *bench) {
	r := b.Node(1)
	b.create(r)
	b.agents(r.Ref, 1)
	b.Write(r.Ref)
	b.must(b.Driver.Delete(b.Context(), r.Ref))
	again := r
	again.Key += "-again"
	b.create(again)
	b.power(again.Ref, "on")
	b.agents(again.Ref, 1)
	if b.Data(again.Ref) {
		b.Error("it has the data of the node that was deleted")
	}
	b.must(b.Driver.Delete(b.Context(), again.Ref))
}

func power(b *bench) {
	r := b.Node(1)
	b.create(r)
	b.agents(r.Ref, 1)
	b.Write(r.Ref)
	for range 2 {
		b.must(b.Driver.Power(b.Context(), r.Ref, false))
		b.power(r.Ref, "off")
		b.agents(r.Ref, 0)
	}
	for range 2 {
		b.must(b.Driver.Power(b.Context(), r.Ref, true))
		b.power(r.Ref, "on")
		b.agents(r.Ref, 1)
	}
	if !b.Data(r.Ref) {
		b.Error("its data is gone")
	}
}

func powerAbsent(b *bench) {
	for _, on := range []bool{true, false} {
		b.kind(b.Driver.Power(b.Context(), b.Node(1).Ref, on), infra.KindNotFound)
	}
}

func describeAbsent(b *bench) {
	_, err := b.Driver.Describe(b.Context(), b.Node(1).Ref)
	b.kind(err, infra.KindNotFound)
}

func lostAnswers(b *bench) {
	r, lossy := b.Node(1), forgetful{b.Driver}
	before := b.Things()
	lost := func(err error) {
		b.Helper()
		if err == nil || err.Error() != errLost.Error() {
			b.Fatalf("a call that was to work: %v", err)
		}
	}
	lost(lossy.Create(b.Context(), r))
	b.create(r)
	b.agents(r.Ref, 1)
	lost(lossy.Power(b.Context(), r.Ref, false))
	b.must(b.Driver.Power(b.Context(), r.Ref, false))
	b.power(r.Ref, "off")
	lost(lossy.Power(b.Context(), r.Ref, true))
	b.must(b.Driver.Power(b.Context(), r.Ref, true))
	b.power(r.Ref, "on")
	b.agents(r.Ref, 1)
	lost(lossy.Delete(b.Context(), r.Ref))
	b.must(b.Driver.Delete(b.Context(), r.Ref))
	b.power(r.Ref, "gone")
	if after := b.Things(); !slices.Equal(before, after) {
		b.Errorf("left behind: %v, before %v", after, before)
	}
}

// ended: whether such a call acts is left to the driver; that it may be
// repeated is not.
func ended(b *bench) {
	over, cancel := context.WithDeadline(b.Context(), time.Now().Add(-time.Second))
	defer cancel()
	r := b.Node(1)
	_ = b.quick("create", func() error { return b.Driver.Create(over, r) })
	b.create(r)
	b.agents(r.Ref, 1)
	_ = b.quick("describe", func() error { _, err := b.Driver.Describe(over, r.Ref); return err })
	_ = b.quick("power", func() error { return b.Driver.Power(over, r.Ref, false) })
	b.must(b.Driver.Power(b.Context(), r.Ref, false))
	b.agents(r.Ref, 0)
	_ = b.quick("delete", func() error { return b.Driver.Delete(over, r.Ref) })
	b.must(b.Driver.Delete(b.Context(), r.Ref))
	b.power(r.Ref, "gone")
}

func slow(b *bench) {
	r := b.Node(1)
	for what, call := range map[string]func(context.Context) error{
		"create":    func(ctx context.Context) error { return b.Driver.Create(ctx, r) },
		"delete":    func(ctx context.Context) error { return b.Driver.Delete(ctx, r.Ref) },
		"power":     func(ctx context.Context) error { return b.Driver.Power(ctx, r.Ref, true) },
		"describe":  func(ctx context.Context) error { _, err := b.Driver.Describe(ctx, r.Ref); return err },
		"inventory": func(ctx context.Context) error { _, err := b.Driver.Inventory(ctx); return err },
	} {
		ctx, cancel := context.WithTimeout(b.Context(), 20*time.Millisecond)
		b.kind(b.quick(what, func() error { return call(ctx) }), infra.KindTemporary)
		cancel()
	}
}

func parallel(b *bench) {
	const n = 8
	before := b.Things()
	each := func(what string, call func(infra.CreateRequest) error) {
		b.Helper()
		var wg sync.WaitGroup
		errs := make([]error, n)
		for i := range n {
			wg.Go(func() { errs[i] = call(b.Node(i + 1)) })
		}
		wg.Wait()
		for i, err := range errs {
			if err != nil {
				b.Fatalf("%s of node %d: %v", what, i+1, err)
			}
		}
	}
	each("create", func(r infra.CreateRequest) error { return b.Driver.Create(b.Context(), r) })
	for i := range n {
		b.power(b.Node(i+1).Ref, "on")
		b.agents(b.Node(i+1).Ref, 1)
	}
	each("describe", func(r infra.CreateRequest) error {
		d, err := b.Driver.Describe(b.Context(), r.Ref)
		if err == nil && !d.Powered {
			err = fmt.Errorf("%s is off", r.Name)
		}
		return err
	})
	each("delete", func(r infra.CreateRequest) error { return b.Driver.Delete(b.Context(), r.Ref) })
	for i := range n {
		b.power(b.Node(i+1).Ref, "gone")
		b.agents(b.Node(i+1).Ref, 0)
	}
	if after := b.Things(); !slices.Equal(before, after) {
		b.Errorf("left behind: %v, before %v", after, before)
	}
}

// refusal checks that a refused Create says so by its kind and makes nothing.
func refusal(want infra.Kind) func(*bench) {
	return func(b *bench) {
		before := b.Things()
		err := b.Driver.Create(b.Context(), b.Node(1))
		b.kind(err, want)
		if !strings.Contains(err.Error(), b.Node(1).Name) {
			b.Errorf("the error does not name the node: %v", err)
		}
		if after := b.Things(); !slices.Equal(before, after) {
			b.Errorf("left behind: %v, before %v", after, before)
		}
		b.power(b.Node(1).Ref, "gone")
	}
}
