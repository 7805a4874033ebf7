package yarn

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errNoHistory explains what cannot be had without a history server.
var errNoHistory = errors.New("the address of the history server is not known")

// jsonMRJob is a job as a running ApplicationMaster tells it, with percentages,
// or as the history server does, without.
type jsonMRJob struct {
	Name, User, Queue, State, Diagnostics                    string
	StartTime, FinishTime                                    int64
	MapsTotal, MapsCompleted, ReducesTotal, ReducesCompleted int
	MapProgress, ReduceProgress                              float64
	FailedMapAttempts, FailedReduceAttempts                  int
}

func (j jsonMRJob) progress() MapReduce {
	return MapReduce{
		Maps:    Phase{j.MapsTotal, j.MapsCompleted, j.MapProgress, j.FailedMapAttempts},
		Reduces: Phase{j.ReducesTotal, j.ReducesCompleted, j.ReduceProgress, j.FailedReduceAttempts},
	}
}

// mapReduce reads progress where it is to be had: from the ApplicationMaster
// while it runs, from the history afterwards.
func (c *Client) mapReduce(ctx context.Context, j Job) (MapReduce, error) {
	if j.State == StateRunning {
		return c.running(ctx, j.ID)
	}
	if !j.State.Final() {
		return MapReduce{}, errors.New("the ApplicationMaster has not started")
	}
	old, err := c.history(ctx, j.ID)
	if err != nil {
		return MapReduce{}, err
	}
	return old.progress(), nil
}

func (c *Client) running(ctx context.Context, app string) (MapReduce, error) {
	var a struct {
		Jobs struct{ Job oneOrMore[jsonMRJob] }
	}
	err := c.get(ctx, address(c.cfg.Address, "proxy", app, "ws/v1/mapreduce/jobs"), &a)
	if errors.Is(err, ErrStandby) {
		return MapReduce{}, errors.New("the ApplicationMaster has gone")
	}
	if err != nil {
		return MapReduce{}, err
	}
	if len(a.Jobs.Job) == 0 {
		return MapReduce{}, errors.New("the ApplicationMaster has no job yet")
	}
	return a.Jobs.Job[0].progress(), nil
}

// history reads a job that has ended. The history server gives no
// percentages, so they are counted.
func (c *Client) history(ctx context.Context, app string) (jsonMRJob, error) {
	if c.cfg.History == "" {
		return jsonMRJob{}, errNoHistory
	}
	var a struct{ Job jsonMRJob }
	if err := c.get(ctx, c.historyJob(app), &a); err != nil {
		return jsonMRJob{}, err
	}
	a.Job.MapProgress = percent(a.Job.MapsCompleted, a.Job.MapsTotal)
	a.Job.ReduceProgress = percent(a.Job.ReducesCompleted, a.Job.ReducesTotal)
	return a.Job, nil
}

func (c *Client) historyJob(app string) string {
	return address(c.cfg.History, "ws/v1/history/mapreduce/jobs", jobID(app))
}

// forgotten makes a Job of what the history knows, or returns the
// ResourceManager's answer.
func (c *Client) forgotten(ctx context.Context, app string, answer error) (Job, error) {
	old, err := c.history(ctx, app)
	if err != nil {
		return Job{}, answer
	}
	progress := old.progress()
	j := Job{
		ID: app, Name: old.Name, User: old.User, Queue: old.Queue, Type: "MAPREDUCE",
		State: StateFinished, Outcome: old.State, Progress: 100,
		Started: time.UnixMilli(old.StartTime), Finished: time.UnixMilli(old.FinishTime),
		Diagnostics: old.Diagnostics, MapReduce: &progress,
	}
	return j, nil
}

func percent(done, total int) float64 {
	if total == 0 {
		return 100
	}
	return 100 * float64(done) / float64(total)
}

// Counter is one of a MapReduce job's counters.
type Counter struct {
	Total, Map, Reduce int64
}

type jsonCounterGroup struct {
	CounterGroupName string
	Counter          oneOrMore[jsonCounter]
}

type jsonCounter struct {
	Name                                                   string
	TotalCounterValue, MapCounterValue, ReduceCounterValue int64
}

// Counters reads the counters of a MapReduce job by group and name: from its
// ApplicationMaster while it runs, from the history afterwards.
func (c *Client) Counters(ctx context.Context, id string) (map[string]map[string]Counter, error) {
	groups, err := c.counters(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("cannot read counters of job %s: %w", id, err)
	}
	return groups, nil
}

func (c *Client) counters(ctx context.Context, id string) (map[string]map[string]Counter, error) {
	app, err := appID(id)
	if err != nil {
		return nil, err
	}
	source := address(c.cfg.Address, "proxy", app, "ws/v1/mapreduce/jobs", jobID(app))
	if j, err := c.app(ctx, app); err != nil || j.State != StateRunning {
		if c.cfg.History == "" {
			return nil, errNoHistory
		}
		source = c.historyJob(app)
	}
	var a struct {
		JobCounters struct {
			CounterGroup oneOrMore[jsonCounterGroup]
		}
	}
	if err := c.get(ctx, source+"/counters", &a); err != nil {
		return nil, err
	}
	groups := map[string]map[string]Counter{}
	for _, g := range a.JobCounters.CounterGroup {
		groups[g.CounterGroupName] = map[string]Counter{}
		for _, n := range g.Counter {
			groups[g.CounterGroupName][n.Name] = Counter{n.TotalCounterValue, n.MapCounterValue, n.ReduceCounterValue}
		}
	}
	return groups, nil
}
