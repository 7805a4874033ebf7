package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/host"
	"howdah.dev/howdah/internal/node"
	"howdah.dev/howdah/internal/node/proc"
	"howdah.dev/howdah/internal/server"
	"howdah.dev/howdah/internal/wiring"
	"howdah.dev/howdah/stacks"
)

// logger writes for people on a terminal, for machines elsewhere.
func logger(w io.Writer) *slog.Logger {
	level := slog.LevelInfo
	if os.Getenv("HOWDAH_DEBUG") != "" {
		level = slog.LevelDebug
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) { //nolint:gosec // descriptors fit
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: os.Getenv("NO_COLOR") != ""}))
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// serverFlags are the settings a server can be started with.
func serverFlags(c *cobra.Command, o *server.Options) {
	c.Flags().StringSliceVar(&o.Stacks, "stacks", nil, "further directories of stacks")
	c.Flags().BoolVar(&o.OpenPorts, "allow-open-ports", false, "accept services that listen on every address of this host")
	c.Flags().StringVar(&o.Posture, "posture", server.PostureSingle, "security posture: single-user, for people who trust each other, or shared")
	c.Flags().IntVar(&o.MemoryMB, "memory", 0, "memory for local nodes, in MiB; all but 1,024 MiB of the host's where absent")
}

// options lays the given flags over what the home remembers.
func (a *app) options(c *cobra.Command, given server.Options) (server.Options, error) {
	o, err := a.home.LoadOptions()
	if err != nil {
		return o, err
	}
	if c.Flags().Changed("stacks") {
		o.Stacks = nil
		for _, dir := range given.Stacks {
			abs, err := filepath.Abs(dir)
			if err != nil {
				return o, err
			}
			if st, err := os.Stat(abs); err != nil || !st.IsDir() {
				return o, &exitError{exitNotFound, fmt.Errorf("there is no directory of stacks %s", dir)}
			}
			if exists(filepath.Join(abs, "stack.yaml")) {
				return o, usagef("%s is a stack itself; give the directory it lies in: --stacks %s", dir, filepath.Dir(abs))
			}
			o.Stacks = append(o.Stacks, abs)
		}
	}
	if c.Flags().Changed("allow-open-ports") {
		o.OpenPorts = given.OpenPorts
	}
	if c.Flags().Changed("posture") {
		if !slices.Contains([]string{server.PostureSingle, server.PostureShared}, given.Posture) {
			return o, usagef("there is no posture %q; use %s or %s", given.Posture, server.PostureSingle, server.PostureShared)
		}
		o.Posture = given.Posture
	}
	if c.Flags().Changed("memory") {
		if given.MemoryMB < 1 {
			return o, usagef("--memory %d is no amount of memory, in MiB", given.MemoryMB)
		}
		o.MemoryMB = given.MemoryMB
	}
	if _, ds := catalog(o.Stacks...); ds.HasErrors() {
		return o, ds
	}
	return o, nil
}

func (a *app) serverCmd() *cobra.Command {
	var o server.Options
	c := &cobra.Command{
		Use: "server", Short: "Run the server in the foreground", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := a.options(cmd, o)
			if err != nil {
				return err
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("cannot find this program: %w", err)
			}
			return server.Run(cmd.Context(), server.Config{
				Home: a.home, Options: opts, Version: Version, Build: build(), Stacks: stacks.FS, Log: logger(a.err),
				Clients: wiring.Workloads, Web: wiring.Webs(),
				Agent: []string{self, "agent", "--build", build()},
			})
		},
	}
	serverFlags(c, &o)
	return c
}

// build is the digest of this program, so that "howdah up" of a newer build
// replaces the server of an older one; "" when it cannot be read. It is read once:
// the file may be replaced while this program runs.
var build = sync.OnceValue(func() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	f, err := os.Open(self)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
})

func (a *app) agentCmd() *cobra.Command {
	var dir, made string
	c := &cobra.Command{
		Use: "agent", Short: "Run a node's agent in the foreground", Hidden: true, Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usagef("say which node: --dir DIR")
			}
			err := node.Run(cmd.Context(), node.Config{
				Dir: dir, Version: Version, Build: made, Adapters: wiring.Probes(), Log: logger(a.err), Javas: javas,
				BootID: func() string { id, _ := proc.BootID(); return id },
			})
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "the node's directory")
	c.Flags().StringVar(&made, "build", "", "digest of this program, which whoever starts it knows already")
	return c
}

// javas lists what is installed, preferred ones first: JAVA_HOME, then the
// java on the PATH, then long-term support releases, newest first.
func javas(ctx context.Context) []agentapi.Java {
	found := host.FindJDKs(ctx)
	slices.SortStableFunc(found, func(x, y host.JDK) int {
		if d := sourceRank(x) - sourceRank(y); d != 0 {
			return d
		}
		return y.Major - x.Major
	})
	var out []agentapi.Java
	for _, j := range found {
		key, err := artifact.JDKKey(j.Home)
		if err != nil {
			continue
		}
		out = append(out, agentapi.Java{Home: j.Home, Bin: j.Java, Major: j.Major, Version: j.Version, Vendor: j.Vendor, Key: key})
	}
	return out
}

func sourceRank(j host.JDK) int {
	switch {
	case j.Source == "JAVA_HOME":
		return 0
	case j.Source == "PATH":
		return 1
	case j.Major == 17 || j.Major == 21 || j.Major == 25:
		return 2
	}
	return 3
}
