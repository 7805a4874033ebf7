package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/adapter/marathon"
	"howdah.dev/howdah/internal/number"
)

func (a *app) appExplainCmd(f *appFlags) *cobra.Command {
	return &cobra.Command{
		Use: "explain ID", Short: "Say what an app waits for, and which worker lacks what", Args: args(1, 1, "the app's id"),
		RunE: func(cmd *cobra.Command, got []string) error {
			return a.explainApp(cmd.Context(), f.cell, appID(got[0]))
		},
	}
}

func (a *app) explainApp(ctx context.Context, cell, id string) error {
	c, err := a.openCell(ctx, cell)
	if err != nil {
		return err
	}
	x, err := c.App(ctx, id)
	if err != nil {
		return appError(err)
	}
	queue, err := c.Queue(ctx)
	if err != nil {
		return appError(err)
	}
	deployments, err := c.Deployments(ctx)
	if err != nil {
		return appError(err)
	}
	fs := appFindings(x, queue, deployments)
	return a.print(fs, func(w io.Writer) { printFindings(w, fs) })
}

// appFindings is the chain from how an app is to what would help.
func appFindings(x *marathon.App, queue []marathon.Queued, deployments []marathon.Deployment) []api.Finding {
	e := &appChain{app: x.ID}
	var deployment *marathon.Deployment
	if n := slices.IndexFunc(deployments, func(d marathon.Deployment) bool { return slices.Contains(d.AffectedApps, x.ID) }); n >= 0 {
		deployment = &deployments[n]
	}
	var queued *marathon.Queued
	if n := slices.IndexFunc(queue, func(q marathon.Queued) bool { return q.App.ID == x.ID }); n >= 0 {
		queued = &queue[n]
	}
	ill := e.ill(x)
	if deployment == nil && queued == nil && len(ill) == 0 && x.TasksRunning >= x.Instances {
		e.add("is", fmt.Sprintf("%s is as wanted: %d of %d run", x.ID, x.TasksRunning, x.Instances), "")
		return e.findings
	}
	since := ""
	if queued != nil {
		since = queued.Since
	}
	e.add("is", fmt.Sprintf("%s is not as wanted: %d of %d run", x.ID, x.TasksRunning, x.Instances), since)
	if deployment != nil {
		e.deployment(deployment)
	}
	if queued != nil {
		e.queued(queued)
	}
	for _, f := range ill {
		e.add("cause", f, "")
	}
	failed := x.LastFailure != nil && (queued != nil || deployment == nil || x.LastFailure.Timestamp >= deployment.Version)
	if failed {
		e.failure(x.LastFailure)
	}
	switch {
	case failed || len(ill) > 0:
		e.add("next", "read what it wrote: howdah app logs "+x.ID, "")
	case queued != nil && len(queued.Reasons) > 0:
		e.add("next", "ask for what a worker has, change the constraints, or make room: howdah app get shows what else runs", "")
	default:
		e.add("next", "it goes on; look again with: howdah app explain "+x.ID, "")
	}
	return e.findings
}

// appChain gathers findings about one app.
type appChain struct {
	app      string
	findings []api.Finding
}

func (e *appChain) add(kind, message, since string) {
	at, err := time.Parse(time.RFC3339, since)
	if err != nil {
		at = time.Time{} // nobody says since when
	}
	e.findings = append(e.findings, api.Finding{Object: e.app, Kind: kind, Message: message, Since: at})
}

func (e *appChain) failure(l *marathon.Failure) {
	e.add("cause", fmt.Sprintf("the last instance that ended by itself, on %s: %s %s", l.Host, l.State, l.Message), l.Timestamp)
}

func (e *appChain) deployment(d *marathon.Deployment) {
	state := cmp.Or(d.Stalled, d.Waiting[e.app], "is under way")
	if d.Stalled != "" {
		state = "stalled: " + state
	}
	e.add("because", fmt.Sprintf("its deployment %s, step %d of %d: %s", d.ID, d.CurrentStep, d.TotalSteps, state), d.Version)
}

// queued says what keeps launches back: a pause after failures, and each worker.
func (e *appChain) queued(q *marathon.Queued) {
	if q.Delay.Left > 0 {
		e.add("because", fmt.Sprintf("the next launch waits %s more, for instances failed", span(time.Duration(q.Delay.Left)*time.Second)), "")
	}
	var counts []string
	for _, r := range q.Offers.Refused {
		if r.Declined > 0 {
			counts = append(counts, fmt.Sprintf("%d for %s", r.Declined, r.Reason))
		}
	}
	if len(counts) > 0 {
		e.add("because", fmt.Sprintf("%s to launch; of %s so far %d fitted; refused: %s",
			number.Count(q.Count, "instance"), number.Count(q.Offers.Processed, "offer"), q.Offers.Processed-q.Offers.Unused, strings.Join(counts, ", ")), "")
	}
	for _, r := range q.Reasons {
		e.add("cause", r, "")
	}
}

// ill says which instances fail their health checks or run into a limit, and of what.
func (e *appChain) ill(x *marathon.App) []string {
	var out []string
	for _, t := range x.Tasks {
		if t.Notice != "" {
			out = append(out, fmt.Sprintf("%s on %s: %s", t.ID, cmp.Or(t.Worker, t.Host), t.Notice))
		}
		for _, h := range t.HealthChecks {
			if !h.Alive {
				out = append(out, fmt.Sprintf("%s on %s is ill: %s", t.ID, cmp.Or(t.Worker, t.Host), cmp.Or(h.LastFailureCause, "its health check fails")))
			}
		}
	}
	return out
}
