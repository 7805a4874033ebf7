package app

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnvironment(t *testing.T) {
	const task = "shop_web.instance-1._app.1"
	for _, c := range []struct {
		name, body, prefix string
		ports              []int
		want               string // beyond what every task has
	}{
		{"host", `{"id": "/shop/web", "cmd": "x", "portDefinitions": [{"port": 10000, "name": "http"}, {"port": 0}]}`, "", []int{31005, 31006}, `
HOST=w1
PORT=31005
PORT0=31005
PORT1=31006
PORTS=31005,31006
PORT_10000=31005
PORT_31006=31006
PORT_HTTP=31005`},
		{"no ports", `{"id": "/shop/web", "cmd": "x", "portDefinitions": []}`, "", nil, "\nHOST=w1"},
		{"prefix", `{"id": "/shop/web", "cmd": "x"}`, "P_", []int{31005}, `
P_HOST=w1
P_PORT=31005
P_PORT0=31005
P_PORTS=31005
P_PORT_31005=31005
P_PORT_DEFAULT=31005`},
		{
			"bridge", `{"id": "/shop/web", "container": {"docker": {"image": "web:1"}, "portMappings": [{"containerPort": 80, "name": "http-api"}, {"containerPort": 0}]}, "networks": [{"mode": "container/bridge"}]}`,
			"",
			[]int{31005, 31006},
			`
HOST=w1
MARATHON_APP_DOCKER_IMAGE=web:1
PORT=31005
PORT0=31005
PORT1=31006
PORTS=31005,31006
PORT_31006=31006
PORT_80=31005
PORT_HTTP-API=31005`,
		},
		{
			"ports inside the container only", `{"id": "/shop/web", "cmd": "x", "container": {"type": "MESOS", "portMappings": [{"containerPort": 80}, {"containerPort": 0, "name": "any"}, {"hostPort": 0}]}, "networks": [{"name": "n"}]}`,
			"",
			[]int{0, 0, 31007},
			`
HOST=w1
PORT=31007
PORT0=80
PORT1=60263
PORT2=31007
PORTS=31007,60263
PORT_60263=60263
PORT_31007=31007
PORT_80=80
PORT_ANY=60263`,
		},
		{"labels and the app's own", `{"id": "/shop/web", "cmd": "x", "portDefinitions": [], "labels": {"a.b--c": "1", "A_B_C": "2", "long": "` + strings.Repeat("x", 512) + `"},
			"env": {"HOST": "mine", "MARATHON_APP_ID": {"secret": "s"}, "S": {"secret": "s"}}, "secrets": {"s": {"source": "/s"}}}`, "", nil, `
HOST=mine
MARATHON_APP_LABELS=A_B_C
MARATHON_APP_LABEL_A_B_C=1
-MARATHON_APP_ID`},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := mustRead(t, c.body)
			got := Environment(a, task, "w1", c.ports, "2026-01-01T00:00:00.000Z", c.prefix)
			want := map[string]string{
				"MESOS_TASK_ID": task, "MARATHON_APP_ID": "/shop/web", "MARATHON_APP_VERSION": "2026-01-01T00:00:00.000Z",
				"MARATHON_APP_RESOURCE_CPUS": "1.0", "MARATHON_APP_RESOURCE_MEM": "128.0", "MARATHON_APP_RESOURCE_DISK": "0.0",
				"MARATHON_APP_RESOURCE_GPUS": "0", "MARATHON_APP_LABELS": "",
			}
			for line := range strings.Lines(strings.TrimSpace(c.want)) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				if gone, ok := strings.CutPrefix(name, "-"); ok {
					delete(want, gone)
				} else {
					want[name] = value
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestSelectors(t *testing.T) {
	labels := map[string]string{"foo": "one", "tier": "front", "{{{": "&&&", "empty": ""}
	for s, want := range map[string]string{
		"":                                     "true",
		"foo":                                  "true",
		"bar":                                  "false",
		"empty":                                "true",
		"foo==one":                             "true",
		" foo  ==\tone ":                       "true",
		"foo == two":                           "false",
		"foo!=one":                             "false",
		"foo != two":                           "true",
		"bar != two":                           "false", // the label must exist
		"foo in (one, two)":                    "true",
		"foo in (two,three)":                   "false",
		"foo in ()":                            "false",
		"foo notin (two)":                      "true",
		"bar notin (two)":                      "false",
		"foo==one, tier in (back,front),empty": "true",
		"foo==one,bar":                         "false",
		`\{\{\{ in (\&\&\&, \,)`:               "true",
		"foo some (one)":                       "Can not parse label selector foo some (one). Reason: wanted is ==, !=, in or notin after foo",
		"foo in one":                           "Can not parse label selector foo in one. Reason: wanted is a list in parentheses",
		"foo in (one":                          "Can not parse label selector foo in (one. Reason: wanted is a comma or a closing parenthesis at ",
		"foo in (one,":                         "Can not parse label selector foo in (one,. Reason: wanted is a word at the end",
		"foo==":                                "Can not parse label selector foo==. Reason: wanted is a word at the end",
		"foo=one":                              "Can not parse label selector foo=one. Reason: wanted is ==, !=, in or notin after foo",
		"foo,":                                 "Can not parse label selector foo,. Reason: wanted is a word at the end",
		"!foo":                                 "Can not parse label selector !foo. Reason: wanted is a word at !foo",
		"foo==one two":                         "Can not parse label selector foo==one two. Reason: wanted is a comma or the end at two",
	} {
		rules, err := ParseLabels(s)
		got := map[bool]string{true: "true", false: "false"}[(Filter{Labels: rules}).Match(&App{Labels: labels})]
		if err != nil {
			got = err.Message
			answer(t, err)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
	if _, err := ParseLabels(strings.Repeat("a", 9<<10)); err == nil {
		t.Error("an endless selector is accepted")
	}
	a := &App{ID: "/Shop/web", Cmd: "Run It"}
	for f, want := range map[[2]string]bool{{"shop", ""}: true, {"", "IT"}: true, {"x", ""}: false, {"shop", "x"}: false} {
		if (Filter{ID: f[0], Cmd: f[1]}).Match(a) != want {
			t.Errorf("%v", f)
		}
	}
}

func TestContainerPortsAreDistinct(t *testing.T) {
	a := blank("/a")
	a.Networks = []Network{{Mode: ModeContainer, Name: "n"}}
	a.Container = &Container{Type: TypeMesos, PortMappings: make([]PortMapping, 50)}
	ports := ContainerPorts(a, "t", nil)
	if !slices.Equal(ports, ContainerPorts(a, "t", nil)) {
		t.Error("the same task gets other ports")
	}
	seen := map[int]bool{}
	for _, p := range ports {
		seen[p] = true
		if p <= 1024 || p > 65535 {
			t.Errorf("port %d", p)
		}
	}
	if len(seen) != 50 {
		t.Errorf("%d distinct ports: %v", len(seen), slices.Sorted(maps.Keys(seen)))
	}
}
