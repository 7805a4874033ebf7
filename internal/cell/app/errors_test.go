package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lines writes an error as tables show it: status and message, then the details,
// then the findings.
func lines(t testing.TB, e *Error) string {
	t.Helper()
	if e == nil {
		return "ok"
	}
	answer(t, e)
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s\n", e.Status, e.Message)
	switch d := e.Details.(type) {
	case string:
		fmt.Fprintf(&b, "details %s\n", d)
	case []Detail:
		for _, d := range d {
			fmt.Fprintf(&b, "%s: %s\n", d.Path, strings.Join(d.Errors, " | "))
		}
	}
	for _, f := range e.Findings {
		fmt.Fprintf(&b, "- %s %s → %s\n", f.Pointer, f.Message, f.Remedy)
	}
	return b.String()
}

func create(body string) *Error {
	u, err := ReadApp([]byte(body), "/")
	if err != nil {
		return err
	}
	_, err = u.New(cell())
	return err
}

// TestErrorBody shows the two bodies of Marathon's reference whole.
func TestErrorBody(t *testing.T) {
	for body, want := range map[string]string{
		`{"id": 1}`: `{"message":"Invalid JSON","details":[{"path":"/id","errors":["error.expected.jsstring"]}],` +
			`"findings":[{"pointer":"/id","message":"it is 1, wanted is a text","remedy":"Give a text."}]}`,
		`{"id": "a", "cmd": "x", "upgradeStrategy": {"minimumHealthCapacity": 1.1}}`: `{"message":"Object is not valid",` +
			`"details":[{"path":"/upgradeStrategy/minimumHealthCapacity","errors":["is greater than 1"]}],` +
			`"findings":[{"pointer":"/upgradeStrategy/minimumHealthCapacity","message":"is greater than 1","remedy":"Write a number from 0 to 1."}]}`,
		`{"id": "a",`: `{"message":"Invalid JSON","details":"line 1, column 12: unexpected end of input",` +
			`"findings":[{"pointer":"","message":"line 1, column 12: unexpected end of input","remedy":"Send valid JSON."}]}`,
	} {
		if diff := cmp.Diff(want, answer(t, create(body))); diff != "" {
			t.Errorf("%s: -want +got\n%s", body, diff)
		}
	}
}

func TestErrors(t *testing.T) {
	deep := strings.Repeat("[", 70)
	for _, c := range []struct{ name, body, want string }{
		{"not JSON", "{\n \"id\": tru }", "400 Invalid JSON\ndetails line 2, column 11: invalid character ' ' in literal true (expecting 'e')\n" +
			"-  line 2, column 11: invalid character ' ' in literal true (expecting 'e') → Send valid JSON.\n"},
		{"two values", `{} {}`, "400 Invalid JSON\ndetails line 1, column 5: there is something after the end of the value\n" +
			"-  line 1, column 5: there is something after the end of the value → Send valid JSON.\n"},
		{"too deep", deep, "400 Invalid JSON\ndetails line 1, column 66: more than 64 levels of arrays and objects\n" +
			"-  line 1, column 66: more than 64 levels of arrays and objects → Send valid JSON.\n"},
		{"array", `[]`, `422 Invalid JSON
/: error.expected.jsobject
-  it is an array, wanted is an object → Give an object.
`},
		{"no id", `{"cmd": "x"}`, `422 Invalid JSON
/id: error.path.missing
- /id it is missing → Give the app's id.
`},
		{"all shapes at once, and rules with them", `{"id": "x", "cpus": "1", "mem": -1, "instances": 1.5, "args": {}, "env": {"A": 1}, "labels": {"l": null},
			"healthChecks": [{"protocol": "PING"}], "container": {"docker": {}}, "portDefinitions": [{"port": 65536}], "contianer": {}, "killSelection": 5,
			"cmd": "", "constraints": [["a", 1]], "networks": [{"mode": "container", "name": "Blue"}], "requirePorts": "yes", "backoffFactor": 0.5}`, `422 Invalid JSON
/contianer: is not a known field; did you mean "container"?
/args: error.expected.jsarray
/backoffFactor: error.min
/cmd: error.minLength
/constraints(0)(1): error.expected.jsstring
/container/docker/image: error.path.missing
/cpus: error.expected.jsnumber
/env/A: error.expected.jsstring
/healthChecks(0)/protocol: error.unknown.enum.literal
/instances: error.expected.int
/labels/l: error.expected.jsstring
/mem: error.min
/networks(0)/name: error.pattern
/portDefinitions(0)/port: error.max
/requirePorts: error.expected.jsboolean
/killSelection: error.expected.jsstring
- /contianer is not a known field; did you mean "container"? → Write "container".
- /args it is an object, wanted is an array → Give an array.
- /backoffFactor it is 0.5, wanted is at least 1 → Give at least 1.
- /cmd it is "", wanted is a text that is not empty → Give a text that is not empty.
- /constraints/0/1 it is 1, wanted is a text → Give a text.
- /container/docker/image it is missing → Give the name of an image.
- /cpus it is "1", wanted is a number → Give a number.
- /env/A it is 1, wanted is a text or {"secret": NAME} → Give a text or {"secret": NAME}.
- /healthChecks/0/protocol it is "PING", wanted is one of HTTP, HTTPS, TCP, COMMAND, MESOS_TCP, MESOS_HTTP, MESOS_HTTPS → Give one of HTTP, HTTPS, TCP, COMMAND, MESOS_TCP, MESOS_HTTP, MESOS_HTTPS.
- /instances it is 1.5, wanted is a whole number → Give a whole number.
- /labels/l it is null, wanted is a text → Give a text.
- /mem it is -1, wanted is at least 0 → Give at least 0.
- /networks/0/name it is "Blue", wanted is a name of lower-case letters, digits and, inside, -_ → Give a name of lower-case letters, digits and, inside, -_.
- /portDefinitions/0/port it is 65536, wanted is a whole number of at most 65535 → Give a whole number of at most 65535.
- /requirePorts it is "yes", wanted is true or false → Give true or false.
- /killSelection it is 5, wanted is one of YOUNGEST_FIRST, OLDEST_FIRST → Give one of YOUNGEST_FIRST, OLDEST_FIRST.
`},
		{"not supported", `{"id": "x", "cmd": "x", "gpus": 1, "tty": true, "residency": {"taskLostBehavior": "WAIT_FOREVER"}, "executor": "./my",
			"executorResources": {"cpus": 1}, "container": {"type": "MESOS", "linuxInfo": {"seccomp": {}}, "volumes": [
			{"containerPath": "d", "mode": "RW", "persistent": {"size": 1}}, {"containerPath": "/e", "mode": "RW", "external": {"name": "v"}}]}}`, `422 Object is not valid
/tty: not supported in this version
/residency: not supported in this version
/executorResources: not supported in this version
/container/linuxInfo: not supported in this version
/container/volumes(0)/persistent: not supported in this version
/container/volumes(1)/external: not supported in this version
/executor: custom executors are not supported in this version
/gpus: GPUs are not supported in this version
- /tty not supported in this version → Remove it: tasks have no terminal; use howdah app exec.
- /residency not supported in this version → Remove it: apps with volumes that stay on one worker cannot run here; write to a dataset instead.
- /executorResources not supported in this version → Remove it: tasks run without an executor process of their own.
- /container/linuxInfo not supported in this version → Remove it: every container has the cell's own seccomp profile and a private IPC namespace.
- /container/volumes/0/persistent not supported in this version → Write to a dataset instead: volumes that stay on one worker cannot be made here.
- /container/volumes/1/external not supported in this version → Write to a dataset instead: there are no external volume drivers here.
- /executor custom executors are not supported in this version → Remove it, or write "//cmd".
- /gpus GPUs are not supported in this version → Write 0.
`},
		{"old and new", `{"id": "x", "cmd": "x", "uris": ["http://x"], "fetch": [{"uri": "http://x"}]}`, `422 cannot specify both uris and fetch fields
- /uris cannot specify both uris and fetch fields → Keep fetch.
`},
		{"old and new networks, and more", `{"id": "x", "cmd": "x", "instances": 2, "labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"}, "ipAddress": {}, "networks": [{"mode": "host"}]}`, `422 cannot mix deprecated and canonical network APIs
/networks: cannot mix deprecated and canonical network APIs
/: Single instance app may only have one instance
- /networks cannot mix deprecated and canonical network APIs → Keep networks; remove ipAddress and container.docker.network.
-  Single instance app may only have one instance → Write 1 or 0 instances, or remove the label MARATHON_SINGLE_INSTANCE_APP.
`},
		{"two lists of mappings", `{"id": "x", "container": {"docker": {"image": "i", "network": "BRIDGE", "portMappings": [{}]}, "portMappings": [{}]}}`, `422 cannot specify both portMappings and docker.portMappings
- /container cannot specify both portMappings and docker.portMappings → Keep container.portMappings.
`},
		{"command and arguments", `{"id": "x", "cmd": "x", "args": ["x"]}`, `422 Object is not valid
/: AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.
-  AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'. → Keep one of cmd and args; an app in a container may have neither.
`},
		{"ids", `{"id": "/A_b/x", "cmd": "x", "dependencies": ["/a/restart", "x"]}`, `422 Object is not valid
/id: must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)$'
/dependencies(0): must not end with any of the following reserved keywords: restart, tasks, versions, ., ..
/dependencies(1): must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)$'
- /id must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)$' → Use lower-case letters, digits, hyphens and dots between slashes.
- /dependencies/0 must not end with any of the following reserved keywords: restart, tasks, versions, ., .. → Choose another last word.
- /dependencies/1 must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)$' → Use lower-case letters, digits, hyphens and dots between slashes.
`},
		{"root", `{"id": "/", "cmd": "x"}`, `422 Object is not valid
/id: Path must contain at least one path element
- /id Path must contain at least one path element → Give the app a name.
`},
		{"given twice", `{"id": "x", "cmd": "x", "cmd": "y"}`, `422 Object is not valid
/cmd: is given twice
- /cmd is given twice → Give it once.
`},
		{"constraints", `{"id": "x", "cmd": "x", "constraints": [["a"], ["a", "EQUALS", "b"], ["a", "UNIQUE", "b"], ["a", "GROUP_BY", "b"], ["a", "LIKE"],
			["a", "LIKE", "("], ["a", "MAX_PER"], ["a", "IS", "[1-2]"], ["", "UNIQUE"], ["a", "CLUSTER"], ["a", "is", "1.5"], ["a", "group_by"]]}`, `422 Object is not valid
/constraints(0): Each constraint must have either 2 or 3 fields
/constraints(1): operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS
/constraints(2): UNIQUE does not accept a value
/constraints(3): GROUP BY must define an integer value or else no value at all
/constraints(4): LIKE and UNLIKE require a non-empty, regular expression value
/constraints(5): is not a valid regular expression
/constraints(6): MAX_PER requires an integer value
/constraints(7): IS only supports Mesos text and float values (see http://mesos.apache.org/documentation/latest/attributes-resources/)
/constraints(8): illegal constraint specification
`},
		{"roles", `{"id": "x", "cmd": "x", "role": "other", "acceptedResourceRoles": ["*", "elsewhere"]}`, `422 Object is not valid
/role: got other, expected one of: *, prod
/acceptedResourceRoles: acceptedResourceRoles can only contain * and other
`},
		{"limits", `{"id": "x", "cmd": "x", "cpus": 2, "resourceLimits": {"cpus": 1, "mem": 127.5}}`, `422 Object is not valid
/resourceLimits/cpus: resource limit must be greater than or equal to requested resource (2.0)
/resourceLimits/mem: resource limit must be greater than or equal to requested resource (128.0)
`},
		{"secrets", `{"id": "x", "cmd": "x", "env": {"A": {"secret": "a"}}, "container": {"type": "MESOS", "docker": {"image": "i", "pullConfig": {"secret": "p"}},
			"volumes": [{"containerPath": "c", "secret": "v"}]}}`, `422 Object is not valid
/container/docker/pullConfig: pullConfig.secret must refer to an existing secret
/container/volumes(0): volume.secret must refer to an existing secret
/env/A/secret: references an undefined secret
`},
		{"networks", `{"id": "x", "cmd": "x", "networks": [{"mode": "host", "name": "a"}, {"mode": "container/bridge", "name": "b"}]}`, `422 Object is not valid
/networks: Host networks may not have names or labels | Bridge networks may not have names | May specify a single host network, single bridge network, or else 1-to-n container networks
`},
		{"several container networks", `{"id": "x", "networks": [{"name": "a"}, {"name": "a"}, {"name": "b"}],
			"container": {"docker": {"image": "i"}, "portMappings": [{"hostPort": 0}, {"networkNames": ["c"]}]}}`, `422 Object is not valid
/networks: Duplicate networks are not allowed
/: may only specify a single container network when using the Docker container engine
/container/portMappings(0): networkNames must be a single item list when hostPort is specified and more than 1 container network is defined
/container/portMappings(1)/networkNames(0): is not one of (a,a,b)
`},
		{"ports", `{"id": "x", "cmd": "x", "portDefinitions": [{"port": 80, "name": "a"}, {"port": 80, "name": "a"}]}`, `422 Object is not valid
/portDefinitions: Port names must be unique. | Ports must be unique.
`},
		{"mappings with the host's network", `{"id": "x", "container": {"docker": {"image": "i"}, "portMappings": [{"containerPort": 80}]}}`, `422 Object is not valid
/container/portMappings: portMappings are not allowed with host-networking
- /container/portMappings portMappings are not allowed with host-networking → Add "networks": [{"mode": "container/bridge"}], or use portDefinitions.
`},
		{"health checks", `{"id": "x", "cmd": "x", "healthChecks": [{"portIndex": 1}, {"protocol": "COMMAND"}, {"protocol": "MESOS_HTTP", "ipProtocol": "IPv6"},
			{"command": {"value": "x"}}, {"port": 1, "portIndex": 0}]}`, `422 Object is not valid
/healthChecks(0): Health check port indices must address an element of the ports array or container port mappings.
/healthChecks(1)/command: not defined
/healthChecks(2): IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks
/healthChecks(3): illegal protocol HTTP specified with command
/healthChecks(4): HealthCheck must specify either a port or a portIndex
/: AppDefinition can contain at most one Mesos health check
`},
		{"readiness", `{"id": "x", "cmd": "x", "readinessChecks": [{"timeoutSeconds": 30}, {"portName": "default"}]}`, `422 Object is not valid
/readinessChecks: got 2, expected 1 or less
/readinessChecks(0)/portName: No port definition reference for portName http-api
/readinessChecks(0)/timeoutSeconds: got 30, expected less than 30
`},
		{"check", `{"id": "x", "container": {"docker": {"image": "i"}}, "check": {"http": {}, "tcp": {"portIndex": 3}}}`, `422 Object is not valid
/check: must have exactly one of 'http', 'tcp' and 'exec' | check is not supported with Docker containerizer
/check/http: Health check port indices must address an element of the ports array or container port mappings.
/check/tcp: Health check port indices must address an element of the ports array or container port mappings.
`},
		{"strategies", `{"id": "x", "cmd": "x", "upgradeStrategy": {"maximumOverCapacity": -0.1, "minimumHealthCapacity": 2}, "unreachableStrategy": {"inactiveAfterSeconds": 2}}`, `422 Object is not valid
/upgradeStrategy/minimumHealthCapacity: is greater than 1
/upgradeStrategy/maximumOverCapacity: is less than 0
/unreachableStrategy: inactiveAfterSeconds must be less than or equal to expungeAfterSeconds
`},
		{"pull configuration for Docker", `{"id": "x", "secrets": {"p": {"source": "s"}}, "container": {"docker": {"image": "i", "pullConfig": {"secret": "p"}}}}`, `422 Object is not valid
/container/docker/pullConfig: pullConfig is not supported with Docker containerizer
`},
		{"a container of Docker without an image", `{"id": "x", "cmd": "x", "container": {}}`, `422 Object is not valid
/container/docker: not defined
`},
		{"version that is no time", `{"id": "x", "version": "yesterday"}`, `422 Invalid JSON
/version: error.expected.date.isoformat
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := lines(t, create(c.body))
			if !strings.Contains(c.want, "\n- ") { // findings are shown where they say more
				got, _, _ = strings.Cut(got, "- ")
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
