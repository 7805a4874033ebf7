package worker

import (
	"context"
	"time"

	"howdah.dev/howdah/internal/cell/workerapi"
)

const (
	maxResend  = 10 * time.Minute
	retryAfter = time.Second // when a call failed
)

// delivery is how far one task's statuses have come.
type delivery struct {
	uuid string // of the status that is under way
	link *link  // that it went over
	due  time.Time
	wait time.Duration // for its acknowledgement
}

// deliver sends the task's statuses to the master, one at a time, the next after the
// acknowledgement, until the last is acknowledged.
func (t *task) deliver(ctx context.Context) {
	var d delivery
	for {
		link, linkNews := t.w.current()
		t.mu.Lock()
		rec, news := t.rec, t.news
		t.mu.Unlock()
		if len(rec.Pending) == 0 && rec.Phase == phaseEnded {
			t.w.retain()
			return
		}
		var due <-chan time.Time
		if len(rec.Pending) > 0 && link != nil {
			t.send(ctx, &d, link, &rec)
			due = time.After(time.Until(d.due))
		}
		select {
		case <-ctx.Done():
			return
		case <-linkNews:
		case <-news:
		case <-due:
		}
	}
}

// send sends the first pending status if it is time.
func (t *task) send(ctx context.Context, d *delivery, to *link, rec *record) {
	first := rec.Pending[0]
	if id := string(first.UUID); id != d.uuid || to != d.link {
		*d = delivery{uuid: id, link: to, due: time.Now(), wait: t.w.cfg.Resend}
		if to.told[id] { // with the registration
			d.due = d.due.Add(d.wait)
		}
	}
	if time.Now().Before(d.due) {
		return
	}
	if err := t.w.call(ctx, to, workerapi.Call{Type: workerapi.CallUpdate, Update: &workerapi.Update{
		FrameworkID: rec.FrameworkID, Status: first, Latest: rec.Status.State,
	}}); err != nil {
		t.log.Warn("cannot tell the master", "error", err)
		d.due = time.Now().Add(retryAfter)
		return
	}
	d.due = time.Now().Add(d.wait)
	d.wait = min(2*d.wait, maxResend)
}
