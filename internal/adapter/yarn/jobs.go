package yarn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// State is where an application is, in YARN's words.
type State string

// The states of an application. The last three are final.
const (
	StateNew       State = "NEW"
	StateNewSaving State = "NEW_SAVING"
	StateSubmitted State = "SUBMITTED"
	StateAccepted  State = "ACCEPTED" // waits for its ApplicationMaster
	StateRunning   State = "RUNNING"
	StateFinished  State = "FINISHED" // see Job.Outcome
	StateFailed    State = "FAILED"
	StateKilled    State = "KILLED"
)

// Final reports whether the application has ended.
func (s State) Final() bool {
	return s == StateFinished || s == StateFailed || s == StateKilled
}

// Job is one application, MapReduce or other.
type Job struct {
	ID          string // application_...
	Name        string
	User        string
	Queue       string
	Type        string // MAPREDUCE, ...
	State       State
	Outcome     string  // UNDEFINED until it ends, then SUCCEEDED, FAILED or KILLED
	Progress    float64 // percent; 100 for one that failed, too
	Started     time.Time
	Finished    time.Time // zero until it ends
	Diagnostics string
	TrackingURL string // as the ResourceManager calls itself; may say localhost
	Containers  int    // running
	MemoryMB    int64  // held now
	VCores      int64  // held now
	// MapReduce is filled by Client.Job for a MapReduce job whose progress can
	// be had; Note says why not otherwise.
	MapReduce *MapReduce
	Note      string
}

// MapReduce is the progress of a MapReduce job.
type MapReduce struct {
	Maps    Phase
	Reduces Phase
}

// Phase is the map or the reduce side of a job.
type Phase struct {
	Total   int
	Done    int
	Percent float64
	Failed  int // attempts
}

type jsonApp struct {
	ID, Name, User, Queue, State, FinalStatus, ApplicationType, Diagnostics string
	TrackingURL                                                             string `json:"trackingUrl"`
	Progress                                                                float64
	StartedTime, FinishedTime, AllocatedMB, AllocatedVCores                 int64
	RunningContainers                                                       int
}

func (a jsonApp) job() Job {
	j := Job{
		ID: a.ID, Name: a.Name, User: a.User, Queue: a.Queue, Type: a.ApplicationType,
		State: State(a.State), Outcome: a.FinalStatus, Progress: a.Progress,
		Started: time.UnixMilli(a.StartedTime), Diagnostics: a.Diagnostics, TrackingURL: a.TrackingURL,
		// -1 where nothing is held any more
		Containers: max(a.RunningContainers, 0), MemoryMB: max(a.AllocatedMB, 0), VCores: max(a.AllocatedVCores, 0),
	}
	if a.FinishedTime > 0 {
		j.Finished = time.UnixMilli(a.FinishedTime)
	}
	return j
}

// Jobs lists the applications the ResourceManager remembers, without their
// MapReduce progress: all that have not ended and the newest that have.
func (c *Client) Jobs(ctx context.Context) ([]Job, error) {
	var a struct {
		Apps struct{ App oneOrMore[jsonApp] }
	}
	if err := c.get(ctx, c.rm("apps")+"?deSelects=resourceRequests,timeouts,resourceInfo", &a); err != nil {
		return nil, fmt.Errorf("cannot list jobs of YARN: %w", err)
	}
	jobs := make([]Job, 0, len(a.Apps.App))
	for _, app := range a.Apps.App {
		jobs = append(jobs, app.job())
	}
	return jobs, nil
}

// Job reads one application by its id or its MapReduce job's id, with the
// progress of a MapReduce job. One the ResourceManager has forgotten is looked
// for in the history. The error may be ErrNotFound.
func (c *Client) Job(ctx context.Context, id string) (Job, error) {
	j, err := c.job(ctx, id)
	if err != nil {
		return Job{}, fmt.Errorf("cannot read job %s: %w", id, err)
	}
	return j, nil
}

func (c *Client) job(ctx context.Context, id string) (Job, error) {
	app, err := appID(id)
	if err != nil {
		return Job{}, err
	}
	j, err := c.app(ctx, app)
	if errors.Is(err, ErrNotFound) && c.cfg.History != "" {
		return c.forgotten(ctx, app, err)
	}
	if err != nil || j.Type != "MAPREDUCE" {
		return j, err
	}
	progress, err := c.mapReduce(ctx, j)
	if err != nil {
		j.Note = "no map and reduce progress: " + err.Error()
	} else {
		j.MapReduce = &progress
	}
	return j, nil
}

func (c *Client) app(ctx context.Context, app string) (Job, error) {
	var a struct{ App jsonApp }
	if err := c.get(ctx, c.rm("apps", app), &a); err != nil {
		return Job{}, err
	}
	return a.App.job(), nil
}

// Kill ends an application. One that has ended already is no error. It may
// take a few seconds to be seen. The error may be ErrNotFound or ErrDenied.
func (c *Client) Kill(ctx context.Context, id string) error {
	if err := c.kill(ctx, id); err != nil {
		return fmt.Errorf("cannot kill job %s: %w", id, err)
	}
	return nil
}

func (c *Client) kill(ctx context.Context, id string) error {
	app, err := appID(id)
	if err != nil {
		return err
	}
	target := c.rm("apps", app, "state")
	if c.cfg.User != "" {
		target += "?" + url.Values{"user.name": {c.cfg.User}}.Encode()
	}
	body, err := json.Marshal(map[string]State{"state": StateKilled})
	if err != nil {
		return err
	}
	resp, err := c.open(ctx, http.MethodPut, target, body, "application/json")
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
