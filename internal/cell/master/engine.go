package master

import (
	"context"
	"errors"
	"time"
)

const (
	inboxSize = 256
	batchSize = 256 // commands before what they did is saved and sent
)

var errStopped = errors.New("the master is stopping")

// command is a change of the core, or a look at it.
type command struct {
	do   func(*core)
	done chan struct{}
}

// do runs f in the engine and waits until what it did may be seen. When it returns
// an error, f may still run: f's results must not be looked at.
func (m *Master) do(ctx context.Context, f func(*core)) error {
	cmd := command{do: f, done: make(chan struct{})}
	select {
	case m.inbox <- cmd:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-m.ended:
		return errStopped
	}
	select {
	case <-cmd.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-m.ended:
		return errStopped
	}
}

// serve is the one writer.
func (m *Master) serve(ctx context.Context) error {
	tick := time.NewTicker(m.cfg.Cycle)
	defer tick.Stop()
	defer m.core.closeAll()
	var batch []command
	for {
		batch = batch[:0]
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			m.core.now = time.Now()
			m.core.tick()
		case cmd := <-m.inbox:
			batch = m.drain(append(batch, cmd))
			m.core.now = time.Now()
			for _, cmd := range batch {
				cmd.do(m.core)
			}
		}
		m.core.allocate()
		m.commit(batch)
	}
}

// drain takes what else is in the inbox, so that many share one write.
func (m *Master) drain(batch []command) []command {
	for len(batch) < batchSize {
		select {
		case cmd := <-m.inbox:
			batch = append(batch, cmd)
		default:
			return batch
		}
	}
	return batch
}

// commit writes what must outlive the process, then lets events, orders and
// answers go. A disk that cannot be written does not stop the cell: the workers
// know their tasks, and the write is tried again with the next batch.
func (m *Master) commit(batch []command) {
	if m.core.dirty {
		if err := save(m.file, m.core.saved); err != nil {
			m.cfg.Log.Error("cannot save the master's state", "err", err)
		} else {
			m.core.dirty = false
		}
	}
	for _, out := range m.core.touched {
		out.commit()
	}
	clear(m.core.touched)
	m.core.touched = m.core.touched[:0]
	for _, cmd := range batch {
		close(cmd.done)
	}
}
