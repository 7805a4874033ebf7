package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/number"
)

func (a *app) jobCmd() *cobra.Command {
	c := &cobra.Command{Use: "job", Short: "Submit and look after jobs"}
	var jar string
	var wait bool
	submit := &cobra.Command{
		DisableFlagsInUseLine: true, Use: "submit [--jar FILE] [--wait] CLUSTER MAIN [ARGUMENT...]", Short: "Submit a job", Args: args(2, -1, "the cluster's name and the program"), ValidArgsFunction: a.clusterNames,
		Long: `Submit a job: a jar of your own, or a program of the stack's examples. Flags
come first; all that follows the cluster is the job's.
  howdah job submit --wait batch wordcount /data/in /data/out
  howdah job submit --jar my.jar batch com.example.Main /data/in`,
		RunE: func(cmd *cobra.Command, got []string) error {
			if strings.HasPrefix(got[1], "-") {
				return usagef("%s comes after the cluster; flags of howdah come before it", got[1])
			}
			sub := api.Submission{Name: got[1], Main: got[1], Args: got[2:]}
			cl := a.client()
			if jar != "" {
				sum, err := uploadFile(cmd.Context(), cl, jar)
				if err != nil {
					return err
				}
				sub.Jar = sum
			}
			return a.submit(cmd.Context(), cl, got[0], "job", sub, wait)
		},
	}
	submit.Flags().SetInterspersed(false)
	submit.Flags().StringVar(&jar, "jar", "", "jar to run; the stack's examples where absent")
	submit.Flags().BoolVar(&wait, "wait", false, "wait until the job has ended")
	c.AddCommand(submit)
	a.workloadCmds(c, "job")
	return c
}

func (a *app) topologyCmd() *cobra.Command {
	c := &cobra.Command{Use: "topology", Short: "Submit and look after topologies"}
	var jar, flux, name string
	var set, resources []string
	submit := &cobra.Command{
		Use: "submit CLUSTER {--flux FILE | --jar FILE MAIN} [ARGUMENT...]", Short: "Submit a topology", Args: args(1, -1, "the cluster's name"), ValidArgsFunction: a.clusterNames,
		Long: `Submit a topology: a Flux file, or the main class of a jar of your own.
  howdah topology submit stream --flux words.yaml --set dir=/data --resource ./bolt
  howdah topology submit stream --jar my.jar --name words com.example.Main words`,
		RunE: func(cmd *cobra.Command, got []string) error {
			cl := a.client()
			sub, err := topology(cmd.Context(), cl, flux, jar, name, set, resources, got[1:])
			if err != nil {
				return err
			}
			return a.submit(cmd.Context(), cl, got[0], "topology", sub, false)
		},
	}
	submit.Flags().SetInterspersed(true)
	submit.Flags().StringVar(&flux, "flux", "", "Flux file")
	submit.Flags().StringVar(&jar, "jar", "", "jar with the topology's classes")
	submit.Flags().StringVar(&name, "name", "", "name of the topology; the Flux file's where absent")
	submit.Flags().StringArrayVar(&set, "set", nil, "property of the Flux file, as KEY=VALUE")
	submit.Flags().StringArrayVar(&resources, "resource", nil, "file that shell components find beside them")
	c.AddCommand(submit)
	var r api.Rebalance
	var execs []string
	rebalance := &cobra.Command{
		Use: "rebalance CLUSTER NAME", Short: "Spread a topology anew", Args: args(2, 2, "the cluster's and the topology's name"), ValidArgsFunction: a.clusterNames,
		RunE: func(cmd *cobra.Command, got []string) error {
			r.Executors = map[string]int{}
			for _, e := range execs {
				comp, num, ok := strings.Cut(e, "=")
				n, err := strconv.Atoi(num)
				if !ok || err != nil || n < 1 {
					return usagef("%q is not COMPONENT=NUMBER", e)
				}
				r.Executors[comp] = n
			}
			if err := a.client().Rebalance(cmd.Context(), got[0], "topology", got[1], r); err != nil {
				return err
			}
			return a.print(map[string]string{"rebalanced": got[1]}, func(w io.Writer) { fmt.Fprintf(w, "topology %s is being rebalanced\n", got[1]) })
		},
	}
	rebalance.Flags().IntVar(&r.Workers, "workers", 0, "number of workers; unchanged where absent")
	rebalance.Flags().IntVar(&r.WaitSeconds, "wait", 0, "seconds to finish what is in flight")
	rebalance.Flags().StringArrayVar(&execs, "executors", nil, "number of executors of a component, as COMPONENT=NUMBER")
	c.AddCommand(rebalance)
	a.workloadCmds(c, "topology")
	return c
}

// topology puts a submission together out of files.
func topology(ctx context.Context, cl *client.Client, flux, jar, name string, set, resources, rest []string) (api.Submission, error) {
	sub := api.Submission{Name: name, Args: rest, Properties: map[string]string{"howdah": "1"}, Resources: map[string]string{}}
	switch {
	case flux == "" && jar == "":
		return sub, usagef("give --flux FILE, or --jar FILE and its main class")
	case flux == "" && len(rest) == 0:
		return sub, usagef("say which main class of %s is to run", jar)
	}
	var err error
	if jar != "" {
		if sub.Jar, err = uploadFile(ctx, cl, jar); err != nil {
			return sub, err
		}
	}
	if flux != "" {
		if sub.Name, err = fluxName(flux, name); err != nil {
			return sub, err
		}
		if sub.File, err = uploadFile(ctx, cl, flux); err != nil {
			return sub, err
		}
	} else {
		sub.Main, sub.Args = rest[0], rest[1:]
	}
	if sub.Name == "" {
		return sub, usagef("say how the topology is called: --name NAME")
	}
	for _, s := range set {
		k, v, ok := strings.Cut(s, "=")
		if !ok {
			return sub, usagef("%q is not KEY=VALUE", s)
		}
		sub.Properties[k] = v
	}
	for _, f := range resources {
		if sub.Resources[filepath.Base(f)], err = uploadFile(ctx, cl, f); err != nil {
			return sub, err
		}
	}
	return sub, nil
}

// fluxName reads the topology's name out of a Flux file.
func fluxName(file, given string) (string, error) {
	data, err := readRegular(file)
	if errors.Is(err, os.ErrNotExist) {
		return "", &exitError{exitNotFound, fmt.Errorf("there is no file %s", file)}
	}
	if err != nil {
		return "", err
	}
	var f struct {
		Name string `yaml:"name"`
	}
	if err := yaml.Unmarshal(data, &f); err != nil {
		return "", usagef("%s is no Flux file: %w", file, err)
	}
	if given != "" && f.Name != "" && given != f.Name {
		return "", usagef("%s calls the topology %s, not %s", file, f.Name, given)
	}
	if f.Name == "" {
		return given, nil
	}
	return f.Name, nil
}

func uploadFile(ctx context.Context, cl *client.Client, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", &exitError{exitNotFound, err}
	}
	defer f.Close()
	b, err := cl.Upload(ctx, f)
	return b.SHA256, err
}

// submit submits and waits until the program knows the workload; with wait,
// until it has ended.
func (a *app) submit(ctx context.Context, cl *client.Client, cluster, kind string, sub api.Submission, wait bool) error {
	w, err := cl.Submit(ctx, cluster, kind, sub)
	if err != nil {
		return err
	}
	id := w.ID
	a.goesOn = fmt.Sprintf("howdah %s get %s", kind, cluster)
	v := a.newLive()
	a.lines = wait
	for !w.Final && (wait || w.State == "submitting") {
		if wait && a.programs() && v.text[id] != workloadLine(w) {
			if err := a.print(w, nil); err != nil {
				return err
			}
			v.set(id, workloadLine(w))
		} else if !a.programs() {
			v.set(kind+" "+sub.Name, workloadLine(w))
			v.draw()
		}
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return err
		}
		if w, err = cl.Workload(ctx, cluster, kind, id); err != nil {
			return err
		}
	}
	v.end()
	if err := a.print(w, func(out io.Writer) { fmt.Fprintf(out, "%s %s  %s\n", kind, w.ID, workloadLine(w)) }); err != nil {
		return err
	}
	if w.Failed {
		return &followError{code: exitFailed, summary: fmt.Sprintf("%s %s is %s", kind, w.ID, workloadLine(w))}
	}
	return nil
}

func workloadLine(w api.Workload) string {
	parts := []string{w.State}
	for _, k := range slices.Sorted(maps.Keys(w.Progress)) {
		parts = append(parts, fmt.Sprintf("%s %.0f %%", k, w.Progress[k]))
	}
	if w.Message != "" {
		parts = append(parts, w.Message)
	}
	return strings.Join(parts, "  ")
}

// workloadCmds adds what jobs and topologies have in common.
func (a *app) workloadCmds(c *cobra.Command, kind string) {
	c.AddCommand(&cobra.Command{
		Use: "get CLUSTER [ID]", Short: "List, or show one", Args: args(1, 2, "the cluster's name"), ValidArgsFunction: a.clusterNames,
		RunE: func(cmd *cobra.Command, got []string) error {
			cl := a.client()
			if len(got) == 2 {
				w, err := cl.Workload(cmd.Context(), got[0], kind, got[1])
				if err != nil {
					return err
				}
				return a.print(w, func(out io.Writer) { printWorkload(out, w) })
			}
			ws, err := cl.Workloads(cmd.Context(), got[0], kind)
			if err != nil {
				return err
			}
			return a.print(ws, func(out io.Writer) {
				var rows [][]string
				for _, w := range ws {
					rows = append(rows, []string{w.ID, w.Name, w.State, firstLine(w.Message)})
				}
				table(out, []string{"ID", "NAME", "STATE", "MESSAGE"}, rows)
			})
		},
	})
	if kind == "job" {
		c.AddCommand(a.logsCmd(kind))
	}
	c.AddCommand(&cobra.Command{
		Use: "kill CLUSTER ID", Short: "End it", Args: args(2, 2, "the cluster's name and the id"), ValidArgsFunction: a.clusterNames,
		RunE: func(cmd *cobra.Command, got []string) error {
			if err := a.client().Kill(cmd.Context(), got[0], kind, got[1]); err != nil {
				return err
			}
			return a.print(map[string]string{"killed": got[1]}, func(w io.Writer) { fmt.Fprintf(w, "%s %s is killed\n", kind, got[1]) })
		},
	})
}

// logsCmd prints the logs through the cluster's own tools.
func (a *app) logsCmd(kind string) *cobra.Command {
	return &cobra.Command{
		Use: "logs CLUSTER ID", Short: "Print the logs", Args: args(2, 2, "the cluster's name and the id"), ValidArgsFunction: a.clusterNames,
		RunE: func(cmd *cobra.Command, got []string) error {
			cl := a.client()
			run, err := cl.Logs(cmd.Context(), got[0], kind, got[1])
			if err != nil {
				return err
			}
			t, err := a.tools(cmd.Context(), cl, got[0])
			if err != nil {
				return err
			}
			return t.exec(run.Argv)
		},
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func printWorkload(out io.Writer, w api.Workload) {
	rows := [][]string{{"id", w.ID}, {"name", w.Name}, {"state", workloadLine(w)}, {"page", w.URL}}
	for _, k := range slices.Sorted(maps.Keys(w.Figures)) {
		rows = append(rows, []string{k, number.Thousands(w.Figures[k])})
	}
	table(out, []string{"", ""}, slices.DeleteFunc(rows, func(r []string) bool { return r[1] == "" }))
}
