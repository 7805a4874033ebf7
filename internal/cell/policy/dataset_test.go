package policy_test

import (
	"testing"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/policy"
)

func TestDatasets(t *testing.T) {
	p := policy.Policy{HostNetwork: true, RootForPlainCommands: true, Datasets: []string{"/data", "/feeds/go"}}
	for value, want := range map[string]string{
		"/data/words":    "",
		"/data/words:ro": "",
		"/data":          "",
		"/feeds/go":      "",
		"/feeds/goes":    "the dataset /feeds/goes is not the project's",
		"/feeds":         "the dataset /feeds is not the project's",
		"/database":      "the dataset /database is not the project's",
		"/data/../user":  `"/data/../user" is no dataset`,
		"data":           `"data" is no dataset`,
		"/":              `"/" is no dataset`,
	} {
		t.Run(value, func(t *testing.T) {
			a := &app.App{Labels: map[string]string{"HOWDAH_DATASET_A/B": value, "other": "/user"}}
			task := mesos.TaskInfo{Labels: &mesos.Labels{Labels: []mesos.Label{{Key: "HOWDAH_DATASET_A", Value: value}}}}
			for pointer, w := range map[string]policy.Wish{"/labels/HOWDAH_DATASET_A~1B": policy.FromApp(a), "/labels/labels/0": policy.FromTask(mesos.FrameworkInfo{}, task)} {
				found := policy.Check(w, p)
				switch {
				case want == "" && len(found) > 0:
					t.Errorf("denied: %+v", found)
				case want != "" && (len(found) != 1 || found[0].Message != want || found[0].Pointer != pointer):
					t.Errorf("got %+v\nwant %s at %s", found, want, pointer)
				}
			}
		})
	}
}

// TestDeclared: of a declared folder the declaration decides, whatever else the
// project may use.
func TestDeclared(t *testing.T) {
	p := policy.Policy{HostNetwork: true, RootForPlainCommands: true, Datasets: []string{"/data"}, Declared: []policy.Dataset{
		{Name: "clicks", Path: "/data/clicks", Owner: "ads"},
		{Name: "geo", Path: "/data/maps/geo", Owner: "maps", Read: true},
		{Name: "own", Path: "/own/words", Owner: "shop", Read: true, Write: true},
	}}
	for value, want := range map[string][2]string{
		"/data/other":       {},
		"/data/clicksmore":  {},
		"/own/words":        {},
		"/own/words/a:ro":   {},
		"/data/maps/geo:ro": {},
		"/data/maps:ro":     {},
		"/data/clicks": {
			"/data/clicks is dataset clicks of project ads", "Ask project ads to declare access for this one.",
		},
		"/data/clicks/2026:ro": {
			"/data/clicks/2026 is dataset clicks of project ads", "Ask project ads to declare access for this one.",
		},
		"/data": {
			"/data holds dataset clicks of project ads", "Name the folders that are needed, or ask project ads to declare access for this one.",
		},
		"/data/maps/geo/a": {
			"the project may only read dataset geo", "Write /data/maps/geo/a:ro, or ask project maps to declare the access rw.",
		},
		"/data/maps": {
			"the project may only read dataset geo", "Write /data/maps:ro, or ask project maps to declare the access rw.",
		},
		"/own": {"the dataset /own is not the project's", "Use one of /data, or ask the operator to allow it for the project."},
	} {
		a := &app.App{Labels: map[string]string{"HOWDAH_DATASET_A": value}}
		var got [2]string
		for _, f := range policy.Check(policy.FromApp(a), p) {
			got = [2]string{f.Message, f.Remedy}
		}
		if got != want {
			t.Errorf("%s:\ngot  %q\nwant %q", value, got, want)
		}
	}
	p.Unknown = "HDFS is unreachable"
	for value, want := range map[string]int{"/data/other": 1, "/own/words": 1} {
		a := &app.App{Labels: map[string]string{"HOWDAH_DATASET_A": value}}
		if found := policy.Check(policy.FromApp(a), p); len(found) != want || found[0].Message != "whose "+value+" is cannot be told: HDFS is unreachable" {
			t.Errorf("%s, with a warehouse that does not answer: %+v", value, found)
		}
	}
	if found := policy.Check(policy.FromApp(&app.App{}), p); len(found) > 0 {
		t.Errorf("an app without datasets needs no warehouse: %+v", found)
	}
}
