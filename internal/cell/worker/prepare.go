package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/cell/worker/fetch"
)

// prepare makes everything be there that the task needs to start: an empty sandbox,
// what it wants fetched, its image.
func (t *task) prepare(ctx context.Context) (container.Spec, error) {
	w, err := t.read()
	if err != nil {
		return container.Spec{}, err
	}
	runtime, err := t.w.choose(w.image != "")
	if err != nil {
		return container.Spec{}, err
	}
	if err := t.folders(); err != nil {
		return container.Spec{}, err
	}
	if err := t.extras(&w); err != nil {
		return container.Spec{}, err
	}
	for _, uri := range w.uris {
		item := fetch.Item{URI: uri.Value, File: uri.OutputFile, Extract: uri.Extract == nil || *uri.Extract, Executable: uri.Executable}
		if err := fetch.Fetch(ctx, t.w.cfg.Fetch, t.sandbox(), item); err != nil {
			return container.Spec{}, err
		}
	}
	if w.image != "" {
		if w.spec.Image, err = t.image(ctx, &w); err != nil {
			return container.Spec{}, err
		}
	}
	// From here on the runtime may hold something of the task.
	if err := t.change(func(r *record) { r.Runtime = runtime.Name() }); err != nil {
		return container.Spec{}, err
	}
	t.mu.Lock()
	t.runtime = runtime
	t.mu.Unlock()
	return w.spec, nil
}

// choose returns the best runtime that can do it.
func (w *Worker) choose(containers bool) (container.Runtime, error) {
	i := slices.IndexFunc(w.runtimes, func(r container.Runtime) bool { return r.Containers() == containers })
	switch {
	case i >= 0:
		return w.runtimes[i], nil
	case containers:
		return nil, errors.New("the task needs a container; this worker runs plain commands only")
	default:
		return nil, errors.New("the task is a plain command; this worker runs containers only")
	}
}

func (t *task) folders() error {
	for _, dir := range []string{t.runDir(), t.sandbox()} {
		err := removeAll(dir) // of an earlier try
		if err == nil {
			err = os.Mkdir(dir, 0o700)
		}
		if err != nil {
			return fmt.Errorf("cannot make the task's folders: %w", err)
		}
	}
	return nil
}

const maxDockerConfig = 1 << 20

// image fetches the image, with the logins of the task or of what it had fetched.
func (t *task) image(ctx context.Context, w *wish) (*container.Image, error) {
	if t.w.cfg.Images == nil {
		return nil, errors.New("this worker cannot fetch images")
	}
	if w.dockerConfig == nil {
		w.dockerConfig = t.fetchedLogins()
	}
	return t.w.cfg.Images.Prepare(ctx, ImageRequest{Name: w.image, Force: w.force, DockerConfig: w.dockerConfig, Lease: t.id})
}

// fetchedLogins is .docker/config.json, which Marathon's users have fetched as
// docker.tar.gz.
func (t *task) fetchedLogins() []byte {
	root, err := os.OpenRoot(t.sandbox())
	if err != nil {
		return nil
	}
	defer root.Close()
	file := filepath.Join(".docker", "config.json")
	if info, err := root.Stat(file); err != nil || !info.Mode().IsRegular() || info.Size() > maxDockerConfig {
		return nil
	}
	text, err := root.ReadFile(file)
	if err != nil {
		return nil
	}
	return text
}
