package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/number"
	"howdah.dev/howdah/internal/store"
)

// warnings is how long before the end of a cluster's time to live its users are
// told. Those that are not shorter than the time to live fall away.
var warnings = [...]time.Duration{time.Hour, 10 * time.Minute, time.Minute} //nolint:gochecknoglobals // a constant

// What has been done about the end of a cluster, in store.Cluster.Expiry: so many
// warnings have been given or fall away, and then:
const (
	expiryTold  = len(warnings) + 1 // that it ended and what holds the cluster was told
	expiryAsked = len(warnings) + 2 // its deletion was asked for
)

// expiryPoll is the longest time between two looks: a clock that was set is
// noticed then, and that nothing holds a cluster any more.
const expiryPoll = 30 * time.Second

// causeExpired is why a cluster is deleted whose time to live ended.
const causeExpired = "its time to live ended"

// Clock is what the ends of clusters are measured by.
type Clock struct {
	Wall   func() time.Time     // may be set forth and back
	Steady func() time.Duration // since some moment; never set
}

func systemClock() Clock {
	began := time.Now()
	return Clock{Wall: time.Now, Steady: func() time.Duration { return time.Since(began) }}
}

// lives sets a cluster's time to live; it begins anew only when it changes.
func lives(c *store.Cluster, ttl time.Duration, now time.Time) (changed bool) {
	if c.TTL == ttl {
		return false
	}
	c.TTL, c.Expires, c.Expiry = ttl, time.Time{}, 0
	if ttl > 0 {
		c.Expires = now.Add(ttl)
		for c.Expiry < len(warnings) && warnings[c.Expiry] >= ttl {
			c.Expiry++
		}
	}
	return true
}

// expireClusters does what the ends of clusters ask for, until ctx ends.
func (m *Manager) expireClusters(ctx context.Context) {
	sub := m.cfg.Store.Subscribe(store.TopicExpiry)
	defer sub.Close()
	for ctx.Err() == nil {
		next, err := m.expire(ctx)
		if err != nil && ctx.Err() == nil {
			m.cfg.Log.Warn("cannot look for clusters whose time to live ends", "error", err)
		}
		t := time.NewTimer(min(next, expiryPoll))
		select {
		case <-ctx.Done():
		case <-sub.C:
		case <-t.C:
		}
		t.Stop()
	}
}

// expire looks at each cluster with a time to live once and returns how long until
// something is due.
func (m *Manager) expire(ctx context.Context) (next time.Duration, err error) {
	var all []store.Cluster
	err = m.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.ExpiringClusters()
		return err
	})
	next = expiryPoll
	for _, c := range all {
		for {
			wait := m.untilDue(c)
			if wait > 0 {
				next = min(next, wait)
				break
			}
			before := c.Expiry
			if c, err = m.expireOne(ctx, c.ID); err != nil {
				return next, err
			}
			if c.Expiry == before {
				break
			}
		}
	}
	return next, err
}

// untilDue is how long until the next thing about a cluster's end is to be done;
// not more than 0 when it is due. Between the last warning and the end there is
// always as much time as the warning says, also when the server was away or its
// clock was set: measured by a clock nobody sets, at most from this server's start.
func (m *Manager) untilDue(c store.Cluster) time.Duration {
	left := c.Expires.Sub(m.clock.Wall())
	switch {
	case c.Expiry < len(warnings):
		return left - warnings[c.Expiry]
	case c.Expiry >= expiryAsked || c.Intent == agentapi.IntentGone:
		return expiryPoll
	}
	if last := warnings[len(warnings)-1]; c.TTL > last {
		m.mu.Lock()
		warned := m.warned[c.ID]
		m.mu.Unlock()
		left = max(left, warned+last-m.clock.Steady())
	}
	return left
}

// expireOne does the one thing that is due about a cluster's end.
func (m *Manager) expireOne(ctx context.Context, id string) (c store.Cluster, err error) {
	warned := false
	err = m.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if c, err = tx.ClusterByID(id); err != nil {
			return err
		}
		if c.Expires.IsZero() || m.untilDue(c) > 0 {
			return nil // an apply or a deletion came between
		}
		held, err := m.holds(tx, c)
		if err != nil {
			return err
		}
		if warned = c.Expiry < len(warnings); warned {
			c.Expiry++
			return putExpiry(tx, c, "cluster.expiring", m.warning(c, held))
		}
		return m.end(tx, &c, held)
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err == nil && warned:
		m.warned[id] = m.clock.Steady()
	case c.Expiry == expiryAsked:
		delete(m.warned, id)
	}
	return c, err
}

// end deletes a cluster whose time to live ended, unless something holds it.
func (m *Manager) end(tx *store.Tx, c *store.Cluster, held []string) error {
	if len(held) > 0 {
		if c.Expiry == expiryTold {
			return nil
		}
		c.Expiry = expiryTold
		return putExpiry(tx, *c, "cluster.expired", m.ended(*c, held))
	}
	c.Expiry = expiryAsked
	if err := tx.PutCluster(*c); err != nil {
		return err
	}
	open, err := tx.OpenOperations()
	if err != nil {
		return err
	}
	for _, o := range open {
		if o.Cluster == c.ID && o.Kind == opDelete {
			return nil // somebody was faster
		}
	}
	_, err = submit(tx, *c, opDelete, "", asked{by: byItself, cause: causeExpired})
	return err
}

func putExpiry(tx *store.Tx, c store.Cluster, kind, message string) error {
	if err := tx.PutCluster(c); err != nil {
		return err
	}
	return tx.Event(api.Event{Type: kind, Cluster: c.Name, Message: message, Data: map[string]any{"expires": c.Expires.UTC().Format(time.RFC3339)}})
}

// warning says that a cluster's time to live is about to end.
func (m *Manager) warning(c store.Cluster, held []string) string {
	left := c.Expires.Sub(m.clock.Wall())
	text := fmt.Sprintf("the time to live of %s ends in %s, at %s", c.Name, words(left), c.Expires.UTC().Format(time.DateTime)+" UTC")
	if left <= 0 {
		text = fmt.Sprintf("the time to live of %s ended %s ago", c.Name, words(-left))
	}
	switch {
	case len(held) > 0:
		return text + "; it is not deleted then: " + strings.Join(held, "; ")
	case left <= 0:
		return fmt.Sprintf("%s; it is deleted in %s unless it is applied with another ttl", text, words(warnings[len(warnings)-1]))
	}
	return text + "; it is deleted then unless it is applied with another ttl"
}

// ended says that a cluster's time to live ended, what holds the cluster, and what
// to do.
func (m *Manager) ended(c store.Cluster, held []string) string {
	return fmt.Sprintf("its time to live of %s ended at %s; it is not deleted by itself: %s; to destroy it: howdah delete %s --yes --destroy-data %s; to keep it, apply it with another ttl or none",
		words(c.TTL), c.Expires.UTC().Format(time.DateTime)+" UTC", strings.Join(held, "; "), c.Name, c.Name)
}

// expired is the condition of a cluster whose time to live ended; false before.
func (m *Manager) expired(tx *store.Tx, c store.Cluster, current *store.Operation) (api.Condition, bool, error) {
	if c.Expires.IsZero() || c.Intent == agentapi.IntentGone || m.clock.Wall().Before(c.Expires) {
		return api.Condition{}, false, nil
	}
	cond := api.Condition{Type: api.ConditionExpired, Status: true, Since: &c.Expires}
	held, err := m.holds(tx, c)
	switch {
	case c.Expiry == expiryAsked && current != nil && current.Kind == opDelete:
		cond.Reason, cond.Message = "Due", fmt.Sprintf("its time to live of %s ended; it is being deleted", words(c.TTL))
	case c.Expiry == expiryAsked:
		cond.Reason = "TakenBack"
		cond.Message = fmt.Sprintf("its time to live of %s ended, and its deletion was taken back; delete it, or apply it with another ttl or none", words(c.TTL))
	case len(held) > 0:
		cond.Reason, cond.Message = "Held", m.ended(c, held)
	default:
		cond.Reason, cond.Message = "Due", fmt.Sprintf("its time to live of %s ended; it is deleted in a minute or less", words(c.TTL))
	}
	return cond, true, err
}

// words writes a time span for people, to the nearest second.
func words(d time.Duration) string { return number.Span(d.Round(time.Second)) }
