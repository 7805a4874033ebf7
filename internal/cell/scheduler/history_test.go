package scheduler

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/sqlite"
)

// keeper is an engine of which only the history is used.
type keeper struct {
	*Engine
	t   *testing.T
	now time.Time
}

func newKeeper(t *testing.T) *keeper {
	e, err := Open(context.Background(), Config{Path: filepath.Join(t.TempDir(), "scheduler.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.db.Close() })
	return &keeper{e, t, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

// change keeps one version of some apps, and returns it; removed ones begin with "-".
func (k *keeper) change(ids ...string) string {
	k.t.Helper()
	k.now = k.now.Add(time.Second)
	tx := newTx(newState(), &k.cfg, k.now)
	version := app.At(k.now)
	for _, id := range ids {
		if id[0] == '-' {
			tx.remember(kindApp, id[1:], version, nil)
		} else {
			tx.remember(kindApp, id, version, &app.App{ID: id, Version: version})
		}
	}
	if err := tx.commit(context.Background(), k.db.Write); err != nil {
		k.t.Fatal(err)
	}
	return version.String()
}

// at lists the apps of a group as of a version, or says that it is unknown.
func (k *keeper) at(group, version string) string {
	k.t.Helper()
	past, err := k.GroupAt(context.Background(), group, version)
	if err != nil {
		k.t.Fatal(err)
	}
	if past == nil {
		return "unknown"
	}
	var ids []string
	for id := range past.Apps {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return fmt.Sprint(ids)
}

func (k *keeper) versions(group string) []string {
	k.t.Helper()
	out, err := k.GroupVersions(context.Background(), group, func(string) bool { return true })
	if err != nil {
		k.t.Fatal(err)
	}
	return out
}

// TestHistoryOfBefore: what a database of before groups had a history knows stays.
func TestHistoryOfBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scheduler.db")
	start, err := migrations.ReadFile("migrations/00001_start.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), path, fstest.MapFS{"00001_start.sql": {Data: start}})
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`INSERT INTO version VALUES ('/g/a', '2026-01-01T00:00:00.000Z', '{"id": "/g/a", "cmd": "one"}'), ('/g/a', '2026-01-01T00:00:02.000Z', '{"id": "/g/a", "cmd": "two"}')`,
		`INSERT INTO grp VALUES ('/g', '{"id": "/g", "dependencies": ["/h"], "version": "2026-01-01T00:00:01.000Z"}')`,
	} {
		if _, err := db.Write.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	e, err := Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer e.db.Close()
	k := &keeper{e, t, time.Time{}}
	if got := fmt.Sprint(k.versions("/g")); got != "[2026-01-01T00:00:02.000Z 2026-01-01T00:00:01.000Z 2026-01-01T00:00:00.000Z]" {
		t.Error(got)
	}
	past, err := k.GroupAt(t.Context(), "/g", "2026-01-01T00:00:01.000Z")
	if err != nil || past.Apps["/g/a"].Cmd != "one" || !slices.Equal(past.Groups["/g"].Dependencies, []string{"/h"}) {
		t.Errorf("%+v %v", past, err)
	}
}

// TestHistoryEnds: a version of a group of which a part is not kept any more is
// unknown, and never one without that part.
func TestHistoryEnds(t *testing.T) {
	k := newKeeper(t)
	first := k.change("/g/a", "/g/b", "/h/a", "/g0")
	second := k.change("/g/a")
	for range maxVersions - 2 {
		k.change("/g/a")
	}
	last := k.change("/g/a")
	for _, want := range []struct{ group, version, holds string }{
		{"/g", first, "unknown"}, // /g/a has had 51 versions
		{"/g", second, "[/g/a /g/b]"},
		{"/g", last, "[/g/a /g/b]"},
		{"/h", first, "[/h/a]"},
		{"/", first, "unknown"},
		{"/g", "2014-03-01T23:42:20.938Z", "unknown"},
	} {
		if got := k.at(want.group, want.version); got != want.holds {
			t.Errorf("%s at %s: %s, not %s", want.group, want.version, got, want.holds)
		}
	}
	if got := k.versions("/g"); len(got) != maxVersions || got[0] != last || got[maxVersions-1] != second {
		t.Errorf("%d versions from %s to %s", len(got), got[len(got)-1], got[0])
	}
	if got, err := k.Versions(context.Background(), "/g/a"); err != nil || len(got) != maxVersions {
		t.Errorf("%d versions of the app, %v", len(got), err)
	}
}

// TestLargeRemoval: what was removed at once comes back whole, however much it was,
// until enough was removed after it.
func TestLargeRemoval(t *testing.T) {
	k := newKeeper(t)
	many, minus := make([]string, 0, maxRemoved+100), make([]string, 0, maxRemoved+100)
	for i := range maxRemoved + 100 {
		many = append(many, fmt.Sprintf("/many/a%d", i))
		minus = append(minus, "-"+many[i])
	}
	full := k.change(many...)
	k.change(minus...)
	k.change("/one", "/two")
	k.change("-/one")
	if past, err := k.GroupAt(context.Background(), "/many", full); err != nil || past == nil || len(past.Apps) != len(many) {
		t.Errorf("%v: of %d removed at once %v are kept", err, len(many), past)
	}
	for i := range maxRemoved {
		minus[i] = fmt.Sprintf("-/later/a%d", i)
	}
	k.change(minus[:maxRemoved]...)
	if got := k.at("/many", full); got != "unknown" {
		t.Errorf("with enough removed since: %s", got)
	}
}

// TestRemovedAreForgotten: of those removed only the newest many can come back,
// and before the newest that cannot nothing is known for sure.
func TestRemovedAreForgotten(t *testing.T) {
	k := newKeeper(t)
	before := k.change("/old", "/stays")
	k.change("-/old")
	many, minus := make([]string, maxRemoved), make([]string, maxRemoved)
	for i := range many {
		many[i] = fmt.Sprintf("/many/a%d", i)
		minus[i] = "-" + many[i]
	}
	full := k.change(many...)
	if got := k.at("/", before); got != "[/old /stays]" {
		t.Errorf("before anything is forgotten: %s", got)
	}
	k.change(minus...)
	if got := k.at("/", before); got != "unknown" {
		t.Errorf("with more removed than are kept: %s", got)
	}
	if got := k.at("/stays", full); got != "[/stays]" {
		t.Errorf("after it: %s", got)
	}
	if past, err := k.GroupAt(context.Background(), "/many", full); err != nil || len(past.Apps) != maxRemoved {
		t.Errorf("%v: of the newest removed %d are kept", err, len(past.Apps))
	}
	if got := k.versions("/"); len(got) != 2 || got[1] != full {
		t.Errorf("versions are %v", got)
	}
	if v, err := k.Version(context.Background(), "/old", before); err != nil || v != nil {
		t.Errorf("what is forgotten is kept: %v %v", v, err)
	}
}
