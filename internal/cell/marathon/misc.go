package marathon

import (
	"fmt"
	"html/template"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"howdah.dev/howdah/internal/cell/scheduler"
)

// compatible is the version of Marathon that clients are told: some switch
// features on and off by it.
const compatible = "1.11.0"

// ping answers without asking who calls.
func (a *API) ping(w http.ResponseWriter, r *http.Request) {
	accept := r.Header.Get("Accept")
	switch {
	case strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/"):
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `"pong"`)
	case accept == "" || strings.Contains(accept, "text/") || strings.Contains(accept, "*/*"):
		kind := "text/plain; charset=utf-8"
		if strings.HasPrefix(accept, "text/html") {
			kind = "text/html; charset=utf-8"
		}
		w.Header().Set("Content-Type", kind)
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
		"frameworkId":      nullable(framework),
		"marathon_config":  a.marathonConfig(master),
		"zookeeper_config": zookeeperConfig(),
		"http_config":      map[string]any{"http_port": port(a.Address), "https_port": nil},
	}, nil
}

// marathonConfig has the keys of Marathon's flags; those that have no meaning here
// have Marathon's default, or null.
func (a *API) marathonConfig(master string) map[string]any {
	host, _, err := net.SplitHostPort(a.Address)
	if err != nil {
		host = a.Address
	}
	return map[string]any{
		"access_control_allow_origin": nil, "checkpoint": true, "decline_offer_duration": 120000, "default_network_name": nullable(a.Settings.Network),
		"env_vars_prefix": nil, "executor": "//cmd", "failover_timeout": 604800, "features": []string{"task_killing", "secrets"},
		"framework_name": "marathon", "ha": false, "hostname": host, "launch_token": 100, "launch_token_refresh_interval": 30000,
		"leader_proxy_connection_timeout_ms": 5000, "leader_proxy_read_timeout_ms": 10000,
		"local_port_max": a.ServicePorts[1], "local_port_min": a.ServicePorts[0], "master": nullable(master), "max_instances_per_offer": 5,
		"max_running_deployments": 100, "mesos_authentication_principal": nil, "mesos_bridge_name": "mesos-bridge", "mesos_heartbeat_failure_threshold": 5,
		"mesos_heartbeat_interval": 15000, "mesos_leader_ui_url": a.MesosURL, "mesos_role": nullable(a.Settings.Role), "mesos_user": nil,
		"min_revive_offers_interval": 5000, "new_group_enforce_role": enforced(a.Settings.EnforceRole), "offer_matching_timeout": 3000,
		"on_elected_prepare_timeout": 180000, "reconciliation_initial_delay": 15000, "reconciliation_interval": 600000,
		"revive_offers_for_new_apps": true, "revive_offers_repetitions": 3, "scale_apps_initial_delay": 15000, "scale_apps_interval": 300000,
		"store_cache": true, "task_launch_confirm_timeout": 300000, "task_launch_timeout": 300000, "task_lost_expunge_initial_delay": 300000,
		"task_lost_expunge_interval": 30000, "task_reservation_timeout": 20000, "webui_url": nil,
	}
}

// enforced writes what new top-level groups get as Marathon's flag has it.
func enforced(on bool) string {
	if on {
		return "top"
	}
	return "off"
}

// zookeeperConfig has the keys of Marathon's: there is no ZooKeeper behind the store.
func zookeeperConfig() map[string]any {
	return map[string]any{
		"zk": nil, "zk_compression": nil, "zk_compression_threshold": nil, "zk_connection_timeout": nil, "zk_hosts": nil,
		"zk_max_node_size": nil, "zk_max_versions": 50, "zk_path": nil, "zk_session_timeout": nil, "zk_state": nil, "zk_timeout": nil,
	}
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func port(address string) any {
	_, text, _ := net.SplitHostPort(address)
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil
	}
	return n
}

func (a *API) leader(http.ResponseWriter, *call) (any, error) {
	return map[string]string{"leader": a.Address}, nil
}

// abdicate ends the process a moment later; its supervisor starts it again.
func (a *API) abdicate(_ http.ResponseWriter, c *call) (any, error) {
	q := c.URL.Query()
	if q.Has("backup") || q.Has("restore") {
		return nil, &statusError{http.StatusUnprocessableEntity, "backup and restore are not known here; copy the scheduler's directory while it is stopped."}
	}
	if flag(q, "dryRun", false) {
		return message{"Leadership would be abdicated"}, nil
	}
	time.AfterFunc(500*time.Millisecond, a.Shutdown)
	return message{"Leadership abdicated"}, nil
}

func (a *API) plugins(http.ResponseWriter, *call) (any, error) {
	return map[string]any{"plugins": []any{}}, nil
}

// pods answers clients that ask whether pods are known: there are none.
func (a *API) pods(http.ResponseWriter, *call) (any, error) { return []any{}, nil }

func (a *API) streamEvents(w http.ResponseWriter, c *call) (any, error) {
	a.events(w, c)
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
			instances := v.Instances(at.Spec.ID)
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
