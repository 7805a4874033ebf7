package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/number"
)

// readFile reads a definition file, or standard input for "-".
func (a *app) readFile(name string) (api.File, error) {
	if name == "" {
		return api.File{}, usagef("say which file: -f FILE")
	}
	var data []byte
	var err error
	if name == "-" {
		name = "stdin"
		data, err = io.ReadAll(io.LimitReader(a.in, maxFile+1))
	} else {
		data, err = readRegular(name)
	}
	if errors.Is(err, os.ErrNotExist) {
		return api.File{}, &exitError{exitNotFound, fmt.Errorf("there is no file %s", name)}
	}
	if err == nil && len(data) > maxFile {
		err = usagef("%s is larger than 1 MiB, the most a definition may have", name)
	}
	return api.File{Name: name, Content: string(data)}, err
}

// maxFile bounds a definition, in bytes; the server has the same bound.
const maxFile = 1<<20 - 4096

// readRegular reads the beginning of a regular file.
func readRegular(name string) ([]byte, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, usagef("%s is no file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

func (a *app) planCmd() *cobra.Command {
	var file, project string
	c := &cobra.Command{
		Use: "plan -f FILE", Short: "Show what applying a file would do; changes nothing", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := a.readFile(file)
			if err != nil {
				return err
			}
			f.Project = project
			p, err := a.client().Plan(cmd.Context(), f)
			if err != nil {
				return err
			}
			if !a.programs() {
				printDiagnostics(a.err, p.Diagnostics, "")
			}
			return a.print(p, func(w io.Writer) {
				printPlans(w, p.Plans)
				if changes(p.Plans) {
					fmt.Fprintf(w, "\nApply with: howdah apply -f %s\n", file)
				}
			})
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "definition file; - for standard input")
	projectFlag(c, &project)
	return c
}

// projectFlag says whose the clusters of a file are.
func projectFlag(c *cobra.Command, project *string) {
	c.Flags().StringVar(project, "project", "", "project that owns the file's clusters that name none")
}

func (a *app) applyCmd() *cobra.Command {
	var file, project string
	var yes, noWait bool
	c := &cobra.Command{
		Use: "apply -f FILE", Short: "Make clusters be as a file says", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := a.readFile(file)
			if err != nil {
				return err
			}
			f.Project = project
			return a.apply(cmd.Context(), f, yes, noWait)
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "definition file; - for standard input")
	projectFlag(c, &project)
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&noWait, "no-wait", false, "return when the operations have begun")
	return c
}

// apply shows the plan, asks on a terminal, applies and follows.
func (a *app) apply(ctx context.Context, f api.File, yes, noWait bool) error {
	cl := a.client()
	p, err := cl.Plan(ctx, f)
	if err != nil {
		return err
	}
	if !a.programs() {
		printDiagnostics(a.err, p.Diagnostics, "")
		printPlans(a.screen(), p.Plans)
	}
	if changes(p.Plans) && !yes && a.interactive() && !a.ask("apply this?") {
		return &exitError{exitGuard, errors.New("nothing was changed")}
	}
	done, err := cl.Apply(ctx, f)
	if err != nil {
		return err
	}
	if len(done.Operations) == 0 || noWait {
		return a.print(done, func(w io.Writer) {
			for _, o := range done.Operations {
				fmt.Fprintf(w, "operation %d (%s %s) has begun; follow it with: howdah op watch %d\n", o.ID, o.Kind, o.Cluster, o.ID)
			}
		})
	}
	a.lines = true
	if a.programs() {
		a.warn(done.Diagnostics)
	}
	return a.follow(ctx, cl, done.Operations)
}

// interactive reports whether somebody can answer a question.
func (a *app) interactive() bool {
	in, okIn := a.in.(*os.File)
	out, okOut := a.out.(*os.File)
	return okIn && okOut && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd())) //nolint:gosec // descriptors fit
}

func (a *app) ask(question string) bool {
	fmt.Fprintf(a.out, "\n%s [y/N] ", question)
	line, _ := bufio.NewReader(a.in).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true
	}
	return false
}

func changes(ps []api.Plan) bool {
	for i := range ps {
		if !ps[i].Empty() {
			return true
		}
	}
	return false
}

// printPlans prints plans with the reasons of each action.
func printPlans(w io.Writer, ps []api.Plan) {
	for i := range ps {
		if i > 0 {
			fmt.Fprintln(w)
		}
		printPlan(w, &ps[i])
	}
}

var signs = map[api.ActionKind]string{
	api.ActionCreate: "+", api.ActionAddNode: "+", api.ActionRemoveNode: "-", api.ActionReconfigure: "~", api.ActionRestack: "~",
	api.ActionStart: "~", api.ActionKeep: "·",
}

func printPlan(w io.Writer, p *api.Plan) {
	if p.Empty() {
		fmt.Fprintf(w, "%s (%s, %s) is as defined; nothing to do\n", p.Cluster, p.Stack, p.Infrastructure)
		return
	}
	fmt.Fprintf(w, "%s (%s, %s) will change: %s to add, %s to reconfigure, %s\n\n", p.Cluster, p.Stack, p.Infrastructure,
		number.Count(p.Count(api.ActionAddNode), "node"), number.Count(p.Count(api.ActionReconfigure), "node"), removal(p))
	var rows [][]string
	for _, act := range p.Actions {
		what := act.Address
		if act.Kind == api.ActionReconfigure {
			what = "reconfigure, " + effectWords[act.Effect]
		}
		rows = append(rows, []string{"  " + signs[act.Kind], act.Target, what, act.Reason})
	}
	table(w, []string{"", "", "", ""}, rows)
	if p.NeedMemoryMB >= 0 {
		fmt.Fprintf(w, "\nneeds %s MiB more, %s MiB free after\n", number.Thousands(p.NeedMemoryMB), number.Thousands(p.FreeMemoryMB))
	} else {
		fmt.Fprintf(w, "\ngives %s MiB back, %s MiB free after\n", number.Thousands(-p.NeedMemoryMB), number.Thousands(p.FreeMemoryMB))
	}
}

var effectWords = map[string]string{"none": "no restart", "reload": "reload", "restart": "restart", "rollingRestart": "rolling restart"}

func removal(p *api.Plan) string {
	n := p.Count(api.ActionRemoveNode)
	if n == 0 {
		return "nothing to remove"
	}
	return number.Count(n, "node") + " to remove"
}

func (a *app) deleteCmd() *cobra.Command {
	var yes, noWait bool
	var destroy string
	c := &cobra.Command{
		Use: "delete CLUSTER", Short: "Delete a cluster", Args: args(1, 1, "the cluster's name"), ValidArgsFunction: a.clusterNames,
		Long: `Delete a cluster. One that holds data, or that others link to, is not deleted
unless it is named twice: howdah delete NAME --yes --destroy-data NAME`,
		RunE: func(cmd *cobra.Command, names []string) error {
			if !yes && (!a.interactive() || !a.ask("delete "+names[0]+"?")) {
				return &exitError{exitGuard, fmt.Errorf("%s is not deleted; confirm with --yes", names[0])}
			}
			cl := a.client()
			o, err := cl.Delete(cmd.Context(), names[0], destroy)
			if err != nil {
				return err
			}
			return a.followOne(cmd.Context(), cl, o, noWait)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().StringVar(&destroy, "destroy-data", "", "name of the cluster again, where it holds data or others use it")
	c.Flags().BoolVar(&noWait, "no-wait", false, "return when the operation has begun")
	return c
}

// lifecycle makes the commands that start one operation of a cluster.
func (a *app) lifecycle(use, short string, do func(context.Context, *client.Client, string) (*api.Operation, error)) *cobra.Command {
	var noWait bool
	c := &cobra.Command{
		Use: use + " CLUSTER", Short: short, Args: args(1, 1, "the cluster's name"), ValidArgsFunction: a.clusterNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			cl := a.client()
			o, err := do(cmd.Context(), cl, names[0])
			if err != nil {
				return err
			}
			return a.followOne(cmd.Context(), cl, o, noWait)
		},
	}
	c.Flags().BoolVar(&noWait, "no-wait", false, "return when the operation has begun")
	return c
}

func (a *app) startCmd() *cobra.Command {
	return a.lifecycle("start", "Start a stopped cluster", func(ctx context.Context, cl *client.Client, name string) (*api.Operation, error) {
		return cl.Start(ctx, name)
	})
}

func (a *app) stopCmd() *cobra.Command {
	return a.lifecycle("stop", "Stop a cluster; its data stays", func(ctx context.Context, cl *client.Client, name string) (*api.Operation, error) {
		return cl.Stop(ctx, name, false)
	})
}

func (a *app) smokeCmd() *cobra.Command {
	return a.lifecycle("smoke", "Run a cluster's own test", func(ctx context.Context, cl *client.Client, name string) (*api.Operation, error) {
		return cl.Smoke(ctx, name)
	})
}

// followOne follows an operation, or says how to.
func (a *app) followOne(ctx context.Context, cl *client.Client, o *api.Operation, noWait bool) error {
	if noWait {
		return a.print(o, func(w io.Writer) {
			fmt.Fprintf(w, "operation %d (%s %s) has begun; follow it with: howdah op watch %d\n", o.ID, o.Kind, o.Cluster, o.ID)
		})
	}
	return a.follow(ctx, cl, []api.Operation{*o})
}
