package imagestore

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"howdah.dev/howdah/internal/image"
)

// grown fills a store: an image that stays, one whose tag moved on, one without a
// tag, an index, a referrer, a push that was given up, and a blob of nobody.
func grown(t *testing.T, s *Store) (r *Repo, ms map[string]*image.Manifest) {
	t.Helper()
	ctx := t.Context()
	r = repo(t, s, "p/app")
	ms = map[string]*image.Manifest{
		"kept":     mustPush(t, r, "kept", "base", "kept"),
		"moved":    mustPush(t, r, "moved", "base", "old"),
		"untagged": mustPush(t, r, "", "base", "untagged"),
		"child":    mustPush(t, repo(t, s, "p/multi"), "", "child"),
		"gone":     mustPush(t, repo(t, s, "q/gone"), "", "gone"),
	}
	ms["moved-to"] = mustPush(t, r, "moved", "base", "new")
	raw, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{ms["child"].Descriptor()}})
	if err != nil {
		t.Fatal(err)
	}
	if ms["index"], err = repo(t, s, "p/multi").PutManifest(ctx, "all", types.OCIImageIndex, raw); err != nil {
		t.Fatal(err)
	}
	subject := ms["kept"].Descriptor()
	h, n, err := r.PutBlob(ctx, strings.NewReader("{}"), Expect{Size: Unknown})
	if err != nil {
		t.Fatal(err)
	}
	raw, err = json.Marshal(v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: v1.Descriptor{MediaType: types.OCIEmptyJSON, Digest: h, Size: n}, Layers: []v1.Descriptor{}, Subject: &subject})
	if err != nil {
		t.Fatal(err)
	}
	if ms["referrer"], err = r.PutManifest(ctx, "", types.OCIManifestSchema1, raw); err != nil {
		t.Fatal(err)
	}
	if _, _, err := repo(t, s, "p/started").PutBlob(ctx, strings.NewReader("given up"), Expect{Size: Unknown}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Put(ctx, strings.NewReader("of nobody"), Expect{Size: Unknown}); err != nil {
		t.Fatal(err)
	}
	return r, ms
}

// there lists which of the manifests are still readable and whole.
func there(s *Store, ms map[string]*image.Manifest) map[string]bool {
	out := map[string]bool{}
	for name, m := range ms {
		for _, in := range []string{"p/app", "p/multi", "q/gone"} {
			if whole(&Repo{s, in}, m.Digest.String()) == nil {
				out[name] = true
			}
		}
	}
	return out
}

// copied is another store with the same content, which takes less time to make.
func copied(t *testing.T, from *Store) *Store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.CopyFS(dir, os.DirFS(from.cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	return open(t, dir)
}

func TestCollect(t *testing.T) {
	all := map[string]bool{"kept": true, "moved": true, "moved-to": true, "untagged": true, "child": true, "index": true, "referrer": true, "gone": true}
	tagged := map[string]bool{"kept": true, "moved-to": true, "child": true, "index": true, "referrer": true}
	template := open(t, t.TempDir())
	_, ms := grown(t, template)
	for _, tt := range []struct {
		name  string
		age   time.Duration
		opts  func(map[string]*image.Manifest) Collecting
		there map[string]bool
		blobs int // removed
	}{
		{"fresh", 0, func(map[string]*image.Manifest) Collecting { return Collecting{Untagged: time.Second} }, all, 0},
		{"untagged are kept by default", 2 * time.Hour, func(map[string]*image.Manifest) Collecting { return Collecting{} }, all, 2},
		{"not long enough", 2 * time.Hour, func(map[string]*image.Manifest) Collecting { return Collecting{Untagged: 3 * time.Hour} }, all, 2},
		{"long enough", 4 * time.Hour, func(map[string]*image.Manifest) Collecting { return Collecting{Untagged: 3 * time.Hour} }, tagged, 2 + 3*2},
		{"in use", 4 * time.Hour, func(ms map[string]*image.Manifest) Collecting {
			return Collecting{Untagged: 3 * time.Hour, InUse: func(h v1.Hash) bool {
				return h == ms["untagged"].Digest || h == ms["moved"].Digest || h == ms["gone"].Digest
			}}
		}, all, 2},
		{"idle", 4 * time.Hour, func(ms map[string]*image.Manifest) Collecting {
			return Collecting{Idle: 3 * time.Hour, InUse: func(h v1.Hash) bool { return h == ms["untagged"].Digest }}
		}, map[string]bool{"untagged": true}, 17},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := copied(t, template)
			age(t, s, tt.age)
			done, err := s.Collect(t.Context(), tt.opts(ms))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.there, there(s, ms)); d != "" {
				t.Errorf("images that are there: %s", d)
			}
			if done.Blobs != tt.blobs {
				t.Errorf("removed %+v, want %d blobs", done, tt.blobs)
			}
			if again, err := s.Collect(t.Context(), tt.opts(ms)); err != nil || again.Blobs != 0 || again.Manifests != 0 {
				t.Errorf("a second run removed %+v, %v", again, err)
			}
		})
	}
}

func TestCollectForgetsEmptyRepositories(t *testing.T) {
	s := open(t, t.TempDir())
	grown(t, s)
	age(t, s, 4*time.Hour)
	if _, err := s.Collect(t.Context(), Collecting{Untagged: time.Hour}); err != nil {
		t.Fatal(err)
	}
	names, err := s.Repos()
	if d := cmp.Diff([]string{"p/app", "p/multi"}, names); d != "" || err != nil {
		t.Error(d, err)
	}
	for _, gone := range []string{"q/gone", "p/started"} {
		if _, err := os.Stat(s.path("repos", gone)); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
}

// TestAskingKeepsABlob: a client that was told that a blob is there must be able to
// push a manifest that needs it.
func TestAskingKeepsABlob(t *testing.T) {
	s := open(t, t.TempDir())
	r, ms := grown(t, s)
	age(t, s, 4*time.Hour)
	for _, d := range ms["untagged"].Blobs() {
		if _, ok := r.HasBlob(t.Context(), d.Digest); !ok {
			t.Fatal("not there")
		}
	}
	if _, err := s.Collect(t.Context(), Collecting{Untagged: 3 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.PutManifest(t.Context(), "back", ms["untagged"].MediaType, ms["untagged"].Raw); err != nil {
		t.Error(err)
	}
}

// crashing runs f and ends it at the n-th point where a process could end. It
// reports whether f came that far.
func crashing(s *Store, n int, f func()) (crashed bool) {
	type end struct{}
	s.crash = func(string) {
		if n--; n < 0 {
			panic(end{})
		}
	}
	defer func() {
		s.crash = func(string) {}
		if r := recover(); r != nil {
			if _, ok := r.(end); !ok {
				panic(r)
			}
			crashed = true
		}
	}()
	f()
	return false
}

func TestCollectCrashes(t *testing.T) {
	kept := []string{"kept", "moved-to", "child", "index", "referrer"}
	points := 0
	template := open(t, t.TempDir())
	_, ms := grown(t, template)
	for n := 0; ; n++ {
		s := copied(t, template)
		age(t, s, 4*time.Hour)
		crashed := crashing(s, n, func() { _, _ = s.Collect(t.Context(), Collecting{Untagged: time.Hour}) })
		have := there(s, ms)
		for _, name := range kept {
			if !have[name] {
				t.Errorf("after a crash at point %d %s is damaged", n, name)
			}
		}
		noDangling(t, s, n)
		age(t, s, 4*time.Hour)
		if _, err := s.Collect(t.Context(), Collecting{Untagged: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if got := there(s, ms); len(got) != len(kept) {
			t.Errorf("after a crash at point %d and another run there are %v", n, got)
		}
		if !crashed {
			points = n
			break
		}
	}
	if points < 10 {
		t.Errorf("only %d points were tried", points)
	}
}

// noDangling checks that every manifest that can be named is whole.
func noDangling(t *testing.T, s *Store, n int) {
	t.Helper()
	names, err := s.Repos()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		hs, err := (&Repo{s, name}).Manifests()
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range hs {
			if err := whole(&Repo{s, name}, h.String()); err != nil {
				t.Errorf("after a crash at point %d: %s %s: %v", n, name, h, err)
			}
		}
	}
}

func TestPushCrashes(t *testing.T) {
	for n := 0; ; n++ {
		s := open(t, t.TempDir())
		r := repo(t, s, "p/app")
		mustPush(t, r, "1", "base")
		crashed := crashing(s, n, func() {
			if _, err := push(t.Context(), r, "1", "base", "more"); err != nil {
				t.Error(err)
			}
		})
		if err := whole(r, "1"); err != nil {
			t.Errorf("after a crash at point %d: %v", n, err)
		}
		noDangling(t, s, n)
		m := mustPush(t, r, "1", "base", "more")
		if got, err := r.Resolve("1"); err != nil || got != m.Digest {
			t.Errorf("after a crash at point %d the push could not be repeated: %v", n, err)
		}
		if !crashed {
			if n < 8 {
				t.Errorf("only %d points were tried", n)
			}
			return
		}
	}
}

func TestDamagedStoreIsNotCollected(t *testing.T) {
	s := open(t, t.TempDir())
	r, ms := grown(t, s)
	age(t, s, 4*time.Hour)
	blob := s.blobPath(ms["kept"].Digest)
	if err := os.Chmod(blob, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blob, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(t.Context(), Collecting{Untagged: time.Hour}); err == nil {
		t.Fatal("a manifest that cannot be read was taken for one that needs nothing")
	}
	for _, d := range ms["kept"].Layers {
		if _, _, err := r.OpenBlob(d.Digest); err != nil {
			t.Error(err)
		}
	}
}

func TestNothingIsWrittenOutside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "store"))
	for _, name := range []string{"../x", "/x", "a/../b", "a//b", "_tags", "a/_blobs/b", ".x", "A", "a b", "", strings.Repeat("a", 256)} {
		if r, err := s.Repo(name); err == nil {
			t.Errorf("%q is taken as a name: %v", name, r)
		}
	}
	r := repo(t, s, "p/a")
	for _, tag := range []string{"../x", ".x", "a/b", strings.Repeat("a", 129)} {
		m := mustPush(t, r, "ok", "x")
		if _, err := r.PutManifest(t.Context(), tag, m.MediaType, m.Raw); err == nil {
			t.Errorf("%q is taken as a tag", tag)
		}
	}
	var outside []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if name != dir && !strings.HasPrefix(name, filepath.Join(dir, "store")) {
			outside = append(outside, name)
		}
		return err
	})
	if err != nil || outside != nil {
		t.Errorf("%v, %v", outside, err)
	}
}
