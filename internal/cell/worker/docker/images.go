package docker

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"howdah.dev/howdah/internal/cell/worker/container"
)

// repository is what the engine calls all images that it got from us. No registry can
// have that name.
const repository = "howdah.invalid/image"

// load makes the engine have the image and returns what it calls it.
func (r *Runtime) load(ctx context.Context, image *container.Image) (string, error) {
	if image.Archive == nil {
		return "", fmt.Errorf("cannot hand %s to the Docker engine: the image was unpacked", image.Name)
	}
	name := repository + ":" + strings.TrimPrefix(image.Digest, "sha256:")
	r.loading.Lock()
	defer r.loading.Unlock()
	err := r.use(ctx, name)
	if errdefs.IsNotFound(err) {
		if err = r.send(ctx, name, image); err == nil {
			err = r.use(ctx, name)
		}
	}
	if err != nil {
		return "", fmt.Errorf("cannot hand %s to the Docker engine: %w", image.Name, err)
	}
	return name, nil
}

// use notes when the image was used last: the engine keeps the time of the last tag.
func (r *Runtime) use(ctx context.Context, name string) error {
	_, err := r.api.ImageTag(ctx, client.ImageTagOptions{Source: name, Target: name})
	return err
}

func (r *Runtime) send(ctx context.Context, name string, image *container.Image) error {
	in, out := io.Pipe()
	go func() { out.CloseWithError(image.Archive(ctx, name, out)) }()
	defer in.Close()
	answer, err := r.api.ImageLoad(ctx, in)
	if err != nil {
		return err
	}
	defer answer.Close()
	for d := json.NewDecoder(answer); ; {
		var message struct{ Error string }
		err := d.Decode(&message)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case message.Error != "":
			return errors.New(message.Error)
		}
	}
}

const (
	idleImage = 7 * 24 * time.Hour // an image is kept so long after its last use
	tidyEvery = time.Hour
)

// tidy removes containers of ours that could not be removed while the engine was down,
// and images that were not used for long.
func (r *Runtime) tidy(ctx context.Context) error {
	r.mu.Lock()
	due := time.Since(r.tidied) > tidyEvery
	if due {
		r.tidied = time.Now()
	}
	r.mu.Unlock()
	if !due {
		return nil
	}
	if err := r.removeForgotten(ctx); err != nil {
		return err
	}
	found, err := r.api.ImageList(ctx, client.ImageListOptions{Filters: make(client.Filters).Add("reference", repository)})
	if err != nil {
		return fmt.Errorf("cannot look for images in the Docker engine: %w", err)
	}
	for _, image := range found.Items {
		for _, name := range image.RepoTags {
			r.dropIdle(ctx, name, idleImage)
		}
	}
	return nil
}

// dropIdle removes an image, unless it was used of late or a container has it: then
// the engine refuses.
func (r *Runtime) dropIdle(ctx context.Context, name string, idle time.Duration) {
	image, err := r.api.ImageInspect(ctx, name)
	if err != nil || !strings.HasPrefix(name, repository+":") || time.Since(image.Metadata.LastTagTime) < idle {
		return
	}
	_, _ = r.api.ImageRemove(ctx, name, client.ImageRemoveOptions{})
}

const maxPasswd = 1 << 20

// read reads a small file of a container that was not started.
func (r *Runtime) read(ctx context.Context, id, file string) (string, error) {
	copied, err := r.api.CopyFromContainer(ctx, id, client.CopyFromContainerOptions{SourcePath: "/" + file})
	if err != nil {
		return "", err
	}
	defer copied.Content.Close()
	t := tar.NewReader(copied.Content)
	h, err := t.Next()
	if err != nil {
		return "", err
	}
	if h.Typeflag != tar.TypeReg || h.Size > maxPasswd {
		return "", container.ErrNoUser
	}
	text, err := io.ReadAll(t)
	return string(text), err
}
