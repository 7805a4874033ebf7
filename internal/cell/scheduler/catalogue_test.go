package scheduler

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"howdah.dev/howdah/internal/cell/app"
)

// TestCatalogue: whatever was wanted and unwanted in however many commits, the
// catalogue says what counting all apps anew says.
func TestCatalogue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, cfg := newState(), &Config{}
		cfg.defaults()
		ids := []string{"/a", "/g/a", "/g/b", "/g/h/c", "/gh/a"}
		for range rapid.IntRange(1, 10).Draw(rt, "commits") {
			tx := newTx(s, cfg, time.Unix(1, 0))
			for range rapid.IntRange(0, 6).Draw(rt, "changes") {
				id := rapid.SampledFrom(ids).Draw(rt, "id")
				switch rapid.IntRange(0, 3).Draw(rt, "kind") {
				case 0:
					tx.unwant(id, app.Timestamp{})
				case 1: // gone at last
					if a := tx.apps.get(id); a != nil && a.Removed {
						tx.forget(a)
					}
				default:
					port := app.PortDefinition{Port: rapid.IntRange(10000, 10002).Draw(rt, "port")}
					tx.want(&app.App{ID: id, VersionInfo: &app.VersionInfo{}, PortDefinitions: []app.PortDefinition{port}})
				}
			}
			look(rt, tx)
			if rapid.Bool().Draw(rt, "commit") {
				tx.merge()
			}
		}
		all, again := newCatalogue(), newCatalogue()
		for _, a := range s.apps {
			if !a.Removed {
				all.count(a.Spec, 1)
			}
		}
		again.merge(newCatalogue())
		s.catalogue.merge(newCatalogue())
		again.merge(all)
		if !slices.Equal(again.taken, s.catalogue.taken) {
			rt.Error("the table of ports differs")
		}
		if diff := cmp.Diff(again.beneath, s.catalogue.beneath); diff != "" {
			rt.Error(diff)
		}
		if diff := cmp.Diff(again.ports, s.catalogue.ports); diff != "" {
			rt.Error(diff)
		}
	})
}

// look compares what an update is told with a look at every app.
func look(rt *rapid.T, tx *tx) {
	w := Wanted{tx}
	for _, id := range []string{"/a", "/g", "/g/h", "/g/a", "/gh", "/h"} {
		beneath := false
		for a := range w.Apps() {
			beneath = beneath || a.ID != id && app.Within(a.ID, id)
		}
		if w.Beneath(id) != beneath {
			rt.Errorf("Beneath(%s) is %t", id, !beneath)
		}
	}
	for port := 10000; port < 10003; port++ {
		taken := false
		for a := range w.Apps() {
			taken = taken || a.PortDefinitions[0].Port == port
		}
		if w.TakesPort(port) != taken {
			rt.Errorf("TakesPort(%d) is %t", port, !taken)
		}
	}
}
