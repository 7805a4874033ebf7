package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"howdah.dev/howdah/internal/cli"
)

// cliPage lists every command with its flags.
func cliPage() ([]byte, error) {
	// Defaults of flags must not depend on whose machine this is.
	for name, value := range map[string]string{"HOWDAH_HOME": "", "XDG_STATE_HOME": "", "HOME": "~"} {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	root := cli.Tree()
	var b strings.Builder
	fmt.Fprintf(&b, "# Commands\n\nGenerated from the code by `go generate ./internal/tools/docgen`; do not edit. Exit codes: [exit-codes.md](exit-codes.md).\n\n```\n%s\n```\n", strings.TrimSpace(root.Long))
	fmt.Fprintf(&b, "\n## Flags of every command\n\n%s", flags(root.PersistentFlags()))
	commands(&b, root)
	return []byte(b.String()), nil
}

func commands(b *strings.Builder, parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		if c.Runnable() || c.Long != "" || !c.HasSubCommands() {
			fmt.Fprintf(b, "\n## %s\n\n%s.\n\n```\n%s\n```\n", c.CommandPath(), strings.TrimSuffix(c.Short, "."), c.UseLine())
			if c.Long != "" && c.Name() != "completion" && parent.Name() != "completion" {
				fmt.Fprintf(b, "\n```\n%s\n```\n", strings.TrimSpace(c.Long))
			}
			if c.Example != "" {
				fmt.Fprintf(b, "\n```\n%s\n```\n", strings.TrimRight(c.Example, "\n"))
			}
			if f := flags(c.LocalNonPersistentFlags()); f != "" {
				fmt.Fprintf(b, "\n%s", f)
			}
		}
		commands(b, c)
	}
}

// flags writes a table of flags, "" without any.
func flags(set *pflag.FlagSet) string {
	var b strings.Builder
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		kind, usage := pflag.UnquoteUsage(f)
		if kind != "" {
			name += " " + kind
		}
		if d := f.DefValue; d != "" && d != "false" && d != "0" && d != "[]" && d != "0s" {
			usage += " (default `" + d + "`)"
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, usage)
	})
	if b.Len() == 0 {
		return ""
	}
	return "| flag | |\n|---|---|\n" + b.String()
}
