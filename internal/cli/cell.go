package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/internal/adapter/marathon"
	"howdah.dev/howdah/internal/cell/process"
)

// cellCmd holds the programs of a cell, which nodes run.
func (a *app) cellCmd() *cobra.Command {
	c := &cobra.Command{Use: "cell", Short: "Run a program of a cell in the foreground", Hidden: true}
	c.AddCommand(
		a.cellProgram("master", "Run the master of a cell", process.Master),
		a.cellProgram("scheduler", "Run the scheduler of a cell", func(ctx context.Context, file string, log *slog.Logger) error {
			return process.Scheduler(ctx, file, Version, log)
		}),
		a.cellProgram("worker", "Run a worker of a cell", process.Worker),
		a.cellCheckCmd(),
	)
	return c
}

func (a *app) cellProgram(name, short string, run func(context.Context, string, *slog.Logger) error) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: name, Short: short, Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("say which configuration: --config FILE")
			}
			err := run(cmd.Context(), file, logger(a.err))
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	c.Flags().StringVar(&file, "config", "", "configuration file")
	return c
}

// cellCheckCmd is the smoke test of a cell.
func (a *app) cellCheckCmd() *cobra.Command {
	var url, secret string
	var limit time.Duration
	c := &cobra.Command{
		Use: "check", Short: "Run a small app on a cell and remove it", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := os.ReadFile(secret)
			if err != nil {
				return fmt.Errorf("cannot read the cell's secret: %w", err)
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), limit, fmt.Errorf("the app did not run within %s", limit))
			defer cancel()
			cl := marathon.New(marathon.Config{URL: url, Token: strings.TrimSpace(string(text))})
			return cl.Check(ctx, fmt.Sprintf("/howdah-check/%x", time.Now().UnixNano()))
		},
	}
	c.Flags().StringVar(&url, "url", "", "address of the cell's scheduler")
	c.Flags().StringVar(&secret, "secret", "", "file with the cell's secret")
	c.Flags().DurationVar(&limit, "limit", time.Minute, "longest time")
	return c
}
