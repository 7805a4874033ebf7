package cluster

import (
	"context"

	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/op"
)

// doPowerOn switches a node on.
func (m *Manager) doPowerOn(ctx context.Context, c op.Call) op.Result { return m.power(ctx, c, true) }

// doPowerOff switches a node off.
func (m *Manager) doPowerOff(ctx context.Context, c op.Call) op.Result {
	return m.power(ctx, c, false)
}

func (m *Manager) power(ctx context.Context, c op.Call, on bool) op.Result {
	n, d, err := m.machine(ctx, c)
	if err != nil {
		return op.Fail(err)
	}
	if err := d.Power(ctx, ref(c.Operation.Name, n), on); err != nil {
		if !on && infra.KindOf(err) == infra.KindNotFound {
			return op.Done(nil)
		}
		return driverResult(err)
	}
	return op.Done(nil)
}
