// Package hdfsfiles lets a pipeline use a warehouse over WebHDFS. It only
// translates, between pipeline.FileSystem and the adapter.
package hdfsfiles

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"howdah.dev/howdah/internal/adapter/webhdfs"
	"howdah.dev/howdah/internal/pipeline"
)

// Files is the file system of one HDFS.
type Files struct{ client *webhdfs.Client }

var _ pipeline.FileSystem = Files{}

// New returns the file system a client talks to.
func New(client *webhdfs.Client) Files { return Files{client: client} }

// List returns the entries of a folder.
func (f Files) List(ctx context.Context, path string) ([]pipeline.Entry, error) {
	var entries []pipeline.Entry
	for s, err := range f.client.List(ctx, path) {
		if err != nil {
			return nil, err
		}
		entries = append(entries, pipeline.Entry{Name: s.Name(), Folder: s.Dir, Bytes: s.Length})
	}
	return entries, nil
}

// Open reads a file to its end.
func (f Files) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	return f.client.Open(ctx, path, 0, -1)
}

// MakeFolder makes a folder and its parents.
func (f Files) MakeFolder(ctx context.Context, path string) error {
	return f.client.Mkdirs(ctx, path, 0)
}

// Create makes or replaces a file.
func (f Files) Create(ctx context.Context, path string, r io.Reader) error {
	return f.client.Create(ctx, path, r, webhdfs.CreateOptions{Overwrite: true})
}

// Rename moves a file.
func (f Files) Rename(ctx context.Context, from, to string) error {
	return f.client.Rename(ctx, from, to)
}

// Remove deletes a file or a folder with all in it.
func (f Files) Remove(ctx context.Context, path string) error {
	if err := f.client.Delete(ctx, path, true); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
