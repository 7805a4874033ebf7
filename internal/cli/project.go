package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/number"
)

// projectCmd shows projects and bounds what they may have.
func (a *app) projectCmd() *cobra.Command {
	c := &cobra.Command{Use: "project", Short: "List projects, what they have and what they may have"}
	c.AddCommand(&cobra.Command{
		Use: "list", Short: "List projects with their clusters and quotas", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ps, err := a.client().Projects(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(ps, func(w io.Writer) { printProjects(w, ps) })
		},
	}, &cobra.Command{
		Use: "get PROJECT", Short: "Show one project", Args: args(1, 1, "the project's name"),
		RunE: func(cmd *cobra.Command, got []string) error {
			p, err := a.client().Project(cmd.Context(), got[0])
			if err != nil {
				return err
			}
			return a.print(p, func(w io.Writer) { printProjects(w, []api.Project{p}) })
		},
	}, a.quotaCmd())
	return c
}

func (a *app) quotaCmd() *cobra.Command {
	var want api.Quota
	c := &cobra.Command{
		Use: "set-quota PROJECT", Short: "Say what a project may have; 0 is no bound", Args: args(1, 1, "the project's name"),
		Long: `Say how many nodes, cores and how much memory the clusters of a project may take
together. What is not named stays as it is; 0 is no bound. Clusters that are
there stay, also where they take more.
  howdah project set-quota shop --nodes 10 --memory-mb 20480`,
		RunE: func(cmd *cobra.Command, got []string) error {
			if want.Nodes < 0 || want.Cores < 0 || want.MemoryMB < 0 {
				return usagef("a quota is 0, which is no bound, or more")
			}
			cl, fs := a.client(), cmd.Flags()
			if !fs.Changed("nodes") && !fs.Changed("cores") && !fs.Changed("memory-mb") {
				return usagef("say what it may have: --nodes, --cores or --memory-mb")
			}
			all, err := cl.Projects(cmd.Context())
			if err != nil {
				return err
			}
			q := want
			for _, p := range all {
				if p.Name != got[0] {
					continue
				}
				if q = p.Quota; fs.Changed("nodes") {
					q.Nodes = want.Nodes
				}
				if fs.Changed("cores") {
					q.Cores = want.Cores
				}
				if fs.Changed("memory-mb") {
					q.MemoryMB = want.MemoryMB
				}
			}
			p, err := cl.SetQuota(cmd.Context(), got[0], q)
			if err != nil {
				return err
			}
			return a.print(p, func(w io.Writer) { printProjects(w, []api.Project{p}) })
		},
	}
	c.Flags().IntVar(&want.Nodes, "nodes", 0, "nodes")
	c.Flags().IntVar(&want.Cores, "cores", 0, "cores of all nodes together")
	c.Flags().IntVar(&want.MemoryMB, "memory-mb", 0, "memory of all nodes together, in MiB")
	return c
}

func printProjects(w io.Writer, ps []api.Project) {
	of := func(has, may int) string {
		if may == 0 {
			return number.Thousands(has)
		}
		return number.Thousands(has) + " of " + number.Thousands(may)
	}
	var rows [][]string
	for _, p := range ps {
		rows = append(rows, []string{p.Name, fmt.Sprint(p.Clusters), of(p.Has.Nodes, p.Quota.Nodes), of(p.Has.Cores, p.Quota.Cores), of(p.Has.MemoryMB, p.Quota.MemoryMB)})
	}
	table(w, []string{"PROJECT", "CLUSTERS", "NODES", "CORES", "MEMORY MB"}, rows)
}
