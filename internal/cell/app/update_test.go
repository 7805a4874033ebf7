package app

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func stamp(n int) Timestamp { return At(time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC)) }

const stored = `{"id": "/shop/web", "container": {"docker": {"image": "web:1"}, "portMappings": [{"containerPort": 80, "servicePort": 10001}]},
	"networks": [{"mode": "container/bridge"}], "env": {"A": "1", "B": "2"}, "instances": 3, "cpus": 2}`

func TestMerge(t *testing.T) {
	for _, c := range []struct {
		name, old, body string
		whole           bool
		changes         string // fields that change, or the error
	}{
		{"nothing", stored, `{}`, false, ""},
		{"null is absent", stored, `{"cpus": null, "env": null}`, false, ""},
		{"one field", stored, `{"instances": 5}`, false, "instances"},
		{"the body's id is ignored", stored, `{"id": "/other", "mem": 64}`, false, "mem"},
		{"a map is replaced whole", stored, `{"env": {"C": "3"}}`, false, "env"},
		{"an empty list clears", stored, `{"env": {}, "labels": {}}`, false, "env"},
		{"all of it", stored, `{"cmd": "x"}`, true, "cmd container cpus env instances networks portDefinitions"},
		{"legacy words", stored, `{"uris": ["http://x/a"], "container": {"docker": {"image": "web:1", "network": "HOST"}}}`, false, "container fetch networks portDefinitions"},
		{"to the host's network", stored, `{"networks": [{"mode": "host"}]}`, false, "container networks portDefinitions"},
		{
			"from the host's network", `{"id": "/a", "cmd": "x", "portDefinitions": [{"port": 1}, {"port": 2}], "requirePorts": true}`,
			`{"networks": [{"mode": "container/bridge"}]}`, false, "container networks portDefinitions requirePorts",
		},
		{"single", stored, `{"labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"}, "instances": 1}`, false, "instances labels upgradeStrategy"},
		{"a role it had", `{"id": "/a", "cmd": "x", "role": "prod"}`, `{"role": "prod", "cpus": 1.5}`, false, "cpus"},
		{"what the result breaks", stored, `{"cmd": "x", "args": ["y"], "colour": 1}`, false, `Object is not valid: /colour is not a known field; ` +
			`AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.`},
	} {
		t.Run(c.name, func(t *testing.T) {
			old := mustRead(t, c.old)
			before := encode(t, old)
			u, err := ReadUpdate([]byte(c.body), old.ID)
			if err != nil {
				t.Fatal(err)
			}
			l := cell()
			l.Roles = nil
			got, err := u.Merge(old, !c.whole, l)
			if err != nil {
				if err.Error() != c.changes {
					t.Errorf("error %q, want %q", err, c.changes)
				}
				return
			}
			if changes := strings.Join(Changes(old, got), " "); changes != c.changes {
				t.Errorf("changes %q, want %q", changes, c.changes)
			}
			validates(t, "app.json", []byte(encode(t, got)))
			if after := encode(t, old); after != before {
				t.Errorf("the stored app was changed:\n%s", cmp.Diff(before, after))
			}
		})
	}
}

func TestRollback(t *testing.T) {
	for body, want := range map[string]bool{
		`{"version": "2026-01-01T00:00:07.000Z"}`:             true,
		`{"id": "x", "version": "2026-01-01T01:00:07+01:00"}`: true,
		`{"id": "x"}`: false,
		`{"version": "2026-01-01T00:00:07.000Z", "cpus": 1}`:                                      false,
		`{"version": "2026-01-01T00:00:07.000Z", "cpus": 1, "mem": 1, "disk": 0, "instances": 1}`: false,
	} {
		u, err := ReadUpdate([]byte(body), "x")
		if err != nil {
			t.Fatal(err)
		}
		_, bad := u.Merge(&App{ID: "/x", Cmd: "x", Role: "*"}, true, Limits{Role: "*"})
		if !want && strings.Contains(fmt.Sprint(bad), "version") { // beside anything else it is ignored
			t.Errorf("%s: %v", body, bad)
		}
		version, ok := u.Rollback()
		if ok != want || ok && version != stamp(7) {
			t.Errorf("%s: Rollback = %v, %v", body, version, ok)
		}
	}
}

func TestReadUpdates(t *testing.T) {
	updates, err := ReadUpdates([]byte(`[{"id": "a", "cmd": "x"}, {"id": "/g/b", "cpus": 2}]`))
	if err != nil || len(updates) != 2 || updates[0].ID != "/a" || updates[1].ID != "/g/b" {
		t.Fatalf("ReadUpdates = %v, %v", updates, err)
	}
	_, err = ReadUpdates([]byte(`[{"cmd": "x"}, {"id": "a"}, {"id": "/a", "cpus": "x"}, 7]`))
	want := `422 Invalid JSON
(0)/id: error.path.missing
(2): An app with id [/a] is given twice
(3)/id: error.path.missing
(2)/cpus: error.expected.jsnumber
(3): error.expected.jsobject
- /0/id it is missing → Give the app's id.
- /2 An app with id [/a] is given twice → Give it once.
- /3/id it is missing → Give the app's id.
- /2/cpus it is "x", wanted is a number → Give a number.
- /3 it is 7, wanted is an object → Give an object.
`
	if diff := cmp.Diff(want, lines(t, err)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if _, err = ReadUpdates([]byte(`[{"id": "a"}, {"id": "/a"}]`)); err == nil {
		t.Error("the same app twice is accepted")
	}
}

func TestStamp(t *testing.T) {
	first := mustRead(t, stored)
	if config, scale := Stamp(first, nil, stamp(1)); !config || !scale || first.Version != stamp(1) || first.ConfigVersion() != stamp(1) {
		t.Fatalf("new app: %v %v %v %v", config, scale, first.Version, first.VersionInfo)
	}
	same := mustRead(t, stored)
	if config, scale := Stamp(same, first, stamp(2)); config || scale || same.Version != stamp(1) {
		t.Errorf("same app: %v %v %v", config, scale, same.Version)
	}
	scaled := mustRead(t, stored)
	scaled.Instances = 9
	if config, scale := Stamp(scaled, first, stamp(3)); config || !scale || scaled.Version != stamp(3) ||
		*scaled.VersionInfo != (VersionInfo{LastScalingAt: stamp(3), LastConfigChangeAt: stamp(1)}) {
		t.Errorf("scaled app: %v %v %v", config, scale, scaled.VersionInfo)
	}
	changed := mustRead(t, stored)
	changed.Cmd = "other"
	if config, scale := Stamp(changed, scaled, stamp(4)); !config || !scale || changed.ConfigVersion() != stamp(4) {
		t.Errorf("changed app: %v %v %v", config, scale, changed.VersionInfo)
	}
}

func TestServicePorts(t *testing.T) {
	mapped := func(service ...int) *App {
		a := blank("/a")
		a.Networks = []Network{{Mode: ModeBridge}}
		a.Container = &Container{Type: TypeMesos}
		for _, s := range service {
			a.Container.PortMappings = append(a.Container.PortMappings, PortMapping{ServicePort: s})
		}
		return a
	}
	hosted := func(service ...int) *App {
		a := blank("/a")
		a.Networks = []Network{{Mode: ModeHost}}
		a.PortDefinitions = []PortDefinition{}
		for _, s := range service {
			a.PortDefinitions = append(a.PortDefinitions, PortDefinition{Port: s})
		}
		return a
	}
	for _, c := range []struct {
		name    string
		app     *App
		old     *App
		taken   []int
		want    []int
		without int
	}{
		{"from the lowest", mapped(0, 0), nil, []int{10000}, []int{10001, 10002}, 0},
		{"own ones stay", hosted(0, 10000, 80), nil, nil, []int{10001, 10000, 80}, 0},
		{"again in their places", mapped(0, 0), hosted(10003, 10001), []int{10003, 10001}, []int{10003, 10001}, 0},
		{"one less, again", mapped(0), mapped(10003, 10001), nil, []int{10003}, 0},
		{"one more", mapped(0, 0, 0), mapped(10001, 10003), []int{10000}, []int{10001, 10003, 10002}, 0},
		{"a place now fixed frees the others", hosted(10001, 0), hosted(10001, 0), nil, []int{10001, 10000}, 0},
		{"a port of no place any more is used before a new one", mapped(10003, 0), mapped(10002, 10003, 10000), nil, []int{10003, 10000}, 0},
		{"outside the range is not used again", mapped(0), mapped(80), nil, []int{10000}, 0},
		{"none left", mapped(0, 0, 0, 0, 0, 0), nil, []int{10001}, []int{10000, 10002, 10003, 0, 0, 0}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			shared := *c.app
			before := shared.Ports()
			without := AssignServicePorts(c.app, c.old, func(p int) bool { return slices.Contains(c.taken, p) }, 10000, 10003)
			var got []int
			for _, p := range c.app.Ports() {
				got = append(got, p.Service)
			}
			if diff := cmp.Diff(c.want, got); diff != "" || without != c.without {
				t.Errorf("without %d, -want +got\n%s", without, diff)
			}
			if WantsServicePorts(c.app) != (c.without > 0) {
				t.Errorf("WantsServicePorts = %v", WantsServicePorts(c.app))
			}
			if diff := cmp.Diff(before, shared.Ports()); diff != "" {
				t.Errorf("shared memory was changed: %s", diff)
			}
		})
	}
}

// TestChangesSeesEveryField fails when a field of App is forgotten in parts.
func TestChangesSeesEveryField(t *testing.T) {
	known := appWords().known
	for name := range blank("/a").parts() {
		if !slices.Contains(known, name) {
			t.Errorf("parts has %q, which no app has", name)
		}
	}
	for _, f := range appFields() {
		if _, ok := blank("/a").parts()[f.name]; !ok {
			t.Errorf("parts lacks %q", f.name)
		}
	}
}
