package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/cell/worker/fetch"
)

// pullTime is how long a registry may take.
const pullTime = time.Hour

// prepare makes everything be there that the task needs to start: an empty sandbox,
// what it wants fetched, its image.
func (t *task) prepare(ctx context.Context) (container.Spec, error) {
	w, err := t.read()
	if t.runtime == nil {
		err = errors.Join(err, noRuntime(needsContainer(&t.info)))
	}
	if err != nil {
		return container.Spec{}, err
	}
	if err := t.folders(); err != nil {
		return container.Spec{}, err
	}
	if err := t.extras(&w); err != nil {
		return container.Spec{}, err
	}
	if len(w.uris) == 0 && w.image == "" {
		return w.spec, nil
	}
	done, err := t.w.downloads.take(ctx, t.owner())
	if err != nil {
		return container.Spec{}, err
	}
	defer done()
	if err := t.fetch(ctx, w.uris); err != nil {
		return container.Spec{}, err
	}
	if w.image != "" {
		ctx, cancel := context.WithTimeoutCause(ctx, pullTime, fmt.Errorf("cannot pull %s: it was not here after %s", w.image, pullTime))
		defer cancel()
		w.spec.Image, err = t.image(ctx, &w)
		if errors.Is(err, context.DeadlineExceeded) {
			err = context.Cause(ctx)
		}
	}
	return w.spec, err
}

// owner is whose the task is: a framework's, and of those of the cell's own a project's.
func (t *task) owner() string {
	return t.framework.Value + "/" + t.info.Labels.Value(app.ProjectLabel)
}

// fetch brings into the sandbox what the task wants to have, as much as it may write.
func (t *task) fetch(ctx context.Context, uris []mesos.URI) error {
	if len(uris) == 0 {
		return nil
	}
	cfg := t.w.cfg.Fetch
	if mb, _ := t.quota(); cfg.MaxBytes == 0 || float64(cfg.MaxBytes) > mb*(1<<20) {
		cfg.MaxBytes = int64(mb * (1 << 20))
	}
	var items []fetch.Item
	for _, uri := range uris {
		items = append(items, fetch.Item{
			URI: uri.Value, File: uri.OutputFile, Extract: uri.Extract == nil || *uri.Extract, Executable: uri.Executable,
		})
	}
	return fetch.Fetch(ctx, cfg, t.sandbox(), items...)
}

// needsContainer tells whether the task names an image.
func needsContainer(info *mesos.TaskInfo) bool {
	c := info.Container
	return c != nil && (c.Docker != nil && c.Docker.Image != "" || c.Mesos != nil && c.Mesos.Image != nil)
}

// choose returns the best runtime that can do it, nil when there is none.
func (w *Worker) choose(containers bool) container.Runtime {
	if i := slices.IndexFunc(w.runtimes, func(r container.Runtime) bool { return r.Containers() == containers }); i >= 0 {
		return w.runtimes[i]
	}
	return nil
}

func noRuntime(containers bool) error {
	if containers {
		return errors.New("the task needs a container; this worker runs plain commands only")
	}
	return errors.New("the task is a plain command; this worker runs containers only")
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
	packer, ok := t.runtime.(container.Packer)
	return t.w.cfg.Images.Prepare(ctx, ImageRequest{
		Name: w.image, Force: w.force, DockerConfig: w.dockerConfig, Packed: ok && packer.Packed(), Lease: t.id,
	})
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
