package app

import (
	"reflect"
	"slices"
	"strings"
)

// parts are the fields of an App by their JSON names, as pointers.
func (a *App) parts() map[string]any {
	return map[string]any{
		"id": &a.ID, "acceptedResourceRoles": &a.AcceptedResourceRoles, "args": &a.Args, "backoffFactor": &a.BackoffFactor,
		"backoffSeconds": &a.BackoffSeconds, "cmd": &a.Cmd, "constraints": &a.Constraints, "container": &a.Container,
		"cpus": &a.CPUs, "dependencies": &a.Dependencies, "disk": &a.Disk, "env": &a.Env, "executor": &a.Executor,
		"fetch": &a.Fetch, "healthChecks": &a.HealthChecks, "check": &a.Check, "instances": &a.Instances, "labels": &a.Labels,
		"maxLaunchDelaySeconds": &a.MaxLaunchDelaySeconds, "mem": &a.Mem, "gpus": &a.GPUs, "networks": &a.Networks,
		"portDefinitions": &a.PortDefinitions, "readinessChecks": &a.ReadinessChecks, "requirePorts": &a.RequirePorts,
		"secrets": &a.Secrets, "taskKillGracePeriodSeconds": &a.TaskKillGracePeriodSeconds,
		"upgradeStrategy": &a.UpgradeStrategy, "user": &a.User, "unreachableStrategy": &a.UnreachableStrategy,
		"killSelection": &a.KillSelection, "role": &a.Role, "resourceLimits": &a.ResourceLimits,
	}
}

// Changes names the fields in which two normalised apps differ, sorted; versions do
// not count. An app that was not there (nil) differs in none.
func Changes(a, b *App) []string {
	if a == nil || b == nil {
		return nil
	}
	var names []string
	theirs := b.parts()
	for name, mine := range a.parts() {
		if !reflect.DeepEqual(mine, theirs[name]) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, strings.Compare)
	return names
}
