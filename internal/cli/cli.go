// Package cli is the command line: it reads arguments, calls the API through
// the Go SDK, and prints. What a command does lives in the server.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/document"
	"howdah.dev/howdah/internal/server"
)

// Version is set when the program is built.
var Version = "dev" //nolint:gochecknoglobals // the linker writes it

// app is what every command needs.
type app struct {
	home   server.Home
	output string
	lines  bool   // values are printed one a line, because more than one follows
	goesOn string // command that follows what was asked for when this one is left; empty where nothing goes on
	out    io.Writer
	err    io.Writer
	in     io.Reader
}

// Main runs one command and returns the exit code.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second ctrl-c ends the program at once.
	context.AfterFunc(ctx, stop)
	a := &app{out: os.Stdout, err: os.Stderr, in: os.Stdin}
	return a.run(ctx, args)
}

// run runs one command and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if a.output == "table" { // words may stand before the flag that cannot be read
		a.output = outputOf(args)
	}
	return a.fail(cmd, err)
}

// root makes the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "howdah", Short: "Carry a shared data platform: a warehouse, and clusters around it",
		Long: `Howdah carries a company's shared data platform: a persistent HDFS warehouse,
and around it clusters that come and go, each from one file.

  howdah up examples/platform        bring the example platform up
  howdah get clusters                what is there
  howdah plan -f FILE                what applying a file would do
  howdah explain CLUSTER             why something is not ready

All state lives in one directory: $HOWDAH_HOME, or ~/.local/state/howdah.`,
		SilenceUsage: true, SilenceErrors: true, Version: Version,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.checkOutput() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.SetVersionTemplate("howdah {{.Version}}\n")
	root.PersistentFlags().StringVar(&a.home.Dir, "home", defaultHome(), "directory that holds all state")
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "table", "output: table, wide, json or yaml")
	root.AddGroup(&cobra.Group{ID: "platform", Title: "Platform:"}, &cobra.Group{ID: "clusters", Title: "Clusters:"}, &cobra.Group{ID: "work", Title: "Work on clusters:"}, &cobra.Group{ID: "more", Title: "More:"})
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("platform", a.upCmd(), a.downCmd(), a.cleanCmd(), a.serverCmd(), a.upgradeCmd(), a.backupCmd(), a.restoreCmd())
	add("clusters", a.planCmd(), a.applyCmd(), a.getCmd(), a.describeCmd(), a.explainCmd(), a.startCmd(), a.stopCmd(), a.smokeCmd(), a.deleteCmd(), a.opCmd(), a.clusterLogsCmd(), a.execCmd())
	add("work", a.pipelineCmd(), a.datasetCmd(), a.appCmd(), a.drainCmd(), a.jobCmd(), a.topologyCmd(), a.runCmd(), a.envCmd())
	add("more", a.imageCmd(), a.stackCmd(), a.artifactCmd(), a.doctorCmd(), a.projectCmd(), a.tokenCmd(), a.caCmd(), a.auditCmd(), a.securityCmd(), a.supportCmd(), a.versionCmd())
	root.AddCommand(a.agentCmd(), a.cellCmd())
	root.SetCompletionCommandGroupID("more")
	root.SetHelpCommandGroupID("more")
	strict(root)
	return root
}

// strict makes a command that only holds others refuse words it does not know,
// where cobra would print its help and succeed.
func strict(c *cobra.Command) {
	for _, sub := range c.Commands() {
		strict(sub)
	}
	if !c.HasSubCommands() || c.Runnable() {
		return
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	c.Args = func(cmd *cobra.Command, got []string) error {
		if len(got) == 0 {
			return nil
		}
		var known []string
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				known = append(known, sub.Name())
			}
		}
		hint := ""
		if near := document.Suggest(got[0], known); near != "" {
			hint = "; did you mean " + near + "?"
		}
		return usagef("unknown command %q%s", got[0], hint)
	}
}

func (a *app) checkOutput() error {
	switch a.output {
	case "table", "wide", "json", "yaml":
	default:
		return usagef("unknown output %q; one of table, wide, json, yaml", a.output)
	}
	if a.home.Dir == "" {
		return usagef("--home is empty; name a directory, or leave it away")
	}
	if dir, err := filepath.Abs(a.home.Dir); err == nil {
		a.home.Dir = dir
	}
	return nil
}

func defaultHome() string {
	if h := os.Getenv("HOWDAH_HOME"); h != "" {
		return h
	}
	if s := os.Getenv("XDG_STATE_HOME"); s != "" {
		return filepath.Join(s, "howdah")
	}
	h, err := os.UserHomeDir()
	if err != nil {
		h = "."
	}
	return filepath.Join(h, ".local", "state", "howdah")
}

// client reaches the home's server.
func (a *app) client() *client.Client {
	return client.New(client.Config{Socket: a.home.Socket()})
}

// args checks the number of arguments and says what they are.
func args(minimum, maximum int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, got []string) error {
		if len(got) < minimum {
			return usagef("%s is missing", what)
		}
		if maximum >= 0 && len(got) > maximum {
			return usagef("unexpected argument %q", got[maximum])
		}
		return nil
	}
}

// clusterNames completes names of clusters.
func (a *app) clusterNames(cmd *cobra.Command, have []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(have) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	cs, err := a.client().Clusters(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, c := range cs {
		names = append(names, c.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			return a.print(map[string]string{"version": Version}, func(w io.Writer) { fmt.Fprintln(w, "howdah", Version) })
		},
	}
}
