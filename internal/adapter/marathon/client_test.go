package marathon

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestThrough: a deployment that was cancelled or pushed aside leaves the list as one
// that is through; what the app is tells them apart.
func TestThrough(t *testing.T) {
	const v1, v2, v3 = "2026-01-01T00:00:01.000Z", "2026-01-01T00:00:02.000Z", "2026-01-01T00:00:03.000Z"
	app := func(version, config string, tasks ...string) string {
		list := ""
		for i, t := range tasks {
			if i > 0 {
				list += ","
			}
			list += fmt.Sprintf(`{"id": "t%d", "state": "TASK_RUNNING", "version": %q}`, i, t)
		}
		return fmt.Sprintf(`{"app": {"id": "/a", "instances": 2, "version": %q, "versionInfo": {"lastConfigChangeAt": %q}, "tasks": [%s]}}`, version, config, list)
	}
	put := Result{Version: v2, DeploymentID: "d"}
	const begins, ends = "the deployment d has ended and /a is not as it wanted: ", ". It was cancelled, or made way for another"
	for _, c := range []struct {
		name, answer string
		result       Result
		want         string
	}{
		{"through", app(v2, v2, v2, v2), put, ""},
		{"scaled", app(v2, v1, v1, v1), put, ""},
		{"nothing was to be done", app(v1, v1, v1, v1), put, ""},
		{"cancelled, old ones left", app(v2, v2, v1, v2), put, begins + "1 of 2 instances run as it is now, beside 1 others" + ends},
		{"cancelled, too few", app(v2, v2, v2), put, begins + "1 of 2 instances run as it is now, beside 0 others" + ends},
		{"cancelled, too many", app(v2, v2, v2, v2, v1), put, begins + "2 of 2 instances run as it is now, beside 1 others" + ends},
		{"taken back", app(v3, v1, v1, v1), put, begins + "its version is " + v3 + ", not " + v2 + ends},
		{"gone", "", put, "App '/a' does not exist"},
		{"removed", "", Result{DeploymentID: "d", removes: true}, ""},
		{"not removed", app(v1, v1, v1, v1), Result{DeploymentID: "d", removes: true}, begins + "it is still there" + ends},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if c.answer == "" {
				w.WriteHeader(http.StatusNotFound)
				_, _ = w.Write([]byte(`{"message": "App '/a' does not exist"}`))
				return
			}
			_, _ = w.Write([]byte(c.answer))
		}))
		_, err := New(Config{URL: s.URL}).Through(t.Context(), "/a", c.result)
		s.Close()
		if got := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && got != c.want {
			t.Errorf("%s: %s\nwanted %s", c.name, got, c.want)
		}
	}
}
