package scheduler

import (
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/deploy"
)

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
