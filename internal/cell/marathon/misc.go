package marathon

import (
	"fmt"
	"html/template"
	"net"
	"net/http"
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

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="10"><title>Apps of {{.Address}}</title>
<style>body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd}code{font-size:.9em}small{display:block;color:#555}</style>
<h1>Apps</h1>
<p>This is a Marathon API at <code>http://{{.Address}}/v2</code>:
<a href="/v2/apps">apps</a>, <a href="/v2/deployments">deployments</a>, <a href="/v2/queue">queue</a>, <a href="/v2/info">info</a>, <a href="/metrics/prometheus">metrics</a>.</p>
<table><tr><th>App<th>Running<th>Wanted<th>Waits for<th>Last failure</tr>
{{range .Apps}}<tr><td><code>{{.ID}}</code><td>{{.Running}}<td>{{.Wanted}}<td>{{.Wait}}{{range .Reasons}}<small>{{.}}</small>{{end}}<td>{{.Failure}}</tr>
{{else}}<tr><td colspan="5">There are none yet. <code>howdah app run</code> makes one.</tr>
{{end}}</table>
{{if .Deployments}}<h2>Deployments</h2>
<table><tr><th>Deployment<th>Apps<th>Step<th>Stalled</tr>
{{range .Deployments}}<tr><td><code>{{.ID}}</code><td>{{range .AffectedApps}}<code>{{.}}</code> {{end}}<td>{{.CurrentStep}} of {{.TotalSteps}}<td>{{.Stalled}}</tr>
{{end}}</table>{{end}}</html>
`))

type pageApp struct {
	ID              string
	Running, Wanted int
	Wait            string
	Reasons         []string // of workers that take no instance, and a pause after failures
	Failure         string
}

// page shows the apps to people.
func (a *API) page(w http.ResponseWriter, c *call) (any, error) {
	var apps []pageApp
	var deployments []deploymentView
	a.engine.View(func(v scheduler.View) {
		for at := range v.Apps() {
			if owns(c.who, at.Spec.ID) {
				apps = append(apps, showRow(v, at))
			}
		}
		deployments = deploymentsOf(v, c.who)
	})
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	return nil, pageTemplate.Execute(w, map[string]any{"Address": a.Address, "Apps": apps, "Deployments": deployments})
}

func showRow(v scheduler.View, at *scheduler.App) pageApp {
	row := pageApp{ID: at.Spec.ID, Running: count(at.Spec, v.Instances(at.Spec.ID)).Running, Wanted: at.Spec.Instances, Wait: v.Waits(at.Spec.ID, time.Now())}
	if q := v.Queued(at.Spec.ID); q != nil {
		shown := showQueued(at, q, false)
		if row.Reasons = shown.Reasons; shown.Delay.Left > 0 {
			row.Reasons = append(row.Reasons, fmt.Sprintf("the next launch waits %d s more", shown.Delay.Left))
		}
	}
	if f := at.LastFailure; f != nil {
		row.Failure = fmt.Sprintf("%s on %s: %s %s", f.Timestamp, f.Host, f.State, f.Message)
	}
	return row
}
