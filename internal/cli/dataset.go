package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/internal/adapter/webhdfs"
	"howdah.dev/howdah/internal/tenant"
	"howdah.dev/howdah/internal/warehouse/dataset"
)

// datasetCmd works with declared folders of a warehouse.
func (a *app) datasetCmd() *cobra.Command {
	c := &cobra.Command{
		Use: "dataset", Short: "Declare folders of the warehouse: owner, quota, retention, access",
		Long: `Declare datasets: folders of a warehouse that belong to a project, with a quota,
a retention and access for other projects. The warehouse itself remembers what
is declared.`,
	}
	var warehouse string
	for _, sub := range []*cobra.Command{a.datasetListCmd(&warehouse), a.datasetGetCmd(&warehouse), a.datasetExpireCmd(&warehouse), a.datasetDeleteCmd(&warehouse)} {
		sub.Flags().StringVar(&warehouse, "warehouse", "", "cluster whose files the datasets are; may be left out where there is one")
		c.AddCommand(sub)
	}
	c.AddCommand(a.datasetApplyCmd())
	return c
}

// warehouseFiles are the files of a warehouse, for its superuser.
type warehouseFiles struct {
	*webhdfs.Client
	name string // of the cluster
	user string // the superuser: who the server and its services run as
}

// openWarehouse opens the files of a cluster, or of the only one that has any.
func (a *app) openWarehouse(ctx context.Context, name string) (*warehouseFiles, error) {
	cl := a.client()
	info, err := cl.Info(ctx)
	if err != nil {
		return nil, err
	}
	clusters, err := cl.Clusters(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	w := &warehouseFiles{user: info.User}
	for _, c := range clusters {
		if web := c.Exports["web"]; web != "" && c.Exports["fs"] != "" && (name == "" || c.Name == name) {
			names = append(names, c.Name)
			w.name, w.Client = c.Name, webhdfs.New(webhdfs.Config{Addresses: []string{web}, User: info.User})
		}
	}
	switch {
	case len(names) == 0 && name != "":
		return nil, &exitError{exitNotFound, fmt.Errorf("no cluster %s keeps files; howdah get clusters lists what is there", name)}
	case len(names) == 0:
		return nil, &exitError{exitNotFound, errors.New("no cluster keeps files; one of stack hdfs does: howdah stack show hdfs")}
	case len(names) > 1:
		return nil, usagef("say which warehouse: --warehouse %s", strings.Join(names, " or --warehouse "))
	}
	return w, nil
}

// failed adds to an error of the warehouse what to do about it.
func (w *warehouseFiles) failed(err error) error {
	if errors.Is(err, webhdfs.ErrUnreachable) || errors.Is(err, webhdfs.ErrSafeMode) {
		return fmt.Errorf("%w\n  why: howdah explain %s", err, w.name)
	}
	return err
}

// identity is who a project is in HDFS. The installation's own is the superuser.
func (w *warehouseFiles) identity(project string) dataset.Identity {
	if project == tenant.DefaultProject {
		return dataset.Identity{User: w.user}
	}
	return dataset.Identity{User: project, Group: project}
}

func (a *app) datasetApplyCmd() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "apply FILE", Short: "Make datasets be as a file says", Args: args(1, 1, "the file with the datasets"),
		Long: `Make datasets be as a file says: their folders, owners and quotas, and what the
warehouse remembers of them. Datasets that the file does not name stay as they
are. FILE may be - for standard input.`,
		RunE: func(cmd *cobra.Command, got []string) error { return a.applyDatasets(cmd.Context(), got[0], yes) },
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

// datasetsApplied is the output of apply for programs.
type datasetsApplied struct {
	Warehouse string           `json:"warehouse"`
	Changes   []dataset.Change `json:"changes"`
	Notes     []string         `json:"notes,omitempty"`
}

// applyDatasets shows the plan, asks on a terminal, and applies.
func (a *app) applyDatasets(ctx context.Context, file string, yes bool) error {
	f, err := a.readFile(file)
	if err != nil {
		return err
	}
	def, found := dataset.Parse(f.Name, []byte(f.Content))
	if def == nil {
		return found
	}
	w, err := a.openWarehouse(ctx, def.Warehouse)
	if err != nil {
		return err
	}
	declared, err := dataset.NewCatalog(w).Read(ctx)
	if err != nil {
		return w.failed(err)
	}
	plan, more, err := def.Plan(ctx, w, declared, w.identity)
	if err != nil {
		return w.failed(err)
	}
	if found = append(found, more...); found.HasErrors() {
		return found
	}
	todo := 0
	for _, c := range plan {
		if c.Action != dataset.Keep {
			todo++
		}
	}
	if !a.programs() {
		printDiagnostics(a.err, found, "")
		printDatasetPlan(a.screen(), w.name, plan)
	}
	if todo > 0 && !yes && a.interactive() && !a.ask("apply this?") {
		return &exitError{exitGuard, errors.New("nothing was changed")}
	}
	notes, err := ensureDatasets(ctx, w, def.Datasets, plan)
	if err != nil {
		return w.failed(err)
	}
	return a.print(datasetsApplied{w.name, plan, notes}, func(out io.Writer) {
		for _, n := range notes {
			fmt.Fprintln(out, n)
		}
		if todo > 0 {
			fmt.Fprintln(out, "\nThat is done.  See: howdah dataset list")
		}
	})
}

// ensureDatasets makes datasets be as declared, also those that seem to be: a look
// at one does not tell all. Notes are what the plan could not say.
func ensureDatasets(ctx context.Context, w *warehouseFiles, all []dataset.Dataset, plan []dataset.Change) (notes []string, err error) {
	for i, d := range all {
		e, err := dataset.Ensure(ctx, w, d, w.identity(d.Owner))
		if err != nil {
			return nil, err
		}
		if plan[i].Action == dataset.Make && !e.Made { // another was faster
			notes = append(notes, e.Notes...)
		}
	}
	return notes, nil
}

func printDatasetPlan(w io.Writer, warehouse string, plan []dataset.Change) {
	count := map[dataset.Action]int{}
	var rows [][]string
	signs := map[dataset.Action]string{dataset.Make: "+", dataset.Adopt: "+", dataset.Update: "~", dataset.Keep: "·"}
	for _, c := range plan {
		count[c.Action]++
		what := strings.Join(c.What, ", ")
		if c.Action == dataset.Keep {
			what = "as it is"
		}
		rows = append(rows, []string{"  " + signs[c.Action], c.Dataset, c.Path, what})
	}
	if count[dataset.Keep] == len(plan) {
		fmt.Fprintf(w, "the datasets of %s are as declared; nothing to do\n", warehouse)
		return
	}
	fmt.Fprintf(w, "datasets of %s will change: %d to make, %d to declare, %d to update\n\n", warehouse, count[dataset.Make], count[dataset.Adopt], count[dataset.Update])
	table(w, []string{"", "", "", ""}, rows)
}
