// Package archive owns images as one tar file: what docker save and podman save
// write, and the image layout of the OCI; plain or compressed with gzip or zstd. A
// machine without a network loads any image this way.
//
// It must not know registries, nor what is in a layer.
package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/imagestore"
)

// Limits of one archive.
const (
	maxEntries = 20_000
	maxLinks   = 8 // symbolic links followed to one file
)

// Options say what of an archive is wanted.
type Options struct {
	// Pick is the name of the wanted image where the archive holds several.
	Pick string
	// Platform is chosen where the archive holds an index without all its images.
	Platform v1.Platform
	MaxBytes int64 // of all files of the archive; 64 GiB if zero
}

// contents is what an archive held. Its files are blobs of the store; those that
// no image needs are collected later.
type contents struct {
	store *imagestore.Store
	files map[string]v1.Descriptor // by clean name; digest and size
	links map[string]string        // symbolic and hard links: old archives name a layer twice
}

// read takes every file of an archive into the store.
func read(ctx context.Context, store *imagestore.Store, r io.Reader, limit int64) (*contents, error) {
	plain, err := decompress(r)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	bounded := &boundedReader{plain, limit}
	c := &contents{store, map[string]v1.Descriptor{}, map[string]string{}}
	t := tar.NewReader(bounded)
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) && n > 0 {
			return c, nil
		}
		if errors.Is(err, errTooLarge) {
			return nil, err
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return nil, fmt.Errorf("it is no readable tar archive: %w", err)
		}
		if n >= maxEntries {
			return nil, fmt.Errorf("it has more than %d entries", maxEntries)
		}
		if err := c.entry(ctx, h, t); err != nil {
			return nil, err
		}
	}
}

// entry keeps a file. Names are only keys here: nothing is written under them.
func (c *contents) entry(ctx context.Context, h *tar.Header, r io.Reader) error {
	name := clean(h.Name)
	switch h.Typeflag {
	case tar.TypeReg:
		want := imagestore.Expect{Size: h.Size}
		if sum, ok := strings.CutPrefix(name, "blobs/sha256/"); ok {
			var err error
			if want.Digest, err = image.ParseDigest("sha256:" + sum); err != nil {
				return fmt.Errorf("the entry %q is not named by its digest", h.Name)
			}
		}
		d, size, err := c.store.Put(ctx, r, want)
		if err != nil {
			return fmt.Errorf("the entry %q cannot be taken: %w", h.Name, err)
		}
		c.files[name] = v1.Descriptor{Digest: d, Size: size}
	case tar.TypeSymlink:
		c.links[name] = clean(path.Join(path.Dir(name), h.Linkname))
	case tar.TypeLink:
		c.links[name] = clean(h.Linkname)
	}
	return nil
}

func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// find returns the file with the name, through links.
func (c *contents) find(name string) (v1.Descriptor, bool) {
	name = clean(name)
	for range maxLinks {
		if d, ok := c.files[name]; ok {
			return d, true
		}
		to, ok := c.links[name]
		if !ok {
			break
		}
		name = to
	}
	return v1.Descriptor{}, false
}

// small returns the content of a document in the archive.
func (c *contents) small(name string) ([]byte, bool, error) {
	d, ok := c.find(name)
	if !ok {
		return nil, false, nil
	}
	data, err := c.store.Read(d.Digest, image.MaxManifest)
	if err != nil {
		return nil, false, fmt.Errorf("%s cannot be read: %w", name, err)
	}
	return data, true, nil
}

// Magic numbers of compressed files.
const (
	magicGzip = "\x1f\x8b"
	magicZstd = "\x28\xb5\x2f\xfd"
)

// decompress looks at the first bytes and unpacks what is compressed.
func decompress(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 256<<10)
	head, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	switch {
	case bytes.HasPrefix(head, []byte(magicGzip)):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("it is no readable gzip file: %w", err)
		}
		return z, nil
	case bytes.HasPrefix(head, []byte(magicZstd)):
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("it is no readable zstd file: %w", err)
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(b), nil
}

var errTooLarge = errors.New("it holds more than is allowed")

// boundedReader fails after left bytes, where io.LimitReader would seem to end.
type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
