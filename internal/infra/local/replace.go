package local

import (
	"context"
	"fmt"
	"time"

	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/node/proc"
)

// agentGrace is how long an agent may take to end before it is killed; it holds
// nothing that a killed one would lose.
const agentGrace = 5 * time.Second

// ReplaceAgent ends the agent of a node and starts the present program in its
// place. An agent is known by its labels and the kernel's own handle of its
// process; what it supervises is in other sessions and goes on.
func (d *Driver) ReplaceAgent(ctx context.Context, ref infra.Ref) error {
	c, err := d.claimOf(ref)
	if err != nil {
		return err
	}
	if !c.Powered {
		return infra.Errorf(infra.KindConflict, "node %s is off; its agent starts with it", ref.Name)
	}
	all, err := proc.List(c.Key)
	if err != nil {
		return fmt.Errorf("cannot find the agent of %s: %w", ref.Name, err)
	}
	for _, p := range all {
		if p.Service != "agent" {
			continue
		}
		rec, ok := proc.Find(p.Labels)
		if !ok || rec.PID != p.PID {
			continue // something an agent started
		}
		agent, ok := proc.Adopt(rec)
		if !ok {
			continue // it has ended meanwhile
		}
		if _, err := agent.Stop(ctx, agentGrace); err != nil {
			return fmt.Errorf("cannot end the agent of %s: %w", ref.Name, err)
		}
	}
	return d.startAgent(d.dir(ref))
}
