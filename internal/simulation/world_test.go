package simulation

import (
	"fmt"
	"math/rand/v2"
	"time"

	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/infra/sim"
)

// target is a cluster that users of a seed's world ask for.
type target struct {
	name  string
	least int  // of its workers that it gets along with; 0 for all
	brief bool // it keeps nothing, and is given times to live
}

const (
	settled = 3 // workers of each cluster in the end
	nodeMB  = 100
	// shortest is a time to live with one warning, a minute before its end.
	shortest = 90 * time.Second
)

// plain is of how many seeds one has a world of one cluster that wants all its nodes,
// for ever: the world of the seeds that were kept before there were others.
const plain = 5

// drawTargets draws the clusters of a seed's world.
func drawTargets(r *rand.Rand, seed uint64) []target {
	if seed%plain == 0 {
		return []target{{name: "c"}}
	}
	all := make([]target, []int{1, 1, 2, 2, 2, 3}[r.IntN(6)])
	for i := range all {
		all[i] = target{name: string(rune('c' + i)), least: max(0, r.IntN(4)-1), brief: r.IntN(4) == 0}
	}
	return all
}

// brief is a stack that keeps nothing.
const brief = `
-- brief/stack.yaml --
name: brief
summary: a toy that keeps nothing
version: "1"
java: {min: 17}
artifacts: {}
roles:
  head: {services: [headd], memoryMB: 100, removable: {when: "false", message: the head stays}}
  worker: {services: [workd], memoryMB: 100}
services:
  headd:
    command: [headd]
    ready: {message: headd answers, tcp: "${self.ip}:70", max: 10s}
  workd:
    command: [workd, "${role.head[0].ip}"]
    ready: {message: workd answers, tcp: "${self.ip}:71", max: 10s}
    files:
      b.conf: {format: properties, user: brief/b}
smoke: {on: head, steps: [{title: try it, command: ["true"]}]}
default: {nodeGroups: [{name: head, roles: [head], instanceNum: 1}, {name: worker, roles: [worker], instanceNum: 2}]}
`

// stack is what the cluster is made of.
func (t target) stack() string {
	if t.brief {
		return "brief"
	}
	return "toy"
}

// definition is the cluster with some workers; reload changes what a file of theirs says.
func (t target) definition(workers, reload int, ttl time.Duration) string {
	text := fmt.Sprintf("name: %s\nstack: %s\nconfiguration: {%[2]s: {b: {k: v%d}}}\n", t.name, t.stack(), reload)
	if ttl > 0 {
		text += fmt.Sprintf("ttl: %s\n", ttl)
	}
	group := fmt.Sprintf("name: worker, roles: [worker], instanceNum: %d", workers)
	if least := min(t.least, workers); least > 0 {
		group += fmt.Sprintf(", minInstances: %d", least)
	}
	return text + "nodeGroups: [{name: head, roles: [head], instanceNum: 1}, {" + group + "}]\n"
}

// lack draws what keeps some of the cluster's workers from coming up.
func (t target) lack(r *rand.Rand) sim.Fault {
	f := []sim.Fault{
		{Do: sim.Fail, Kind: infra.KindQuota},
		{Do: sim.Fail, Kind: infra.KindCapacity},
		{Do: sim.NeverBoots},
	}[r.IntN(3)]
	f.Call, f.Node, f.Times = sim.CallCreate, fmt.Sprintf("%s-worker-%d", t.name, 1+r.IntN(4)), 1+r.IntN(3)
	return f
}

// ttl draws a time to live; 0 for none.
func (p *player) ttl(t target) time.Duration {
	if !t.brief {
		return 0
	}
	return []time.Duration{0, shortest, 4 * time.Minute, 15 * time.Minute}[p.more.IntN(4)]
}
