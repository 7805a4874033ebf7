package deploy

import (
	"maps"
	"slices"

	"howdah.dev/howdah/internal/cell/app"
)

// Actions of steps, in Marathon's words.
const (
	StopApplication    = "StopApplication"
	StartApplication   = "StartApplication" // does nothing: a new app is scaled afterwards
	ScaleApplication   = "ScaleApplication"
	RestartApplication = "RestartApplication"
)

// Step is what a deployment does at one time, as the API shows it.
type Step struct {
	Actions []Action `json:"actions"`
}

// Action is what a step does with one app.
type Action struct {
	Action string `json:"action"`
	App    string `json:"app"`
}

// Steps returns what leads from the apps before to those after: removed ones
// stop, new ones appear, then layer by layer apps are scaled or replaced. Layers
// come from app.Layers, and may hold apps that do not change. Nothing is kept of
// the steps but their names: what is done is for Next to say.
func Steps(before, after map[string]*app.App, layers [][]string) []Step {
	var steps []Step
	add := func(actions []Action) {
		if len(actions) > 0 {
			steps = append(steps, Step{actions})
		}
	}
	add(missing(before, after, StopApplication))
	add(missing(after, before, StartApplication))
	for _, layer := range layers {
		var actions []Action
		for _, id := range layer {
			if action := change(before[id], after[id]); action != "" {
				actions = append(actions, Action{action, id})
			}
		}
		add(actions)
	}
	return steps
}

// missing names an action for each app that is in one and not in the other.
func missing(in, from map[string]*app.App, action string) []Action {
	var actions []Action
	for _, id := range slices.Sorted(maps.Keys(in)) {
		if in[id] != nil && from[id] == nil {
			actions = append(actions, Action{action, id})
		}
	}
	return actions
}

// change returns what an app needs to become another, "" for nothing.
func change(before, after *app.App) string {
	switch {
	case after == nil:
		return ""
	case before == nil:
		return ScaleApplication
	case !sameVersion(before, after):
		if after.Instances == 0 {
			return ScaleApplication
		}
		return RestartApplication
	case before.Instances != after.Instances:
		return ScaleApplication
	default:
		return ""
	}
}

// sameVersion tells whether instances of one need not be replaced for the other.
// A restart is a new version of the same configuration.
func sameVersion(a, b *app.App) bool {
	return a == b || app.SameConfig(a, b) && a.ConfigVersion().Equal(b.ConfigVersion().Time)
}
