package cluster

import (
	"context"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/infra/limit"
	"howdah.dev/howdah/internal/op"
)

// limited gives each driver's calls their turns.
func limited(drivers map[string]infra.Driver) map[string]*limit.Driver {
	out := make(map[string]*limit.Driver, len(drivers))
	for name, d := range drivers {
		out[name] = limit.New(d)
	}
	return out
}

// inTurn is a kind of step that calls a driver: the engine knows while it only
// waits for its turn, so that it can be dropped then.
func inTurn(do op.KindFunc) op.Kind {
	return op.KindFunc(func(ctx context.Context, c op.Call) op.Result {
		if c.Waits != nil {
			ctx = limit.Watched(ctx, c.Waits)
		}
		return do(ctx, c)
	})
}

// turns says of steps that call a driver and wait for their turn what they
// wait for. Nothing of it is stored: it changes with every call.
func (m *Manager) turns(steps []api.Step) {
	for i := range steps {
		if steps[i].State != api.StepDoing || steps[i].Node == "" {
			continue
		}
		for _, d := range m.drivers {
			if w := d.Waits(steps[i].Node); w != "" {
				steps[i].Waiting = w
			}
		}
	}
}
