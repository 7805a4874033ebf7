package simulation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cluster/simtest"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/infra/sim"
	"howdah.dev/howdah/internal/store"
)

// verdict is what came of a seed.
type verdict struct {
	seed   uint64
	digest string
	broken []string
	last   string
	trace  []string
	counts counts
}

// counts is what a seed had in it.
type counts struct {
	points, lives, operations, effects, asked, twice, held, failed int
}

func (c *counts) add(o counts) {
	c.points += o.points
	c.lives += o.lives
	c.operations += o.operations
	c.effects += o.effects
	c.asked += o.asked
	c.twice += o.twice
	c.held += o.held
	c.failed += o.failed
}

// play plays one seed in a bubble of its own.
func play(t *testing.T, seed uint64) (v verdict) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t, seed)
		defer p.close()
		p.trouble()
		p.calm()
		p.settle()
		p.check()
		v = verdict{seed: seed, digest: p.digest(), broken: p.broken, last: p.last(), trace: p.lines, counts: p.counts}
		v.counts.points, v.counts.lives, v.counts.twice, v.counts.effects = p.points, p.lives, p.doubles, len(p.Cloud.Effects())
	})
	return v
}

// player plays a seed.
type player struct {
	*lab
	rng    *rand.Rand
	counts counts
	chance struct{ hold, twice float64 }
	dieIn  int  // releases until the server dies next
	dies   int  // how often it still will
	quiet  bool // nothing goes wrong any more
}

func newPlay(t *testing.T, seed uint64) *player {
	t.Helper()
	p := &player{rng: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // repeatable, not secret
	p.chance.hold = []float64{0, 0.02, 0.1}[p.rng.IntN(3)]
	p.chance.twice = []float64{0, 0.05, 0.5}[p.rng.IntN(3)]
	p.dies = []int{0, 1, 2, 5}[p.rng.IntN(4)]
	p.dieIn = p.rng.IntN(120)
	p.lab = newLab(t, simtest.Config{Sim: p.infrastructure(seed)})
	p.choose = p.next
	p.note("seed %d: dies %d times", seed, p.dies)
	return p
}

// infrastructure draws how long calls take and what goes wrong with them.
func (p *player) infrastructure(seed uint64) sim.Config {
	r := p.rng
	secs := func(most int) time.Duration { return time.Duration(r.IntN(most*1000)) * time.Millisecond }
	c := sim.Config{
		Seed: seed, Jitter: 0.9,
		Latency: map[sim.Call]time.Duration{sim.CallCreate: secs(20), sim.CallDelete: secs(10), sim.CallPower: secs(5), sim.CallDescribe: secs(2)},
		Agents:  sim.Agents{Boot: secs(20), Start: map[string]time.Duration{"headd": secs(8), "": secs(5)}, Stop: secs(5), Drain: secs(20), Heartbeat: 10 * time.Second},
	}
	switch r.IntN(4) {
	case 0:
		c.Limit = 1 + r.IntN(3)
	case 1:
		c.Throttle, c.RetryAfter = 1+r.IntN(3), secs(20)
	}
	acts := []sim.Call{sim.CallCreate, sim.CallDelete, sim.CallPower, sim.CallDescribe, ""}
	for range r.IntN(4) {
		f := sim.Fault{Call: acts[r.IntN(len(acts))]}
		f.Do = []sim.Effect{sim.Fail, sim.Lose, sim.Lose, sim.Half, sim.Hang, sim.Stall}[r.IntN(6)]
		if f.Do == sim.Fail {
			f.Kind = []infra.Kind{infra.KindTemporary, infra.KindThrottled, infra.KindQuota, infra.KindCapacity}[r.IntN(4)]
		}
		if r.IntN(2) == 0 && f.Do != sim.Hang && f.Do != sim.Stall && f.Kind != infra.KindQuota && f.Kind != infra.KindCapacity {
			f.Chance = 0.05 + 0.25*r.Float64()
		} else {
			f.Nth, f.Times = 1+r.IntN(6), 1+r.IntN(3)
		}
		c.Faults = append(c.Faults, f)
	}
	return c
}

// next chooses who goes on.
func (p *player) next(parked []string) choice {
	c := choice{next: p.rng.IntN(len(parked))}
	if p.quiet {
		return c
	}
	if p.dies > 0 {
		if p.dieIn--; p.dieIn < 0 {
			p.dies--
			p.dieIn = p.rng.IntN(120)
			c.crash, c.down = true, time.Duration(p.rng.IntN(30_000))*time.Millisecond
			if p.rng.IntN(10) == 0 {
				c.down *= 20
			}
			return c
		}
	}
	if p.rng.Float64() < p.chance.hold {
		p.counts.held++
		c.hold = time.Duration(p.rng.IntN(20_000)) * time.Millisecond
	}
	c.twice = p.rng.Float64() < p.chance.twice
	return c
}

func never() bool { return false }

// trouble has users ask for things and machines die, at any time.
func (p *player) trouble() {
	for range 3 + p.rng.IntN(8) {
		p.act()
		pause := time.Duration(p.rng.IntN(40_000)) * time.Millisecond
		if p.rng.IntN(3) == 0 { // while the last is still planned
			pause = time.Duration(p.rng.IntN(50)) * time.Millisecond
		}
		p.run(time.Now().Add(pause), never)
	}
}

// act is one thing that happens.
func (p *player) act() {
	p.counts.asked++
	n := p.counts.asked
	switch p.rng.IntN(14) {
	case 0, 1, 2, 3, 4:
		p.define(n, 1+p.rng.IntN(4), p.rng.IntN(3))
	case 5:
		p.ask(fmt.Sprintf("%d stop", n), func(ctx context.Context) (string, error) { return told(p.Manager.Stop(ctx, "c", false)) })
	case 6, 7:
		p.ask(fmt.Sprintf("%d start", n), func(ctx context.Context) (string, error) { return told(p.Manager.Start(ctx, "c")) })
	case 8:
		p.ask(fmt.Sprintf("%d delete", n), func(ctx context.Context) (string, error) { return told(p.Manager.Delete(ctx, "c", "c")) })
	case 9:
		p.ask(fmt.Sprintf("%d retry", n), func(ctx context.Context) (string, error) {
			return "", p.Manager.Engine().Retry(ctx, p.newest().ID, 0)
		})
	case 10:
		p.ask(fmt.Sprintf("%d cancel", n), func(ctx context.Context) (string, error) {
			return "", p.Manager.Engine().Cancel(ctx, p.newest().ID)
		})
	case 11:
		p.ask(fmt.Sprintf("%d smoke", n), func(ctx context.Context) (string, error) { return told(p.Manager.Smoke(ctx, "c")) })
	case 12:
		if node := p.victim(); node != "" {
			p.note("%s loses its power", node)
			p.Cloud.Die(node)
		}
	case 13:
		if node := p.victim(); node != "" {
			p.note("the agent of %s dies", node)
			p.Cloud.Crash(node)
		}
	}
}

func (p *player) victim() string {
	nodes := p.Cloud.Nodes()
	if len(nodes) == 0 {
		return ""
	}
	return nodes[p.rng.IntN(len(nodes))].Name
}

func told(o *api.Operation, err error) (string, error) {
	if err != nil || o == nil {
		return "nothing to do", err
	}
	return fmt.Sprintf("operation %d", o.ID), nil
}

// definition is a cluster of some workers; reload changes what a file of theirs says.
func definition(workers, reload int) string {
	return fmt.Sprintf("name: c\nstack: toy\nconfiguration: {toy: {b: {k: v%d}}}\nnodeGroups: [{name: head, roles: [head], instanceNum: 1}, {name: worker, roles: [worker], instanceNum: %d}]\n", reload, workers)
}

func (p *player) define(n, workers, reload int) (answered func() bool) {
	return p.ask(fmt.Sprintf("%d apply %d workers, configuration %d", n, workers, reload), func(ctx context.Context) (string, error) {
		ops, err := p.Apply(ctx, definition(workers, reload))
		if err != nil || len(ops) == 0 {
			return "nothing to do", err
		}
		return told(&ops[0], nil)
	})
}

// newest is the newest operation; the zero value without any.
func (p *player) newest() (o store.Operation) {
	p.view(func(tx *store.Tx) error {
		ops, err := tx.Operations("", 1)
		if len(ops) > 0 {
			o = ops[0]
		}
		return err
	})
	return o
}

func (l *lab) view(fn func(*store.Tx) error) {
	if err := l.Store.View(context.Background(), fn); err != nil {
		l.wrong("cannot read the database: %v", err)
	}
}

// patience is how long what is open may take once nothing goes wrong any more:
// the longest step has 30 min to drain, a call 5 min, ten times.
const patience = 2 * time.Hour

// rest reports whether no operation goes on.
func (p *player) rest() bool {
	going := false
	p.view(func(tx *store.Tx) error {
		open, err := tx.OpenOperations()
		going = slices.ContainsFunc(open, func(o store.Operation) bool { return o.State != api.OperationFailed })
		return err
	})
	return !going
}

// calm ends the trouble: machines have power again, and what is open comes to
// an end.
func (p *player) calm() {
	p.quiet = true
	p.power()
	if !p.run(time.Now().Add(patience), p.answered) {
		p.wrong("after %s without trouble a user still waits for an answer", patience)
	}
	p.ends()
}

func (p *player) power() {
	for _, n := range p.Cloud.Nodes() {
		if n.Powered {
			continue
		}
		var intent string
		p.view(func(tx *store.Tx) error {
			row, err := tx.Node(n.Key)
			intent = string(row.Intent)
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			return err
		})
		if intent != "run" && intent != "drain" {
			continue
		}
		p.note("%s has power again", n.Name)
		for failed := true; failed; { // until no fault hits it
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			failed = p.Cloud.Power(ctx, n.Ref, true) != nil
			cancel()
			p.run(time.Now().Add(time.Second), never)
		}
	}
}

// ends waits until no operation goes on; then each is final, or failed with a reason.
func (p *player) ends() {
	if !p.run(time.Now().Add(patience), p.rest) {
		p.wrong("after %s without trouble an operation still goes on: %s", patience, p.stuck())
	}
	if o := p.newest(); o.State == api.OperationFailed && o.Reason == "" {
		p.wrong("operation %d failed without a reason", o.ID)
	}
}

func (l *lab) stuck() (out string) {
	l.view(func(tx *store.Tx) error {
		open, err := tx.OpenOperations()
		for _, o := range open {
			out += fmt.Sprintf("operation %d (%s) is %s (%s);", o.ID, o.Kind, o.State, o.Reason)
			steps, err := tx.Steps(o.ID)
			if err != nil {
				return err
			}
			for _, s := range steps {
				if s.State != api.StepDone {
					out += fmt.Sprintf(" %s is %s %s%s;", s.Title, s.State, s.Waiting, s.Error)
				}
			}
		}
		return err
	})
	return out
}

// settle brings the cluster to a definition, as a user does who reads what is said.
func (p *player) settle() {
	for try := range 12 {
		p.counts.asked++
		n := p.counts.asked
		var there store.Cluster
		p.view(func(tx *store.Tx) (err error) {
			if there, err = tx.Cluster("c"); errors.Is(err, store.ErrNotFound) {
				return nil
			}
			return err
		})
		var answered func() bool
		defined := false
		switch {
		case there.Intent == "gone":
			answered = p.ask(fmt.Sprintf("%d delete", n), func(ctx context.Context) (string, error) { return told(p.Manager.Delete(ctx, "c", "c")) })
		case there.ID != "" && there.Intent != "run":
			answered = p.ask(fmt.Sprintf("%d start", n), func(ctx context.Context) (string, error) { return told(p.Manager.Start(ctx, "c")) })
		default:
			answered, defined = p.define(n, 3, 1), true
		}
		if !p.run(time.Now().Add(patience), answered) {
			p.wrong("no answer after %s", patience)
			return
		}
		p.power()
		p.ends()
		o := p.newest()
		if defined && (p.said == "nothing to do" || p.said == fmt.Sprintf("operation %d", o.ID) && o.State == api.OperationDone) {
			return
		}
		if try > 0 {
			p.counts.failed++
		}
	}
	p.wrong("the cluster does not come to its definition: %s", p.stuck())
}

// check looks at what there is in the end.
func (p *player) check() {
	before := len(p.Cloud.Effects())
	p.counts.asked++
	var again []api.Operation
	answered := p.ask(fmt.Sprintf("%d apply the same", p.counts.asked), func(ctx context.Context) (string, error) {
		ops, err := p.Apply(ctx, definition(3, 1))
		again = ops
		return fmt.Sprintf("%d operations", len(ops)), err
	})
	if !p.run(time.Now().Add(patience), answered) {
		p.wrong("no answer after %s", patience)
	}
	if len(again) > 0 {
		p.wrong("the same definition once more made operation %d", again[0].ID)
	}
	p.run(time.Now().Add(time.Minute), never)
	if n := len(p.Cloud.Effects()) - before; n > 0 {
		p.wrong("the same definition once more had %d effects", n)
	}
	for _, w := range sim.Twice(p.Cloud.Effects()) {
		p.wrong("%s", w)
	}
	p.checkNodes(true)
	p.checkOnce()
	if st, err := p.Manager.Get(context.Background(), "c"); err != nil || st.State != api.StateReady || len(st.Nodes) != 4 {
		p.wrong("the cluster is %s with %d nodes: %s %v", st.State, len(st.Nodes), st.Message, err)
	}
	for i, e := range p.Cloud.Effects() {
		p.note("effect %d: %s was %s by %q", i, e.Node, e.What, e.Call)
	}
	p.view(func(tx *store.Tx) error {
		ops, err := tx.Operations("", 1000)
		p.counts.operations = len(ops)
		for _, o := range ops {
			p.note("operation %d: %s is %s", o.ID, o.Kind, o.State)
		}
		return err
	})
}
