package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/adapter/webhdfs"
	"howdah.dev/howdah/internal/number"
	"howdah.dev/howdah/internal/pipeline"
	"howdah.dev/howdah/internal/pipeline/hdfsfiles"
)

// pipelineCmd works with declared chains of steps.
func (a *app) pipelineCmd() *cobra.Command {
	c := &cobra.Command{
		Use: "pipeline", Short: "Run declared chains: files, datasets, jobs, results",
		Long: `Run pipelines: declared chains of steps over the platform's clusters, from files
to containers, datasets, jobs and verified results. FILE may be a directory with
a pipeline.yaml.`,
	}
	c.AddCommand(a.pipelineApplyCmd(), a.pipelineRunCmd(), a.pipelineGetCmd(), a.pipelineExplainCmd())
	return c
}

func (a *app) pipelineApplyCmd() *cobra.Command {
	return &cobra.Command{
		Use: "apply FILE", Short: "Check a pipeline and keep it under its name", Args: args(1, 1, "the pipeline's file"),
		RunE: func(cmd *cobra.Command, got []string) error {
			def, file, err := a.findPipeline(cmd.Context(), got[0])
			if err != nil {
				return err
			}
			if file == "" {
				return usagef("%s is a pipeline that is kept already; give a file", got[0])
			}
			changed, err := a.storePipeline(def.Name, file)
			if err != nil {
				return err
			}
			return a.print(map[string]any{"name": def.Name, "changed": changed}, func(w io.Writer) {
				if !changed {
					fmt.Fprintf(w, "pipeline %s is unchanged\n", def.Name)
					return
				}
				fmt.Fprintf(w, "pipeline %s is kept: %s.  Run it with: howdah pipeline run %s\n", def.Name, number.Count(len(def.Steps), "step"), def.Name)
			})
		},
	}
}

func (a *app) pipelineRunCmd() *cobra.Command {
	var again bool
	c := &cobra.Command{
		Use: "run {NAME | FILE}", Short: "Run a pipeline and follow it", Args: args(1, 1, "the pipeline's name or file"),
		Long: `Run a pipeline and follow it. One whose last run was verified is not run while
neither its definition nor its files have changed. Datasets that hold the same
input are kept. Ctrl-c stops the run, its jobs and its apps.`,
		RunE: func(cmd *cobra.Command, got []string) error {
			ctx := cmd.Context()
			def, file, err := a.findPipeline(ctx, got[0])
			if err != nil {
				return err
			}
			cl := a.client()
			info, err := cl.Info(ctx)
			if err != nil {
				return err
			}
			a.lines = true
			return a.runPipeline(ctx, pipelineRun{client: cl, definition: def, file: file, user: info.User, again: again})
		},
	}
	c.Flags().BoolVar(&again, "again", false, "run it although its last run was verified and nothing changed")
	return c
}

// warehouse opens the files of a cluster.
func (a *app) warehouse(ctx context.Context, cl *client.Client, name, user string) (hdfsfiles.Files, map[string]string, error) {
	wh, err := cl.Cluster(ctx, name)
	if err != nil {
		return hdfsfiles.Files{}, nil, err
	}
	return hdfsfiles.New(webhdfs.New(webhdfs.Config{Addresses: []string{wh.Exports["web"]}, User: user})), wh.Exports, nil
}

// records reads what the warehouse remembers of a stored pipeline's runs.
func (a *app) records(ctx context.Context, s storedPipeline) ([]pipeline.Record, error) {
	name, err := s.warehouseOf()
	if err != nil {
		return nil, err
	}
	cl := a.client()
	info, err := cl.Info(ctx)
	if err != nil {
		return nil, err
	}
	files, _, err := a.warehouse(ctx, cl, name, info.User)
	if err != nil {
		return nil, err
	}
	return pipeline.Runs(ctx, files, s.Name)
}

func (a *app) pipelineGetCmd() *cobra.Command {
	return &cobra.Command{
		Use: "get [NAME]", Short: "List pipelines, or the runs of one", Args: args(0, 1, ""),
		RunE: func(cmd *cobra.Command, got []string) error {
			if len(got) == 0 {
				return a.listPipelines(cmd.Context())
			}
			s, err := a.storedPipeline(got[0])
			if err != nil {
				return err
			}
			runs, err := a.records(cmd.Context(), s)
			if err == nil {
				err = a.nameDatasets(cmd.Context(), s, runs)
			}
			if err != nil {
				return err
			}
			return a.print(runs, func(w io.Writer) { printRuns(w, s.Name, runs) })
		},
	}
}

// pipelineLine is one pipeline in a list.
type pipelineLine struct {
	Name    string           `json:"name"`
	File    string           `json:"file"`
	Applied time.Time        `json:"applied"`
	Last    *pipeline.Record `json:"last,omitempty"`
	Unknown string           `json:"unknown,omitempty"` // why nothing is known of its runs
}

func (a *app) listPipelines(ctx context.Context) error {
	stored, err := a.storedPipelines()
	if err != nil {
		return err
	}
	list := []pipelineLine{}
	for _, s := range stored {
		l := pipelineLine{Name: s.Name, File: s.File, Applied: s.Applied}
		runs, err := a.records(ctx, s)
		switch {
		case err != nil:
			l.Unknown = err.Error()
		case len(runs) > 0:
			l.Last = &runs[0]
		}
		list = append(list, l)
	}
	return a.print(list, func(w io.Writer) {
		if len(list) == 0 {
			fmt.Fprintln(w, "no pipelines; keep one with: howdah pipeline apply FILE")
			return
		}
		var rows [][]string
		for _, l := range list {
			row := []string{l.Name, "not run yet", "", "", l.File}
			if l.Unknown != "" {
				row[1] = "unknown: " + tame(l.Unknown)
			}
			if l.Last != nil {
				row[1], row[2], row[3] = runState(*l.Last), since(l.Last.Result.Started)+" ago", took(l.Last.Result)
			}
			rows = append(rows, row)
		}
		table(w, []string{"PIPELINE", "LAST RUN", "STARTED", "TOOK", "FILE"}, rows)
	})
}

// runState says how a run stands in one word.
func runState(r pipeline.Record) string {
	switch {
	case r.Silent(time.Now()) > 0:
		return "killed"
	case r.Verified():
		return "verified"
	}
	return string(r.Result.State)
}

func took(r pipeline.Result) string {
	if r.Ended.IsZero() {
		return "-"
	}
	return seconds(r.Ended.Sub(r.Started))
}

// printRuns lists runs, and of the newest what was made of what.
func printRuns(w io.Writer, name string, runs []pipeline.Record) {
	if len(runs) == 0 {
		fmt.Fprintf(w, "pipeline %s has not run yet; run it with: howdah pipeline run %s\n", name, name)
		return
	}
	var rows [][]string
	for _, r := range runs {
		var to []string
		for _, l := range r.Result.Lineage {
			to = append(to, l.To)
		}
		rows = append(rows, []string{r.Result.Run, runState(r), since(r.Result.Started) + " ago", took(r.Result), strings.Join(to, ", ")})
	}
	table(w, []string{"RUN", "STATE", "STARTED", "TOOK", "MADE"}, rows)
	if len(runs[0].Result.Lineage) > 0 {
		fmt.Fprintf(w, "\nthe newest, %s\n", runs[0].Result.Run)
		printLineage(w, runs[0].Result)
	}
}

func (a *app) pipelineExplainCmd() *cobra.Command {
	return &cobra.Command{
		Use: "explain NAME", Short: "Say what a pipeline's run waits for, or failed of", Args: args(1, 1, "the pipeline's name"),
		RunE: func(cmd *cobra.Command, got []string) error {
			s, err := a.storedPipeline(got[0])
			if err != nil {
				return err
			}
			runs, err := a.records(cmd.Context(), s)
			if err != nil {
				return err
			}
			if len(runs) == 0 {
				return a.print(nil, func(w io.Writer) { printRuns(w, s.Name, nil) })
			}
			return a.print(runs[0], func(w io.Writer) { explainRun(w, runs[0], time.Now()) })
		},
	}
}

// explainRun says of each step that is not done why.
func explainRun(w io.Writer, r pipeline.Record, now time.Time) {
	name, res := r.Result.Pipeline, r.Result
	again := "howdah pipeline run " + name
	silent := r.Silent(now)
	switch {
	case silent > 0:
		fmt.Fprintf(w, "pipeline %s was ended in the middle: its run %s has told nothing for %s\n", name, res.Run, span(silent))
	case res.State == pipeline.StateRunning:
		fmt.Fprintf(w, "pipeline %s is running since %s\n", name, span(now.Sub(res.Started)))
	case r.Verified():
		fmt.Fprintf(w, "pipeline %s was verified %s ago; it took %s\n", name, span(now.Sub(r.VerifiedAt)), took(res))
	default:
		fmt.Fprintf(w, "pipeline %s is %s since %s\n", name, res.State, span(now.Sub(res.Ended)))
	}
	var rows [][]string
	for _, s := range res.Steps {
		if s.State == pipeline.StateDone {
			continue
		}
		line := stepLine(pipeline.Event{Step: s.Name, Kind: s.Kind, State: pipeline.StateRunning, Message: s.Message, Figures: s.Figures})
		rows = append(rows, []string{"  " + s.Name, string(s.State), tame(line)})
	}
	if len(rows) > 0 {
		table(w, []string{"  STEP", "STATE", "BECAUSE"}, rows)
	}
	for _, s := range res.Steps {
		for _, c := range s.Conditions {
			fmt.Fprintf(w, "  weaker   step %s: %s\n", s.Name, tame(c))
		}
	}
	switch {
	case silent > 0, res.State == pipeline.StateFailed, res.State == pipeline.StateCancelled:
		fmt.Fprintf(w, "  next     mend the cause and: %s\n", again)
	case res.State == pipeline.StateRunning:
		fmt.Fprintf(w, "  next     it goes on; look again with: howdah pipeline explain %s\n", name)
	}
}

// pipelineFailed is the error of a run, with the exit code of a failure.
func pipelineFailed(name string, err error) error {
	if errors.Is(err, context.Canceled) {
		return &exitError{exitFailed, errors.New("left; what ran was ended, datasets that are complete stay")}
	}
	return &exitError{exitFailed, fmt.Errorf("pipeline %s failed: %w\n  why: howdah pipeline explain %s", name, err, name)}
}
