package marathon

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/instance"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/scheduler"
)

// maxIDs bounds the ids of one call.
const maxIDs = 10_000

type tasksBody struct {
	Tasks []taskView `json:"tasks"`
}

type taskBody struct {
	Task taskView `json:"task"`
}

func (a *API) listTasks(_ http.ResponseWriter, c *call) (any, error) {
	q := c.URL.Query()
	wanted := map[mesos.TaskState]bool{}
	for _, s := range append(q["status"], q["status[]"]...) {
		switch strings.ToLower(s) { // others are passed over, as by Marathon
		case "running":
			wanted[mesos.TaskRunning] = true
		case "staging":
			wanted[mesos.TaskStaging], wanted[mesos.TaskStarting] = true, true
		}
	}
	out := tasksBody{Tasks: []taskView{}}
	a.engine.View(func(v scheduler.View) {
		for at := range v.Apps() {
			if !owns(c.who, at.Spec.ID) {
				continue
			}
			for _, i := range v.Instances(at.Spec.ID) {
				if len(wanted) == 0 || wanted[i.State] {
					out.Tasks = append(out.Tasks, withServicePorts(at.Spec, showTask(v, i)))
				}
			}
		}
	})
	return out, nil
}

func withServicePorts(spec *app.App, t taskView) taskView {
	t.ServicePorts = servicePorts(spec)
	return t
}

func (a *API) appTasks(_ http.ResponseWriter, c *call) (any, error) {
	group, many := strings.CutSuffix(c.id, "/*")
	exists := a.exists
	if many {
		exists = func(c *call) error { return a.groupExists(c, group) }
	}
	if err := exists(c); err != nil {
		return nil, err
	}
	out := tasksBody{Tasks: []taskView{}}
	a.engine.View(func(v scheduler.View) {
		for at := range v.Apps() {
			if id := at.Spec.ID; id != c.id && (!many || !app.Within(id, groupOf(group))) || !owns(c.who, id) {
				continue
			}
			for _, i := range v.Instances(at.Spec.ID) {
				out.Tasks = append(out.Tasks, showTask(v, i))
			}
		}
	})
	return out, nil
}

// killing says how instances are to be killed.
type killing struct {
	scale, wipe, dry bool
}

func readKilling(c *call) (killing, error) {
	q := c.URL.Query()
	k := killing{scale: flag(q, "scale", false), wipe: flag(q, "wipe", false), dry: flag(q, "dryRun", false)}
	if k.scale && k.wipe {
		return k, &statusError{http.StatusBadRequest, "You cannot use scale and wipe at the same time."}
	}
	return k, nil
}

// mayKill answers for an app that is not the caller's, or not there.
func (a *API) mayKill(c *call) error {
	if !owns(c.who, c.id) {
		return foreign(c.who, c.id)
	}
	return a.exists(c)
}

func (a *API) killAppTasks(w http.ResponseWriter, c *call) (any, error) {
	if err := a.mayKill(c); err != nil {
		return nil, err
	}
	host := c.URL.Query().Get("host")
	killed, answer, err := a.kill(w, c, func(v scheduler.View) []*instance.Instance {
		return slices.DeleteFunc(v.Instances(c.id), func(i *instance.Instance) bool { return host != "" && i.Host != host && i.Reach() != host })
	})
	if err != nil || answer != nil {
		return answer, err
	}
	return tasksBody{killed}, nil
}

func (a *API) killAppTask(w http.ResponseWriter, c *call) (any, error) {
	if err := a.mayKill(c); err != nil {
		return nil, err
	}
	killed, answer, err := a.kill(w, c, func(v scheduler.View) []*instance.Instance {
		if i := byTask(v, c.sub); i != nil && i.App == c.id {
			return []*instance.Instance{i}
		}
		return nil
	})
	switch {
	case err != nil || answer != nil:
		return answer, err
	case len(killed) == 0:
		return nil, notFound("Task '" + clean(c.sub) + "' does not exist")
	}
	return taskBody{killed[0]}, nil
}

// byTask finds the instance of a task id, or of an instance id.
func byTask(v scheduler.View, id string) *instance.Instance {
	if of, _, ok := instance.OfTask(id); ok {
		id = of
	}
	return v.Instance(id)
}

func (a *API) killTasks(w http.ResponseWriter, c *call) (any, error) {
	text, err := c.body()
	if err != nil {
		return nil, err
	}
	ids, err := readIDs(text)
	if err != nil {
		return nil, err
	}
	killed, answer, err := a.kill(w, c, func(v scheduler.View) []*instance.Instance {
		var out []*instance.Instance
		for _, id := range ids {
			if i := byTask(v, id); i != nil && owns(c.who, i.App) && !slices.Contains(out, i) {
				out = append(out, i)
			}
		}
		return out
	})
	if err != nil || answer != nil {
		return answer, err
	}
	return tasksBody{killed}, nil
}

// readIDs reads the body of POST /v2/tasks/delete.
func readIDs(text []byte) ([]string, error) {
	var in struct {
		IDs []string `json:"ids"`
	}
	var wrong *json.UnmarshalTypeError
	switch err := json.Unmarshal(text, &in); {
	case errors.As(err, &wrong):
		return nil, &app.Error{
			Status: http.StatusUnprocessableEntity, Message: app.MessageInvalidJSON,
			Details:  []app.Detail{{Path: "/ids", Errors: []string{"error.expected.jsarray"}}},
			Findings: []app.Finding{{Pointer: "/ids", Message: "it must be a list of task ids", Remedy: `Write {"ids": ["<TASK_ID>"]}.`}},
		}
	case err != nil:
		return nil, &app.Error{
			Status: http.StatusBadRequest, Message: app.MessageInvalidJSON, Details: err.Error(),
			Findings: []app.Finding{{Message: err.Error(), Remedy: "Send valid JSON."}},
		}
	case len(in.IDs) > maxIDs:
		return nil, &statusError{http.StatusBadRequest, "At most 10,000 task ids may be given at once."}
	}
	for _, id := range in.IDs {
		if _, _, ok := instance.OfTask(id); !ok && !strings.Contains(id, ".instance-") {
			return nil, &statusError{http.StatusBadRequest, "Invalid task id '" + clean(id) + "'"}
		}
	}
	return in.IDs, nil
}

// kill ends the chosen instances. With scale the apps shrink by as many, which
// is a deployment, and that is the answer.
func (a *API) kill(w http.ResponseWriter, c *call, choose func(scheduler.View) []*instance.Instance) (killed []taskView, answer any, err error) {
	k, err := readKilling(c)
	if err != nil {
		return nil, nil, err
	}
	killed = []taskView{}
	var ids []string
	fewer := map[string]int{}
	a.engine.View(func(v scheduler.View) {
		for _, i := range choose(v) {
			killed = append(killed, showTask(v, i))
			ids = append(ids, i.ID)
			fewer[i.App]++
		}
	})
	if len(ids) == 0 || k.dry && !k.scale {
		return killed, nil, nil
	}
	if !k.scale {
		return killed, nil, a.engine.Kill(c.Context(), ids)
	}
	answer, err = a.update(w, c, false, func(wanted scheduler.Wanted) (scheduler.Change, error) {
		change := scheduler.Change{Kill: ids}
		for id, n := range fewer {
			if spec := wanted.App(id); spec != nil {
				smaller := *spec
				smaller.Instances = max(0, spec.Instances-n)
				change.Put = append(change.Put, &smaller)
			}
		}
		return change, nil
	})
	return nil, answer, err
}
