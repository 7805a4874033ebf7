package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/bench/report"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/agentapi"
)

// Every wait ends by itself.
const (
	commandPatience = 10 * time.Minute
	archivePatience = 5 * time.Minute
	readyPatience   = 3 * time.Minute
)

const example = "examples/platform"

// home is the installation that is measured.
type home struct {
	program string
	dir     string
	client  *client.Client
}

func newHome(program, dir string) (*home, error) {
	if dir == "" {
		return nil, errors.New("-home is missing")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if program, err = filepath.Abs(program); err != nil {
		return nil, err
	}
	return &home{program: program, dir: dir, client: client.New(client.Config{Socket: filepath.Join(dir, "run", "api.sock")})}, nil
}

// howdah runs a command and returns its standard output.
func (h *home) howdah(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.program, args...)
	cmd.Env = append(os.Environ(), "HOWDAH_HOME="+h.dir, "NO_COLOR=1")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("howdah %s: %w\n%s%s", strings.Join(args, " "), err, tail(out.String()), tail(errs.String()))
	}
	return out.String(), nil
}

// tail is the end of an output, for messages.
func tail(s string) string {
	const most = 2000
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

// prepare brings the example platform up with its data, and waits until the
// class-data archives are built.
func (b *bench) prepare(ctx context.Context) error {
	as, err := b.assignments()
	if err != nil {
		return err
	}
	for _, path := range archives(as) { // of a run that was killed
		if err := putBack(path); err != nil {
			return err
		}
	}
	// Down first, so that no agent of an earlier build goes on; apply, because
	// "up" keeps the stacks the clusters were made with.
	for i, args := range [][]string{
		{"down"}, {"up", example}, {"apply", "-f", filepath.Join(example, "platform.yaml"), "--yes"}, {"up", example, "--pipeline"},
	} {
		if i == 2 {
			if err := b.startStopped(ctx); err != nil { // by a run that was killed
				return err
			}
		}
		begun, before := time.Now(), report.Load()
		if _, err := b.howdah(ctx, args...); err != nil {
			return err
		}
		b.Note("prepare  howdah %s  %.1f s  load before %s", strings.Join(args, " "), time.Since(begun).Seconds(), before)
	}
	if as, err = b.assignments(); err != nil {
		return err
	}
	deadline := time.Now().Add(archivePatience)
	for _, path := range archives(as) {
		for {
			if _, err := os.Stat(path); err == nil {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("archive %s is not built after %s", path, archivePatience)
			}
			if err := sleep(ctx, time.Second); err != nil {
				return err
			}
		}
	}
	return nil
}

// startStopped starts the clusters that were stopped, all at once.
func (h *home) startStopped(ctx context.Context) error {
	cs, err := h.client.Clusters(ctx)
	if err != nil {
		return err
	}
	var g errgroup.Group
	for _, c := range cs {
		if c.State == "stopped" {
			g.Go(func() error {
				_, err := h.howdah(ctx, "start", c.Name)
				return err
			})
		}
	}
	return g.Wait()
}

// assignments reads what the home's nodes were told last.
func (h *home) assignments() ([]agentapi.Assignment, error) {
	files, err := filepath.Glob(filepath.Join(h.dir, "nodes", "*", "*", "agent", "assignment.json"))
	if err != nil {
		return nil, err
	}
	out := make([]agentapi.Assignment, len(files))
	for i, f := range files {
		if err := readJSON(f, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// archives lists the class-data archives of assignments.
func archives(as []agentapi.Assignment) []string {
	var out []string
	for _, a := range as {
		for _, ar := range a.Archives {
			out = append(out, ar.Path)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// kept is where an archive is while a column does without it.
func kept(archive string) string { return archive + ".kept" }

// putAway puts what the JDK brings in the place of an archive: a program that
// names no archive uses that one, while one that names a missing file has none.
func putAway(archive, javaHome string) error {
	if err := os.Rename(archive, kept(archive)); err != nil {
		return err
	}
	return os.Symlink(filepath.Join(javaHome, "lib", "server", "classes.jsa"), archive)
}

// putBack undoes putAway; nothing happens where that was not called.
func putBack(archive string) error {
	err := os.Rename(kept(archive), archive)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// services returns the services of clusters by node and name, and whether all
// of them are ready.
func (h *home) services(ctx context.Context, clusters ...string) (found []api.ServiceStatus, ready bool, err error) {
	cs, err := h.client.Clusters(ctx)
	if err != nil {
		return nil, false, err
	}
	ready = true
	for _, c := range cs {
		if len(clusters) > 0 && !slices.Contains(clusters, c.Name) {
			continue
		}
		for _, n := range c.Nodes {
			ready = ready && n.State == "ready" && len(n.Services) > 0
			found = append(found, n.Services...)
		}
	}
	return found, ready && len(found) > 0, nil
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
