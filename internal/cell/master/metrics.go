package master

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strings"

	"howdah.dev/howdah/internal/cell/mesos"
)

// counts are numbers that only grow, by Mesos's names without "master/".
type counts struct{ n map[string]int }

func newCounts() counts {
	c := counts{n: map[string]int{}}
	for _, name := range []string{
		"tasks_launched", "tasks_finished", "tasks_failed", "tasks_killed", "tasks_error", "tasks_lost", "tasks_dropped", "tasks_gone",
		"messages_register_framework", "messages_register_slave", "messages_status_update", "messages_accept_offers",
		"messages_decline_offers", "messages_kill_task", "messages_reconcile_tasks", "messages_revive_offers", "messages_suppress_offers",
		"messages_status_update_acknowledgement", "messages_events", "offers",
	} {
		c.n[name] = 0
	}
	return c
}

func (c *counts) add(name string) { c.n[name]++ }

func (c *counts) addN(name string, n int) { c.n[name] += n }

// state counts a status that ends a task.
func (c *counts) state(s mesos.TaskStatus) {
	if s.State.Terminal() && s.Reason != mesos.ReasonReconciliation {
		c.n["tasks_"+strings.ToLower(strings.TrimPrefix(string(s.State), "TASK_"))]++
	}
}

// measure is all numbers of this moment, by Mesos's names.
func (c *core) measure() map[string]float64 {
	out := map[string]float64{
		"master/uptime_secs": c.now.Sub(c.started).Seconds(), "master/elected": 1, "master/outstanding_offers": float64(len(c.offers)),
		"master/frameworks_active": 0, "master/frameworks_connected": 0, "master/frameworks_disconnected": 0, "master/frameworks_inactive": 0,
		"master/slaves_active": 0, "master/slaves_connected": 0, "master/slaves_disconnected": 0, "master/slaves_inactive": 0,
		"master/slaves_unreachable": 0, "master/tasks_staging": 0, "master/tasks_starting": 0, "master/tasks_running": 0,
		"master/tasks_killing": 0, "master/tasks_unreachable": 0,
	}
	for name, n := range c.counts.n {
		out["master/"+name] = float64(n)
	}
	for _, f := range c.frameworks {
		if f.out != nil {
			out["master/frameworks_active"]++
			out["master/frameworks_connected"]++
		} else {
			out["master/frameworks_inactive"]++
			out["master/frameworks_disconnected"]++
		}
		for _, t := range f.tasks {
			if !t.status.State.Terminal() {
				out["master/tasks_"+strings.ToLower(strings.TrimPrefix(string(t.status.State), "TASK_"))]++
			}
		}
	}
	var total, used mesos.Resources
	for _, w := range c.workers {
		switch w.state {
		case connected:
			out["master/slaves_active"]++
			out["master/slaves_connected"]++
			total, used = total.Add(w.total), used.Add(w.used)
		case unreachable:
			out["master/slaves_unreachable"]++
		default:
			out["master/slaves_inactive"]++
			out["master/slaves_disconnected"]++
		}
	}
	for _, name := range []string{"cpus", "mem", "disk", "gpus"} {
		have, taken := total.Scalar(name), used.Scalar(name)
		out["master/"+name+"_total"], out["master/"+name+"_used"], out["master/"+name+"_percent"] = have, taken, 0
		if have > 0 {
			out["master/"+name+"_percent"] = taken / have
		}
	}
	return out
}

func (m *Master) measure(ctx context.Context) (map[string]float64, error) {
	made := make(chan map[string]float64, 1)
	if err := m.do(ctx, func(c *core) { made <- c.measure() }); err != nil {
		return nil, err
	}
	out := <-made
	maps.Copy(out, map[string]float64{"master/event_queue_messages": float64(len(m.inbox))})
	return out, nil
}

func (m *Master) metrics(r *http.Request) ([]byte, error) {
	all, err := m.measure(r.Context())
	if err != nil {
		return nil, err
	}
	return json.Marshal(all)
}
