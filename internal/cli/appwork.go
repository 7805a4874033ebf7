package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/internal/adapter/marathon"
	"howdah.dev/howdah/internal/number"
)

// chosen is a task that a command works on.
type chosen struct {
	task, agent, worker string
	end                 string // why it ended, where it has
}

// tasksOf finds the tasks of an app, or the one whose id is given. An app that
// has none shows its last one that failed.
func tasksOf(ctx context.Context, c *cell, name string) ([]chosen, error) {
	id, _, isTask := strings.Cut(name, ".instance-")
	if isTask {
		id = strings.ReplaceAll(id, "_", "/")
	}
	x, err := c.App(ctx, appID(id))
	if err != nil {
		return nil, appError(err)
	}
	var out []chosen
	for _, t := range x.Tasks {
		if !isTask || t.ID == name || strings.HasPrefix(t.ID, name) {
			out = append(out, chosen{t.ID, t.AgentID, t.Host, ""})
		}
	}
	if l := x.LastFailure; len(out) == 0 && l != nil && l.TaskID != "" && (!isTask || l.TaskID == name) {
		out = append(out, chosen{l.TaskID, l.AgentID, l.Host, l.State + " " + l.Message})
	}
	if len(out) == 0 {
		return nil, &exitError{exitNotFound, fmt.Errorf("%s has no task; see: howdah app describe %s", name, appID(id))}
	}
	return out, nil
}

func (a *app) appLogsCmd(f *appFlags) *cobra.Command {
	var follow, stderr bool
	var lines int
	c := &cobra.Command{
		Use: "logs {ID | TASK}", Short: "Print what an app's tasks write", Args: args(1, 1, "the app's or the task's id"),
		RunE: func(cmd *cobra.Command, got []string) error {
			ctx := cmd.Context()
			c, err := a.openCell(ctx, f.cell)
			if err != nil {
				return err
			}
			tasks, err := tasksOf(ctx, c, got[0])
			if err != nil {
				return err
			}
			file := "stdout"
			if stderr {
				file = "stderr"
			}
			return a.printLogs(ctx, c, tasks, file, lines, follow)
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "F", false, "go on until the tasks have ended")
	c.Flags().IntVarP(&lines, "lines", "n", 100, "how many of the last lines are shown first")
	c.Flags().BoolVar(&stderr, "stderr", false, "what they write to standard error")
	return c
}

// printLogs prints the logs of tasks, line by line, with the task's name in
// front where there are several.
func (a *app) printLogs(ctx context.Context, c *cell, tasks []chosen, file string, lines int, follow bool) error {
	var mu sync.Mutex
	one := func(t chosen) error {
		place, err := c.Place(ctx, c.master, t.agent, t.task)
		if err != nil {
			return appError(err)
		}
		log, err := c.Log(ctx, place, file, lines, follow)
		if errors.Is(err, marathon.ErrNotFound) && t.end != "" {
			return &exitError{exitNotFound, fmt.Errorf("%w; it ended, perhaps before it started: %s", err, t.end)}
		}
		if err != nil {
			return appError(err)
		}
		defer log.Close()
		name := ""
		if len(tasks) > 1 {
			name = shortTask(t.task) + "  "
		}
		text := bufio.NewReader(log)
		for {
			line, err := text.ReadString('\n')
			if line != "" {
				mu.Lock()
				fmt.Fprintln(a.out, name+strings.TrimRight(line, "\r\n"))
				mu.Unlock()
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
	if !follow {
		var errs []error
		for _, t := range tasks {
			errs = append(errs, one(t))
		}
		return errors.Join(errs...)
	}
	errs := make(chan error, len(tasks))
	for _, t := range tasks {
		go func() { errs <- one(t) }()
	}
	var all []error
	for range tasks {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// shortTask is enough of a task's id to tell it from others of its app.
func shortTask(id string) string {
	app, rest, _ := strings.Cut(id, ".instance-")
	return app + "." + rest[:min(8, len(rest))]
}

func (a *app) appExecCmd(f *appFlags) *cobra.Command {
	c := &cobra.Command{
		DisableFlagsInUseLine: true, Use: "exec {ID | TASK} -- COMMAND [ARGUMENT...]", Short: "Run a command in a task", Args: args(2, -1, "the app's or the task's id and a command"),
		Long: "Run a command in a task of an app. Its exit code is that of the command.",
		RunE: func(cmd *cobra.Command, got []string) error {
			ctx := cmd.Context()
			c, err := a.openCell(ctx, f.cell)
			if err != nil {
				return err
			}
			tasks, err := tasksOf(ctx, c, got[0])
			if err != nil {
				return err
			}
			place, err := c.Place(ctx, c.master, tasks[0].agent, tasks[0].task)
			if err != nil {
				return appError(err)
			}
			code, err := c.Exec(ctx, place, got[1:], marathon.ExecIO{In: a.in, Out: a.out, Err: a.err})
			if err != nil {
				return appError(err)
			}
			if code != 0 {
				return &exitError{code, fmt.Errorf("the command ended with status %d", code)}
			}
			return nil
		},
	}
	return c
}

// drainCmd empties a worker.
func (a *app) drainCmd() *cobra.Command {
	f := &appFlags{}
	var off, wait bool
	c := &cobra.Command{
		Use: "drain WORKER", Short: "Have a cell's worker give its tasks to others", Args: args(1, 1, "the worker's name"),
		Long: `Have the instances on a worker of a cell replaced elsewhere, as the upgrade
strategies of their apps allow, and nothing new come to it.
  howdah drain cell-worker-1
  howdah drain cell-worker-1 --off`,
		RunE: func(cmd *cobra.Command, got []string) error {
			c, err := a.openCell(cmd.Context(), f.cell)
			if err != nil {
				return err
			}
			if !off {
				a.goesOn = f.onCell("howdah drain " + got[0])
			}
			return a.drain(cmd.Context(), c, got[0], off, wait)
		},
	}
	c.Flags().StringVar(&f.cell, "cell", "", "cluster that the worker is of; needed where there are several")
	c.Flags().BoolVar(&off, "off", false, "let it take tasks again")
	c.Flags().BoolVar(&wait, "wait", true, "wait until it is empty")
	return c
}

// drained is what the cell says of a worker that is emptied.
type drained struct {
	Worker  string            `json:"worker"`
	Tasks   []string          `json:"tasks"`             // still there
	Waiting map[string]string `json:"waiting,omitempty"` // what their apps wait for
}

func (a *app) drain(ctx context.Context, c *cell, name string, off, wait bool) error {
	workers, err := c.Workers(ctx, c.master)
	if err != nil {
		return appError(err)
	}
	id := ""
	var names []string
	for _, w := range workers {
		names = append(names, w.Host)
		if w.Host == name || w.ID == name {
			id = w.ID
		}
	}
	if id == "" {
		return &exitError{exitNotFound, fmt.Errorf("%s has no worker %s; its workers are %s", c.name, name, strings.Join(names, ", "))}
	}
	method, path := http.MethodPut, "/howdah/v1/workers/"+id+"/drain"
	if off {
		method = http.MethodDelete
	}
	t := a.teller(c)
	for {
		var now drained
		if err := c.Call(ctx, method, path, nil, nil, &now); err != nil {
			return appError(err)
		}
		switch {
		case off:
			return a.print(now, func(w io.Writer) { fmt.Fprintf(w, "%s takes tasks again\n", name) })
		case len(now.Tasks) == 0 || !wait:
			return a.print(now, func(w io.Writer) {
				fmt.Fprintf(w, "%s is being drained, %s left on it\n", name, number.Count(len(now.Tasks), "task"))
			})
		}
		if left := number.Count(len(now.Tasks), "task") + " left on it"; left != t.waits[name] && !a.programs() {
			t.waits[name] = left
			t.say(name, left)
		}
		t.tell(ctx, now.Waiting)
		method = http.MethodGet
		if err := sleep(ctx, 500*time.Millisecond); err != nil { // between two questions
			return err
		}
	}
}
