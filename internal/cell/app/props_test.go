package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// anApp draws apps, many of them with something wrong.
func anApp(t *rapid.T) *App {
	word := rapid.SampledFrom([]string{"a", "b", "c-d", "e.f", "", "prod", "*"})
	name := rapid.SampledFrom([]string{"", "http", "admin", "a-b"})
	port := rapid.SampledFrom([]int{0, 0, 80, 443, 10001})
	maybePort := rapid.Ptr(port, true)
	texts := func() map[string]string {
		return rapid.MapOfN(rapid.SampledFrom([]string{"k", "l", singleInstanceLabel}), rapid.SampledFrom([]string{"", "true", "v"}), 0, 2).Draw(t, "labels")
	}
	few := func(what string) int { return rapid.IntRange(0, 2).Draw(t, what) }
	a := blank("/" + rapid.SampledFrom([]string{"a", "a/b", "x/y/z"}).Draw(t, "id"))
	a.Cmd = rapid.SampledFrom([]string{"run", "run", ""}).Draw(t, "cmd")
	a.Args = rapid.SliceOfN(word, 0, 1).Draw(t, "args")
	a.CPUs = rapid.Float64Range(0.001, 8).Draw(t, "cpus")
	a.Instances = few("instances")
	a.Role = rapid.SampledFrom([]string{"", "*", "prod"}).Draw(t, "role")
	a.Labels = texts()
	a.User = rapid.SampledFrom([]string{"", "www"}).Draw(t, "user")
	a.RequirePorts = rapid.Bool().Draw(t, "requirePorts")
	a.AcceptedResourceRoles = distinct(rapid.SliceOfN(rapid.SampledFrom([]string{"*", "prod"}), 0, 2).Draw(t, "accepted"))
	a.UnreachableStrategy = UnreachableStrategy{Disabled: rapid.Bool().Draw(t, "disabled")}
	if !a.UnreachableStrategy.Disabled {
		a.UnreachableStrategy.ExpungeAfterSeconds = int64(few("expunge"))
	}
	for range few("networks") {
		a.Networks = append(a.Networks, Network{
			Mode: rapid.SampledFrom([]string{ModeHost, ModeBridge, ModeContainer, ModeContainer}).Draw(t, "mode"),
			Name: rapid.SampledFrom([]string{"", "", "blue", "red"}).Draw(t, "network"),
		})
	}
	if rapid.Bool().Draw(t, "contained") {
		a.Container = &Container{Type: rapid.SampledFrom([]string{TypeDocker, TypeMesos}).Draw(t, "type")}
		if rapid.Bool().Draw(t, "image") {
			a.Container.Docker = &Docker{Image: "i", Parameters: []Parameter{{"label", "x"}}[:rapid.IntRange(0, 1).Draw(t, "parameters")]}
		}
		for range few("mappings") {
			a.Container.PortMappings = append(a.Container.PortMappings, PortMapping{
				ContainerPort: port.Draw(t, "container"), HostPort: maybePort.Draw(t, "host"), Name: name.Draw(t, "port"),
				ServicePort: port.Draw(t, "service"), Protocol: rapid.SampledFrom([]string{"", "tcp", "udp", "udp,tcp"}).Draw(t, "protocol"),
			})
		}
		if rapid.Bool().Draw(t, "volume") {
			a.Container.Volumes = []Volume{{ContainerPath: "/v", HostPath: "/h", Mode: "RO"}}
		}
	}
	if rapid.Bool().Draw(t, "defined") {
		a.PortDefinitions = []PortDefinition{}
		for range few("definitions") {
			a.PortDefinitions = append(a.PortDefinitions, PortDefinition{Port: port.Draw(t, "port"), Name: name.Draw(t, "name")})
		}
	}
	for range few("checks") {
		h := HealthCheck{
			Protocol: rapid.SampledFrom([]string{HealthHTTP, HealthTCP, HealthCommand, HealthMesosHTTP}).Draw(t, "check"), IPProtocol: "IPv4",
			IntervalSeconds: 1, Path: rapid.SampledFrom([]string{"", "/"}).Draw(t, "path"), Port: maybePort.Draw(t, "checked"),
		}
		if h.Protocol == HealthCommand {
			h.Command = &Command{"true"}
		}
		a.HealthChecks = append(a.HealthChecks, h)
	}
	for range few("constraints") {
		a.Constraints = append(a.Constraints, Constraint{"hostname", rapid.SampledFrom([]string{"unique", "CLUSTER", "Max_Per"}).Draw(t, "operator")})
	}
	a.Dependencies = rapid.SliceOfN(rapid.SampledFrom([]string{"db", "../db", "/q/r"}), 0, 3).Draw(t, "needs")
	if rapid.Bool().Draw(t, "secret") {
		a.Secrets = map[string]SecretDef{"s": {Source: "/s"}}
		a.Env = map[string]EnvValue{"S": {Secret: "s"}, "V": {Value: "v"}}
	}
	return a
}

// TestNormaliseProperties: once is enough, the result follows the schema, and a
// valid app read back from its own answer is the same app.
func TestNormaliseProperties(t *testing.T) {
	valid := 0
	rapid.Check(t, func(rt *rapid.T) {
		a := anApp(rt)
		given, _ := json.Marshal(a)
		once := Normalise(a, cell())
		if diff := cmp.Diff(once, Normalise(once, cell())); diff != "" {
			rt.Fatalf("a second time changes (-once +twice):\n%s", diff)
		}
		if after, _ := json.Marshal(a); string(given) != string(after) {
			rt.Fatalf("the argument was changed:\n%s\n%s", given, after)
		}
		if Validate(once, cell()) != nil {
			return
		}
		valid++
		body, err := json.Marshal(once)
		if err != nil {
			rt.Fatal(err)
		}
		validates(t, "app.json", body)
		u, bad := ReadApp(body, "/")
		if bad != nil {
			rt.Fatalf("its own answer is refused: %v\n%s", bad, body)
		}
		again, bad := u.New(cell())
		if bad != nil {
			rt.Fatalf("its own answer is refused: %v\n%s", bad, body)
		}
		if !SameConfig(once, again) || len(Changes(once, again)) > 0 {
			rt.Fatalf("read back it differs:\n%s", cmp.Diff(once, again))
		}
		var kept App
		if err := json.Unmarshal(body, &kept); err != nil || !SameConfig(once, &kept) || kept.Instances != once.Instances {
			rt.Fatalf("stored and loaded it differs (%v):\n%s", err, cmp.Diff(once, &kept))
		}
	})
	if valid == 0 && !t.Failed() {
		t.Error("no valid app was drawn")
	}
}

// FuzzReadApp: no body brings the reader down; what is accepted is stable, and what
// is refused is refused in the right form.
func FuzzReadApp(f *testing.F) {
	files, _ := filepath.Glob("testdata/read/*.json")
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte(`{"id": "x", "cmd": "x", "version": "2020-01-01T00:00:00Z", "cpus": 1e999, "ports": [1, 1], "ipAddress": {"discovery": {"ports": [{}]}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		u, bad := ReadApp(body, "/")
		var a *App
		if bad == nil {
			a, bad = u.New(cell())
		}
		if bad != nil {
			if bad.Status != 400 && bad.Status != 422 || len(bad.Findings) == 0 {
				t.Errorf("%d with %d findings", bad.Status, len(bad.Findings))
			}
			answer(t, bad)
			return
		}
		out, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		validates(t, "app.json", out)
		u, bad = ReadApp(out, "/")
		if bad != nil {
			t.Fatalf("its own answer is refused: %v", bad)
		}
		if again, bad := u.New(cell()); bad != nil || len(Changes(a, again)) > 0 {
			t.Fatalf("read back: %v, %v", bad, Changes(a, again))
		}
		Environment(a, "t", "h", []int{1, 2}, "v", "")
		AssignServicePorts(a, nil, func(int) bool { return false }, 10000, 10005)
		mergesAgain(t, a, body)
	})
}

// mergesAgain applies the body to the app that it made: nothing may change.
func mergesAgain(t *testing.T, a *App, body []byte) {
	t.Helper()
	u, bad := ReadUpdate(body, a.ID)
	if bad != nil {
		t.Fatalf("as an update it is refused: %v", bad)
	}
	if _, bad := u.Merge(a, true, cell()); bad != nil {
		t.Fatalf("applied to its own app it is refused: %v", bad)
	}
}
