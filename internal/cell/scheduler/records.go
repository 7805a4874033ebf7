package scheduler

import (
	"slices"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/deploy"
	"howdah.dev/howdah/internal/cell/instance"
)

// App is what the scheduler keeps of an app. Like every record it is never
// changed once others can see it: a change is a new value.
type App struct {
	Spec *app.App `json:"spec"` // what is wanted
	// Accept is the version whose instances are as wanted: that of the last change
	// of the configuration; or zero after a deployment was given up: then nothing is
	// replaced until the next change.
	Accept time.Time `json:"accept"`
	// Removed apps are kept until their last instance has ended.
	Removed bool `json:"removed,omitempty"`
	// Base is the highest number wanted since the last scale-down was completed.
	Base        int      `json:"base"`
	Backoff     Backoff  `json:"backoff"`
	LastFailure *Failure `json:"lastFailure,omitempty"`
}

// Backoff delays launches of an app whose instances fail.
type Backoff struct {
	Delay time.Duration `json:"delay,omitempty"`
	Until time.Time     `json:"until,omitzero"`
}

// Failure is the last failure of an app's instances, in Marathon's words.
type Failure struct {
	AppID     string        `json:"appId"`
	Host      string        `json:"host"`
	Message   string        `json:"message"`
	State     string        `json:"state"`
	TaskID    string        `json:"taskId"`
	Timestamp app.Timestamp `json:"timestamp"`
	Version   app.Timestamp `json:"version"`
	AgentID   string        `json:"slaveId"`
}

// Group is what is kept of a group beside its apps.
type Group struct {
	ID           string        `json:"id"`
	Dependencies []string      `json:"dependencies,omitempty"`
	EnforceRole  *bool         `json:"enforceRole,omitempty"`
	Version      app.Timestamp `json:"version"`
}

// Deployment is an update on its way. It ends when every app it touches is as
// wanted; what is left to do is computed anew at each step.
type Deployment struct {
	ID      string        `json:"id"`
	Number  int64         `json:"number"`            // orders deployments
	Project string        `json:"project,omitempty"` // who asked for it
	Version app.Timestamp `json:"version"`
	Steps   []deploy.Step `json:"steps"`  // as shown
	Layers  [][]string    `json:"layers"` // apps by dependency; each waits for those before
	Reached int           `json:"reached"`
	// Before holds the version of each app before, "" for apps that were not there.
	Before map[string]Before `json:"before"`
	// Groups are those the update changed, as they were; nil for new ones.
	Groups map[string]*Group `json:"groups,omitempty"`

	Progressed time.Time `json:"progressed"` // when something last came closer to what is wanted
	Best       int       `json:"best"`       // highest number of right instances since then
	Stalled    string    `json:"stalled,omitempty"`

	written time.Time // when this process last wrote it
}

// Before is an app before a deployment.
type Before struct {
	Version   string `json:"version,omitempty"`
	Instances int    `json:"instances"`
	Removed   bool   `json:"removed,omitempty"`
}

// Apps returns the ids of the apps the deployment touches.
func (d *Deployment) Apps() []string {
	var ids []string
	for _, layer := range d.Layers {
		ids = append(ids, layer...)
	}
	return ids
}

// touches tells whether an app is the deployment's.
func (d *Deployment) touches(id string) bool {
	_, ok := d.Before[id]
	return ok
}

// Step returns the number of the step in work, len(d.Steps) when all is done.
func (d *Deployment) Step() int { return d.stepOf(d.Reached) }

// stepOf returns the step that the apps of a layer belong to. A new app has two,
// the first of which does nothing.
func (d *Deployment) stepOf(layer int) int {
	if layer >= len(d.Layers) {
		return len(d.Steps)
	}
	n := slices.IndexFunc(d.Steps, func(s deploy.Step) bool {
		return slices.ContainsFunc(s.Actions, func(act deploy.Action) bool {
			return act.Action != deploy.StartApplication && slices.Contains(d.Layers[layer], act.App)
		})
	})
	return max(0, n)
}

// layer returns the number of an app's layer.
func (d *Deployment) layer(id string) int {
	for i, layer := range d.Layers {
		if slices.Contains(layer, id) {
			return i
		}
	}
	return -1
}

// Checks are the newest results of an instance's health checks, in the order of
// the app's list. They are not stored: after a restart the checks say it again.
type Checks struct {
	Results []Result
	Ready   []ReadyResult
	// Amiss is what was wrong with the last bad answer, "" once its check is well.
	// Results say nothing of answers in the grace period, as in Marathon.
	Amiss string
	by    int // the check of Amiss
}

// Result is what is known of one health check of one instance, in Marathon's words.
type Result struct {
	InstanceID          string         `json:"instanceId"`
	Alive               bool           `json:"alive"`
	ConsecutiveFailures int            `json:"consecutiveFailures"`
	FirstSuccess        *app.Timestamp `json:"firstSuccess"`
	LastSuccess         *app.Timestamp `json:"lastSuccess"`
	LastFailure         *app.Timestamp `json:"lastFailure"`
	LastFailureCause    *string        `json:"lastFailureCause"`
}

// ReadyResult is the newest answer to a readiness check, in Marathon's words.
type ReadyResult struct {
	Name         string        `json:"name"`
	TaskID       string        `json:"taskId"`
	Ready        bool          `json:"ready"`
	LastResponse *LastResponse `json:"lastResponse,omitempty"`
}

// LastResponse is what a readiness check was answered.
type LastResponse struct {
	Status      int    `json:"status"`
	ContentType string `json:"contentType"`
	Body        string `json:"body"`
}

// clone copies a record by its JSON form's fields, one level deep.
func clone[T any](v *T) *T {
	c := *v
	return &c
}

// instancesOf is a set of instances by id.
type instanceSet map[string]*instance.Instance
