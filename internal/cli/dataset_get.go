package cli

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/internal/pipeline"
	"howdah.dev/howdah/internal/warehouse/dataset"
)

// datasetLine is one dataset: what is declared of it, and what is there.
type datasetLine struct {
	dataset.Dataset
	Observed dataset.Observed `json:"observed"`
}

// datasets reads the declared datasets; a name chooses one.
func (a *app) datasets(ctx context.Context, warehouse, name string) (*warehouseFiles, []dataset.Dataset, error) {
	w, err := a.openWarehouse(ctx, warehouse)
	if err != nil {
		return nil, nil, err
	}
	all, err := dataset.NewCatalog(w).Read(ctx)
	if err != nil {
		return nil, nil, w.failed(err)
	}
	if name == "" {
		return w, all, nil
	}
	i := slices.IndexFunc(all, func(d dataset.Dataset) bool { return d.Name == name })
	if i < 0 {
		return nil, nil, &exitError{exitNotFound, fmt.Errorf("there is no dataset %s in %s; howdah dataset list shows all", name, w.name)}
	}
	return w, all[i : i+1], nil
}

// look looks at what is there of datasets.
func (w *warehouseFiles) look(ctx context.Context, all []dataset.Dataset) ([]datasetLine, error) {
	lines := []datasetLine{}
	for _, d := range all {
		o, err := dataset.Look(ctx, w, d)
		if err != nil {
			return nil, w.failed(err)
		}
		lines = append(lines, datasetLine{d, o})
	}
	return lines, nil
}

func (a *app) datasetListCmd(warehouse *string) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the declared datasets and the space they take", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			w, all, err := a.datasets(ctx, *warehouse, "")
			if err != nil {
				return err
			}
			lines, err := w.look(ctx, all)
			if err != nil {
				return err
			}
			return a.print(lines, func(out io.Writer) { printDatasets(out, lines) })
		},
	}
}

func (a *app) datasetGetCmd(warehouse *string) *cobra.Command {
	return &cobra.Command{
		Use: "get NAME", Short: "Show a dataset", Args: args(1, 1, "the dataset's name"),
		RunE: func(cmd *cobra.Command, got []string) error {
			ctx := cmd.Context()
			w, all, err := a.datasets(ctx, *warehouse, got[0])
			if err != nil {
				return err
			}
			lines, err := w.look(ctx, all)
			if err != nil {
				return err
			}
			return a.print(lines[0], func(out io.Writer) { printDataset(out, lines[0]) })
		},
	}
}

// nameDatasets adds to what runs made the declared datasets that it is in.
func (a *app) nameDatasets(ctx context.Context, s storedPipeline, runs []pipeline.Record) error {
	if len(runs) == 0 {
		return nil
	}
	warehouse, err := s.warehouseOf()
	if err != nil {
		return err
	}
	_, all, err := a.datasets(ctx, warehouse, "")
	for _, r := range runs {
		for i := range r.Result.Lineage {
			d, _ := dataset.Of(all, r.Result.Lineage[i].To)
			r.Result.Lineage[i].Dataset = d.Name
		}
	}
	return err
}

func printDatasets(w io.Writer, lines []datasetLine) {
	if len(lines) == 0 {
		fmt.Fprintln(w, "no datasets; declare one with: howdah dataset apply FILE")
		return
	}
	var rows [][]string
	for _, l := range lines {
		rows = append(rows, []string{l.Name, l.Owner, l.Path, l.used(), fmt.Sprint(l.Observed.Files), l.Retention(), l.Shared(), l.remark()})
	}
	table(w, []string{"DATASET", "OWNER", "PATH", "USED", "FILES", "RETENTION", "ACCESS", ""}, rows)
}

func printDataset(w io.Writer, l datasetLine) {
	o := l.Observed
	fmt.Fprintf(w, "dataset %s of project %s\n", l.Name, l.Owner)
	rows := [][]string{{"  path", l.Path}, {"  used", l.used()}}
	if o.Exists {
		rows = append(rows, []string{"  files", fmt.Sprintf("%d, %s without copies", o.Files, size(o.Bytes))}, []string{"  owner in HDFS", o.Owner})
	}
	if o.Complete {
		rows = append(rows, []string{"  complete", "since " + since(o.CompleteAt)})
	}
	rows = append(rows, []string{"  retention", l.Retention()}, []string{"  access", l.Shared()})
	if r := l.remark(); r != "" {
		rows = append(rows, []string{"  note", r})
	}
	table(w, []string{"", ""}, rows)
}

// used is the space with all copies, of the quota if there is one.
func (l datasetLine) used() string {
	if l.Observed.Quota < 0 {
		return size(l.Observed.Space)
	}
	return size(l.Observed.Space) + " of " + size(l.Observed.Quota)
}

// remark says what is not as one would think.
func (l datasetLine) remark() string {
	switch {
	case !l.Observed.Exists:
		return "the folder is gone; apply its file again"
	case !l.Observed.Made:
		return "was there before: nothing in it expires"
	}
	return ""
}

// size writes a number of bytes in the unit that suits it.
func size(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	v := float64(n)
	for _, unit := range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if v /= 1024; v < 999.95 || unit == "PiB" {
			return fmt.Sprintf("%.1f %s", v, unit)
		}
	}
	return ""
}
