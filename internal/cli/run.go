package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/host"
)

func (a *app) envCmd() *cobra.Command {
	return &cobra.Command{
		Use: "env CLUSTER", Short: "Print the environment of a cluster's command line tools", Args: args(1, 1, "the cluster's name"), ValidArgsFunction: a.clusterNames,
		Long: `Print the environment of a cluster's command line tools, for a shell:
  eval "$(howdah env warehouse)"`,
		RunE: func(cmd *cobra.Command, got []string) error {
			t, err := a.tools(cmd.Context(), a.client(), got[0])
			if err != nil {
				return err
			}
			return a.print(t.env, func(w io.Writer) {
				for _, k := range slices.Sorted(maps.Keys(t.env)) {
					fmt.Fprintf(w, "export %s=%s\n", k, quote(t.env[k]))
				}
				fmt.Fprintf(w, "export PATH=%s:\"$PATH\"\n", quote(t.bin))
			})
		},
	}
}

func (a *app) runCmd() *cobra.Command {
	return &cobra.Command{
		DisableFlagsInUseLine: true, Use: "run CLUSTER -- TOOL [ARGUMENT...]", Short: "Run one of a cluster's command line tools", Args: args(2, -1, "the cluster's name and the tool"), ValidArgsFunction: a.clusterNames,
		Long: `Run one of a cluster's command line tools with its environment:
  howdah run warehouse -- hdfs dfs -ls /`,
		RunE: func(cmd *cobra.Command, got []string) error {
			t, err := a.tools(cmd.Context(), a.client(), got[0])
			if err != nil {
				return err
			}
			return t.exec(got[1:])
		},
	}
}

// tools is a cluster's command line client on this machine.
type tools struct {
	env   map[string]string
	bin   string
	names []string
}

// exec becomes the tool.
func (t *tools) exec(argv []string) error {
	path := filepath.Join(t.bin, filepath.Base(argv[0]))
	if !slices.Contains(t.names, argv[0]) {
		return &exitError{exitNotFound, fmt.Errorf("there is no tool %s; there is %s", argv[0], strings.Join(t.names, ", "))}
	}
	env := os.Environ()
	for k, v := range t.env {
		env = append(env, k+"="+v)
	}
	return syscall.Exec(path, append([]string{path}, argv[1:]...), env) //nolint:gosec // the tool is ours, the arguments the user's
}

// tools brings a cluster's client to this machine: its artifacts, files and a
// small script for each tool.
func (a *app) tools(ctx context.Context, cl *client.Client, cluster string) (*tools, error) {
	want, err := cl.Java(ctx, cluster)
	if err != nil {
		return nil, err
	}
	jdk, err := pickJava(ctx, want)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(a.home.Clients(), cluster)
	b, err := cl.Bundle(ctx, cluster, api.ClientRequest{Home: dir, Cache: a.home.Cache(), JavaHome: jdk.Home, JavaBin: jdk.Bin, JavaKey: jdk.Key, Major: jdk.Major})
	if err != nil {
		return nil, err
	}
	if err := a.fetchSets(ctx, cl, b.Sets); err != nil {
		return nil, err
	}
	for _, d := range []string{"bin", "conf", "logs", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("cannot make client of %s: %w", cluster, err)
		}
	}
	for path, text := range b.Files {
		if err := renameio.WriteFile(path, []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("cannot make client of %s: %w", cluster, err)
		}
	}
	t := &tools{env: b.Env, bin: filepath.Join(dir, "bin")}
	for name, script := range scripts(b) {
		t.names = append(t.names, name)
		if err := renameio.WriteFile(filepath.Join(t.bin, name), []byte(script), 0o755); err != nil {
			return nil, fmt.Errorf("cannot make client of %s: %w", cluster, err)
		}
	}
	slices.Sort(t.names)
	return t, nil
}

// pickJava chooses among the installed ones as agents do.
func pickJava(ctx context.Context, want api.JavaRange) (*javaChoice, error) {
	for _, j := range javas(ctx) {
		if j.Major >= want.Min && (want.Max == 0 || j.Major <= want.Max) {
			return &javaChoice{j.Home, j.Bin, j.Key, j.Major}, nil
		}
	}
	if want.Min == 0 { // the stack needs none
		return &javaChoice{}, nil
	}
	_, err := host.Choose(host.FindJDKs(ctx), want.Min, want.Max)
	return nil, err
}

type javaChoice struct {
	Home, Bin, Key string
	Major          int
}

// fetchSets unpacks the sets the tools need, unless they are here.
func (a *app) fetchSets(ctx context.Context, cl *client.Client, sets []api.ArtifactSet) error {
	cache := artifact.New(artifact.Config{Dir: a.home.Cache(), Log: logger(io.Discard)})
	for _, s := range sets {
		if _, err := os.Stat(s.Root); err == nil {
			continue
		}
		r, err := cl.Blob(ctx, s.LockBlob, 0)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(io.LimitReader(r, 8<<20))
		_ = r.Close()
		if err != nil {
			return err
		}
		lock, ds := artifact.ParseLock(s.Name+".lock", text)
		if err := ds.Err(); err != nil {
			return err
		}
		if err := cache.Fetch(ctx, lock, fetcher{cl}); err != nil {
			return err
		}
		if _, err := cache.Materialise(ctx, lock); err != nil {
			return err
		}
	}
	return nil
}

type fetcher struct{ c *client.Client }

func (f fetcher) FetchBlob(ctx context.Context, sum string, offset int64) (io.ReadCloser, error) {
	return f.c.Blob(ctx, sum, offset)
}

// scripts makes one script per tool; a tool with subcommands chooses by its
// first argument.
func scripts(b api.ClientBundle) map[string]string {
	subs := map[string]map[string][]string{}
	out := map[string]string{}
	var env strings.Builder
	for _, k := range slices.Sorted(maps.Keys(b.Env)) {
		fmt.Fprintf(&env, "export %s=%s\n", k, quote(b.Env[k]))
	}
	head := "#!/bin/sh\n# Written by howdah; the next use of the cluster's client writes it again.\n" + env.String()
	for name, argv := range b.Commands {
		tool, sub, ok := strings.Cut(name, " ")
		if !ok {
			out[tool] = head + "exec " + words(argv) + " \"$@\"\n"
			continue
		}
		if subs[tool] == nil {
			subs[tool] = map[string][]string{}
		}
		subs[tool][sub] = argv
	}
	for tool, bySub := range subs {
		var s strings.Builder
		s.WriteString(head)
		s.WriteString("sub=${1-}\n[ $# -gt 0 ] && shift\ncase $sub in\n")
		known := slices.Sorted(maps.Keys(bySub))
		for _, sub := range known {
			fmt.Fprintf(&s, "%s) exec %s \"$@\" ;;\n", sub, words(bySub[sub]))
		}
		fmt.Fprintf(&s, "*) echo \"%s: unknown subcommand '$sub'; there is: %s\" >&2; exit 2 ;;\nesac\n", tool, strings.Join(known, ", "))
		out[tool] = s.String()
	}
	return out
}

func words(argv []string) string {
	q := make([]string, len(argv))
	for i, w := range argv {
		q[i] = quote(w)
	}
	return strings.Join(q, " ")
}

// quote quotes a word for a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
