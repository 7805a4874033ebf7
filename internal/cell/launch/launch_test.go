package launch

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/match"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/golden"
)

func secrets(_ context.Context, source string) ([]byte, error) {
	switch source {
	case "databases/main", "pull/registry", "keys/shop":
		return []byte("the secret of " + source), nil
	default:
		return nil, errors.New("no such file")
	}
}

func read(t *testing.T, body string) *app.App {
	t.Helper()
	u, err := app.ReadApp([]byte(body), "/")
	if err != nil {
		t.Fatalf("%+v", err)
	}
	a, err := u.New(app.Limits{Role: "dev", Network: "default"})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	return a
}

func task(t *testing.T, a *app.App, o Options) (mesos.TaskInfo, error) {
	t.Helper()
	offered, err := mesos.ParseResources("cpus:4;cpus(dev):0.25;mem:4096;disk:1000;ports:[31000-31999]")
	if err != nil {
		t.Fatal(err)
	}
	req := match.For(a, time.Time{}, nil)
	req.Count, req.Seed = 1, 1
	launches, refused := match.Find(req, []match.Offer{{Offer: mesos.Offer{
		ID: mesos.ID{Value: "o1"}, AgentID: mesos.ID{Value: "agent-1"}, Hostname: "worker-1",
		Resources: offered.Allocate("dev"), AllocationInfo: &mesos.AllocationInfo{Role: "dev"},
	}}})
	if len(launches) != 1 {
		t.Fatal(refused)
	}
	a.Version = app.At(time.Date(2026, 2, 3, 4, 5, 6, 7e6, time.UTC))
	i := &instance.Instance{ID: instance.Safe(a.ID) + ".instance-0b6b1c0e-0000-4000-8000-000000000001", App: a.ID, Incarnation: 2, Host: "worker-1"}
	return Task(t.Context(), a, i, launches[0], o)
}

// TestGolden writes every app of testdata as a task.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		if strings.HasSuffix(name, ".task") {
			continue
		}
		cases++
		t.Run(name, func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			info, err := task(t, read(t, string(body)), Options{Secret: secrets})
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.MarshalIndent(info, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, name+".task.json", string(text)+"\n")
		})
	}
	if cases != 8 {
		t.Errorf("%d apps in testdata", cases)
	}
}

func TestOptions(t *testing.T) {
	a := read(t, `{"id":"/x","cmd":"x","container":{"type":"MESOS"},"networks":[{"mode":"container/bridge"}]}`)
	info, err := task(t, a, Options{EnvPrefix: "M_", Bridge: "cell"})
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Container.NetworkInfos[0].Name; got != "cell" {
		t.Errorf("network %s", got)
	}
	names := map[string]bool{}
	for _, v := range info.Command.Environment.Variables {
		names[v.Name] = true
	}
	if !names["M_HOST"] || !names["M_PORT0"] || names["HOST"] || !names["MARATHON_APP_ID"] {
		t.Errorf("variables %v", names)
	}
}

func TestMissingSecrets(t *testing.T) {
	a := read(t, `{"id":"/x","cmd":"x","env":{"A":{"secret":"one"},"B":{"secret":"two"},"C":{"secret":"one"}},"secrets":{"one":{"source":"nowhere"},"two":{"source":"keys/shop"}}}`)
	for _, c := range []struct {
		name string
		o    Options
		drop string
		want string
	}{
		{"no file", Options{Secret: secrets}, "", `cannot read secret "one" of /x: no such file`},
		{"no secrets", Options{}, "", "cannot read secret \"one\" of /x: this cell keeps no secrets\ncannot read secret \"two\" of /x: this cell keeps no secrets"},
		{"not defined", Options{Secret: secrets}, "two", "cannot read secret \"one\" of /x: no such file\ncannot read secret \"two\" of /x: the app does not define it"},
	} {
		delete(a.Secrets, c.drop)
		_, err := task(t, a, c.o)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

func TestName(t *testing.T) {
	for id, want := range map[string]string{"/a/b/c": "c.b.a", "/a": "a", "/team/web.v2": "web.v2.team"} {
		if got := Name(id); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}
