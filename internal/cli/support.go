package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/internal/number"
	"howdah.dev/howdah/internal/support"
)

func (a *app) supportCmd() *cobra.Command {
	var file string
	var tail int64
	c := &cobra.Command{
		Use: "support", Short: "Collect what helps to understand a problem into one file, without secrets", Args: args(0, 0, ""),
		Long: `Collect what helps others to understand a problem: versions, the host, settings,
clusters with their definitions and conditions, operations, events, what the
server does, and the ends of all logs. Secrets are taken out: those the home
holds, and whatever looks like one. Works also while no server runs.`,
		Example: "  howdah support\n  howdah support -f /tmp/problem.tar.gz --tail 1024",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !exists(a.home.Settings()) {
				return &exitError{exitNotFound, fmt.Errorf("there is no installation in %s", a.home.Dir)}
			}
			if tail < 1 {
				return usagef("--tail %d is no number of KiB", tail)
			}
			if file == "" {
				file = "howdah-support-" + time.Now().Format("20060102-150405") + ".tar.gz"
			}
			if err := hasDirectory(file); err != nil {
				return err
			}
			about, err := support.Write(cmd.Context(), support.Config{Home: a.home, Client: a.client(), File: file, Tail: tail << 10, Version: Version, Build: build()})
			if err != nil {
				return err
			}
			return a.print(struct {
				File string `json:"file"`
				support.About
			}{file, about}, func(w io.Writer) {
				fmt.Fprintf(w, "%s: %s; the server %s\n", file, number.Count(len(about.Members), "file"), about.Server)
				for _, l := range about.Lacks {
					fmt.Fprintln(w, "  lacks", tame(l))
				}
				fmt.Fprintln(w, "Secrets were taken out. It still names hosts, paths, users and clusters: look through it before you send it.")
			})
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "file to write; howdah-support-TIME.tar.gz here where absent")
	c.Flags().Int64Var(&tail, "tail", 256, "of each log, in KiB")
	return c
}
