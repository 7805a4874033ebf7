package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"howdah.dev/howdah/internal/adapter/webhdfs"
	"howdah.dev/howdah/internal/warehouse/webhdfstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newFiles(t *testing.T) (*webhdfstest.Store, Files) {
	s := webhdfstest.New(t)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	return s, webhdfs.New(webhdfs.Config{Addresses: []string{s.Name.URL}, User: "root", HTTP: client})
}

var (
	clicks = Dataset{Name: "clicks", Path: "/data/in/clicks", Owner: "ads", QuotaMB: 1024, RetentionDays: 30}
	ads    = Identity{User: "ads", Group: "ads"}
)

// TestEnsure makes a dataset, again, with another quota, and looks at it.
func TestEnsure(t *testing.T) {
	s, files := newFiles(t)
	ctx := t.Context()
	if o, err := Look(ctx, files, clicks); err != nil || o != (Observed{Quota: -1}) {
		t.Errorf("before: %+v, %v", o, err)
	}
	for i, want := range []Ensured{{Made: true, New: true}, {Made: true}} {
		got, err := Ensure(ctx, files, clicks, ads)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%d: %s, %v", i, diff, err)
		}
	}
	if diff := cmp.Diff([]string{".howdah/", ".howdah/datasets/", ".howdah/datasets/clicks.json", "in/", "in/clicks/"}, s.Paths("/data")); diff != "" {
		t.Error(diff)
	}
	s.Put("/data/in/clicks/part-00000", "12345")
	o, err := Look(ctx, files, clicks)
	if want := (Observed{Exists: true, Made: true, Owner: "ads", Files: 1, Bytes: 5, Space: 5, Quota: 1 << 30}); err != nil || o != want {
		t.Errorf("made: %+v, %v", o, err)
	}
	s.Put("/data/in/clicks/_SUCCESS", "")
	without := clicks
	without.QuotaMB = 0
	if _, err := Ensure(ctx, files, without, Identity{User: "new"}); err != nil {
		t.Error(err)
	}
	o, err = Look(ctx, files, clicks)
	if err != nil || !o.Complete || o.CompleteAt.IsZero() || o.Quota != -1 || o.Owner != "new" {
		t.Errorf("complete: %+v, %v", o, err)
	}
}

// TestEnsureForeign: what was there before stays what it was.
func TestEnsureForeign(t *testing.T) {
	s, files := newFiles(t)
	s.Mkdir(clicks.Path)
	got, err := Ensure(t.Context(), files, clicks, ads)
	want := Ensured{Notes: []string{"/data/in/clicks was there before: its owner root stays, and nothing in it expires"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%s, %v", diff, err)
	}
	if o, err := Look(t.Context(), files, clicks); err != nil || o.Made || o.Owner != "root" || o.Quota != 1<<30 {
		t.Errorf("%+v, %v", o, err)
	}
	s.Remove(clicks.Path)
	s.Put(clicks.Path, "x")
	if _, err := Ensure(t.Context(), files, clicks, ads); err == nil || err.Error() != "cannot ensure dataset clicks: /data/in/clicks is a file; move it away or choose another path" {
		t.Error(err)
	}
	if _, err := Ensure(t.Context(), files, Dataset{Name: "x", Path: "/tmp/x"}, ads); err == nil || err.Error() != "cannot ensure dataset x: /tmp/x is in or above /tmp, which is no place for datasets" {
		t.Error(err)
	}
}

// TestEnsureRace: another makes the folder just before ours is moved there.
func TestEnsureRace(t *testing.T) {
	s, files := newFiles(t)
	s.Intercept(func(_ http.ResponseWriter, r *http.Request, _ string) bool {
		if r.URL.Query().Get("op") == "RENAME" {
			s.Mkdir(clicks.Path)
		}
		return false
	})
	got, err := Ensure(t.Context(), files, clicks, ads)
	if err != nil || got.Made || got.New || len(got.Notes) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if left := s.Paths(clicks.Path); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestEnsureCutShort: whatever request is the last one that is done, the next
// Ensure makes the dataset whole, and never claims what it did not make.
func TestEnsureCutShort(t *testing.T) {
	for last := int32(1); ; last++ {
		s, files := newFiles(t)
		var n atomic.Int32
		s.Intercept(func(w http.ResponseWriter, _ *http.Request, node string) bool {
			if node == "name" && n.Add(1) > last {
				webhdfstest.Refuse(w, 500, "IOException", "away")
				return true
			}
			return false
		})
		_, err := Ensure(t.Context(), files, clicks, ads)
		s.Intercept(nil)
		if err == nil {
			if last < 5 {
				t.Errorf("done after %d requests", last)
			}
			return
		}
		got, err := Ensure(t.Context(), files, clicks, ads)
		o, lerr := Look(t.Context(), files, clicks)
		if err != nil || lerr != nil || !got.Made || !o.Made || o.Owner != "ads" || o.Quota != 1<<30 {
			t.Errorf("after %d requests: %+v, %+v, %v", last, got, o, errors.Join(err, lerr))
		}
	}
}

// TestExpire: old files go to the trash, and only out of a folder we made.
func TestExpire(t *testing.T) {
	s, files := newFiles(t)
	ctx, now := t.Context(), time.Now()
	if moved, err := Expire(ctx, files, clicks, now, "root"); err != nil || moved.Files != nil {
		t.Errorf("no folder: %v, %v", moved, err)
	}
	if _, err := Ensure(ctx, files, clicks, ads); err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	for name, age := range map[string]time.Duration{"new": day, "old": 31 * day, "sub/older": 400 * day, "sub/deep/young": 29 * day} {
		s.Put(clicks.Path+"/"+name, name)
		s.Age(clicks.Path+"/"+name, age)
	}
	never := clicks
	never.RetentionDays = 0
	if moved, err := Expire(ctx, files, never, now, "root"); err != nil || moved.Files != nil {
		t.Errorf("no retention: %v, %v", moved, err)
	}
	want := Expired{Files: []string{clicks.Path + "/old", clicks.Path + "/sub/older"}, Bytes: int64(len("old" + "sub/older"))}
	before := s.Paths("/")
	if found, err := Old(ctx, files, clicks, now); err != nil || !cmp.Equal(found, want) || !cmp.Equal(before, s.Paths("/")) {
		t.Errorf("old: %v, %v", found, err)
	}
	moved, err := Expire(ctx, files, clicks, now, "root")
	if diff := cmp.Diff(want, moved); diff != "" || err != nil {
		t.Errorf("%s, %v", diff, err)
	}
	s.Put(clicks.Path+"/old", "again")
	s.Age(clicks.Path+"/old", 31*day)
	if moved, err := Expire(ctx, files, clicks, now, "root"); err != nil || len(moved.Files) != 1 {
		t.Errorf("again: %v, %v", moved, err)
	}
	var trash []string
	for _, name := range s.Paths("/user/root/.Trash/Current" + clicks.Path) {
		if !strings.HasSuffix(name, "/") {
			trash = append(trash, name)
		}
	}
	if diff := cmp.Diff([]string{"old", fmt.Sprintf("old.%d", now.UnixMilli()), "sub/older"}, trash); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"new", "sub/", "sub/deep/", "sub/deep/young"}, s.Paths(clicks.Path)); diff != "" {
		t.Error(diff)
	}
	// The same path, made anew by another.
	s.Remove(clicks.Path)
	s.Put(clicks.Path+"/old", "theirs")
	s.Age(clicks.Path+"/old", 31*day)
	refusal := "cannot expire files of dataset clicks: Howdah did not make its folder"
	if moved, err := Expire(ctx, files, clicks, now, "root"); !errors.Is(err, ErrNotMade) || err.Error() != refusal || moved.Files != nil {
		t.Errorf("made by another: %v, %v", moved, err)
	}
}

// TestForgedRecord: a record proves nothing about another path or folder.
func TestForgedRecord(t *testing.T) {
	s, files := newFiles(t)
	s.Mkdir(clicks.Path)
	status, err := files.Status(t.Context(), clicks.Path)
	if err != nil {
		t.Fatal(err)
	}
	good := record{Format: recordFormat, Dataset: clicks, Folder: status.ID}
	for name, change := range map[string]func(*record){
		"as it was":      func(*record) {},
		"another format": func(r *record) { r.Format = "x" },
		"another path":   func(r *record) { r.Dataset.Path = "/data/other" },
		"another folder": func(r *record) { r.Folder++ },
		"no folder":      func(r *record) { r.Folder = 0 },
	} {
		rec := good
		change(&rec)
		text, _ := json.Marshal(rec)
		s.Put(recordPath("clicks"), string(text))
		if o, err := Look(t.Context(), files, clicks); err != nil || o.Made != (name == "as it was") {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
	s.Put(recordPath("clicks"), "{torn")
	if o, err := Look(t.Context(), files, clicks); err != nil || o.Made {
		t.Errorf("torn: %+v, %v", o, err)
	}
}
