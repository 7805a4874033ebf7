package marathon

import (
	"fmt"
	"html/template"
	"net/http"
	"runtime"
	"strings"
	"time"

	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/scheduler"
)

// compatible is the version of Marathon that clients are told: some switch
// features on and off by it.
const compatible = "1.11.0"

// ping answers without asking who calls.
func (a *API) ping(w http.ResponseWriter, r *http.Request) {
	accept := r.Header.Get("Accept")
	switch {
	case strings.Contains(accept, "application/json"):
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `"pong"`)
	case accept == "" || strings.Contains(accept, "text/") || strings.Contains(accept, "*/*"):
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(w, "pong")
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func (a *API) root(w http.ResponseWriter, c *call) (any, error) {
	http.Redirect(w, c.Request, "/ui/", http.StatusFound)
	return nil, nil
}

func (a *API) info(http.ResponseWriter, *call) (any, error) {
	var framework, master string
	a.engine.View(func(v scheduler.View) { framework, master = v.Framework() })
	return map[string]any{
		"name": "marathon", "version": compatible, "buildref": "howdah " + a.Version, "elected": true, "leader": a.Address,
		"frameworkId": nullable(framework),
		"marathon_config": map[string]any{
			"master": nullable(master), "mesos_leader_ui_url": a.MesosURL, "framework_name": "marathon", "ha": false, "checkpoint": true,
			"failover_timeout": 604800, "local_port_min": a.ServicePorts[0], "local_port_max": a.ServicePorts[1], "mesos_role": nullable(a.Settings.Role),
			"default_network_name": nullable(a.Settings.Network), "hostname": strings.Split(a.Address, ":")[0], "features": []string{"task_killing", "secrets"},
			"reconciliation_interval": 600000, "decline_offer_duration": 120000, "access_control_allow_origin": nil,
			"env_vars_prefix": nil, "executor": "//cmd", "task_launch_timeout": 300000,
		},
		"zookeeper_config": map[string]any{"zk": nil},
		"http_config":      map[string]any{"http_port": port(a.Address), "https_port": nil},
	}, nil
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

func (a *API) leader(http.ResponseWriter, *call) (any, error) {
	return map[string]string{"leader": a.Address}, nil
}

// abdicate ends the process a moment later; its supervisor starts it again.
func (a *API) abdicate(http.ResponseWriter, *call) (any, error) {
	time.AfterFunc(500*time.Millisecond, a.Shutdown)
	return message{"Leadership abdicated"}, nil
}

func (a *API) plugins(http.ResponseWriter, *call) (any, error) {
	return map[string]any{"plugins": []any{}}, nil
}

// pods answers clients that ask whether pods are known: there are none.
func (a *API) pods(http.ResponseWriter, *call) (any, error) { return []any{}, nil }

func (a *API) streamEvents(w http.ResponseWriter, c *call) (any, error) {
	a.events(w, c.Request)
	return nil, nil
}

func (a *API) config(http.ResponseWriter, *call) (any, error) {
	return map[string]any{"address": a.Address, "servicePorts": a.ServicePorts, "role": a.Settings.Role, "network": a.Settings.Network}, nil
}

func (a *API) logging(http.ResponseWriter, *call) (any, error) {
	return map[string]string{"ROOT": "info"}, nil
}

// figures are what metrics show.
type gauges struct {
	apps, groups, deployments, staged, running, healthy, unhealthy, queued int
}

func (a *API) gauges() (g gauges) {
	a.engine.View(func(v scheduler.View) {
		for at := range v.Apps() {
			g.apps++
			var instances []*instance.Instance = v.Instances(at.Spec.ID)
			c := count(at.Spec, instances)
			g.staged, g.running, g.healthy, g.unhealthy = g.staged+c.Staged, g.running+c.Running, g.healthy+c.Healthy, g.unhealthy+c.Unhealthy
			if q := v.Queued(at.Spec.ID); q != nil {
				g.queued += q.Count
			}
		}
		for range v.Groups() {
			g.groups++
		}
		g.deployments = len(v.Deployments())
	})
	return g
}

// named are the figures under Marathon's names.
func (g gauges) named() []struct {
	name  string
	value int
} {
	return []struct {
		name  string
		value int
	}{
		{"marathon.apps.active.gauge", g.apps},
		{"marathon.groups.active.gauge", g.groups},
		{"marathon.deployments.active.gauge", g.deployments},
		{"marathon.instances.staged.gauge", g.staged},
		{"marathon.instances.running.gauge", g.running},
		{"marathon.instances.healthy.gauge", g.healthy},
		{"marathon.instances.unhealthy.gauge", g.unhealthy},
		{"marathon.instances.queued.gauge", g.queued},
	}
}

func (a *API) metricsJSON(http.ResponseWriter, *call) (any, error) {
	values := map[string]any{}
	for _, n := range a.gauges().named() {
		values[n.name] = map[string]int{"value": n.value}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	values["marathon.uptime.gauge.seconds"] = map[string]float64{"value": time.Since(a.started).Seconds()}
	values["marathon.jvm.memory.heap.used.gauge.bytes"] = map[string]uint64{"value": m.HeapAlloc}
	empty := map[string]any{}
	return map[string]any{"version": "4.0.0", "gauges": values, "counters": empty, "histograms": empty, "meters": empty, "timers": empty}, nil
}

func (a *API) metricsText(w http.ResponseWriter, _ *call) (any, error) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	for _, n := range a.gauges().named() {
		name := strings.ReplaceAll(n.name, ".", "_")
		fmt.Fprintf(w, "# TYPE %s gauge\n%s %d\n", name, name, n.value)
	}
	return nil, nil
}

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Apps of {{.Address}}</title>
<style>body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd}td.n{text-align:right}code{font-size:.9em}</style>
<h1>Apps</h1>
<p>This is a Marathon API at <code>http://{{.Address}}/v2</code>.</p>
<table><tr><th>App<th>Running<th>Wanted<th>Waits for</tr>
{{range .Apps}}<tr><td><code>{{.ID}}</code><td>{{.Running}}<td>{{.Wanted}}<td>{{.Wait}}</tr>
{{else}}<tr><td colspan="4">There are none yet. <code>howdah app run</code> makes one.</tr>
{{end}}</table></html>
`))

type pageApp struct {
	ID              string
	Running, Wanted int
	Wait            string
}

// page shows the apps to people.
func (a *API) page(w http.ResponseWriter, c *call) (any, error) {
	var apps []pageApp
	a.engine.View(func(v scheduler.View) {
		for at := range v.Apps() {
			if owns(c.who, at.Spec.ID) {
				n := count(at.Spec, v.Instances(at.Spec.ID))
				apps = append(apps, pageApp{at.Spec.ID, n.Running, at.Spec.Instances, v.Decision(at.Spec.ID).Wait})
			}
		}
	})
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	return nil, pageTemplate.Execute(w, map[string]any{"Address": a.Address, "Apps": apps})
}
