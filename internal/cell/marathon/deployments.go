package marathon

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/deploy"
	"howdah.dev/howdah/internal/cell/scheduler"
	"howdah.dev/howdah/internal/tenant"
)

// deploymentView is a deployment as the API shows it. Stalled is Howdah's own:
// why nothing moves, once the progress deadline has passed. Waiting says for
// each app what it waits for.
type deploymentView struct {
	ID             string            `json:"id"`
	Version        app.Timestamp     `json:"version"`
	AffectedApps   []string          `json:"affectedApps"`
	AffectedPods   []string          `json:"affectedPods"`
	Steps          []deploy.Step     `json:"steps"`
	CurrentActions []currentAction   `json:"currentActions"`
	CurrentStep    int               `json:"currentStep"`
	TotalSteps     int               `json:"totalSteps"`
	Waiting        map[string]string `json:"waiting,omitempty"`
	Stalled        string            `json:"stalled,omitempty"`
}

type currentAction struct {
	Action    string                  `json:"action"`
	App       string                  `json:"app"`
	Readiness []scheduler.ReadyResult `json:"readinessCheckResults"`
}

func (a *API) listDeployments(_ http.ResponseWriter, c *call) (any, error) {
	var out []deploymentView
	a.engine.View(func(v scheduler.View) { out = deploymentsOf(v, c.who) })
	return out, nil
}

// deploymentsOf shows the deployments that touch nothing but what is a caller's.
func deploymentsOf(v scheduler.View, who tenant.Token) []deploymentView {
	out := []deploymentView{}
	for _, d := range v.Deployments() {
		if !slices.ContainsFunc(d.Apps(), func(id string) bool { return !owns(who, id) }) {
			out = append(out, showDeployment(v, d))
		}
	}
	return out
}

func showDeployment(v scheduler.View, d *scheduler.Deployment) deploymentView {
	apps := d.Apps()
	slices.Sort(apps)
	out := deploymentView{
		ID: d.ID, Version: d.Version, AffectedApps: apps, AffectedPods: []string{}, Steps: d.Steps, CurrentActions: []currentAction{},
		TotalSteps: len(d.Steps), Waiting: map[string]string{}, Stalled: d.Stalled,
	}
	if out.AffectedApps == nil {
		out.AffectedApps = []string{}
	}
	if out.Steps == nil {
		out.Steps = []deploy.Step{}
	}
	current := d.Step()
	out.CurrentStep = current + 1
	if current < len(d.Steps) {
		for _, action := range d.Steps[current].Actions {
			out.CurrentActions = append(out.CurrentActions, currentAction{Action: action.Action, App: action.App, Readiness: v.Readiness(action.App)})
		}
	}
	now := time.Now()
	for _, id := range apps {
		if wait := v.Waits(id, now); wait != "" {
			out.Waiting[id] = wait
		}
	}
	return out
}

// cancelDeployment takes a deployment back, or with force ends it as it stands.
func (a *API) cancelDeployment(w http.ResponseWriter, c *call) (any, error) {
	id := c.id[1:]
	var found *scheduler.Deployment
	a.engine.View(func(v scheduler.View) { found = v.Deployment(id) })
	if found == nil {
		return nil, notFound("DeploymentPlan " + clean(id) + " does not exist")
	}
	for _, of := range found.Apps() {
		if !owns(c.who, of) {
			return nil, foreign(c.who, of)
		}
	}
	q := c.URL.Query()
	dry := flag(q, "dryRun", false)
	switch {
	case flag(q, "force", false) && dry:
		return dryRun{[]deploy.Step{}}, nil
	case flag(q, "force", false):
		return noContent(http.StatusAccepted), a.engine.Cancel(c.Context(), id)
	}
	d, err := a.engine.Rollback(c.Context(), id, dry)
	if gone, ok := errors.AsType[*scheduler.GoneError](err); ok {
		return nil, &app.Error{
			Status: http.StatusUnprocessableEntity, Message: "The deployment cannot be taken back: " + gone.Error(),
			Findings: []app.Finding{{Message: gone.Error(), Remedy: "Cancel it as it stands with DELETE /v2/deployments/" + clean(id) + "?force=true, then change " + gone.App + " to what it is to be."}},
		}
	}
	if err != nil {
		return nil, err
	}
	if dry {
		return showDry(d), nil
	}
	return deployed(w, d), nil
}
