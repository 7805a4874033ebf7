package cli

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/adapter/marathon"
)

// TestDescribeApp shows where an app is reached, whatever its network is, and what
// its tasks run into.
func TestDescribeApp(t *testing.T) {
	for _, tt := range []struct{ app, want string }{
		{
			`{"id": "/web", "portDefinitions": [{"port": 10007, "name": "http", "protocol": "tcp"}, {"port": 10008, "protocol": "udp,tcp"}, {"port": 10009, "protocol": "udp"}]}`,
			"  service ports, at the address of any worker: 10007 (http), 10008\n",
		},
		{
			`{"id": "/web", "container": {"portMappings": [{"containerPort": 80, "servicePort": 10007, "protocol": "tcp"}]}}`,
			"  service ports, at the address of any worker: 10007\n",
		},
		{`{"id": "/web", "portDefinitions": []}`, ""},
		{
			`{"id": "/web", "tasks": [{"id": "t1", "worker": "w1", "state": "TASK_RUNNING", "notice": "limit of 1024 processes reached"}]}`,
			"  t1 on w1: limit of 1024 processes reached\n\nTASK  WORKER  STATE    HEALTH  PORTS\nt1    w1      RUNNING  -\n",
		},
	} {
		var x marathon.App
		if err := json.Unmarshal([]byte(tt.app), &x); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		describeApp(&b, &x, nil, nil)
		if want := "/web  0 of 0 run, version \n" + tt.want; b.String() != want {
			t.Errorf("%s\ngot  %q\nwant %q", tt.app, b.String(), want)
		}
	}
}

// TestAppFindings: the chain goes from how an app is, over what keeps it back, to
// what would help.
func TestAppFindings(t *testing.T) {
	const app = `{"id": "/web", "instances": 3, "tasksRunning": 1`
	const failure = `, "lastTaskFailure": {"host": "w1", "state": "TASK_FAILED", "message": "Command exited with status 7", "timestamp": "2026-01-02T03:04:05.000Z"}`
	const deployment = `[{"id": "d1", "version": "2026-01-02T03:00:00.000Z", "affectedApps": ["/web"], "currentStep": 1, "totalSteps": 2, "waiting": {"/web": "1 of 3 instances running"}`
	const refused = `[{"count": 2, "delay": {"timeLeftSeconds": 4}, "app": {"id": "/web"}, "reasons": ["w1: needs 100 cpus; 8 are free", "w2: rack IS r1: has r2"],
		"processedOffersSummary": {"processedOffersCount": 7, "unusedOffersCount": 6, "rejectSummaryLaunchAttempt": [{"reason": "UnfulfilledConstraint", "declined": 2}, {"reason": "InsufficientCpus", "declined": 4}, {"reason": "InsufficientPorts", "declined": 0}]}}]`
	for _, tt := range []struct{ name, app, queue, deployments, want string }{
		{"as wanted", `{"id": "/web", "instances": 1, "tasksRunning": 1` + failure + `}`, `[]`, `[]`, "/web is as wanted: 1 of 1 run\n"},
		{"no worker fits", app + `}`, refused, deployment + `}]`, "/web is not as wanted: 1 of 3 run\n" +
			"  because  its deployment d1, step 1 of 2: 1 of 3 instances running (since TIME)\n" +
			"  because  the next launch waits 4s more, for instances failed\n" +
			"  because  2 instances to launch; of 7 offers so far 1 fitted; refused: 2 for UnfulfilledConstraint, 4 for InsufficientCpus\n" +
			"  cause    w1: needs 100 cpus; 8 are free\n  cause    w2: rack IS r1: has r2\n" +
			"  next     ask for what a worker has, change the constraints, or make room: howdah app get shows what else runs\n"},
		{"it fails", app + failure + `}`, `[]`, deployment + `, "stalled": "/web: 1 of 3"}]`, "/web is not as wanted: 1 of 3 run\n" +
			"  because  its deployment d1, step 1 of 2: stalled: /web: 1 of 3 (since TIME)\n" +
			"  cause    the last instance that ended by itself, on w1: TASK_FAILED Command exited with status 7 (since TIME)\n" +
			"  next     read what it wrote: howdah app logs /web\n"},
		{"it is ill", `{"id": "/web", "instances": 1, "tasksRunning": 1, "tasks": [{"id": "t1", "worker": "w1", "healthCheckResults": [{"alive": false, "lastFailureCause": "503"}]}]}`, `[]`, `[]`, "/web is not as wanted: 1 of 1 run\n" +
			"  cause    t1 on w1 is ill: 503\n  next     read what it wrote: howdah app logs /web\n"},
		{"on its way", app + `}`, `[]`, deployment + `}]`, "/web is not as wanted: 1 of 3 run\n" +
			"  because  its deployment d1, step 1 of 2: 1 of 3 instances running (since TIME)\n  next     it goes on; look again with: howdah app explain /web\n"},
	} {
		var x marathon.App
		var queue []marathon.Queued
		var deployments []marathon.Deployment
		for text, into := range map[string]any{tt.app: &x, tt.queue: &queue, tt.deployments: &deployments} {
			if text == "[]" {
				continue
			}
			if err := json.Unmarshal([]byte(text), into); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
		}
		var b strings.Builder
		printFindings(&b, appFindings(&x, queue, deployments))
		if got := regexp.MustCompile(`\(since [^)]*\)`).ReplaceAllString(b.String(), "(since TIME)"); got != tt.want {
			t.Errorf("%s\ngot\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}
