package simulation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
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

	beside  int // attempts at steps while another cluster's operation ran
	without int // operations that were done without some nodes
	expired int // clusters whose time to live ended
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
	c.beside += o.beside
	c.without += o.without
	c.expired += o.expired
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
		p.expire()
		p.checkOperations()
		p.account()
		v = verdict{seed: seed, digest: p.digest(), broken: p.broken, last: p.last(), trace: p.lines, counts: p.counts}
		v.counts.points, v.counts.lives, v.counts.twice, v.counts.beside, v.counts.effects = p.points, p.lives, p.doubles, p.beside, len(p.Cloud.Effects())
	})
	return v
}

// player plays a seed.
type player struct {
	*lab
	rng    *rand.Rand
	more   *rand.Rand // what is drawn beside that, for worlds of more than one plain cluster
	all    []target
	counts counts
	chance struct{ hold, twice float64 }
	dieIn  int  // releases until the server dies next
	dies   int  // how often it still will
	quiet  bool // nothing goes wrong any more
}

func newPlay(t *testing.T, seed uint64) *player {
	t.Helper()
	p := &player{rng: rand.New(rand.NewPCG(seed, 0)), more: rand.New(rand.NewPCG(seed, 1))} //nolint:gosec // repeatable, not secret
	p.all = drawTargets(p.more, seed)
	p.chance.hold = []float64{0, 0.02, 0.1}[p.rng.IntN(3)]
	p.chance.twice = []float64{0, 0.05, 0.5}[p.rng.IntN(3)]
	p.dies = []int{0, 1, 2, 5}[p.rng.IntN(4)]
	p.dieIn = p.rng.IntN(120)
	p.lab = newLab(t, simtest.Config{Sim: p.infrastructure(seed), Stacks: simtest.Toy + brief})
	p.choose = p.next
	p.note("seed %d: dies %d times; %+v", seed, p.dies, p.all)
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
	if n := len(p.all); n > 1 && p.more.IntN(3) == 0 { // room for what there is in the end, and little more
		c.MemoryMB = nodeMB * (n*(1+settled) + p.more.IntN(n+1))
	}
	for _, t := range p.all {
		if t.least > 0 || len(p.all) > 1 && p.more.IntN(4) == 0 {
			c.Faults = append(c.Faults, t.lack(p.more))
		}
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
	for range 3 + p.rng.IntN(8) + p.more.IntN(2*len(p.all)-1) {
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
	t := p.all[p.more.IntN(len(p.all))]
	switch p.rng.IntN(14) {
	case 0, 1, 2, 3, 4:
		p.define(t, 1+p.rng.IntN(4), p.rng.IntN(3), p.ttl(t))
	case 5:
		p.want(t, "stop", func(ctx context.Context) (string, error) { return told(p.Manager.Stop(ctx, t.name, false)) })
	case 6, 7:
		p.want(t, "start", func(ctx context.Context) (string, error) { return told(p.Manager.Start(ctx, t.name)) })
	case 8:
		p.want(t, "delete", func(ctx context.Context) (string, error) { return told(p.Manager.Delete(ctx, t.name, t.name)) })
	case 9:
		p.want(t, "retry", func(ctx context.Context) (string, error) {
			return "", p.Manager.Engine().Retry(ctx, p.newest(t).ID, 0)
		})
	case 10:
		p.want(t, "cancel", func(ctx context.Context) (string, error) {
			return "", p.Manager.Engine().Cancel(ctx, p.newest(t).ID)
		})
	case 11:
		p.want(t, "smoke", func(ctx context.Context) (string, error) { return told(p.Manager.Smoke(ctx, t.name)) })
	case 12:
		p.counts.asked++
		if node := p.victim(); node != "" {
			p.note("%s loses its power", node)
			p.Cloud.Die(node)
		}
	case 13:
		p.counts.asked++
		if node := p.victim(); node != "" {
			p.note("the agent of %s dies", node)
			p.Cloud.Crash(node)
		}
	}
}

// want has a user ask for something about a cluster.
func (p *player) want(t target, what string, do func(context.Context) (string, error)) (answered func() bool) {
	p.counts.asked++
	if len(p.all) > 1 {
		what += " " + t.name
	}
	return p.ask(fmt.Sprintf("%d %s", p.counts.asked, what), do)
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

func (p *player) define(t target, workers, reload int, ttl time.Duration) (answered func() bool) {
	what := fmt.Sprintf("apply %d workers, configuration %d", workers, reload)
	if ttl > 0 {
		what += ", for " + ttl.String()
	}
	return p.want(t, what, func(ctx context.Context) (string, error) {
		ops, err := p.Apply(ctx, t.definition(workers, reload, ttl))
		if err != nil || len(ops) == 0 {
			return "nothing to do", err
		}
		return told(&ops[0], nil)
	})
}

// newest is the newest operation of a cluster; the zero value without any.
func (p *player) newest(t target) (o store.Operation) {
	p.view(func(tx *store.Tx) error {
		ops, err := tx.Operations(t.name, 1)
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
			err := p.Cloud.Power(ctx, n.Ref, true)
			cancel()
			failed = err != nil && infra.KindOf(err) != infra.KindNotFound // it may have been removed meanwhile
			p.run(time.Now().Add(time.Second), never)
		}
	}
}

// ends waits until no operation goes on; then each is final, or failed with a reason.
func (p *player) ends() {
	if !p.run(time.Now().Add(patience), p.rest) {
		p.wrong("after %s without trouble an operation still goes on: %s", patience, p.stuck())
	}
	for _, t := range p.all {
		if o := p.newest(t); o.State == api.OperationFailed && o.Reason == "" {
			p.wrong("operation %d failed without a reason", o.ID)
		}
		p.checkNewest(t)
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

// settle brings the clusters to a definition, as a user does who reads what is said.
func (p *player) settle() {
	open := p.all
	for range 12 {
		var left []target
		for _, t := range open {
			if !p.settleOne(t) {
				left = append(left, t)
			}
		}
		if len(left) == 0 {
			if left = p.lacking(); len(left) == 0 {
				return
			}
		}
		open = left
		p.counts.failed++
	}
	p.wrong("%+v do not come to their definitions: %s", open, p.stuck())
}

// lacking waits until the clusters have what they got along without, which comes by
// itself, and returns those that have not.
func (p *player) lacking() (left []target) {
	for end := time.Now().Add(patience); time.Now().Before(end); p.run(time.Now().Add(repairLook), never) {
		left = nil
		failed := false
		for _, t := range p.all {
			if t.least > 0 && !p.whole(t) {
				left = append(left, t)
				failed = failed || p.newest(t).State == api.OperationFailed
			}
		}
		if len(left) == 0 || failed {
			return left
		}
	}
	return left
}

// repairLook is the time between two looks at clusters that lack nodes.
const repairLook = 5 * time.Second

// settleOne asks for what brings a cluster nearer to its definition, and tells whether
// it is there.
func (p *player) settleOne(t target) bool {
	there, newest := p.row(t), p.newest(t)
	failed := newest.State == api.OperationFailed
	var answered func() bool
	defined := false
	switch {
	case there.Intent == "gone" || failed && strings.Contains(newest.Reason, "DataMissing"):
		// A deletion that was taken back had removed data, which nothing brings back.
		if !p.wasDeleting(t) {
			p.wrong("%s lost data that nobody deleted: %s", t.name, newest.Reason)
			return true
		}
		answered = p.want(t, "delete", func(ctx context.Context) (string, error) { return told(p.Manager.Delete(ctx, t.name, t.name)) })
	case failed && strings.HasPrefix(p.said, "refused: "):
		// What a removal that failed has not given back may be the room that is missing.
		answered = p.want(t, "retry", func(ctx context.Context) (string, error) {
			return fmt.Sprintf("operation %d", newest.ID), p.Manager.Engine().Retry(ctx, newest.ID, 0)
		})
	case there.ID != "" && there.Intent != "run":
		answered = p.want(t, "start", func(ctx context.Context) (string, error) { return told(p.Manager.Start(ctx, t.name)) })
	default:
		answered, defined = p.define(t, settled, 1, 0), true
	}
	if !p.run(time.Now().Add(patience), answered) {
		p.wrong("no answer after %s", patience)
		return true
	}
	said := p.said
	p.power()
	p.ends()
	return defined && (said == "nothing to do" || p.done(said))
}

// wasDeleting tells whether somebody began to delete a cluster.
func (p *player) wasDeleting(t target) (is bool) {
	p.view(func(tx *store.Tx) error {
		ops, err := tx.Operations(t.name, 100)
		is = slices.ContainsFunc(ops, func(o store.Operation) bool { return o.Kind == "delete" })
		return err
	})
	return is
}

// done tells whether an operation is that somebody was told of.
func (p *player) done(said string) (is bool) {
	var id int64
	if _, err := fmt.Sscanf(said, "operation %d", &id); err != nil {
		return false
	}
	p.view(func(tx *store.Tx) error {
		o, err := tx.Operation(id)
		is = o.State == api.OperationDone
		return err
	})
	return is
}

// row is a cluster's; the zero value without any.
func (p *player) row(t target) (c store.Cluster) {
	p.view(func(tx *store.Tx) (err error) {
		if c, err = tx.Cluster(t.name); errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	return c
}

// whole tells whether a cluster has all its nodes, and nothing is done to it.
func (p *player) whole(t target) bool {
	running := 0
	p.view(func(tx *store.Tx) error {
		c, err := tx.Cluster(t.name)
		if err != nil {
			return err
		}
		nodes, err := tx.Nodes(c.ID)
		for _, n := range nodes {
			if n.Intent == "run" {
				running++
			}
		}
		return err
	})
	return running == 1+settled && p.newest(t).State.Final()
}

// check looks at what there is in the end.
func (p *player) check() {
	before := len(p.Cloud.Effects())
	for _, t := range p.all {
		var again []api.Operation
		answered := p.want(t, "apply the same", func(ctx context.Context) (string, error) {
			ops, err := p.Apply(ctx, t.definition(settled, 1, 0))
			again = ops
			return fmt.Sprintf("%d operations", len(ops)), err
		})
		if !p.run(time.Now().Add(patience), answered) {
			p.wrong("no answer after %s", patience)
		}
		if len(again) > 0 {
			p.wrong("the same definition once more made operation %d", again[0].ID)
		}
	}
	p.run(time.Now().Add(time.Minute), never)
	if n := len(p.Cloud.Effects()) - before; n > 0 {
		p.wrong("the same definition once more had %d effects", n)
	}
	p.checkNodes(true)
	p.checkOnce()
	for _, t := range p.all {
		if st, err := p.Manager.Get(context.Background(), t.name); err != nil || st.State != api.StateReady || len(st.Nodes) != 1+settled {
			p.wrong("%s is %s with %d nodes: %s %v", t.name, st.State, len(st.Nodes), st.Message, err)
		}
	}
}

// expire gives a cluster a time to live, if there is one that may end, and waits for it.
func (p *player) expire() {
	i := slices.IndexFunc(p.all, func(t target) bool { return t.brief })
	if i < 0 {
		return
	}
	t := p.all[i]
	if !p.run(time.Now().Add(patience), p.define(t, settled, 1, shortest)) {
		p.wrong("no answer after %s", patience)
	}
	if !p.run(time.Now().Add(patience), func() bool { return p.row(t).ID == "" || p.newest(t).State == api.OperationFailed }) {
		p.wrong("the time to live of %s ended %s ago and it is there: %s", t.name, patience, p.stuck())
	}
	p.ends()
	p.checkNodes(true)
}

// account writes down what came of all.
func (p *player) account() {
	for _, w := range sim.Twice(p.checkAnew(p.Cloud.Effects())) {
		p.wrong("%s", w)
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
