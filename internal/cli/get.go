package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/number"
)

func (a *app) getCmd() *cobra.Command {
	var watch bool
	kinds := []string{"clusters", "nodes", "services", "operations", "events"}
	c := &cobra.Command{
		Use: "get KIND [NAME]", Short: "List clusters, nodes, services, operations or events",
		Long:      "List clusters, nodes, services, operations or events; NAME is a cluster.",
		Args:      args(1, 2, "what to list (clusters, nodes, services, operations, events)"),
		ValidArgs: kinds,
		RunE: func(cmd *cobra.Command, got []string) error {
			name := ""
			if len(got) > 1 {
				name = got[1]
			}
			a.lines = watch
			for {
				if err := a.get(cmd.Context(), got[0], name); err != nil || !watch {
					return err
				}
				select {
				case <-cmd.Context().Done():
					return nil
				case <-time.After(2 * time.Second):
					fmt.Fprintln(a.notes())
				}
			}
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "print again every 2 s")
	return c
}

func (a *app) get(ctx context.Context, kind, name string) error {
	switch strings.TrimSuffix(kind, "s") {
	case "cluster":
		return a.getClusters(ctx, name)
	case "node", "service":
		return a.getNodes(ctx, strings.TrimSuffix(kind, "s"), name)
	case "operation", "op":
		return a.listOps(ctx, name)
	case "event":
		return a.getEvents(ctx, name)
	}
	return usagef("unknown kind %q; one of clusters, nodes, services, operations, events", kind)
}

// pick returns all clusters, or the named one.
func (a *app) pick(ctx context.Context, name string) ([]api.ClusterStatus, error) {
	cl := a.client()
	if name == "" {
		return cl.Clusters(ctx)
	}
	c, err := cl.Cluster(ctx, name)
	return []api.ClusterStatus{c}, err
}

func (a *app) getClusters(ctx context.Context, name string) error {
	cs, err := a.pick(ctx, name)
	if err != nil {
		return err
	}
	return a.print(cs, func(w io.Writer) { printClusters(w, cs, a.output == "wide") })
}

func printClusters(w io.Writer, cs []api.ClusterStatus, wide bool) {
	if len(cs) == 0 {
		fmt.Fprintln(w, "no clusters; try: howdah up examples/platform")
		return
	}
	header := []string{"CLUSTER", "STACK", "STATE", "NODES", "ADDRESS"}
	if wide {
		header = append(header, "PROJECT", "VERSION", "LINKS", "AGE", "EXPIRES", "REVISION", "DIGEST")
	}
	var rows [][]string
	for _, c := range cs {
		addr := ""
		if len(c.Web) > 0 {
			addr = c.Web[0].URL
		}
		row := []string{c.Name, c.Stack, c.State, groupCounts(c), addr}
		if wide {
			row = append(row, c.Project, c.StackVersion, pairs(c.Links), since(c.Created), expires(c.Expires), fmt.Sprint(c.Revision), short(c.StackDigest))
		}
		rows = append(rows, row)
	}
	table(w, header, rows)
	for _, c := range cs {
		if c.State != api.StateReady && c.Message != "" {
			fmt.Fprintf(w, "\n%s is %s: %s\n  howdah explain %s\n", c.Name, c.State, c.Message, c.Name)
		}
		printWarnings(w, c)
	}
}

// groupCounts says how many nodes each group has.
func groupCounts(c api.ClusterStatus) string {
	n := map[string]int{}
	var order []string
	for _, node := range c.Nodes {
		if n[node.Group] == 0 {
			order = append(order, node.Group)
		}
		n[node.Group]++
	}
	var parts []string
	for _, g := range order {
		parts = append(parts, fmt.Sprintf("%d %s", n[g], g))
	}
	return strings.Join(parts, ", ")
}

func pairs(m map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+m[k])
	}
	return strings.Join(parts, ",")
}

func short(digest string) string {
	if len(digest) > 12 {
		return digest[:12]
	}
	return digest
}

func (a *app) getNodes(ctx context.Context, kind, name string) error {
	cs, err := a.pick(ctx, name)
	if err != nil {
		return err
	}
	if kind == "node" {
		var nodes []api.NodeStatus
		for _, c := range cs {
			nodes = append(nodes, c.Nodes...)
		}
		return a.print(nodes, func(w io.Writer) {
			var rows [][]string
			for _, n := range nodes {
				rows = append(rows, []string{n.Name, n.Cluster, n.State, n.Address, number.Thousands(n.MemoryMB), strings.Join(n.Roles, ","), n.Message})
			}
			table(w, []string{"NODE", "CLUSTER", "STATE", "ADDRESS", "MEMORY MB", "ROLES", "MESSAGE"}, rows)
		})
	}
	var svcs []api.ServiceStatus
	for _, c := range cs {
		for _, n := range c.Nodes {
			svcs = append(svcs, n.Services...)
		}
	}
	return a.print(svcs, func(w io.Writer) {
		var rows [][]string
		for _, s := range svcs {
			rows = append(rows, []string{s.Name, s.Node, s.State, since(s.Since), pid(s.PID), fmt.Sprint(s.Restarts), s.Message})
		}
		table(w, []string{"SERVICE", "NODE", "STATE", "SINCE", "PID", "RESTARTS", "MESSAGE"}, rows)
	})
}

func pid(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func (a *app) getEvents(ctx context.Context, name string) error {
	events, err := a.client().History(ctx, name, 200)
	if err != nil {
		return err
	}
	return a.print(events, func(w io.Writer) {
		var rows [][]string
		for _, e := range events {
			rows = append(rows, []string{e.Time.Format(time.DateTime), e.Cluster, e.Type, e.Message})
		}
		table(w, []string{"TIME", "CLUSTER", "TYPE", "MESSAGE"}, rows)
	})
}

func (a *app) describeCmd() *cobra.Command {
	return &cobra.Command{
		Use: "describe CLUSTER", Short: "Show everything known about a cluster", Args: args(1, 1, "the cluster's name"), ValidArgsFunction: a.clusterNames,
		RunE: func(cmd *cobra.Command, got []string) error {
			c, err := a.client().Cluster(cmd.Context(), got[0])
			if err != nil {
				return err
			}
			return a.print(c, func(w io.Writer) { printCluster(w, c, a.output == "wide") })
		},
	}
}

func printCluster(w io.Writer, c api.ClusterStatus, wide bool) {
	printCause(w, c.Cause, true)
	if c.Message != "" {
		fmt.Fprintf(w, "%s is %s: %s\n\n", c.Name, c.State, c.Message)
	}
	rows := [][]string{
		{"name", c.Name},
		{"project", c.Project},
		{"state", c.State},
		{"stack", fmt.Sprintf("%s %s (digest %s)", c.Stack, c.StackVersion, short(c.StackDigest))},
		{"infrastructure", c.Infrastructure},
		{"revision", fmt.Sprint(c.Revision)},
		{"links", pairs(c.Links)},
		{"used by", strings.Join(c.UsedBy, ", ")},
		{"created", c.Created.Format(time.DateTime)},
		{"expires", expires(c.Expires)},
	}
	table(w, []string{"", ""}, slices.DeleteFunc(rows, func(r []string) bool { return r[1] == "" }))
	fmt.Fprintln(w)
	rows = nil
	for _, cond := range c.Conditions {
		rows = append(rows, []string{cond.Type, holds(cond), cond.Reason, cond.Message})
	}
	table(w, []string{"CONDITION", "STATUS", "REASON", "MESSAGE"}, rows)
	for _, n := range c.Nodes {
		fmt.Fprintf(w, "\nnode %s  %s  %s on %s  %s MiB  %s\n", n.Name, n.State, n.Address, n.Host, number.Thousands(n.MemoryMB), number.Count(n.CPUs, "core"))
		fmt.Fprintf(w, "  roles %s · java %s · assignment %d of %d\n", strings.Join(n.Roles, ", "), n.Java, n.Observed, n.Generation)
		printNodeConditions(w, n.Conditions)
		rows = nil
		for _, s := range n.Services {
			rows = append(rows, []string{"  " + s.Name, s.State, since(s.Since), pid(s.PID), fmt.Sprintf("%d restarts", s.Restarts), s.LastExit, s.Message})
		}
		table(w, []string{"", "", "", "", "", "", ""}, rows)
		for _, s := range n.Services {
			printProbes(w, s, wide)
		}
	}
	if len(c.Web) > 0 {
		fmt.Fprintln(w)
		rows = nil
		for _, l := range c.Web {
			rows = append(rows, []string{l.Title, l.URL})
		}
		table(w, []string{"PAGE", "ADDRESS"}, rows)
	}
	if len(c.Exports) > 0 {
		fmt.Fprintln(w)
		rows = nil
		for _, k := range slices.Sorted(maps.Keys(c.Exports)) {
			rows = append(rows, []string{k, c.Exports[k]})
		}
		table(w, []string{"EXPORT", "VALUE"}, rows)
	}
}

func (a *app) explainCmd() *cobra.Command {
	var cell string
	c := &cobra.Command{
		Use: "explain {CLUSTER | APP}", Short: "Say why a cluster or an app is not ready, since when, and what would help", Args: args(1, 1, "the cluster's name, or an app's id, which begins with /"), ValidArgsFunction: a.clusterNames,
		RunE: func(cmd *cobra.Command, got []string) error {
			if strings.HasPrefix(got[0], "/") {
				return a.explainApp(cmd.Context(), cell, got[0])
			}
			fs, err := a.client().Explain(cmd.Context(), got[0])
			if err != nil {
				return err
			}
			return a.print(fs, func(w io.Writer) { printChain(w, fs, a.output == "wide") })
		},
	}
	c.Flags().StringVar(&cell, "cell", "", "cluster that runs the app; needed where there are several")
	return c
}

func printFindings(w io.Writer, fs []api.Finding) {
	for _, f := range fs {
		when := ""
		if !f.Since.IsZero() {
			when = " (since " + since(f.Since) + ")"
		}
		if f.Kind == "is" {
			fmt.Fprintf(w, "%s%s\n", tame(f.Message), when)
			continue
		}
		fmt.Fprintf(w, "  %-7s  %s%s\n", f.Kind, tame(f.Message), when)
	}
}
