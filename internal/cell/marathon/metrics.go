package marathon

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/internal/cell/scheduler"
	"howdah.dev/howdah/internal/tenant"
)

// metric is one figure, under the name that Marathon has for it where it has one.
type metric struct {
	name    string // with dots
	help    string
	value   float64
	counter bool // it only grows
}

// appMetrics are the figures of one app; Howdah's own, for Prometheus alone.
type appMetrics struct {
	id             string
	wanted, queued int
	delay          time.Duration // until the next launch
	counts
}

// measureApps counts the instances of a caller's apps.
func measureApps(v scheduler.View, who tenant.Token) []appMetrics {
	var out []appMetrics
	for at := range v.Apps() {
		if !owns(who, at.Spec.ID) {
			continue
		}
		m := appMetrics{id: at.Spec.ID, wanted: at.Spec.Instances, counts: *count(at.Spec, v.Instances(at.Spec.ID))}
		if q := v.Queued(at.Spec.ID); q != nil {
			m.queued, m.delay = q.Count, max(0, time.Until(at.Backoff.Until))
		}
		out = append(out, m)
	}
	return out
}

// measure returns what the caller may know of this moment.
func (a *API) measure(who tenant.Token) (all []metric, apps []appMetrics) {
	var groups, deployments int
	a.engine.View(func(v scheduler.View) {
		apps = measureApps(v, who)
		for g := range v.Groups() {
			if owns(who, g.ID) {
				groups++
			}
		}
		deployments = len(deploymentsOf(v, who))
	})
	var sum appMetrics
	for _, m := range apps {
		sum.queued += m.queued
		sum.Staged, sum.Running, sum.Healthy, sum.Unhealthy = sum.Staged+m.Staged, sum.Running+m.Running, sum.Healthy+m.Healthy, sum.Unhealthy+m.Unhealthy
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	up := time.Since(a.started).Seconds()
	all = []metric{
		{"marathon.apps.active.gauge", "Apps.", float64(len(apps)), false},
		{"marathon.groups.active.gauge", "Groups that were made as such.", float64(groups), false},
		{"marathon.deployments.active.gauge", "Deployments on their way.", float64(deployments), false},
		{"marathon.instances.staged.gauge", "Instances that are being started.", float64(sum.Staged), false},
		{"marathon.instances.running.gauge", "Instances that run.", float64(sum.Running), false},
		{"marathon.instances.healthy.gauge", "Instances whose health checks pass.", float64(sum.Healthy), false},
		{"marathon.instances.unhealthy.gauge", "Instances whose health checks fail.", float64(sum.Unhealthy), false},
		{"marathon.instances.queued.gauge", "Instances that wait for a worker.", float64(sum.queued), false},
		{"marathon.leadership.duration.gauge.seconds", "For how long this scheduler leads.", up, false},
		{"marathon.uptime.gauge.seconds", "For how long the process runs.", up, false},
		{"marathon.jvm.memory.heap.used.gauge.bytes", "Memory of the process's heap.", float64(memory.HeapAlloc), false},
		{"marathon.http.requests.active.gauge", "Requests being answered.", float64(len(a.slots)), false},
		{"marathon.http.event-streams.active.gauge", "Clients that listen for events.", float64(a.openStreams(who)), false},
	}
	if who.Project == tenant.DefaultProject { // what happened is everybody's together
		all = append(all, a.hub.counters()...)
	}
	return all, apps
}

// openStreams counts the streams of a caller's project; the default project sees all.
func (a *API) openStreams(who tenant.Token) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for project, open := range a.streams {
		if project == who.Project || who.Project == tenant.DefaultProject {
			n += open
		}
	}
	return n
}

// counters are how often things happened since the process began.
func (h *Hub) counters() []metric {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []metric{
		{"marathon.deployments.counter", "Deployments begun.", float64(h.counts["deployment_info"]), true},
		{"marathon.deployments.failed.counter", "Deployments that were given up.", float64(h.counts["deployment_failed"]), true},
		{"marathon.deployments.succeeded.counter", "Deployments that are through.", float64(h.counts["deployment_success"]), true},
	}
	for _, state := range slices.Sorted(maps.Keys(h.states)) {
		name := strings.ReplaceAll(strings.ToLower(string(state)), "_", "-")
		out = append(out, metric{"marathon.mesos.task-updates." + name + ".counter", "Updates of tasks to " + string(state) + ".", float64(h.states[state]), true})
	}
	return out
}

func (a *API) metricsJSON(w http.ResponseWriter, c *call) (any, error) {
	if scrapes(c.Request) {
		return a.metricsText(w, c)
	}
	gauges, counters := map[string]any{}, map[string]any{}
	all, _ := a.measure(c.who)
	for _, m := range all {
		if m.counter {
			counters[m.name] = map[string]int64{"count": int64(m.value)}
		} else {
			gauges[m.name] = map[string]float64{"value": m.value}
		}
	}
	empty := map[string]any{}
	return map[string]any{"version": "4.0.0", "gauges": gauges, "counters": counters, "histograms": empty, "meters": empty, "timers": empty}, nil
}

// scrapes tells whether the client is Prometheus, or asks as it does.
func scrapes(r *http.Request) bool {
	return !accepts(r, "application/json") && (accepts(r, "text/plain") || accepts(r, "application/openmetrics-text"))
}

func (a *API) metricsText(w http.ResponseWriter, c *call) (any, error) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	all, apps := a.measure(c.who)
	for _, m := range all {
		name := strings.NewReplacer(".", "_", "-", "_").Replace(m.name)
		kind := "gauge"
		if m.counter {
			kind = "counter"
		}
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s %v\n", name, m.help, name, kind, name, m.value)
	}
	writeApps(w, apps)
	return nil, nil
}

// writeApps writes the figures of each app; ids have no characters to escape.
func writeApps(w io.Writer, apps []appMetrics) {
	for _, of := range []struct {
		name, help string
		value      func(*appMetrics) float64
	}{
		{"howdah_app_instances_wanted", "Instances an app should have.", func(m *appMetrics) float64 { return float64(m.wanted) }},
		{"howdah_app_instances_staged", "Instances of an app that are being started.", func(m *appMetrics) float64 { return float64(m.Staged) }},
		{"howdah_app_instances_running", "Instances of an app that run.", func(m *appMetrics) float64 { return float64(m.Running) }},
		{"howdah_app_instances_healthy", "Instances of an app whose health checks pass.", func(m *appMetrics) float64 { return float64(m.Healthy) }},
		{"howdah_app_instances_unhealthy", "Instances of an app whose health checks fail.", func(m *appMetrics) float64 { return float64(m.Unhealthy) }},
		{"howdah_app_instances_queued", "Instances of an app that wait for a worker.", func(m *appMetrics) float64 { return float64(m.queued) }},
		{"howdah_app_launch_delay_seconds", "How long the next launch of an app waits after failures.", func(m *appMetrics) float64 { return m.delay.Seconds() }},
	} {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s gauge\n", of.name, of.help, of.name)
		for i := range apps {
			fmt.Fprintf(w, "%s{app=%q} %v\n", of.name, apps[i].id, of.value(&apps[i]))
		}
	}
}
