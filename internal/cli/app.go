package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/adapter/marathon"
	"howdah.dev/howdah/internal/number"
	"howdah.dev/howdah/internal/tenant"
)

const (
	// exportMarathon is what a cluster exports that runs apps.
	exportMarathon = "marathon"
	exportMaster   = "master"
	maxAppFile     = 16 << 20
	tokenLife      = 12 * time.Hour // of the tokens commands make for themselves
)

// cell is a cluster that runs apps, and the way in.
type cell struct {
	*marathon.Client
	name, url, master, token string
}

// appFlags are what every command on apps takes.
type appFlags struct {
	cell  string
	force bool
	wait  bool
}

func (a *app) appCmd() *cobra.Command {
	c := &cobra.Command{Use: "app", Short: "Run apps on a cell and look after them"}
	f := &appFlags{}
	c.PersistentFlags().StringVar(&f.cell, "cell", "", "cluster that runs the apps; needed where there are several")
	c.AddCommand(
		a.appRunCmd(f), a.appGetCmd(f), a.appDescribeCmd(f), a.appExplainCmd(f), a.appScaleCmd(f), a.appRestartCmd(f), a.appRollbackCmd(f),
		a.appLogsCmd(f), a.appExecCmd(f), a.appKillCmd(f), a.appDeleteCmd(f), a.appImportCmd(f),
	)
	return c
}

// changes adds the flags of commands that deploy.
func (f *appFlags) changes(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&f.force, "force", false, "take the place of a deployment under way")
	return f.waits(c)
}

func (f *appFlags) waits(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&f.wait, "wait", true, "wait until the deployment has ended")
	return c
}

// openCell finds the cell and makes a token for this command.
func (a *app) openCell(ctx context.Context, name string) (*cell, error) {
	cl := a.client()
	cs, err := cl.Clusters(ctx)
	if err != nil {
		return nil, err
	}
	var cells []api.ClusterStatus
	var names []string
	for _, c := range cs {
		if c.Exports[exportMarathon] != "" && (name == "" || c.Name == name) {
			cells, names = append(cells, c), append(names, c.Name)
		}
	}
	switch {
	case len(cells) == 0 && name != "":
		return nil, &exitError{exitNotFound, fmt.Errorf("no cluster %s runs apps; howdah get clusters lists what is there", name)}
	case len(cells) == 0:
		return nil, &exitError{exitNotFound, errors.New("no cluster runs apps; one of stack mesos does: howdah stack show mesos")}
	case len(cells) > 1:
		return nil, usagef("say which cell: --cell %s", strings.Join(names, " or --cell "))
	}
	if state := cells[0].State; state == api.StateStopped || state == api.StateSuspended {
		return nil, &exitError{exitGuard, fmt.Errorf("the cell %s is %s; start it with: howdah start %s", cells[0].Name, state, cells[0].Name)}
	}
	token, err := cl.CreateToken(ctx, api.TokenRequest{Project: tenant.DefaultProject, Role: string(tenant.Admin), Name: "howdah app", Seconds: int64(tokenLife.Seconds())})
	if err != nil {
		return nil, err
	}
	url := cells[0].Exports[exportMarathon]
	return &cell{marathon.New(marathon.Config{URL: url, Token: token.Token}), cells[0].Name, url, cells[0].Exports[exportMaster], token.Token}, nil
}

// appID makes an id absolute.
func appID(id string) string { return "/" + strings.Trim(id, "/") }

func (a *app) appRunCmd(f *appFlags) *cobra.Command {
	var file, image, cmdline string
	var instances int
	var cpus, mem float64
	var env, labels []string
	c := &cobra.Command{
		Use: "run {-f FILE | ID {--image IMAGE | --cmd COMMAND}}", Short: "Run an app, or change it", Args: args(0, 1, ""),
		Long: `Run an app, or make an app what the file or the flags say.
  howdah app run -f web.json
  howdah app run /tools/clock --cmd 'while date; do sleep 1; done'
  howdah app run /shop/web --image default/web:1 --instances 3`,
		RunE: func(cmd *cobra.Command, got []string) error {
			definition, err := a.appDefinition(file, got, func(m map[string]any) error {
				return flagsOfApp(m, image, cmdline, instances, cpus, mem, env, labels)
			})
			if err != nil {
				return err
			}
			id, _ := definition["id"].(string)
			return a.deploy(cmd.Context(), f, id, func(ctx context.Context, c *cell) (marathon.Result, error) {
				r, err := c.Put(ctx, id, definition, f.force)
				if refused, ok := errors.AsType[*marathon.Error](err); ok && file != "" && (refused.Status == 400 || refused.Status == 422) {
					refused.Message = file + ": " + refused.Message
				}
				return r, err
			})
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "the app's definition, JSON or YAML; - for standard input")
	c.Flags().StringVar(&image, "image", "", "image of its containers")
	c.Flags().StringVar(&cmdline, "cmd", "", "shell command")
	c.Flags().IntVar(&instances, "instances", 1, "number of instances")
	c.Flags().Float64Var(&cpus, "cpus", 0.1, "cores of an instance")
	c.Flags().Float64Var(&mem, "mem", 128, "memory of an instance, in MB")
	c.Flags().StringArrayVar(&env, "env", nil, "variable of its environment, as NAME=VALUE")
	c.Flags().StringArrayVar(&labels, "label", nil, "label, as NAME=VALUE")
	return f.changes(c)
}

// appDefinition reads a definition from a file, or makes one of flags.
func (a *app) appDefinition(file string, got []string, flags func(map[string]any) error) (map[string]any, error) {
	m := map[string]any{}
	if file == "" {
		if len(got) == 0 {
			return nil, usagef("give the app's id, or -f FILE")
		}
		m["id"] = appID(got[0])
		return m, flags(m)
	}
	text, err := a.readInput(file, maxAppFile)
	if err != nil {
		return nil, err
	}
	if err := readObject(text, &m); err != nil {
		return nil, &exitError{exitInput, fmt.Errorf("cannot read %s: %w", file, err)}
	}
	if len(got) > 0 {
		m["id"] = got[0]
	}
	id, _ := m["id"].(string)
	if id == "" {
		return nil, &exitError{exitInput, fmt.Errorf("%s names no app: give its id", file)}
	}
	m["id"] = appID(id)
	return m, nil
}

// readObject reads an object in YAML, and so in JSON. What is wrong with JSON is said
// in its own words.
func readObject(text []byte, m *map[string]any) error {
	switch start := bytes.TrimSpace(text); {
	case len(start) == 0:
		return errors.New("it is empty; wanted is the definition of an app")
	case start[0] == '[':
		return errors.New("it is a list; wanted is one app, an object")
	}
	err := yaml.Unmarshal(text, m)
	if err == nil || bytes.TrimSpace(text)[0] != '{' {
		return err
	}
	var ignored json.RawMessage
	if syntax, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(text, &ignored)); ok {
		before := text[:min(int(syntax.Offset), len(text))]
		return fmt.Errorf("line %d, column %d: %w", 1+bytes.Count(before, []byte("\n")), len(before)-1-bytes.LastIndexByte(before, '\n'), syntax)
	}
	return err
}

// readInput reads a file, or standard input for "-", of at most limit bytes.
func (a *app) readInput(file string, limit int64) ([]byte, error) {
	in, err := a.openInput(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("it is larger than %d MiB", limit>>20)
	}
	if err != nil {
		return nil, &exitError{exitInput, fmt.Errorf("cannot read %s: %w", file, err)}
	}
	return text, nil
}

// openInput opens a file, or standard input for "-".
func (a *app) openInput(file string) (io.ReadCloser, error) {
	if file == "-" {
		return io.NopCloser(a.in), nil
	}
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &exitError{exitNotFound, fmt.Errorf("there is no file %s", file)}
	}
	if err != nil {
		return nil, &exitError{exitInput, fmt.Errorf("cannot read %s: %w", file, err)}
	}
	return f, nil
}

func flagsOfApp(m map[string]any, image, cmdline string, instances int, cpus, mem float64, env, labels []string) error {
	if image == "" && cmdline == "" {
		return usagef("give --image IMAGE or --cmd COMMAND")
	}
	m["instances"], m["cpus"], m["mem"] = instances, cpus, mem
	if cmdline != "" {
		m["cmd"] = cmdline
	}
	if image != "" {
		m["container"] = map[string]any{"type": "MESOS", "docker": map[string]any{"image": image}}
		m["networks"] = []any{map[string]any{"mode": "container/bridge"}}
	}
	for name, list := range map[string][]string{"env": env, "labels": labels} {
		values := map[string]string{}
		for _, e := range list {
			k, v, ok := strings.Cut(e, "=")
			if !ok {
				return usagef("%q is not NAME=VALUE", e)
			}
			values[k] = v
		}
		if len(values) > 0 {
			m[name] = values
		}
	}
	return nil
}

// appError gives the cell's refusals the exit codes of their kind.
func appError(err error) error {
	var refused *marathon.Error
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Status {
	case 400, 422:
		return &exitError{exitInput, err}
	case 404:
		return &exitError{exitNotFound, err}
	case 409:
		return &exitError{exitGuard, err}
	}
	return err
}

func (a *app) appGetCmd(f *appFlags) *cobra.Command {
	return &cobra.Command{
		Use: "get", Short: "List apps", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.openCell(cmd.Context(), f.cell)
			if err != nil {
				return err
			}
			apps, err := c.Apps(cmd.Context())
			if err != nil {
				return appError(err)
			}
			return a.print(apps, func(w io.Writer) {
				var rows [][]string
				for _, x := range apps {
					state := "runs"
					if len(x.Deployments) > 0 {
						state = "deploying"
					} else if x.TasksRunning < x.Instances {
						state = "waits"
					}
					rows = append(rows, []string{x.ID, state, fmt.Sprintf("%d/%d", x.TasksRunning, x.Instances), strconv.FormatFloat(x.CPUs, 'g', -1, 64), strconv.FormatFloat(x.Mem, 'g', -1, 64), imageOf(x)})
				}
				table(w, []string{"APP", "STATE", "RUNNING", "CPUS", "MEM MB", "IMAGE OR COMMAND"}, rows)
			})
		},
	}
}

func imageOf(x marathon.App) string {
	if x.Container != nil && x.Container.Docker != nil {
		return x.Container.Docker.Image
	}
	return x.Cmd
}

func (a *app) appDescribeCmd(f *appFlags) *cobra.Command {
	return &cobra.Command{
		Use: "describe ID", Short: "Show everything known about an app", Args: args(1, 1, "the app's id"),
		RunE: func(cmd *cobra.Command, got []string) error {
			c, err := a.openCell(cmd.Context(), f.cell)
			if err != nil {
				return err
			}
			x, err := c.App(cmd.Context(), got[0])
			if err != nil {
				return appError(err)
			}
			queue, err := c.Queue(cmd.Context())
			if err != nil {
				return appError(err)
			}
			deployments, err := c.Deployments(cmd.Context())
			if err != nil {
				return appError(err)
			}
			return a.print(x, func(w io.Writer) { describeApp(w, x, queue, deployments) })
		},
	}
}

func describeApp(w io.Writer, x *marathon.App, queue []marathon.Queued, deployments []marathon.Deployment) {
	fmt.Fprintf(w, "%s  %d of %d run, version %s\n", x.ID, x.TasksRunning, x.Instances, x.Version)
	if ports := servicePorts(x); ports != "" {
		fmt.Fprintf(w, "  service ports, at the address of any worker: %s\n", ports)
	}
	for _, d := range deployments {
		if !slices.Contains(d.AffectedApps, x.ID) {
			continue
		}
		fmt.Fprintf(w, "  deployment %s, step %d of %d\n", d.ID, d.CurrentStep, d.TotalSteps)
		if d.Stalled != "" {
			fmt.Fprintf(w, "    stalled: %s\n", tame(d.Stalled))
		} else if wait := d.Waiting[x.ID]; wait != "" {
			fmt.Fprintf(w, "    waits: %s\n", tame(wait))
		}
	}
	for _, q := range queue {
		if q.App.ID != x.ID {
			continue
		}
		fmt.Fprintf(w, "  %s to launch since %s\n", number.Count(q.Count, "instance"), q.Since)
		if q.Delay.Left > 0 {
			fmt.Fprintf(w, "    the next launch waits %s more, for instances failed\n", span(time.Duration(q.Delay.Left)*time.Second))
		}
		for _, r := range q.Reasons {
			fmt.Fprintf(w, "    %s\n", tame(r))
		}
	}
	if l := x.LastFailure; l != nil {
		fmt.Fprintf(w, "  last failure %s on %s: %s %s\n", l.Timestamp, l.Host, l.State, tame(l.Message))
	}
	var rows [][]string
	for _, t := range x.Tasks {
		if t.Notice != "" {
			fmt.Fprintf(w, "  %s on %s: %s\n", t.ID, cmp.Or(t.Worker, t.Host), tame(t.Notice))
		}
		health := "-"
		for _, h := range t.HealthChecks {
			health = map[bool]string{true: "well", false: "ill"}[h.Alive]
		}
		rows = append(rows, []string{t.ID, cmp.Or(t.Worker, t.Host), strings.TrimPrefix(t.State, "TASK_"), health, strings.Trim(fmt.Sprint(t.Ports), "[]")})
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
		table(w, []string{"TASK", "WORKER", "STATE", "HEALTH", "PORTS"}, rows)
	}
}

// servicePorts names the ports that workers forward to an app, as in "10007 (http)".
func servicePorts(x *marathon.App) string {
	var words []string
	for _, p := range x.ServicePorts() {
		if !strings.Contains(p.Protocol, "tcp") { // proxies pass on TCP alone
			continue
		}
		word := strconv.Itoa(p.Port)
		if p.Name != "" {
			word += " (" + tame(p.Name) + ")"
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

func (a *app) appScaleCmd(f *appFlags) *cobra.Command {
	return f.changes(&cobra.Command{
		Use: "scale ID INSTANCES", Short: "Change how many instances an app has", Args: args(2, 2, "the app's id and the number of instances"),
		RunE: func(cmd *cobra.Command, got []string) error {
			n, err := strconv.Atoi(got[1])
			if err != nil || n < 0 {
				return usagef("%q is not a number of instances", got[1])
			}
			id := appID(got[0])
			return a.deploy(cmd.Context(), f, id, func(ctx context.Context, c *cell) (marathon.Result, error) {
				return c.Patch(ctx, id, map[string]int{"instances": n}, f.force)
			})
		},
	})
}

func (a *app) appRestartCmd(f *appFlags) *cobra.Command {
	return f.changes(&cobra.Command{
		Use: "restart ID", Short: "Replace the instances of an app", Args: args(1, 1, "the app's id"),
		RunE: func(cmd *cobra.Command, got []string) error {
			id := appID(got[0])
			return a.deploy(cmd.Context(), f, id, func(ctx context.Context, c *cell) (marathon.Result, error) {
				return c.Restart(ctx, id, f.force)
			})
		},
	})
}

func (a *app) appRollbackCmd(f *appFlags) *cobra.Command {
	return f.changes(&cobra.Command{
		Use: "rollback ID [VERSION]", Short: "Take an app back to an earlier version", Args: args(1, 2, "the app's id"),
		Long: "Take an app back to the version given, or to the one before the present one.",
		RunE: func(cmd *cobra.Command, got []string) error {
			id := appID(got[0])
			return a.deploy(cmd.Context(), f, id, func(ctx context.Context, c *cell) (marathon.Result, error) {
				version := ""
				if len(got) > 1 {
					version = got[1]
				} else {
					versions, err := c.Versions(ctx, id)
					if err != nil {
						return marathon.Result{}, err
					}
					if len(versions) < 2 {
						return marathon.Result{}, &exitError{exitGuard, fmt.Errorf("%s has no earlier version", id)}
					}
					version = versions[1]
				}
				return c.Patch(ctx, id, map[string]string{"version": version}, f.force)
			})
		},
	})
}

func (a *app) appKillCmd(f *appFlags) *cobra.Command {
	var scale bool
	c := &cobra.Command{
		Use: "kill TASK...", Short: "End tasks; others take their place", Args: args(1, -1, "the task's id"),
		RunE: func(cmd *cobra.Command, got []string) error {
			c, err := a.openCell(cmd.Context(), f.cell)
			if err != nil {
				return err
			}
			if err := c.Kill(cmd.Context(), got, scale); err != nil {
				return appError(err)
			}
			return a.print(map[string]any{"killed": got}, func(w io.Writer) { fmt.Fprintf(w, "%s told to end\n", number.Count(len(got), "task")) })
		},
	}
	c.Flags().BoolVar(&scale, "scale", false, "no other takes its place: the app has fewer instances from then on")
	return c
}

func (a *app) appDeleteCmd(f *appFlags) *cobra.Command {
	return f.waits(&cobra.Command{
		Use: "delete ID", Short: "Remove an app, whatever is under way with it", Args: args(1, 1, "the app's id"),
		RunE: func(cmd *cobra.Command, got []string) error {
			id := appID(got[0])
			return a.deploy(cmd.Context(), f, id, func(ctx context.Context, c *cell) (marathon.Result, error) { return c.Delete(ctx, id) })
		},
	})
}
