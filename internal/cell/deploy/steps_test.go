package deploy

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/cell/app"
)

func TestSteps(t *testing.T) {
	first, second := app.At(oldV), app.At(newV)
	spec := func(id string, instances int, cmd string, config app.Timestamp, needs ...string) *app.App {
		return &app.App{
			ID: id, Instances: instances, Cmd: cmd, Dependencies: needs,
			VersionInfo: &app.VersionInfo{LastConfigChangeAt: config, LastScalingAt: app.At(config.Add(time.Duration(instances)))},
		}
	}
	set := func(apps ...*app.App) map[string]*app.App {
		out := map[string]*app.App{}
		for _, a := range apps {
			out[a.ID] = a
		}
		return out
	}
	for _, c := range []struct {
		name          string
		before, after map[string]*app.App
		want          string
	}{
		{"nothing", set(spec("/a", 1, "x", first)), set(spec("/a", 1, "x", first)), `null`},
		{"new", nil, set(spec("/a", 1, "x", first)), `[{"actions":[{"action":"StartApplication","app":"/a"}]},{"actions":[{"action":"ScaleApplication","app":"/a"}]}]`},
		{"new with no instance", nil, set(spec("/a", 0, "x", first)), `[{"actions":[{"action":"StartApplication","app":"/a"}]},{"actions":[{"action":"ScaleApplication","app":"/a"}]}]`},
		{"removed", set(spec("/b", 1, "x", first), spec("/a", 1, "x", first)), nil, `[{"actions":[{"action":"StopApplication","app":"/a"},{"action":"StopApplication","app":"/b"}]}]`},
		{"scaled", set(spec("/a", 1, "x", first)), set(spec("/a", 3, "x", first)), `[{"actions":[{"action":"ScaleApplication","app":"/a"}]}]`},
		{"changed", set(spec("/a", 1, "x", first)), set(spec("/a", 3, "y", second)), `[{"actions":[{"action":"RestartApplication","app":"/a"}]}]`},
		{"restarted", set(spec("/a", 1, "x", first)), set(spec("/a", 1, "x", second)), `[{"actions":[{"action":"RestartApplication","app":"/a"}]}]`},
		{"changed and scaled to zero", set(spec("/a", 1, "x", first)), set(spec("/a", 0, "y", second)), `[{"actions":[{"action":"ScaleApplication","app":"/a"}]}]`},
		{
			"a group with dependencies",
			set(spec("/g/db", 1, "x", first), spec("/g/old", 1, "x", first), spec("/g/same", 1, "x", first)),
			set(spec("/g/db", 1, "y", second), spec("/g/same", 1, "x", first), spec("/g/web", 2, "x", second, "/g/api"), spec("/g/api", 2, "x", second, "/g/db"), spec("/g/batch", 2, "x", second, "/g/db")),
			`[{"actions":[{"action":"StopApplication","app":"/g/old"}]},` +
				`{"actions":[{"action":"StartApplication","app":"/g/api"},{"action":"StartApplication","app":"/g/batch"},{"action":"StartApplication","app":"/g/web"}]},` +
				`{"actions":[{"action":"RestartApplication","app":"/g/db"}]},` +
				`{"actions":[{"action":"ScaleApplication","app":"/g/api"},{"action":"ScaleApplication","app":"/g/batch"}]},` +
				`{"actions":[{"action":"ScaleApplication","app":"/g/web"}]}]`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			layers, cycle := app.Layers(c.after, nil)
			if cycle != nil {
				t.Fatal(cycle)
			}
			got, err := json.Marshal(Steps(c.before, c.after, layers))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
