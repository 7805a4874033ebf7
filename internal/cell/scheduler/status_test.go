package scheduler

import (
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/mesos"
)

// TestNotice: that a task runs into a limit is kept, whatever else it says.
func TestNotice(t *testing.T) {
	cfg := &Config{}
	cfg.defaults()
	s := newState()
	s.apps["/a"] = &App{Spec: &app.App{ID: "/a", Instances: 1, VersionInfo: &app.VersionInfo{}, HealthChecks: []app.HealthCheck{{Protocol: "COMMAND"}}}}
	i := &instance.Instance{ID: instance.NewID("/a"), App: "/a", Incarnation: 1, Condition: instance.Running, State: mesos.TaskRunning}
	s.instances[i.ID], s.byApp["/a"] = i, instanceSet{i.ID: i}
	said := func(reason, message string, healthy bool) *instance.Instance {
		tx := newTx(s, cfg, time.Unix(100, 0))
		tx.status(&mesos.TaskStatus{TaskID: mesos.ID{Value: i.TaskID()}, State: mesos.TaskRunning, Reason: reason, Message: message, Healthy: &healthy})
		tx.merge()
		return s.instances[i.ID]
	}
	const limit = "limit of 1024 processes reached"
	if got := said(mesos.ReasonContainerLimit, limit, false); got.Notice != limit || got.Healthy != nil {
		t.Errorf("%+v", got)
	}
	if got := said(mesos.ReasonHealthCheck, "healthy", true); got.Notice != limit || got.Healthy == nil || !*got.Healthy {
		t.Errorf("%+v", got)
	}
}
