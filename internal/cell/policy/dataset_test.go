package policy_test

import (
	"testing"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/policy"
)

func TestDatasets(t *testing.T) {
	p := policy.Policy{HostNetwork: true, Datasets: []string{"/data", "/feeds/go"}}
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
