package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
)

// lastLines is how many lines of each log are shown where nothing else is asked for.
const lastLines = 100

// maxTail bounds how many lines may be asked for.
const maxTail = 100000

func (a *app) clusterLogsCmd() *cobra.Command {
	var o client.LogOptions
	var since string
	c := &cobra.Command{
		Use: "logs CLUSTER[/NODE[/SERVICE]]", Short: "Print what services write", Args: args(1, 1, "the cluster's name"), ValidArgsFunction: a.clusterNames,
		Long: `Print what the services of a cluster, or of one node, write, merged by time. Logs of
several services have NODE/SERVICE in front of each line. Logs that a program keeps
itself, such as those of Storm's workers, come with its service's, as SERVICE/FILE.
  howdah logs warehouse --follow
  howdah logs warehouse/warehouse-master-1/namenode --since 10m
  howdah logs batch --service nodemanager --since 14:30
  howdah logs coord --previous           what it wrote before its last restart
  howdah logs coord --service agent      what the nodes' agents write

Without --since and --previous it begins with the last 100 lines of each log.`,
		RunE: func(cmd *cobra.Command, got []string) error {
			cluster, err := a.logTarget(got[0], &o)
			if err != nil {
				return err
			}
			if o.Since, err = sinceTime(since, time.Now()); err != nil {
				return err
			}
			switch {
			case o.Previous && o.Follow:
				return usagef("--previous and --follow: an earlier incarnation has ended, nothing follows; leave one away")
			case o.Tail < -1 || o.Tail > maxTail:
				return usagef("--tail %d: from 0 to %d lines, or -1 for all", o.Tail, maxTail)
			case !cmd.Flags().Changed("tail") && (since != "" || o.Previous):
				o.Tail = -1
			}
			return a.clusterLogs(cmd.Context(), cluster, o)
		},
	}
	c.Flags().BoolVarP(&o.Follow, "follow", "F", false, "go on with what comes, through rotation and restarts")
	c.Flags().IntVarP(&o.Tail, "tail", "n", lastLines, "how many of the last lines of each log are shown first; -1 for all")
	c.Flags().StringVar(&since, "since", "", sinceHelp)
	c.Flags().StringArrayVar(&o.Services, "service", nil, "only of this service; may be given several times")
	c.Flags().BoolVar(&o.Previous, "previous", false, "of the incarnation before the newest")
	return c
}

// logTarget reads CLUSTER[/NODE[/SERVICE]]; a service may hold a task after a slash.
func (a *app) logTarget(name string, o *client.LogOptions) (cluster string, err error) {
	parts := strings.SplitN(name, "/", 3)
	if slices.Contains(parts, "") {
		return "", usagef("%q: write CLUSTER, CLUSTER/NODE or CLUSTER/NODE/SERVICE", name)
	}
	if len(parts) > 1 {
		o.Nodes = []string{parts[1]}
	}
	if len(parts) > 2 {
		o.Services = append(o.Services, parts[2])
	}
	return parts[0], nil
}

// sinceHelp says what sinceTime reads.
const sinceHelp = "how far back, as 10m, or since when, as 2026-11-22T14:30:00Z or 14:30"

// timeLayouts are ways to say when; those without a zone are local.
var timeLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} //nolint:gochecknoglobals // a constant

// sinceTime reads a time, or how far back it is.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range timeLayouts {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04", time.TimeOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			at := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.Local)
			if at.After(now) {
				at = at.AddDate(0, 0, -1)
			}
			return at, nil
		}
	}
	return time.Time{}, usagef("--since %q is neither a time nor how far back: write 10m, 2h30m, 14:30 or 2026-11-22T14:30:00Z", text)
}

// clusterLogs prints lines. A log that cannot be shown is said on standard error; the
// others are shown all the same, and the command fails.
func (a *app) clusterLogs(ctx context.Context, cluster string, o client.LogOptions) error {
	several, err := a.severalLogs(ctx, cluster, o)
	if err != nil {
		return err
	}
	a.lines = true
	terminal := columns(a.out) > 0
	missing := 0
	for l, err := range a.client().ClusterLogs(ctx, cluster, o) {
		switch {
		case errors.Is(err, client.ErrUnreachable):
			return &exitError{exitFailed, fmt.Errorf("the log of %s ended: the server went away; the services go on", cluster)}
		case err != nil:
			return err
		case l.Notice:
			missing++
		}
		if err := a.printLine(l, several, terminal); err != nil {
			return err
		}
	}
	if ctx.Err() != nil && o.Follow {
		return nil // following ends by being left
	}
	if missing > 0 {
		return &exitError{exitFailed, fmt.Errorf("%s: what is missing is said above", cluster)}
	}
	if o.Follow {
		return &exitError{exitFailed, fmt.Errorf("the log of %s ended: no agent sends any more", cluster)}
	}
	return nil
}

func (a *app) printLine(l api.LogLine, several, terminal bool) error {
	if a.programs() {
		return a.print(l, nil)
	}
	from := strings.TrimSuffix(l.Node+"/"+l.Service, "/")
	if l.Notice {
		fmt.Fprintf(a.err, "howdah: %s: %s\n", from, tame(l.Text))
		return nil
	}
	text := l.Text
	if terminal {
		text = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) && r != '\t' {
				return ' '
			}
			return r
		}, text)
	}
	if several {
		text = from + "  " + text
	}
	_, err := fmt.Fprintln(a.out, text)
	return err
}

// severalLogs tells whether lines of more than one service can come.
func (a *app) severalLogs(ctx context.Context, cluster string, o client.LogOptions) (bool, error) {
	c, err := a.client().Cluster(ctx, cluster)
	if err != nil {
		return false, err
	}
	nodes, logs := 0, 0
	for _, n := range c.Nodes {
		if len(o.Nodes) > 0 && !slices.Contains(o.Nodes, n.Name) {
			continue
		}
		nodes++
		for _, s := range n.Services {
			if len(o.Services) == 0 || slices.ContainsFunc(o.Services, func(name string) bool { return name == s.Name || strings.HasPrefix(name, s.Name+"/") }) {
				logs++
			}
		}
	}
	return nodes > 1 || logs > 1 || len(o.Services) > 1, nil
}
