package scheduler

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/deploy"
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
					tx.unwant(id)
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

// TestProgressIsWrittenNowAndThen: progress alone is not worth a write each time,
// anything else of a deployment is.
func TestProgressIsWrittenNowAndThen(t *testing.T) {
	cfg := &Config{}
	cfg.defaults()
	s, now := newState(), time.Unix(100, 0)
	d := &Deployment{ID: "d", Layers: [][]string{{"/a"}}, Before: map[string]Before{"/a": {}}}
	s.deployments["d"] = d
	s.apps["/a"] = &App{Spec: &app.App{ID: "/a", Instances: 9, VersionInfo: &app.VersionInfo{}}}
	for _, step := range []struct {
		after   time.Duration
		best    int
		stalled string
		written bool
	}{
		{0, 1, "", true}, // for the first time
		{time.Second, 2, "", false},
		{progressWrite, 3, "", true},
		{time.Second, 3, "nothing moves", true},
		{time.Second, 4, "", true}, // it moves again
	} {
		now = now.Add(step.after)
		tx := newTx(s, cfg, now)
		tx.decisions.put("/a", decision(step.best, step.stalled))
		tx.step(s.deployments["d"])
		if _, written := tx.worthWriting()["d"]; written != step.written {
			t.Errorf("%+v: written is %t", step, written)
		}
		tx.merge()
		if got := s.deployments["d"]; got.Best != step.best || (got.Stalled != "") != (step.stalled != "") {
			t.Errorf("%+v: %+v", step, got)
		}
	}
}

func decision(progress int, stalled string) *deploy.Decision {
	return &deploy.Decision{Progress: progress, Stalled: stalled, Wait: "waits"}
}
