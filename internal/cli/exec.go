package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
)

func (a *app) execCmd() *cobra.Command {
	return &cobra.Command{
		DisableFlagsInUseLine: true, Use: "exec CLUSTER/NODE -- COMMAND [ARGUMENT...]", Short: "Run a command on a node", Args: args(2, -1, "the node, as CLUSTER/NODE, and a command"), ValidArgsFunction: a.nodeNames,
		Long: `Run a command in the environment of a node's services, in the node's directory, as
the user they run as. Its exit code is that of the command. Started from a terminal,
it has one of its own. What it started ends with it, or with this command.
  howdah exec warehouse/warehouse-master-1 -- bash
  howdah exec coord/coord-zk-1 -- tail -c 100 agent/agent.log`,
		RunE: func(cmd *cobra.Command, got []string) error {
			cluster, node, ok := strings.Cut(got[0], "/")
			if !ok || cluster == "" || node == "" || strings.Contains(node, "/") {
				return usagef("%q: write CLUSTER/NODE; howdah get nodes lists them", got[0])
			}
			return a.exec(cmd.Context(), cluster, node, got[1:])
		},
	}
}

func (a *app) exec(ctx context.Context, cluster, node string, argv []string) error {
	e := client.Exec{Argv: argv, In: a.in, Out: a.out, Err: a.err}
	if in, out := terminal(a.in), terminal(a.out); in != nil && out != nil {
		restore, err := takeTerminal(ctx, in, out, &e)
		if err != nil {
			return err
		}
		defer restore()
	}
	code, err := a.client().Exec(ctx, cluster, node, e)
	if err != nil {
		return err
	}
	if code != 0 {
		return &exitError{code, fmt.Errorf("the command ended with status %d", code)}
	}
	return nil
}

// terminal returns the terminal a stream is, nil where it is none.
func terminal(stream any) *os.File {
	if f, ok := stream.(*os.File); ok && term.IsTerminal(int(f.Fd())) { //nolint:gosec // descriptors fit
		return f
	}
	return nil
}

// takeTerminal hands every key to the command, and tells it the terminal's size.
func takeTerminal(ctx context.Context, in, out *os.File, e *client.Exec) (restore func(), err error) {
	fd := int(in.Fd()) //nolint:gosec // descriptors fit
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("cannot use the terminal: %w", err)
	}
	size := func() (s api.TerminalSize) {
		if cols, rows, err := term.GetSize(int(out.Fd())); err == nil { //nolint:gosec // descriptors fit
			s = api.TerminalSize{Rows: uint16(rows), Cols: uint16(cols)} //nolint:gosec // the kernel keeps 16 bits
		}
		return s
	}
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	sizes := make(chan api.TerminalSize)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			select {
			case <-ctx.Done():
				return
			case sizes <- size():
			}
		}
	}()
	e.TTY, e.Term, e.Size, e.Resize = true, os.Getenv("TERM"), size(), sizes
	return func() {
		cancel()
		signal.Stop(changed)
		_ = term.Restore(fd, before) // it may have gone
	}, nil
}

// nodeNames completes CLUSTER/NODE.
func (a *app) nodeNames(cmd *cobra.Command, have []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(have) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	cs, err := a.client().Clusters(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, c := range cs {
		full, err := a.client().Cluster(cmd.Context(), c.Name)
		if err != nil {
			continue
		}
		for _, n := range full.Nodes {
			names = append(names, c.Name+"/"+n.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
