package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"howdah.dev/howdah/internal/image"
	"howdah.dev/howdah/internal/image/archive"
	"howdah.dev/howdah/internal/image/imagestore"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func repo(t testing.TB) *imagestore.Repo {
	t.Helper()
	s, err := imagestore.Open(imagestore.Config{Dir: t.TempDir(), MaxBlob: 1 << 20})
	ok(t, err)
	r, err := s.Repo("p/app")
	ok(t, err)
	return r
}

func linuxImage(t *testing.T, arch string) v1.Image {
	t.Helper()
	img, err := random.Image(2000, 2)
	ok(t, err)
	conf, err := img.ConfigFile()
	ok(t, err)
	conf = conf.DeepCopy()
	conf.OS, conf.Architecture = "linux", arch
	img, err = mutate.ConfigFile(img, conf)
	ok(t, err)
	return img
}

// saved writes images as docker save did before it wrote OCI layouts.
func saved(t *testing.T, images map[string]v1.Image) []byte {
	t.Helper()
	refs := map[name.Reference]v1.Image{}
	for n, img := range images {
		tag, err := name.NewTag(n)
		ok(t, err)
		refs[tag] = img
	}
	var b bytes.Buffer
	ok(t, tarball.MultiRefWrite(refs, &b))
	return b.Bytes()
}

// ociTar writes an index as an OCI layout, without the blobs in but.
func ociTar(t *testing.T, idx v1.ImageIndex, but ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	_, err := layout.Write(dir, idx)
	ok(t, err)
	for _, b := range but {
		ok(t, os.Remove(filepath.Join(dir, "blobs", "sha256", b)))
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	ok(t, w.AddFS(os.DirFS(dir)))
	ok(t, w.Close())
	return b.Bytes()
}

func zipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(data)
	ok(t, err)
	ok(t, z.Close())
	return b.Bytes()
}

func configName(t *testing.T, img v1.Image) v1.Hash {
	t.Helper()
	h, err := img.ConfigName()
	ok(t, err)
	return h
}

func TestImport(t *testing.T) {
	img := linuxImage(t, "amd64")
	named := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Annotations: map[string]string{"io.containerd.image.name": "docker.io/library/x:1"}}})
	// Newer docker save: an index whose other images and attestations stay behind.
	other := linuxImage(t, "arm64")
	inner := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}},
		mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	nested := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: inner})
	otherLayers, err := other.Layers()
	ok(t, err)
	lost, err := otherLayers[0].Digest()
	ok(t, err)
	amd64 := archive.Options{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}}
	for _, tt := range []struct {
		name  string
		data  []byte
		opts  archive.Options
		image string // its name
		index bool
	}{
		{"docker save", saved(t, map[string]v1.Image{"x:1": img}), amd64, "x:1", false},
		{"docker save, compressed", zipped(t, saved(t, map[string]v1.Image{"x:1": img})), amd64, "x:1", false},
		{"one of two", saved(t, map[string]v1.Image{"x:1": img, "y:1": other}), archive.Options{Pick: "x:1"}, "x:1", false},
		{"layout", ociTar(t, named), amd64, "docker.io/library/x:1", false},
		{"layout, compressed", zipped(t, ociTar(t, named)), amd64, "docker.io/library/x:1", false},
		{"whole index", ociTar(t, nested), amd64, "", true},
		{"index with one image", ociTar(t, nested, lost.Hex), amd64, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := repo(t)
			got, err := archive.Import(t.Context(), r, "v1", bytes.NewReader(tt.data), tt.opts)
			ok(t, err)
			if got.Name != tt.image {
				t.Errorf("the name is %q, want %q", got.Name, tt.image)
			}
			m, err := r.Manifest("v1")
			ok(t, err)
			if m.IsIndex() != tt.index {
				t.Fatalf("got %s", m.MediaType)
			}
			if !tt.index && m.Config.Digest != configName(t, img) {
				t.Errorf("got %s, want %s", m.Config.Digest, configName(t, img))
			}
			for _, d := range m.Blobs() {
				if _, ok := r.HasBlob(t.Context(), d.Digest); !ok {
					t.Errorf("%s is missing", d.Digest)
				}
			}
		})
	}
}

// archiveOf writes a tar of files; a content "-> x" is a symbolic link.
func archiveOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i+1 < len(files); i += 2 {
		h := &tar.Header{Name: files[i], Typeflag: tar.TypeReg, Size: int64(len(files[i+1])), Mode: 0o644}
		to, link := strings.CutPrefix(files[i+1], "-> ")
		if link {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, to, 0
		}
		ok(t, w.WriteHeader(h))
		if !link {
			_, err := w.Write([]byte(files[i+1]))
			ok(t, err)
		}
	}
	ok(t, w.Close())
	return b.Bytes()
}

func TestImportRefuses(t *testing.T) {
	layer := archiveOf(t, "a", "1")
	diff := image.Digest(layer)
	conf := func(ids ...string) string {
		raw, err := json.Marshal(map[string]any{"os": "linux", "architecture": "amd64", "rootfs": map[string]any{"type": "layers", "diff_ids": ids}})
		ok(t, err)
		return string(raw)
	}
	good := conf(diff.String())
	manifest := `[{"Config":"c.json","RepoTags":["x:1"],"Layers":["l/layer.tar"]}]`
	zeros := strings.Repeat("0", 64)
	hello := image.Digest([]byte("hello")).Hex
	two := `[{"Config":"c","RepoTags":["x:1"],"Layers":[]},{"Config":"c","RepoTags":["y:1"],"Layers":[]}]`
	index := func(digest string) string {
		return `{"schemaVersion":2,"manifests":[{"mediaType":"` + string(types.OCIManifestSchema1) + `","size":1,"digest":"sha256:` + digest + `"}]}`
	}
	lacking := `{"schemaVersion":2,"config":{"mediaType":"x","size":1,"digest":"sha256:` + zeros + `"},"layers":[]}`
	lackingSum := image.Digest([]byte(lacking)).Hex
	for _, tt := range []struct {
		name string
		data []byte
		opts archive.Options
		want string
	}{
		{"nothing", nil, archive.Options{}, "it is no readable tar archive: EOF"},
		{"no tar", []byte(strings.Repeat("hello", 200)), archive.Options{}, "it is no readable tar archive: archive/tar: invalid tar header"},
		{"no image", archiveOf(t, "a", "b"), archive.Options{}, "it has neither index.json nor manifest.json, so it is no image: make one with docker save, podman save or skopeo"},
		{"which", archiveOf(t, "manifest.json", two), archive.Options{}, "it holds 2 images, say which: x:1, y:1"},
		{"not there", archiveOf(t, "manifest.json", two), archive.Options{Pick: "z:1"}, "it does not hold z:1, but x:1, y:1"},
		{"no layer", archiveOf(t, "manifest.json", manifest, "c.json", good), archive.Options{}, `it lacks the layer "l/layer.tar"`},
		{"link to nowhere", archiveOf(t, "manifest.json", manifest, "c.json", good, "l/layer.tar", "-> ../../../../etc/passwd"), archive.Options{}, `it lacks the layer "l/layer.tar"`},
		{"links in a circle", archiveOf(t, "manifest.json", manifest, "c.json", good, "l/layer.tar", "-> layer.tar"), archive.Options{}, `it lacks the layer "l/layer.tar"`},
		{"no configuration", archiveOf(t, "manifest.json", manifest), archive.Options{}, `it lacks the configuration "c.json"`},
		{"wrong layer", archiveOf(t, "manifest.json", manifest, "c.json", good, "l/layer.tar", "hello"), archive.Options{}, `its layer "l/layer.tar" has the digest sha256:` + hello + ` where the configuration says ` + diff.String()},
		{"layers", archiveOf(t, "manifest.json", manifest, "c.json", conf(), "l/layer.tar", string(layer)), archive.Options{}, "its configuration names 0 layers and its manifest.json 1"},
		{"wrong digest", archiveOf(t, "blobs/sha256/"+zeros, "hello"), archive.Options{}, `the entry "blobs/sha256/` + zeros + `" cannot be taken: the content has the digest sha256:` + hello + ` where sha256:` + zeros + ` was promised`},
		{"no digest", archiveOf(t, "blobs/sha256/x", "hello"), archive.Options{}, `the entry "blobs/sha256/x" is not named by its digest`},
		{"no manifest", archiveOf(t, "index.json", index(zeros)), archive.Options{}, "it lacks the manifest sha256:" + zeros},
		{"not complete", archiveOf(t, "index.json", index(lackingSum), "blobs/sha256/"+lackingSum, lacking), archive.Options{}, "the image sha256:" + lackingSum + " is not complete: sha256:" + zeros + " is missing"},
		{"no index", archiveOf(t, "index.json", "[]"), archive.Options{}, "index.json cannot be read: the manifest cannot be read: json: cannot unmarshal array into Go value of type image.wire"},
		{"large file", archiveOf(t, "a", strings.Repeat("x", 1<<20+1)), archive.Options{}, `the entry "a" cannot be taken: the blob has more than the 1048576 bytes allowed: too large`},
		{"large archive", archiveOf(t, "a", strings.Repeat("x", 1000), "b", ""), archive.Options{MaxBytes: 600}, `the entry "a" cannot be taken: cannot keep a blob: it holds more than is allowed`},
		{"compressed bomb", zipped(t, archiveOf(t, "a", strings.Repeat("x", 1<<20), "b", strings.Repeat("x", 1<<20))), archive.Options{MaxBytes: 1 << 20}, `the entry "a" cannot be taken: cannot keep a blob: it holds more than is allowed`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := repo(t)
			_, err := archive.Import(t.Context(), r, "v1", bytes.NewReader(tt.data), tt.opts)
			if want := "cannot import the image archive: " + tt.want; err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if _, err := r.Manifest("v1"); err == nil {
				t.Error("something was imported")
			}
		})
	}
}

// TestOldArchive: docker save of before 2017 names a shared layer by a link.
func TestOldArchive(t *testing.T) {
	layer := archiveOf(t, "a", "1")
	id := image.Digest(layer).String()
	conf := fmt.Sprintf(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[%q,%q]}}`, id, id)
	data := archiveOf(t, "one/layer.tar", string(layer), "two/layer.tar", "-> ../one/layer.tar", "c.json", conf,
		"manifest.json", `[{"Config":"c.json","RepoTags":null,"Layers":["one/layer.tar","two/layer.tar"]}]`)
	got, err := archive.Import(t.Context(), repo(t), "v1", bytes.NewReader(data), archive.Options{})
	ok(t, err)
	if len(got.Manifest.Layers) != 2 || got.Manifest.Layers[1].Digest.String() != id || got.Manifest.Layers[0].MediaType != types.OCIUncompressedLayer {
		t.Errorf("got %+v", got.Manifest.Layers)
	}
}

// TestExport reads what Export wrote with another implementation, in both forms.
func TestExport(t *testing.T) {
	r := repo(t)
	img := linuxImage(t, "amd64")
	_, err := archive.Import(t.Context(), r, "v1", bytes.NewReader(saved(t, map[string]v1.Image{"x:1": img})), archive.Options{})
	ok(t, err)
	var b bytes.Buffer
	ok(t, archive.Export(t.Context(), r, "v1", &b, archive.Exporting{Name: "example.com/x:1"}))
	file := filepath.Join(t.TempDir(), "image.tar")
	ok(t, os.WriteFile(file, b.Bytes(), 0o600))
	tag, err := name.NewTag("example.com/x:1")
	ok(t, err)
	back, err := tarball.ImageFromPath(file, &tag)
	ok(t, err)
	ok(t, validate.Image(back))
	if configName(t, back) != configName(t, img) {
		t.Error("another image came back")
	}
	again := repo(t)
	got, err := archive.Import(t.Context(), again, "v1", &b, archive.Options{Pick: "x:1"})
	ok(t, err)
	want, err := r.Resolve("v1")
	ok(t, err)
	if got.Manifest.Digest != want {
		t.Errorf("got %s, want %s", got.Manifest.Digest, want)
	}
}

func FuzzImport(f *testing.F) {
	f.Add(archiveOf(f, "manifest.json", `[{"Config":"c","Layers":["l"]}]`, "c", `{}`, "l", "x"))
	f.Add(archiveOf(f, "index.json", `{"schemaVersion":2,"manifests":[]}`, "a", "-> ../../b"))
	dir := memory(f)
	s, err := imagestore.Open(imagestore.Config{Dir: filepath.Join(dir, "store"), MaxBlob: 1 << 16})
	ok(f, err)
	r, err := s.Repo("p/app")
	ok(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := archive.Import(t.Context(), r, "v1", bytes.NewReader(data), archive.Options{MaxBytes: 1 << 18})
		if err == nil && got.Manifest == nil {
			t.Error("neither an image nor an error")
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Errorf("written outside: %v, %v", entries, err)
		}
	})
}

// memory is a folder whose file system waits for no disk, where there is one.
func memory(f *testing.F) string {
	f.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fuzz-")
	if err != nil {
		return f.TempDir()
	}
	f.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
