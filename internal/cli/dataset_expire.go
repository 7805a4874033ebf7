package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/internal/number"
	"howdah.dev/howdah/internal/warehouse/dataset"
)

func (a *app) datasetExpireCmd(warehouse *string) *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use: "expire [NAME]", Short: "Move files older than their dataset's retention to HDFS's trash", Args: args(0, 1, ""),
		Long: `Move files that were not written for longer than their dataset's retention to
HDFS's trash: those of all datasets, or of one. Nothing is moved out of a folder
that was there before it was declared.`,
		RunE: func(cmd *cobra.Command, got []string) error {
			name := ""
			if len(got) > 0 {
				name = got[0]
			}
			return a.expireDatasets(cmd.Context(), *warehouse, name, dry)
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be moved, and move nothing")
	return c
}

// expiredLine is what became of one dataset.
type expiredLine struct {
	Dataset string `json:"dataset"`
	dataset.Expired
	Trash   string `json:"trash,omitempty"`   // folder that its paths are below
	DryRun  bool   `json:"dryRun,omitempty"`  // nothing was moved
	Skipped string `json:"skipped,omitempty"` // why nothing of it can expire
}

func (a *app) expireDatasets(ctx context.Context, warehouse, name string, dry bool) error {
	w, all, err := a.datasets(ctx, warehouse, name)
	if err != nil {
		return err
	}
	if name != "" && all[0].RetentionDays == 0 {
		return &exitError{exitInput, fmt.Errorf("dataset %s has no retention; declare retentionDays and apply its file", name)}
	}
	lines := []expiredLine{}
	var failed error
	for _, d := range all {
		if d.RetentionDays == 0 {
			continue
		}
		l, err := w.expire(ctx, d, dry)
		if name != "" && l.Skipped != "" {
			return &exitError{exitGuard, fmt.Errorf("nothing in dataset %s expires: %s was there before it was declared", name, d.Path)}
		}
		lines = append(lines, l)
		if err != nil {
			failed = w.failed(err)
			break
		}
	}
	err = a.print(lines, func(out io.Writer) { printExpired(out, lines, dry) })
	return errors.Join(failed, err)
}

func (w *warehouseFiles) expire(ctx context.Context, d dataset.Dataset, dry bool) (expiredLine, error) {
	l := expiredLine{Dataset: d.Name, Trash: dataset.Trash(w.user), DryRun: dry}
	var err error
	if dry {
		l.Expired, err = dataset.Old(ctx, w, d, time.Now())
	} else {
		l.Expired, err = dataset.Expire(ctx, w, d, time.Now(), w.user)
	}
	if errors.Is(err, dataset.ErrNotMade) {
		l.Skipped, err = "was there before: nothing in it expires", nil
	}
	if l.Files == nil {
		l.Files = []string{} // programs get a list
	}
	return l, err
}

func printExpired(w io.Writer, lines []expiredLine, dry bool) {
	if len(lines) == 0 {
		fmt.Fprintln(w, "no dataset has a retention")
		return
	}
	title, moved := "MOVED", 0
	if dry {
		title = "WOULD MOVE"
	}
	var rows [][]string
	for _, l := range lines {
		what := l.Skipped
		switch {
		case what != "":
		case len(l.Files) == 0:
			what = "nothing"
		case l.More:
			what = fmt.Sprintf("%s; there is more, expire it again", number.Count(len(l.Files), "file"))
		default:
			what = fmt.Sprintf("%s, %s", number.Count(len(l.Files), "file"), size(l.Bytes))
		}
		rows = append(rows, []string{l.Dataset, what})
		moved += len(l.Files)
	}
	table(w, []string{"DATASET", title}, rows)
	if moved > 0 && !dry {
		fmt.Fprintf(w, "\nThe files are below %s, under their paths, until HDFS empties its trash.\n", lines[0].Trash)
	}
	if dry {
		for _, l := range lines {
			for _, name := range l.Files {
				fmt.Fprintln(w, tame(name))
			}
		}
	}
}

func (a *app) datasetDeleteCmd(warehouse *string) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "delete NAME", Short: "Forget a dataset; its files stay", Args: args(1, 1, "the dataset's name"),
		Long: `Forget a dataset. Its folder and files stay, without the quota that was declared.
If it is declared again, it counts as a folder that was there before.`,
		RunE: func(cmd *cobra.Command, got []string) error {
			ctx := cmd.Context()
			w, all, err := a.datasets(ctx, *warehouse, got[0])
			if err != nil {
				return err
			}
			if !yes && (!a.interactive() || !a.ask("forget dataset "+got[0]+"? Its files stay.")) {
				return &exitError{exitGuard, fmt.Errorf("dataset %s is not forgotten; confirm with --yes", got[0])}
			}
			if err := dataset.Forget(ctx, w, all[0]); err != nil {
				return w.failed(err)
			}
			return a.print(map[string]string{"forgotten": got[0], "path": all[0].Path}, func(out io.Writer) {
				fmt.Fprintf(out, "dataset %s is forgotten; its files stay in %s\n", got[0], all[0].Path)
			})
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}
