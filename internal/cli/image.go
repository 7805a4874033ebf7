package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/archive"
	"howdah.dev/howdah/internal/image/imagestore"
	"howdah.dev/howdah/internal/image/pack"
	"howdah.dev/howdah/internal/image/pull"
	"howdah.dev/howdah/internal/tenant"
)

// imageCmd works with the images of the server's registry.
func (a *app) imageCmd() *cobra.Command {
	c := &cobra.Command{
		Use: "image", Short: "Make images and keep them in the server's registry",
		Long: `Make images and keep them in the server's registry, from where cells take them.
NAME is PROJECT/NAME[:TAG]; without a project it is the project "default".`,
	}
	c.AddCommand(a.imagePackCmd(), a.imagePushCmd(), a.imageImportCmd(), a.imageListCmd(), a.imageDeleteCmd())
	return c
}

// imageName completes NAME[:TAG] by the default project.
func imageName(s string) (repository, tag string, err error) {
	if !strings.Contains(s, "/") {
		s = tenant.DefaultProject + "/" + s
	}
	repository, tag, err = image.SplitName(s)
	if err != nil {
		return "", "", &usageError{err}
	}
	return repository, tag, nil
}

// packFlags are the flags of image pack.
type packFlags struct {
	cfg      pack.Config
	layers   []string
	labels   map[string]string
	platform string
	to       string
}

func (a *app) imagePackCmd() *cobra.Command {
	var f packFlags
	c := &cobra.Command{
		Use: "pack PROGRAM|FOLDER NAME", Short: "Make an image of a static program or a folder, and push it", Args: args(2, 2, "the program or folder, or the image's name"),
		Long: `Make an image of a static program or a folder, and push it to the server's
registry. Nothing else is needed: no base image, no engine, no network. The same
content makes the same image. A program becomes /NAME and is what containers run.
  howdah image pack bin/ingest demo/ingest:v1 --layer src:/src
  howdah image pack rootfs demo/tool --entrypoint /bin/tool --to tool.tar`,
		RunE: func(cmd *cobra.Command, got []string) error {
			repository, tag, err := imageName(got[1])
			if err != nil {
				return err
			}
			if err := f.complete(got[0]); err != nil {
				return err
			}
			return a.throughScratch(cmd.Context(), repository, tag, f.to, func(ctx context.Context, repo *imagestore.Repo) (*image.Manifest, error) {
				m, err := pack.Pack(ctx, repo, tag, f.cfg)
				if err != nil {
					return nil, &exitError{exitInput, err}
				}
				return m, nil
			})
		},
	}
	fl := c.Flags()
	fl.StringArrayVar(&f.layers, "layer", nil, "further layer, as FOLDER:TARGET; may be repeated")
	fl.StringArrayVar(&f.cfg.Entrypoint, "entrypoint", nil, "what containers run: program, then arguments, one each time")
	fl.StringArrayVar(&f.cfg.Cmd, "cmd", nil, "arguments where a container gives none, one each time")
	fl.StringArrayVar(&f.cfg.Env, "env", nil, "environment, as NAME=VALUE; may be repeated")
	fl.StringVar(&f.cfg.Workdir, "workdir", "/", "working directory")
	fl.StringVar(&f.cfg.User, "user", "", "who containers run as: UID[:GID]; root where not given")
	fl.StringToStringVar(&f.labels, "label", nil, "label, as NAME=VALUE; may be repeated")
	fl.StringVar(&f.platform, "platform", "", "platform, as linux/arm64; this machine's where not given")
	fl.StringVar(&f.to, "to", "", "write an archive to this file, and push nothing")
	return c
}

// complete turns flags into what to pack.
func (f *packFlags) complete(from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return usagef("cannot read what to pack: %v", err)
	}
	if info.IsDir() {
		f.cfg.Dir = from
	} else {
		f.cfg.Binary = from
	}
	f.cfg.Labels = f.labels
	for _, l := range f.layers {
		dir, target, ok := strings.Cut(l, ":")
		if !ok || dir == "" || target == "" {
			return usagef("--layer %q is not FOLDER:TARGET", l)
		}
		f.cfg.Layers = append(f.cfg.Layers, pack.Layer{Dir: dir, Target: target})
	}
	if f.platform != "" {
		if f.cfg.Platform, err = image.ParsePlatform(f.platform); err != nil {
			return &usageError{err}
		}
	}
	return nil
}

func (a *app) imagePushCmd() *cobra.Command {
	return &cobra.Command{
		Use: "push ARCHIVE NAME", Short: "Push an archive that image pack --to wrote", Args: args(2, 2, "the archive, or the image's name"),
		RunE: func(cmd *cobra.Command, got []string) error { return a.importImage(cmd.Context(), got[0], got[1], "") },
	}
}

func (a *app) imageImportCmd() *cobra.Command {
	var pick string
	c := &cobra.Command{
		Use: "import ARCHIVE NAME", Short: "Take an image from a file of docker save, podman save or skopeo", Args: args(2, 2, "the archive, or the image's name"),
		Long: `Take an image from a file and push it to the server's registry: docker save and
podman save, or a tar of an OCI layout; plain, gzip or zstd. - is standard input.
  docker save nginx:1.27 | howdah image import - demo/nginx:1.27`,
		RunE: func(cmd *cobra.Command, got []string) error {
			return a.importImage(cmd.Context(), got[0], got[1], pick)
		},
	}
	c.Flags().StringVar(&pick, "pick", "", "which image, where the archive holds several")
	return c
}

func (a *app) importImage(ctx context.Context, file, name, pick string) error {
	repository, tag, err := imageName(name)
	if err != nil {
		return err
	}
	in, err := a.openInput(file)
	if err != nil {
		return err
	}
	defer in.Close()
	return a.throughScratch(ctx, repository, tag, "", func(ctx context.Context, repo *imagestore.Repo) (*image.Manifest, error) {
		got, err := archive.Import(ctx, repo, tag, in, archive.Options{Pick: pick})
		if err != nil {
			return nil, &exitError{exitInput, err}
		}
		return got.Manifest, nil
	})
}

// throughScratch makes an image in a store of its own, then pushes it or writes an
// archive.
func (a *app) throughScratch(ctx context.Context, repository, tag, to string, make func(context.Context, *imagestore.Repo) (*image.Manifest, error)) error {
	dir, err := os.MkdirTemp("", "howdah-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	store, err := imagestore.Open(imagestore.Config{Dir: dir})
	if err != nil {
		return err
	}
	repo, err := store.Repo(repository)
	if err != nil {
		return &usageError{err}
	}
	m, err := make(ctx, repo)
	if err != nil {
		return err
	}
	if to != "" {
		err = writeArchive(ctx, repo, tag, to)
	} else {
		err = a.pushImage(ctx, repo, tag)
	}
	if err != nil {
		return err
	}
	out := api.Image{Name: repository, Tag: tag, Digest: m.Digest.String()}
	for _, d := range m.Blobs() {
		out.Bytes += d.Size
	}
	return a.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s:%s  %s  %s\n", out.Name, out.Tag, humanize.IBytes(uint64(out.Bytes)), out.Digest)
	})
}

// writeArchive makes the file appear whole.
func writeArchive(ctx context.Context, repo *imagestore.Repo, tag, to string) error {
	f, err := os.CreateTemp(filepath.Dir(to), ".image-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := archive.Export(ctx, repo, tag, f, archive.Exporting{Name: repo.Name() + ":" + tag}); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), to)
}

// pushImage sends an image to the server's registry.
func (a *app) pushImage(ctx context.Context, repo *imagestore.Repo, tag string) error {
	r := a.client().Registry()
	_, err := pull.Push(ctx, repo, tag, r.Host+"/"+repo.Name()+":"+tag, pull.Pushing{
		Remote: pull.Remote{PlainHTTP: r.PlainHTTP, Credentials: pull.Basic("howdah", r.Token)}, Transport: r.Transport,
	})
	if e, ok := errors.AsType[*pull.Error](err); ok && e.Reason == pull.Unreachable {
		return fmt.Errorf("%w: %w", client.ErrUnreachable, err)
	}
	return err
}

func (a *app) imageListCmd() *cobra.Command {
	return &cobra.Command{
		Use: "list [PROJECT]", Short: "List the images of the server's registry", Args: args(0, 1, ""),
		RunE: func(cmd *cobra.Command, got []string) error {
			all, err := a.client().Images(cmd.Context())
			if err != nil {
				return err
			}
			list := []api.Image{}
			for _, i := range all {
				if len(got) == 0 || strings.HasPrefix(i.Name, got[0]+"/") {
					list = append(list, i)
				}
			}
			return a.print(list, func(w io.Writer) { printImages(w, list) })
		},
	}
}

func printImages(w io.Writer, list []api.Image) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no images; make one with: howdah image pack PROGRAM NAME")
		return
	}
	var rows [][]string
	for _, i := range list {
		rows = append(rows, []string{i.Name + ":" + i.Tag, humanize.IBytes(uint64(i.Bytes)), i.Digest})
	}
	table(w, []string{"IMAGE", "SIZE", "DIGEST"}, rows)
}

func (a *app) imageDeleteCmd() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Delete a tag, or by NAME@DIGEST an image with its tags", Args: args(1, 1, "the image's name"),
		RunE: func(cmd *cobra.Command, got []string) error {
			name, digest, byDigest := strings.Cut(got[0], "@")
			repository, ref, err := imageName(name)
			if err != nil {
				return err
			}
			if byDigest {
				h, err := image.ParseDigest(digest)
				if err != nil {
					return &usageError{err}
				}
				ref = h.String()
			}
			if err := a.client().DeleteImage(cmd.Context(), repository, ref); err != nil {
				return err
			}
			return a.print(map[string]string{"name": repository, "deleted": ref}, func(w io.Writer) { fmt.Fprintf(w, "deleted %s %s\n", repository, ref) })
		},
	}
}
