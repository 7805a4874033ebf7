package imagestore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"howdah.dev/howdah/internal/image"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(Config{Dir: dir, MaxBlob: 1 << 20, MaxUploads: 4})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func repo(t *testing.T, s *Store, name string) *Repo {
	t.Helper()
	r, err := s.Repo(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// push makes an image of a configuration and layers with the texts.
func push(ctx context.Context, r *Repo, tag string, texts ...string) (*image.Manifest, error) {
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}
	var ds []v1.Descriptor
	for _, text := range append([]string{`{"os":"linux","architecture":"amd64"}` + tag}, texts...) {
		h, n, err := r.PutBlob(ctx, strings.NewReader(text), Expect{Size: Unknown})
		if err != nil {
			return nil, err
		}
		ds = append(ds, v1.Descriptor{MediaType: types.OCIUncompressedLayer, Digest: h, Size: n})
	}
	m.Config, m.Layers = ds[0], ds[1:]
	m.Config.MediaType = types.OCIConfigJSON
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return r.PutManifest(ctx, tag, m.MediaType, raw)
}

func mustPush(t *testing.T, r *Repo, tag string, texts ...string) *image.Manifest {
	t.Helper()
	m, err := push(t.Context(), r, tag, texts...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// whole says what a repository's image lacks.
func whole(r *Repo, ref string) error {
	m, err := r.Manifest(ref)
	if err != nil {
		return err
	}
	for _, d := range m.Blobs() {
		f, _, err := r.OpenBlob(d.Digest)
		if err != nil {
			return err
		}
		data, err := io.ReadAll(f)
		f.Close()
		if err != nil || image.Digest(data) != d.Digest {
			return fmt.Errorf("%s is damaged: %w", d.Digest, err)
		}
	}
	return nil
}

// age makes everything in the store as if it had been used d ago.
func age(t *testing.T, s *Store, d time.Duration) {
	t.Helper()
	at := time.Now().Add(-d)
	err := filepath.Walk(s.cfg.Dir, func(name string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(name, at, at)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPut(t *testing.T) {
	s := open(t, t.TempDir())
	want, other := image.Digest([]byte("hello")), image.Digest([]byte("other"))
	for _, tt := range []struct {
		name, content string
		expect        Expect
		err           string
	}{
		{"as promised", "hello", Expect{want, 5}, ""},
		{"again", "hello", Expect{want, Unknown}, ""},
		{"nothing promised", "hello", Expect{Size: Unknown}, ""},
		{"other content", "hello", Expect{other, 5}, "the content has the digest " + want.String() + " where " + other.String() + " was promised"},
		{"too short", "hello", Expect{Size: 6}, want.String() + " has 5 bytes where 6 were promised"},
		{"too long", "hello", Expect{Size: 4}, want.String() + " has 5 bytes where 4 were promised"},
		{"too large", strings.Repeat("x", 1<<20+1), Expect{Size: Unknown}, "the blob has more than the 1048576 bytes allowed: too large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, n, err := s.Put(t.Context(), strings.NewReader(tt.content), tt.expect)
			if got := text(err); got != tt.err {
				t.Fatalf("got %q, want %q", got, tt.err)
			}
			if err == nil && (h != want || n != 5) {
				t.Errorf("got %s of %d bytes", h, n)
			}
		})
	}
	left, err := os.ReadDir(s.path("tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestManifestNeedsItsParts(t *testing.T) {
	s := open(t, t.TempDir())
	m := mustPush(t, repo(t, s, "p/a"), "1", "layer")
	// Another repository has not got the blobs, though the store has.
	_, err := repo(t, s, "p/b").PutManifest(t.Context(), "1", m.MediaType, m.Raw)
	missing, ok := errors.AsType[*MissingError](err)
	if !ok || len(missing.Missing) != 2 {
		t.Fatalf("got %v", err)
	}
	want := "push these first, the manifest refers to them: " + m.Config.Digest.String() + " " + m.Layers[0].Digest.String()
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if _, _, err := repo(t, s, "p/b").OpenBlob(m.Layers[0].Digest); !errors.Is(err, ErrBlobUnknown) {
		t.Errorf("a repository reads a blob of another: %v", err)
	}
}

func TestTags(t *testing.T) {
	s := open(t, t.TempDir())
	r := repo(t, s, "p/a")
	one, two := mustPush(t, r, "one", "1"), mustPush(t, r, "two", "2")
	if _, err := r.PutManifest(t.Context(), "again", one.MediaType, one.Raw); err != nil {
		t.Fatal(err)
	}
	names := func() (out []string) {
		tags, err := r.Tags()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range tags {
			out = append(out, x.Name)
		}
		return out
	}
	if d := cmp.Diff([]string{"again", "one", "two"}, names()); d != "" {
		t.Error(d)
	}
	if err := r.DeleteTag(t.Context(), "two"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Manifest(two.Digest.String()); err != nil {
		t.Errorf("the manifest went with its tag: %v", err)
	}
	if err := r.DeleteManifest(t.Context(), one.Digest); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string(nil), names()); d != "" {
		t.Error(d)
	}
	for ref, want := range map[string]error{"one": ErrManifestUnknown, one.Digest.String(): ErrManifestUnknown, "../x": ErrManifestUnknown} {
		if _, err := r.Manifest(ref); !errors.Is(err, want) {
			t.Errorf("%s: got %v", ref, err)
		}
	}
	if _, err := repo(t, s, "p/none").Manifest("one"); !errors.Is(err, ErrNameUnknown) {
		t.Errorf("got %v", err)
	}
}

func TestUploads(t *testing.T) {
	s := open(t, t.TempDir())
	r, ctx := repo(t, s, "p/a"), t.Context()
	id, err := r.StartUpload()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.Append(ctx, id, 0, strings.NewReader("hel")); n != 3 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	if _, err := r.Append(ctx, id, 5, strings.NewReader("x")); text(err) != "the chunk begins at byte 5, but 3 bytes are there" {
		t.Errorf("got %v", err)
	}
	// What came before the connection broke counts.
	broken := io.MultiReader(strings.NewReader("l"), &failing{})
	if n, err := r.Append(ctx, id, 3, broken); n != 4 || err == nil {
		t.Errorf("got %d, %v", n, err)
	}
	if n, err := r.Uploaded(id); n != 4 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if _, err := repo(t, s, "p/b").Uploaded(id); !errors.Is(err, ErrUploadUnknown) {
		t.Errorf("another repository sees the upload: %v", err)
	}
	if err := r.FinishUpload(ctx, id, 4, strings.NewReader("o"), image.Digest([]byte("hello"))); err != nil {
		t.Fatal(err)
	}
	if n, ok := r.HasBlob(ctx, image.Digest([]byte("hello"))); n != 5 || !ok {
		t.Errorf("got %d, %v", n, ok)
	}
	if _, err := r.Uploaded(id); !errors.Is(err, ErrUploadUnknown) {
		t.Errorf("the upload is still there: %v", err)
	}
	for _, bad := range []string{"../../blobs", "", strings.Repeat("0", 32)} {
		if _, err := r.Append(ctx, bad, 0, strings.NewReader("x")); !errors.Is(err, ErrUploadUnknown) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestUploadsAreLimitedAndExpire(t *testing.T) {
	s := open(t, t.TempDir())
	r := repo(t, s, "p/a")
	for range 4 {
		if _, err := r.StartUpload(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.StartUpload(); !errors.Is(err, ErrTooMany) {
		t.Errorf("got %v", err)
	}
	if id, err := repo(t, s, "other/a").StartUpload(); err != nil { // another project's
		t.Error(err)
	} else if err := repo(t, s, "other/a").CancelUpload(id); err != nil {
		t.Error(err)
	}
	age(t, s, 11*time.Minute)
	if _, err := repo(t, s, "p/b").StartUpload(); err != nil { // in the place of one that nobody writes to
		t.Error(err)
	}
	if have, err := os.ReadDir(s.path("uploads")); err != nil || len(have) != 4 {
		t.Errorf("%d uploads, %v", len(have), err)
	}
	age(t, s, 25*time.Hour)
	done, err := s.Collect(t.Context(), Collecting{})
	if err != nil || done.Uploads != 4 {
		t.Fatalf("got %+v, %v", done, err)
	}
	id, err := r.StartUpload()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Append(t.Context(), id, 0, strings.NewReader(strings.Repeat("x", 1<<20+1))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestWrongDigestEndsAnUpload(t *testing.T) {
	s := open(t, t.TempDir())
	r := repo(t, s, "p/a")
	id, err := r.StartUpload()
	if err != nil {
		t.Fatal(err)
	}
	err = r.FinishUpload(t.Context(), id, 0, strings.NewReader("hello"), image.Digest([]byte("other")))
	if _, ok := errors.AsType[*DigestError](err); !ok {
		t.Fatalf("got %v", err)
	}
	if _, err := r.Uploaded(id); !errors.Is(err, ErrUploadUnknown) {
		t.Errorf("got %v", err)
	}
}

// TestConcurrentPushes: many push images that share a layer while the collector
// runs without grace for what is old; no image may lack anything.
func TestConcurrentPushes(t *testing.T) {
	s := open(t, t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	collected := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if _, err := s.Collect(ctx, Collecting{Grace: time.Minute}); err != nil && ctx.Err() == nil {
				collected <- err
				return
			}
		}
		collected <- nil
	}()
	g := new(errgroup.Group)
	for i := range 8 {
		g.Go(func() error {
			r := &Repo{s, fmt.Sprintf("p/app%d", i%4)}
			for n := range 5 {
				tag := fmt.Sprintf("v%d-%d", i, n)
				if _, err := push(ctx, r, tag, "shared", tag); err != nil {
					return err
				}
				if err := whole(r, tag); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := g.Wait()
	stop()
	if err := errors.Join(err, <-collected); err != nil {
		t.Fatal(err)
	}
	blobs, err := os.ReadDir(s.path("blobs", "sha256"))
	if err != nil || len(blobs) != 1+3*40 {
		t.Errorf("%d blobs are kept, want one shared layer and 40 configurations, layers and manifests: %v", len(blobs), err)
	}
}
