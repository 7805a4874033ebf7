package marathon

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/scheduler"
)

// What is under /howdah/v1 is no part of Marathon's API.

// drainBody says what a worker that is emptied still holds, and what the apps of
// that wait for.
type drainBody struct {
	Worker  string            `json:"worker"`
	Drained bool              `json:"drained"`
	Tasks   []string          `json:"tasks"`
	Waiting map[string]string `json:"waiting,omitempty"` // by app
}

func (a *API) getDrain(_ http.ResponseWriter, c *call) (any, error) {
	id := strings.TrimPrefix(c.id, "/")
	out := drainBody{Worker: id, Tasks: []string{}, Waiting: map[string]string{}}
	a.engine.View(func(v scheduler.View) {
		for _, d := range v.Drained() {
			out.Drained = out.Drained || d == id
		}
		for _, i := range v.OnWorker(id) {
			if at := v.Instance(i); owns(c.who, at.App) {
				out.Tasks = append(out.Tasks, at.TaskID())
				if wait := v.Waits(at.App, time.Now()); wait != "" && out.Drained {
					out.Waiting[at.App] = wait
				}
			}
		}
	})
	return out, nil
}

func (a *API) startDrain(w http.ResponseWriter, c *call) (any, error) {
	if err := a.engine.Drain(c.Context(), strings.TrimPrefix(c.id, "/"), false); err != nil {
		return nil, err
	}
	return a.getDrain(w, c)
}

func (a *API) endDrain(w http.ResponseWriter, c *call) (any, error) {
	if err := a.engine.Drain(c.Context(), strings.TrimPrefix(c.id, "/"), true); err != nil {
		return nil, err
	}
	return a.getDrain(w, c)
}

// target is a group of addresses with the same labels, as Prometheus' HTTP
// service discovery wants it.
type target struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// targets lists every port of every running task.
func (a *API) targets(_ http.ResponseWriter, c *call) (any, error) {
	out := []target{}
	a.engine.View(func(v scheduler.View) {
		for at := range v.Apps() {
			if !owns(c.who, at.Spec.ID) {
				continue
			}
			for _, i := range v.Instances(at.Spec.ID) {
				if i.Condition == instance.Running {
					out = append(out, targetsOf(at, i)...)
				}
			}
		}
	})
	return out, nil
}

func targetsOf(at *scheduler.App, i *instance.Instance) []target {
	var out []target
	for n, p := range i.Ports {
		if p == 0 {
			continue
		}
		labels := map[string]string{
			"__meta_marathon_app": at.Spec.ID, "__meta_marathon_task": i.TaskID(), "__meta_marathon_port_index": strconv.Itoa(n), "__meta_marathon_worker": i.Host,
		}
		for key, value := range at.Spec.Labels {
			labels["__meta_marathon_app_label_"+safeLabel(key)] = value
		}
		out = append(out, target{[]string{net.JoinHostPort(i.Reach(), strconv.Itoa(p))}, labels})
	}
	return out
}

// safeLabel writes a name with the characters that Prometheus allows.
func safeLabel(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, s)
}
