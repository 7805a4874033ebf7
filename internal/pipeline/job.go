package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxSilence is how long the platform may fail to say how something is doing: a
// server may be restarting, and what it runs goes on without it.
const maxSilence = 60 * time.Second

// patience passes over errors until they have gone on for maxSilence.
type patience struct {
	since time.Time
}

func (q *patience) with(err error) error {
	if err == nil {
		q.since = time.Time{}
		return nil
	}
	if q.since.IsZero() {
		q.since = time.Now()
	}
	if silent := time.Since(q.since); silent >= maxSilence {
		return fmt.Errorf("no answer for %s: %w", silent.Round(time.Second), err)
	}
	return nil
}

// job runs a MapReduce job to its end.
func (r *run) job(ctx context.Context, s Step, p *progress) error {
	j := s.Job
	if j.Jar != "" {
		inputs, err := fileInputs(s.Name, j.Jar)
		if err != nil {
			return err
		}
		p.input(inputs...)
	}
	req := JobRequest{Cluster: j.Cluster, Jar: j.Jar, Main: j.Main}
	known := values(map[string]string{varOutput: j.Output, varWarehouse: r.Warehouse})
	for _, arg := range j.Args {
		text, err := expand(arg, known)
		if err != nil {
			return err
		}
		req.Args = append(req.Args, text)
	}
	if err := r.clearOutput(ctx, j.Output); err != nil {
		return err
	}
	p.say("submitting to " + j.Cluster)
	id, err := r.submitJob(ctx, req)
	if err != nil {
		return fmt.Errorf("cannot submit job to %s: %w", j.Cluster, err)
	}
	p.identify(id)
	p.say("job " + id + " on " + j.Cluster)
	ended, err := r.followJob(ctx, j, id, p)
	if err != nil && !ended {
		err = errors.Join(err, r.killJob(ctx, j.Cluster, id))
	}
	return err
}

// submitJob does not stop half way: a job whose id nobody knows cannot be killed.
func (r *run) submitJob(ctx context.Context, req JobRequest) (string, error) {
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	return r.Jobs.SubmitJob(sctx, req)
}

func (r *run) killJob(ctx context.Context, cluster, id string) error {
	last, cancel := detached(ctx)
	defer cancel()
	if err := r.Jobs.KillJob(last, cluster, id); err != nil {
		return fmt.Errorf("cannot kill job %s: %w", id, err)
	}
	return nil
}

// followJob waits for the end of a job and reports whether it has ended.
func (r *run) followJob(ctx context.Context, j *Job, id string, p *progress) (ended bool, err error) {
	deadline := time.Now().Add(j.Deadline)
	var quiet patience
	for {
		status, err := r.Jobs.JobStatus(ctx, j.Cluster, id)
		if err := quiet.with(err); err != nil {
			return false, fmt.Errorf("cannot follow job %s: %w", id, err)
		}
		if err == nil {
			p.update(func(f *Figures) { f.Map, f.Reduce = status.Map, status.Reduce })
			if ended, err := status.end(id); ended {
				return true, err
			}
		}
		if time.Now().After(deadline) {
			return false, fmt.Errorf("job %s was not done in %s: %s, map %.0f %%, reduce %.0f %%%s",
				id, j.Deadline, status.State, status.Map, status.Reduce, after(": ", status.Diagnostics))
		}
		if err := r.sleep(ctx); err != nil {
			return false, err
		}
	}
}

func (s JobStatus) end(id string) (bool, error) {
	switch s.State {
	case JobSucceeded:
		return true, nil
	case JobFailed, JobKilled:
		why := strings.TrimSpace(s.Diagnostics)
		if why == "" {
			why = "the cluster gives no reason"
		}
		verb := "failed"
		if s.State == JobKilled {
			verb = "was killed"
		}
		return true, fmt.Errorf("job %s %s: %s", id, verb, why)
	case JobWaiting, JobRunning:
	}
	return false, nil
}

// after puts a separator before text that is not empty.
func after(separator, text string) string {
	if text = strings.TrimSpace(text); text == "" {
		return ""
	}
	return separator + text
}

// clearOutput removes the output of an earlier job. What does not look like
// one is left alone: it may be data.
func (r *run) clearOutput(ctx context.Context, output string) error {
	entries, err := list(ctx, r.Files, output)
	if err != nil {
		return fmt.Errorf("cannot look at output: %w", err)
	}
	ofJob := slices.ContainsFunc(entries, func(e Entry) bool { return e.Name == successFile || e.Name == "_temporary" })
	if len(entries) > 0 && !ofJob {
		return fmt.Errorf("%s is not the output of a job: it has neither _SUCCESS nor _temporary; move it away or choose another output", output)
	}
	if err := r.Files.Remove(ctx, output); err != nil {
		return fmt.Errorf("cannot remove the output of an earlier job: %w", err)
	}
	return nil
}
