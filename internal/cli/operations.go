package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/api"
)

func (a *app) opCmd() *cobra.Command {
	c := &cobra.Command{Use: "op", Short: "List, watch and steer operations"}
	c.AddCommand(&cobra.Command{
		Use: "list [CLUSTER]", Short: "List operations, newest first", Args: args(0, 1, ""), ValidArgsFunction: a.clusterNames,
		RunE: func(cmd *cobra.Command, got []string) error { return a.listOps(cmd.Context(), strings.Join(got, "")) },
	}, &cobra.Command{
		Use: "get ID", Short: "Show an operation and its steps", Args: args(1, 1, "the operation's number"),
		RunE: func(cmd *cobra.Command, got []string) error {
			id, err := operationID(got[0])
			if err != nil {
				return err
			}
			o, err := a.client().Operation(cmd.Context(), id)
			if err != nil {
				return err
			}
			return a.print(o, func(w io.Writer) { printOperation(w, o) })
		},
	}, &cobra.Command{
		Use: "watch [ID]", Short: "Follow an operation to its end; the newest where no number is given", Args: args(0, 1, ""),
		RunE: func(cmd *cobra.Command, got []string) error { return a.watchOp(cmd.Context(), got) },
	})
	for _, v := range []struct{ verb, short string }{
		{"retry", "Run the failed steps of an operation again"},
		{"skip", "Take a failed step as done and go on; needs --step"},
		{"abandon", "Give a failed operation up; what it did stays"},
		{"cancel", "Stop an operation; what is in flight finishes"},
	} {
		c.AddCommand(a.steerCmd(v.verb, v.short))
	}
	return c
}

// watchOp follows the given operation, or the newest.
func (a *app) watchOp(ctx context.Context, got []string) error {
	cl := a.client()
	if len(got) == 0 {
		os, err := cl.Operations(ctx, "", 1)
		if err != nil || len(os) == 0 {
			return err
		}
		return a.follow(ctx, cl, os)
	}
	id, err := operationID(got[0])
	if err != nil {
		return err
	}
	o, err := cl.Operation(ctx, id)
	if err != nil {
		return err
	}
	return a.follow(ctx, cl, []api.Operation{o})
}

// steerCmd makes a command that changes the way of an operation.
func (a *app) steerCmd(verb, short string) *cobra.Command {
	var step int64
	c := &cobra.Command{
		Use: verb + " ID", Short: short, Args: args(1, 1, "the operation's number"),
		RunE: func(cmd *cobra.Command, got []string) error {
			id, err := operationID(got[0])
			if err != nil {
				return err
			}
			if verb == "skip" && step == 0 {
				return usagef("say which step: --step NUMBER (howdah op get %d lists them)", id)
			}
			o, err := a.client().Control(cmd.Context(), id, verb, step)
			if err != nil {
				return err
			}
			return a.print(o, func(w io.Writer) { fmt.Fprintf(w, "operation %d is %s  %s\n", o.ID, o.State, o.Reason) })
		},
	}
	if verb == "retry" || verb == "skip" {
		c.Flags().Int64Var(&step, "step", 0, "step")
	}
	return c
}

func operationID(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, usagef("%q is no number of an operation", s)
	}
	return n, nil
}

func (a *app) listOps(ctx context.Context, name string) error {
	os, err := a.client().Operations(ctx, name, 50)
	if err != nil {
		return err
	}
	return a.print(os, func(w io.Writer) {
		var rows [][]string
		for _, o := range os {
			rows = append(rows, []string{fmt.Sprint(o.ID), o.Cluster, o.Kind, string(o.State), since(o.Created) + " ago", o.By, cmp.Or(o.Reason, o.Cause)})
		}
		table(w, []string{"ID", "CLUSTER", "KIND", "STATE", "AGE", "BY", "REASON"}, rows)
	})
}

func printOperation(w io.Writer, o api.Operation) {
	fmt.Fprintln(w, strings.TrimSpace(fmt.Sprintf("operation %d  %s of %s is %s  %s", o.ID, o.Kind, o.Cluster, o.State, o.Reason)))
	fmt.Fprintln(w)
	var rows [][]string
	for _, s := range o.Steps {
		note := s.Waiting
		if s.Error != "" {
			note = s.Error
		}
		took := ""
		if s.Started != nil && s.Finished != nil {
			took = seconds(s.Finished.Sub(*s.Started))
		}
		rows = append(rows, []string{fmt.Sprint(s.ID), string(s.State), s.Title, took, note})
	}
	table(w, []string{"STEP", "STATE", "WHAT", "TOOK", "NOTE"}, rows)
}
