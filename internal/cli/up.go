package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/node/proc"
	"howdah.dev/howdah/internal/number"
	"howdah.dev/howdah/internal/server"
)

// startPatience is how long a server may take to answer.
const startPatience = 20 * time.Second

func (a *app) upCmd() *cobra.Command {
	var withPipeline bool
	var o server.Options
	c := &cobra.Command{
		Use: "up [DIRECTORY | FILE]", Short: "Bring the platform up: server, clusters, and what was suspended", Args: args(0, 1, ""),
		Long: `Bring the platform up. Checks what this machine lacks for the file's clusters
(and installs it on Debian and Ubuntu, unless HOWDAH_INSTALL=0), starts the
server, resumes suspended clusters and applies the file. A directory stands for its platform.yaml.`,
		RunE: func(cmd *cobra.Command, got []string) error {
			opts, err := a.options(cmd, o)
			if err != nil {
				return err
			}
			a.lines = true
			u := &upper{app: a, cmd: cmd, opts: opts, pipeline: withPipeline, begun: time.Now()}
			return u.up(cmd.Context(), strings.Join(got, ""))
		},
	}
	serverFlags(c, &o)
	c.Flags().BoolVar(&withPipeline, "pipeline", false, "run the directory's pipeline.yaml afterwards")
	return c
}

// upper brings the platform up.
type upper struct {
	*app
	cmd      *cobra.Command
	opts     server.Options
	pipeline bool
	begun    time.Time
	client   *client.Client
	info     api.Info
}

func (u *upper) up(ctx context.Context, path string) error {
	file, pipelineFile, err := findFiles(path)
	if err != nil {
		return err
	}
	if u.pipeline && pipelineFile == "" {
		if path == "" {
			return usagef("say which pipeline: howdah up DIRECTORY --pipeline")
		}
		return &exitError{exitNotFound, fmt.Errorf("there is no pipeline.yaml beside %s", file)}
	}
	if err := u.prerequisites(ctx, file); err != nil {
		return err
	}
	if err := u.server(ctx); err != nil {
		return err
	}
	fmt.Fprintf(u.notes(), "howdah %s · home %s · local infrastructure, %.1f GiB for nodes, %d cores · %s\n\n", Version, u.home.Dir, float64(u.info.Memory)/1024, u.info.CPUs, u.info.Address)
	changed, err := u.clusters(ctx, file)
	if err != nil {
		return err
	}
	ready := time.Since(u.begun)
	cs, err := u.show(ctx)
	if err != nil {
		return err
	}
	begun := time.Now()
	if u.pipeline {
		if err := u.runPipelineFile(ctx, u.client, pipelineFile, u.info.User); err != nil {
			return err
		}
	}
	u.closing(cs, changed, ready, time.Since(begun), file)
	return nil
}

// findFiles finds the definition and the pipeline of a directory.
func findFiles(path string) (file, pipelineFile string, err error) {
	if path == "" {
		return "", "", nil
	}
	st, err := os.Stat(path)
	if err != nil {
		return "", "", &exitError{exitNotFound, fmt.Errorf("there is no %s", path)}
	}
	dir := filepath.Dir(path)
	file = path
	if st.IsDir() {
		dir, file = path, ""
		for _, name := range []string{"platform.yaml", "platform.json"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				file = filepath.Join(dir, name)
				break
			}
		}
		if file == "" {
			return "", "", &exitError{exitNotFound, fmt.Errorf("there is no platform.yaml in %s", dir)}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "pipeline.yaml")); err == nil {
		pipelineFile = filepath.Join(dir, "pipeline.yaml")
	}
	return file, pipelineFile, nil
}

// server makes sure that a server of this version runs.
func (u *upper) server(ctx context.Context) error {
	u.client = u.app.client()
	info, err := u.client.Info(ctx)
	if had, loadErr := u.home.LoadOptions(); err == nil && loadErr == nil && !reflect.DeepEqual(had, u.opts) {
		fmt.Fprintln(u.notes(), "the server runs with other settings; replacing it, services go on")
		if err := u.stopServer(ctx); err != nil {
			return err
		}
		err = client.ErrUnreachable
	}
	if err == nil && info.Build != build() {
		fmt.Fprintf(u.notes(), "a server of another build runs (%s); replacing it, services go on\n", info.Version)
		if err := u.stopServer(ctx); err != nil {
			return err
		}
		err = client.ErrUnreachable
	}
	if err == nil {
		u.info = info
		return nil
	}
	if !errors.Is(err, client.ErrUnreachable) {
		return err
	}
	if err := u.spawn(ctx); err != nil {
		return err
	}
	return nil
}

// spawn starts a server that outlives this command and waits until it answers.
func (u *upper) spawn(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find this program: %w", err)
	}
	if err := u.home.Prepare(); err != nil {
		return err
	}
	argv := []string{self, "server", "--home", u.home.Dir}
	for _, dir := range u.opts.Stacks {
		argv = append(argv, "--stacks", dir)
	}
	argv = append(argv, fmt.Sprintf("--allow-open-ports=%v", u.opts.OpenPorts)) // also to take it back
	if u.opts.Posture != "" {
		argv = append(argv, "--posture", u.opts.Posture)
	}
	if u.opts.MemoryMB > 0 {
		argv = append(argv, fmt.Sprintf("--memory=%d", u.opts.MemoryMB))
	}
	at, _ := os.Stat(u.home.Log())
	p, err := proc.Start(proc.Spec{Argv: argv, Dir: "/", Env: os.Environ(), Output: u.home.Log(), Labels: proc.Labels{Node: "server:" + u.home.Dir, Service: "server", Incarnation: time.Now().UnixNano()}})
	if err != nil {
		return fmt.Errorf("cannot start server: %w", err)
	}
	defer p.Release()
	deadline := time.Now().Add(startPatience)
	for {
		if u.info, err = u.client.Info(ctx); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.Done():
			if u.home.Running() && time.Now().Before(deadline) {
				time.Sleep(50 * time.Millisecond) // somebody else started one at the same time
				continue
			}
			return &exitError{exitFailed, fmt.Errorf("the server ended: %s", serverSays(u.home.Log(), at))}
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return &exitError{exitTimeout, fmt.Errorf("the server has not answered for %s; see %s", startPatience, u.home.Log())}
		}
	}
}

// serverSays returns what the server wrote last since it was started.
func serverSays(path string, before os.FileInfo) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return "see " + path
	}
	if before != nil && int64(len(data)) > before.Size() {
		data = data[before.Size():]
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	at := len(lines) - 1
	for at > 0 && !strings.HasPrefix(lines[at-1], "time=") { // findings take several
		at--
	}
	said := strings.TrimPrefix(strings.Join(lines[at:], "\n"), "howdah: ")
	if at < len(lines)-1 {
		return "\n" + said
	}
	return said
}

// clusters resumes what was suspended and applies the file; it reports
// whether anything was done.
func (u *upper) clusters(ctx context.Context, file string) (bool, error) {
	cs, err := u.client.Clusters(ctx)
	if err != nil {
		return false, err
	}
	var ops []api.Operation
	for _, c := range cs {
		if c.Suspended {
			o, err := u.client.Start(ctx, c.Name)
			if err != nil {
				return false, err
			}
			ops = append(ops, *o)
			continue
		}
		if c.Operation == 0 {
			continue
		}
		if o, err := u.client.Operation(ctx, c.Operation); err == nil && !o.State.Final() && o.State != api.OperationFailed {
			ops = append(ops, o)
		}
	}
	if len(ops) > 0 {
		if err := u.follow(ctx, u.client, ops); err != nil {
			return true, err
		}
	}
	if file == "" {
		return len(ops) > 0, u.settle(ctx)
	}
	f, err := u.readFile(file)
	if err != nil {
		return true, err
	}
	f.Resume = true
	done, err := u.client.Apply(ctx, f)
	if err != nil {
		return true, err
	}
	u.warn(done.Diagnostics)
	if len(done.Operations) > 0 {
		return true, u.follow(ctx, u.client, done.Operations)
	}
	return len(ops) > 0, u.settle(ctx)
}

// settlePatience is how long clusters that have no operation may take to be
// ready, after a reboot for example.
const settlePatience = 4 * time.Minute

// settle waits for clusters that come back by themselves.
func (u *upper) settle(ctx context.Context) error {
	deadline := time.Now().Add(settlePatience)
	v := u.newLive()
	defer v.end()
	for {
		cs, err := u.client.Clusters(ctx)
		if err != nil {
			return err
		}
		open := ""
		for _, c := range cs {
			if c.State == api.StateFailed {
				return u.notReady(ctx, exitFailed, c.Name)
			}
			if c.State == api.StateWaiting || c.State == api.StateDegraded {
				open = c.Name
				v.set(c.Name, services(c))
			} else if _, shown := v.text[c.Name]; shown {
				v.set(c.Name, c.State)
			}
		}
		v.draw()
		if open == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return u.notReady(ctx, exitTimeout, open)
		}
		if err := sleep(ctx, glance); err != nil {
			return err
		}
	}
}

// notReady says why a cluster is not ready.
func (u *upper) notReady(ctx context.Context, code int, name string) error {
	fs, err := u.client.Explain(ctx, name)
	if err != nil {
		return err
	}
	return &followError{code: code, summary: name + " is not ready", findings: fs}
}

// show prints the clusters, the time of each phase, and every page.
func (u *upper) show(ctx context.Context) ([]api.ClusterStatus, error) {
	cs, err := u.client.Clusters(ctx)
	if err != nil {
		return nil, err
	}
	if u.programs() {
		return cs, u.print(cs, nil)
	}
	w := u.screen()
	if len(cs) > 0 {
		fmt.Fprintln(w)
		printClusters(w, cs, false)
	}
	var rows [][]string
	for _, c := range cs {
		if row := u.phases(ctx, c.Name); row != nil {
			rows = append(rows, append([]string{c.Name}, row...))
		}
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
		table(w, []string{"TIMES", "ARTIFACTS", "NODES", "SERVICES", "SMOKE"}, rows)
	}
	for _, c := range cs {
		for _, cond := range c.Conditions {
			if cond.Type == api.ConditionStackOutdated {
				fmt.Fprintf(w, "\n%s keeps the stack it was made with: %s\n", c.Name, cond.Message)
			}
		}
	}
	fmt.Fprintln(w)
	rows = [][]string{{"howdah", "API and front page", u.info.Address}}
	for _, c := range cs {
		for _, l := range c.Web {
			rows = append(rows, []string{c.Name, l.Title, l.URL})
		}
	}
	table(w, []string{"PAGES", "", ""}, rows)
	return cs, nil
}

// phases sums how long each part of a cluster's newest operation took, from
// its first step to its last.
func (u *upper) phases(ctx context.Context, cluster string) []string {
	os, err := u.client.Operations(ctx, cluster, 1)
	if err != nil || len(os) == 0 {
		return nil
	}
	o, err := u.client.Operation(ctx, os[0].ID)
	if err != nil || o.Started == nil || o.Started.Before(u.begun) {
		return nil
	}
	var row []string
	for _, phase := range []string{"artifacts", "nodes", "services", "smoke"} {
		var from, to time.Time
		for _, s := range o.Steps {
			if s.Phase != phase || s.Started == nil || s.Finished == nil {
				continue
			}
			if from.IsZero() || s.Started.Before(from) {
				from = *s.Started
			}
			if s.Finished.After(to) {
				to = *s.Finished
			}
		}
		row = append(row, seconds(to.Sub(from)))
	}
	return row
}

// closing says how long it took and what to try next, with names that are there.
func (u *upper) closing(cs []api.ClusterStatus, changed bool, ready, pipe time.Duration, file string) {
	w := u.notes()
	fmt.Fprintln(w)
	for _, c := range cs {
		if c.State == api.StateStopped {
			fmt.Fprintf(w, "%s is stopped, as somebody asked for; start it with: howdah start %s\n", c.Name, c.Name)
		}
	}
	if n := agentsOfOthers(cs); n > 0 {
		fmt.Fprintf(w, "%s of another build; replace with: howdah upgrade\n", number.Count(n, "agent"))
	}
	switch {
	case len(cs) == 0:
		fmt.Fprintln(w, "the server runs; there are no clusters yet.  Try:\n  howdah up examples/platform\n  howdah stack show\n  howdah apply -f FILE")
		return
	case u.pipeline:
		fmt.Fprintf(w, "ready in %.1f s, pipeline in %.1f s.  Try:\n", ready.Seconds(), pipe.Seconds())
	case !changed:
		fmt.Fprintln(w, "it runs; nothing was to be done.  Try:")
	default:
		fmt.Fprintf(w, "ready in %.1f s.  Try:\n", ready.Seconds())
	}
	fmt.Fprintln(w, "  howdah get clusters")
	if slices.ContainsFunc(cs, func(c api.ClusterStatus) bool { return c.Name == "warehouse" }) {
		fmt.Fprintln(w, "  howdah run warehouse -- hdfs dfs -ls /data")
	} else {
		fmt.Fprintf(w, "  howdah describe %s\n", cs[0].Name)
	}
	if more := filepath.Join(filepath.Dir(file), "batch-5-nodes.yaml"); file != "" && exists(more) {
		fmt.Fprintf(w, "  howdah plan -f %s\n", more)
	} else {
		fmt.Fprintf(w, "  howdah explain %s\n", cs[0].Name)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (a *app) downCmd() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Suspend everything; data and wishes stay", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.down(cmd.Context()) },
	}
}

// down suspends all clusters and ends the server.
func (a *app) down(ctx context.Context) error {
	a.lines = true
	cl := a.client()
	cs, err := cl.Clusters(ctx)
	if errors.Is(err, client.ErrUnreachable) {
		fmt.Fprintln(a.notes(), "no server runs; nothing was to be done")
		return nil
	}
	if err != nil {
		return err
	}
	var ops []api.Operation
	for _, c := range cs {
		if c.State == api.StateSuspended || c.State == api.StateStopped || c.State == api.StateDeleting {
			continue
		}
		o, err := cl.Stop(ctx, c.Name, true)
		var p *api.Problem
		if errors.As(err, &p) && p.Type == api.ProblemBusy {
			a.remark("%s is left as it is: %s", c.Name, p.Detail)
			continue
		}
		if err != nil {
			return err
		}
		ops = append(ops, *o)
	}
	if len(ops) > 0 {
		if err := a.follow(ctx, cl, ops); err != nil {
			return err
		}
	}
	if err := a.stopServer(ctx); err != nil {
		return err
	}
	fmt.Fprintln(a.notes(), "suspended; data and wishes stay. Come back with: howdah up")
	return nil
}

// stopServer tells the server to end and waits until it has.
func (a *app) stopServer(ctx context.Context) error {
	// One that ends quickly may not get its answer out.
	if err := a.client().Shutdown(ctx); err != nil && !errors.Is(err, client.ErrUnreachable) {
		return err
	}
	for range 200 {
		if !a.home.Running() {
			return nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return &exitError{exitTimeout, fmt.Errorf("the server has not ended after 10 s; see %s", a.home.Log())}
}

func (a *app) cleanCmd() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "clean", Short: "End everything and remove the home with all its data", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := os.Stat(a.home.Dir); errors.Is(err, os.ErrNotExist) {
				fmt.Fprintf(a.notes(), "%s is not there; nothing was to be done\n", a.home.Dir)
				return nil
			}
			if !yes && (!a.interactive() || !a.ask("remove "+a.home.Dir+" with all clusters and data?")) {
				return &exitError{exitGuard, errors.New("nothing was removed; confirm with --yes")}
			}
			if a.home.Running() {
				if err := a.stopServer(cmd.Context()); err != nil {
					return err
				}
			}
			if err := a.home.Remove(cmd.Context()); err != nil {
				return err
			}
			return a.print(map[string]string{"removed": a.home.Dir}, func(w io.Writer) { fmt.Fprintln(w, "removed", a.home.Dir) })
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}
