package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/number"
	"howdah.dev/howdah/internal/pipeline"
	"howdah.dev/howdah/internal/pipeline/hdfsfiles"
)

// platform gives a pipeline the running platform by way of the API.
type platform struct{ c *client.Client }

// SubmitJob starts a job; its id is the submission's.
func (p platform) SubmitJob(ctx context.Context, r pipeline.JobRequest) (string, error) {
	sub := api.Submission{Name: r.Main, Main: r.Main, Args: r.Args}
	if r.Jar != "" {
		sum, err := uploadFile(ctx, p.c, r.Jar)
		if err != nil {
			return "", err
		}
		sub.Jar = sum
	}
	w, err := p.c.Submit(ctx, r.Cluster, "job", sub)
	return w.ID, err
}

// JobStatus says how a job is doing.
func (p platform) JobStatus(ctx context.Context, cluster, id string) (pipeline.JobStatus, error) {
	w, err := p.c.Workload(ctx, cluster, "job", id)
	st := pipeline.JobStatus{State: pipeline.JobWaiting, Map: w.Progress["map"], Reduce: w.Progress["reduce"], Diagnostics: w.Message}
	switch {
	case w.State == "running":
		st.State = pipeline.JobRunning
	case w.State == "killed":
		st.State = pipeline.JobKilled
	case w.Final && w.Failed:
		st.State = pipeline.JobFailed
	case w.Final:
		st.State = pipeline.JobSucceeded
	}
	return st, err
}

// KillJob ends a job.
func (p platform) KillJob(ctx context.Context, cluster, id string) error {
	return p.c.Kill(ctx, cluster, "job", id)
}

// SubmitTopology starts a topology and waits until nimbus has it.
func (p platform) SubmitTopology(ctx context.Context, r pipeline.TopologyRequest) (string, error) {
	sub := api.Submission{Name: r.Name, Properties: r.Properties, Resources: map[string]string{}, Files: map[string]string{}}
	if _, err := fluxName(r.Flux, r.Name); err != nil {
		return "", err
	}
	var err error
	if sub.File, err = uploadFile(ctx, p.c, r.Flux); err != nil {
		return "", err
	}
	for _, set := range []struct {
		from []string
		to   map[string]string
	}{{r.Resources, sub.Resources}, {r.Files, sub.Files}} {
		for _, f := range set.from {
			if set.to[filepath.Base(f)], err = uploadFile(ctx, p.c, f); err != nil {
				return "", err
			}
		}
	}
	w, err := p.c.Submit(ctx, r.Cluster, "topology", sub)
	for err == nil && w.State == "submitting" {
		if err := sleep(ctx, 300*time.Millisecond); err != nil {
			return "", err
		}
		w, err = p.c.Workload(ctx, r.Cluster, "topology", w.ID)
	}
	if err == nil && w.Failed {
		err = errors.New(w.Message)
	}
	return w.ID, err
}

// TopologyStatus says how a topology is doing.
func (p platform) TopologyStatus(ctx context.Context, cluster, name string) (pipeline.TopologyStatus, error) {
	w, err := p.c.Workload(ctx, cluster, "topology", name)
	var problem *api.Problem
	if errors.As(err, &problem) && problem.Type == api.ProblemNotFound {
		return pipeline.TopologyStatus{State: pipeline.TopologyAbsent}, nil
	}
	st := pipeline.TopologyStatus{State: pipeline.TopologyInactive, Error: w.Message}
	switch w.State {
	case "active":
		st.State = pipeline.TopologyActive
	case "killed":
		st.State = pipeline.TopologyKilled
	}
	return st, err
}

// KillTopology ends a topology.
func (p platform) KillTopology(ctx context.Context, cluster, name string, _ time.Duration) error {
	return p.c.Kill(ctx, cluster, "topology", name)
}

// pipelineRun says what to run.
type pipelineRun struct {
	client     *client.Client
	definition *pipeline.Definition
	file       string // to keep under the pipeline's name; "" if it was kept
	user       string // of the warehouse
	again      bool   // also if nothing changed since a verified run
}

// runPipelineFile runs a pipeline file.
func (a *app) runPipelineFile(ctx context.Context, cl *client.Client, file, user string) error {
	def, ds := pipeline.Load(ctx, file)
	if err := ds.Err(); err != nil {
		return ds
	}
	return a.runPipeline(ctx, pipelineRun{client: cl, definition: def, file: file, user: user})
}

// runPipeline runs a pipeline, unless its last run was verified and nothing has
// changed since.
func (a *app) runPipeline(ctx context.Context, r pipelineRun) error {
	def := r.definition
	if r.file != "" {
		if _, err := a.storePipeline(def.Name, r.file); err != nil {
			return err
		}
	}
	files, exports, err := a.warehouse(ctx, r.client, def.Warehouse, r.user)
	if err != nil {
		return err
	}
	if !r.again {
		done, err := a.verified(ctx, files, def)
		if done || err != nil {
			return err
		}
	}
	unlock, err := a.lockPipeline(def.Name)
	if err != nil {
		return err
	}
	defer unlock()
	fmt.Fprintf(a.notes(), "\npipeline %s\n", def.Name)
	v := a.newLive()
	cells := &cells{a: a, c: r.client}
	res, err := pipeline.Run(ctx, pipeline.Config{
		Definition: def, Files: files, Warehouse: exports["fs"], Jobs: platform{r.client}, Topologies: platform{r.client},
		Apps: cells, Images: cells,
		Events: func(e pipeline.Event) { a.pipelineEvent(v, e) },
	})
	v.end()
	if err != nil {
		return pipelineFailed(def.Name, err)
	}
	if !a.programs() {
		printLineage(a.screen(), res)
	}
	return nil
}

// verified reports whether the last run was verified and nothing changed since,
// and says so.
func (a *app) verified(ctx context.Context, files hdfsfiles.Files, def *pipeline.Definition) (bool, error) {
	last, err := pipeline.LastRun(ctx, files, def.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !last.Verified() {
		return false, err
	}
	changes, err := last.Changes(ctx, def)
	switch {
	case err == nil && len(changes) == 0:
		fmt.Fprintf(a.notes(), "\npipeline %s was verified %s ago; nothing changed since\n", def.Name, since(last.VerifiedAt))
		return true, nil
	case err == nil:
		fmt.Fprintf(a.notes(), "\npipeline %s runs again: %s\n", def.Name, strings.Join(changes, "; "))
	}
	return false, nil // what cannot be read now is read, or reported, by the run
}

// notes is where prose goes: nowhere when the output is for programs.
func (a *app) notes() io.Writer {
	if a.programs() {
		return io.Discard
	}
	return a.out
}

func (a *app) pipelineEvent(v *live, e pipeline.Event) {
	if a.programs() {
		_ = a.print(e, nil) // the reader may have gone
		return
	}
	v.set(e.Step, stepLine(e))
	v.draw()
}

// stepLine says how far a step is, with the figures its kind has.
func stepLine(e pipeline.Event) string {
	f := e.Figures
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch e.Kind {
	case "app":
		if f.PartsTotal > 0 {
			add("%d of %d parts", f.Parts, f.PartsTotal)
		}
		if f.Instances > 0 && e.State == pipeline.StateRunning {
			add("%s running", number.Count(int(f.Instances), "instance"))
		}
	case "ingest", "feed":
		if f.BytesTotal > 0 {
			add("%s of %s files  %.1f of %.1f MB", number.Thousands(f.Files), number.Thousands(f.FilesTotal), float64(f.Bytes)/1e6, float64(f.BytesTotal)/1e6)
		}
		if f.Parts > 0 {
			add("%d parts", f.Parts)
		}
		if f.Lines > 0 {
			add("%s lines", number.Thousands(f.Lines))
		}
	case "job":
		add("map %.0f %%  reduce %.0f %%", f.Map, f.Reduce)
	case "topology":
		if f.LinesTotal > 0 {
			add("%d packages, %s of %s lines", f.Packages, number.Thousands(f.Lines), number.Thousands(f.LinesTotal))
		}
	case "verify":
		if f.Words > 0 {
			add("%s words", number.Thousands(f.Words))
		}
		if f.Packages > 0 {
			add("%d packages", f.Packages)
		}
	}
	if e.Message != "" {
		parts = append(parts, e.Message)
	}
	if e.State != pipeline.StateRunning {
		parts = append(parts, string(e.State))
	}
	return strings.Join(parts, "  ")
}

// printLineage prints what was made of what, with counts and times.
func printLineage(w io.Writer, res pipeline.Result) {
	fmt.Fprintln(w)
	var rows [][]string
	for _, l := range res.Lineage {
		st := res.Step(l.Step)
		where := l.Cluster
		what := []string{strings.Join(l.From, ", "), l.To}
		if l.Dataset != "" {
			what[1] += " (dataset " + l.Dataset + ")"
		}
		if l.Image != "" {
			what = slices.Insert(what, 1, shortImage(l.Image))
		}
		rows = append(rows, []string{l.Step, strings.Join(what, " → "), where, count(st.Figures), seconds(st.Took())})
	}
	table(w, []string{"STEP", "WHAT", "ON", "COUNTS", "TOOK"}, rows)
	for _, st := range res.Steps {
		for _, c := range st.Conditions {
			fmt.Fprintf(w, "\nweaker: step %s: %s\n", st.Name, tame(c))
		}
	}
	for _, st := range res.Steps {
		if st.Kind == "verify" && st.State == pipeline.StateDone {
			fmt.Fprintf(w, "\nverified: %s\n", st.Message)
		}
	}
}

// shortImage shortens the digest of an image's name.
func shortImage(name string) string {
	const shown = len("sha256:") + 12
	if at := strings.IndexByte(name, '@'); at >= 0 && len(name) > at+1+shown {
		return name[:at+1+shown]
	}
	return name
}

func count(f pipeline.Figures) string {
	m := map[string]int64{"files": f.Files, "instances": f.Instances, "parts": f.Parts, "lines": f.Lines, "packages": f.Packages, "words": f.Words}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if m[k] > 0 {
			parts = append(parts, number.Thousands(m[k])+" "+k)
		}
	}
	return strings.Join(parts, ", ")
}
