package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"howdah.dev/howdah/internal/cell/cgroup"
	"howdah.dev/howdah/internal/cell/process"
	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/image/imagestore"
	"howdah.dev/howdah/internal/image/pack"
	"howdah.dev/howdah/internal/image/registry"
	nodeproc "howdah.dev/howdah/internal/node/proc"
)

const (
	workerDir = "w"
	imageName = "bench/content:1"
	taskGrace = 5 * time.Second // for what is left when the worker ends
	taskLimit = time.Minute     // for ending it
)

// canLaunch says what is missing to launch containers with limits. Without limits the
// fork bomb would be one of this machine.
func (b *bench) canLaunch() error {
	if os.Geteuid() != 0 {
		return errors.New("the part launch needs root: run it as root, or name the other parts")
	}
	if _, err := exec.LookPath("runc"); err != nil {
		return errors.New("the part launch needs runc: install it (apt-get install runc), or name the other parts")
	}
	if b.content == "" {
		return errors.New("the part launch needs -content: use bench/cell/run, which builds that program")
	}
	place, err := taskGroups()
	if err == nil {
		err = place.Check()
		place.Remove()
	}
	if err != nil {
		return fmt.Errorf("the part launch needs control groups, or name the other parts: %w", err)
	}
	return nil
}

// taskGroups is where a worker on 127.0.0.1 makes control groups.
func taskGroups() (cgroup.Parent, error) {
	return cgroup.Find("/sys/fs/cgroup", "/proc/self/cgroup", "howdah/127-0-0-1")
}

// newRealCell starts a cell of one real worker, and a registry with one image.
func (b *bench) newRealCell(ctx context.Context) (*cell, func(), error) {
	c, err := b.emptyCell()
	if err != nil {
		return nil, nil, err
	}
	server, err := c.serveImages(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, c.remove())
	}
	c.workers, c.count = roleWorker, 1
	if err := c.open(ctx); err != nil {
		_ = server.Close() // the other error says more
		return nil, nil, err
	}
	return c, func() {
		c.close()
		_ = server.Close() // nobody is served any more
	}, nil
}

// serveImages packs the content program and serves it on loopback, to anybody.
func (c *cell) serveImages(ctx context.Context) (*http.Server, error) {
	store, err := imagestore.Open(imagestore.Config{Dir: filepath.Join(c.dir, "registry")})
	if err != nil {
		return nil, err
	}
	name, tag, _ := strings.Cut(imageName, ":")
	repo, err := store.Repo(name)
	if err != nil {
		return nil, err
	}
	if _, err := pack.Pack(ctx, repo, tag, pack.Config{Binary: c.b.content}); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c.images = "http://" + l.Addr().String()
	server := &http.Server{
		Handler:           registry.New(registry.Config{Store: store, Authorize: func(*http.Request, string, string) error { return nil }}),
		ReadHeaderTimeout: startLimit,
	}
	go func() { _ = server.Serve(l) }() // until it is closed
	return server, nil
}

// realWorker runs a worker until ctx ends, and then ends its tasks, which would go on:
// the parent may be gone.
func realWorker(ctx context.Context, config string, log *slog.Logger) error {
	err := process.Worker(ctx, config, log)
	return errors.Join(err, endTasks(filepath.Dir(config), roleWorker))
}

// labels are those of a process of the cell in a directory, and of what it starts.
func labels(dir, role string) nodeproc.Labels {
	return nodeproc.Labels{Node: "bench" + strings.ReplaceAll(dir, "/", "-"), Service: role}
}

// endTasks ends what is left of the cell in a directory but the caller: of one role
// and the tasks it started, or all where role is "". It removes the tasks' control
// groups.
func endTasks(dir, role string) error {
	ctx, cancel := context.WithTimeout(context.Background(), taskLimit)
	defer cancel()
	_, err := nodeproc.Sweep(ctx, labels(dir, role), taskGrace)
	tasks, readErr := os.ReadDir(filepath.Join(dir, workerDir, "worker", "tasks"))
	if errors.Is(readErr, os.ErrNotExist) {
		return err
	}
	place, findErr := taskGroups()
	if err := errors.Join(err, readErr, findErr); err != nil {
		return err
	}
	for _, t := range tasks {
		err = errors.Join(err, container.Shims{Parent: &place}.Clean(t.Name()))
	}
	place.Remove()
	return err
}
