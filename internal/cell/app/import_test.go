package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const dump = `{
  "id": "/", "dependencies": [], "version": "2017-03-01T10:00:00.000Z", "pods": [],
  "apps": [
    {"id": "/plain", "cmd": "x", "args": null, "user": null, "env": {}, "instances": 2, "cpus": 1, "mem": 128, "disk": 0, "gpus": 0, "executor": "", "constraints": [["rack", "GROUP_BY"], ["hostname", "UNIQUE"]],
     "uris": [], "fetch": [], "storeUrls": [], "backoffSeconds": 1, "container": null, "healthChecks": [], "dependencies": [], "residency": null,
     "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 1}, "labels": {"HAPROXY_GROUP": "external"}, "ipAddress": null, "version": "2017-03-01T09:00:00.000Z",
     "portDefinitions": [{"port": 10000, "protocol": "tcp", "labels": {}}], "ports": [10000], "requirePorts": false}
  ],
  "groups": [
    {"id": "/ops", "dependencies": [], "version": "2017-03-01T10:00:00.000Z", "pods": [{"id": "/ops/pod"}], "groups": [], "apps": [
      {"id": "/ops/db", "cmd": "x", "container": {"type": "MESOS", "volumes": [{"containerPath": "data", "mode": "RW", "persistent": {"size": 100}}]}, "residency": {"taskLostBehavior": "WAIT_FOREVER"}},
      {"id": "/ops/gpu", "cmd": "x", "gpus": 1, "version": "2017-03-01T09:00:00.000Z"},
      {"id": "/ops/host", "container": {"type": "DOCKER", "docker": {"image": "i", "network": "HOST", "privileged": true, "portMappings": [{"containerPort": 80}]}}},
      {"id": "/ops/secret", "cmd": "x", "secrets": {"s": {"source": "/s"}}, "env": {"S": {"secret": "s"}}, "ipAddress": {"networkName": "overlay"}, "healthChecks": [{"protocol": "COMMAND", "command": {"value": "a"}}, {"protocol": "MESOS_TCP"}]},
      {"id": "/ops/overlay", "cmd": "x", "version": "2017-03-01T09:00:00.000Z", "secrets": {"s": {"source": "/s"}}, "env": {"S": {"secret": "s"}}, "networks": [{"name": "overlay"}]}
    ]}
  ]
}`

func TestImport(t *testing.T) {
	review := func(a *App) []Finding {
		if a.Container != nil && a.Container.Docker != nil && a.Container.Docker.Privileged {
			return []Finding{{"/container/docker/privileged", "not allowed", "Remove it."}}
		}
		return nil
	}
	got, bad := Import([]byte(dump), Settings{Role: "*"}, review)
	if bad != nil {
		t.Fatal(bad)
	}
	var b strings.Builder
	for _, f := range got.Findings {
		fmt.Fprintf(&b, "%s %s %s: %s\n", f.ID, f.Verdict, f.Pointer, f.Message)
		if f.Remedy == "" {
			t.Errorf("%s %s has no remedy", f.ID, f.Pointer)
		}
	}
	want := `/ refused /groups/0/pods: not supported in this version
/plain differs /apps/0/constraints/0: it asks for the attribute rack of workers
/plain differs /apps/0/labels/HAPROXY_GROUP: the label HAPROXY_GROUP is shown, and nothing balances load by it
/ops/db refused /groups/0/apps/0/residency: not supported in this version
/ops/db refused /groups/0/apps/0/container/volumes/0/persistent: not supported in this version
/ops/gpu refused /groups/0/apps/1/gpus: GPUs are not supported in this version
/ops/host denied /groups/0/apps/2/container/docker/privileged: not allowed
/ops/host differs /groups/0/apps/2/container: port mappings are dropped: they mean nothing with the network of the host
/ops/secret refused /groups/0/apps/3: AppDefinition can contain at most one Mesos health check
/ops/overlay differs /groups/0/apps/4/networks: the network overlay is one between the instance and its worker; instances reach each other by host ports
/ops/overlay differs /groups/0/apps/4/secrets/s: the secret s is not in the dump
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	wantTree := `/
  /plain x2 role=*
/ops enforce=false
  /ops/host x1 role=*
  /ops/overlay x1 role=*
`
	if diff := cmp.Diff(wantTree, tree(got.Root)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	validates(t, "group.json", []byte(encode(t, got.Root)))
	for body, want := range map[string]string{
		`[1]`: "Invalid JSON:  it is an array", `{`: "Invalid JSON: line 1, column 2: unexpected end of input",
	} {
		if _, err := Import([]byte(body), Settings{}, nil); err == nil || !strings.HasPrefix(err.Error(), strings.ReplaceAll(want, "  ", " ")) {
			t.Errorf("%s: %v", body, err)
		}
	}
}
