package app

import "math"

// appField is one field of an app in a body: how it is read and where it goes.
type appField struct {
	name string
	read func(cursor) func(*App)
}

// into makes the reader of a field that goes to one place of an App.
func into[T any](read func(cursor) T, at func(*App) *T) func(cursor) func(*App) {
	return func(c cursor) func(*App) {
		v := read(c)
		return func(a *App) { *at(a) = v }
	}
}

// maxInstances bounds what one app may ask for; Marathon's own limit is memory.
const maxInstances = 1_000_000

// appFields is every canonical field of an app but its id.
func appFields() []appField {
	anyNumber := number(0, math.MaxInt32)
	return []appField{
		{"acceptedResourceRoles", into(unique(anyText), func(a *App) *[]string { return &a.AcceptedResourceRoles })},
		{"args", into(list(anyText), func(a *App) *[]string { return &a.Args })},
		{"backoffFactor", into(number(1, 1e6), func(a *App) *float64 { return &a.BackoffFactor })},
		{"backoffSeconds", into(seconds, func(a *App) *int { return &a.BackoffSeconds })},
		{"cmd", into(text(1, maxText), func(a *App) *string { return &a.Cmd })},
		{"constraints", into(readConstraints, func(a *App) *[]Constraint { return &a.Constraints })},
		{"container", into(readContainer, func(a *App) **Container { return &a.Container })},
		{"cpus", into(number(0.001, 1e6), func(a *App) *float64 { return &a.CPUs })},
		{"dependencies", into(unique(readPath), func(a *App) *[]string { return &a.Dependencies })},
		{"disk", into(anyNumber, func(a *App) *float64 { return &a.Disk })},
		{"env", into(mapOf(readEnv), func(a *App) *map[string]EnvValue { return &a.Env })},
		{"executor", into(readExecutor, func(a *App) *string { return &a.Executor })},
		{"fetch", into(list(readFetch), func(a *App) *[]Fetch { return &a.Fetch })},
		{"healthChecks", into(list(readHealthCheck), func(a *App) *[]HealthCheck { return &a.HealthChecks })},
		{"check", into(readCheck, func(a *App) **Check { return &a.Check })},
		{"instances", into(integer(0, maxInstances), func(a *App) *int { return &a.Instances })},
		{"labels", into(mapOf(anyText), func(a *App) *map[string]string { return &a.Labels })},
		{"maxLaunchDelaySeconds", into(seconds, func(a *App) *int { return &a.MaxLaunchDelaySeconds })},
		{"mem", into(anyNumber, func(a *App) *float64 { return &a.Mem })},
		{"gpus", into(readGPUs, func(a *App) *int { return &a.GPUs })},
		{"networks", into(list(readNetwork), func(a *App) *[]Network { return &a.Networks })},
		{"portDefinitions", into(list(readPortDefinition), func(a *App) *[]PortDefinition { return &a.PortDefinitions })},
		{"readinessChecks", into(list(readReadinessCheck), func(a *App) *[]ReadinessCheck { return &a.ReadinessChecks })},
		{"requirePorts", into(boolean, func(a *App) *bool { return &a.RequirePorts })},
		{"secrets", into(mapOf(readSecret), func(a *App) *map[string]SecretDef { return &a.Secrets })},
		{"taskKillGracePeriodSeconds", into(readGrace, func(a *App) **int { return &a.TaskKillGracePeriodSeconds })},
		{"upgradeStrategy", into(readUpgrade, func(a *App) *UpgradeStrategy { return &a.UpgradeStrategy })},
		{"user", into(text(0, 256), func(a *App) *string { return &a.User })},
		{"unreachableStrategy", into(readUnreachable, func(a *App) *UnreachableStrategy { return &a.UnreachableStrategy })},
		{"killSelection", into(oneOf(YoungestFirst, OldestFirst), func(a *App) *string { return &a.KillSelection })},
		{"role", into(text(1, 256), func(a *App) *string { return &a.Role })},
		{"resourceLimits", into(readLimits, func(a *App) **ResourceLimits { return &a.ResourceLimits })},
	}
}

// appWords are the names an app's body may have.
func appWords() words {
	w := words{
		known: []string{"id", "version", "ports", "uris", "ipAddress"},
		// What Marathon answers besides the app; a body of GET can be put back.
		dropped: []string{
			"versionInfo", "tasks", "tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy",
			"deployments", "readinessCheckResults", "lastTaskFailure", "taskStats",
		},
		refused: map[string]string{
			"residency":         "Remove it: apps with volumes that stay on one worker cannot run here; write to a dataset instead.",
			"executorResources": "Remove it: tasks run without an executor process of their own.",
			"tty":               "Remove it: tasks have no terminal; use howdah app exec.",
			"storeUrls":         "Use fetch.",
		},
	}
	for _, f := range appFields() {
		w.known = append(w.known, f.name)
	}
	return w
}

// unique reads a list as Marathon reads a set: what is given twice counts once.
func unique(read func(cursor) string) func(cursor) []string {
	return func(c cursor) []string { return distinct(list(read)(c)) }
}

func distinct(in []string) []string {
	seen := map[string]bool{}
	out := in[:0:0]
	for _, s := range in {
		if !seen[s] {
			out = append(out, s)
		}
		seen[s] = true
	}
	return out
}

func readConstraints(c cursor) []Constraint {
	var out []Constraint
	for _, raw := range list(list(anyText))(c) {
		out = append(out, raw)
	}
	return out
}

// readExecutor accepts what means the command executor.
func readExecutor(c cursor) string {
	s := anyText(c)
	if s != "" && s != "//cmd" {
		c.refuse("custom executors are "+unsupported, `Remove it, or write "//cmd".`)
	}
	return s
}

func readGPUs(c cursor) int {
	n := integer(0, math.MaxInt32)(c)
	if n > 0 {
		c.refuse("GPUs are "+unsupported, "Write 0.")
	}
	return n
}

func readGrace(c cursor) *int {
	n := seconds(c)
	return &n
}

func readEnv(c cursor) EnvValue {
	switch c.n.kind {
	case stringNode:
		return EnvValue{Value: anyText(c)}
	case objectNode:
		o, _ := c.object(words{known: []string{"secret"}})
		o.need("secret", "the name of a secret of the app")
		return EnvValue{Secret: field(o, "secret", "", text(1, 1024))}
	default:
		c.shape("error.expected.jsstring", `a text or {"secret": NAME}`)
		return EnvValue{}
	}
}

func readSecret(c cursor) SecretDef {
	o, ok := c.object(words{known: []string{"source"}})
	if ok {
		o.need("source", "where the secret is kept")
	}
	return SecretDef{Source: field(o, "source", "", text(1, 1024))}
}

func readFetch(c cursor) Fetch {
	o, ok := c.object(words{known: []string{"uri", "extract", "executable", "cache", "destPath"}})
	if ok {
		o.need("uri", "a URI")
	}
	return Fetch{
		URI:        field(o, "uri", "", text(1, 1024)),
		Extract:    field(o, "extract", true, boolean),
		Executable: field(o, "executable", false, boolean),
		Cache:      field(o, "cache", false, boolean),
		DestPath:   field(o, "destPath", "", text(1, 1024)),
	}
}

func readUpgrade(c cursor) UpgradeStrategy {
	o, _ := c.object(words{known: []string{"maximumOverCapacity", "minimumHealthCapacity"}})
	// The bounds 0 and 1 are a rule of validation, with Marathon's words there.
	part := number(-1e6, 1e6)
	return UpgradeStrategy{
		MaximumOverCapacity:   field(o, "maximumOverCapacity", 1, part),
		MinimumHealthCapacity: field(o, "minimumHealthCapacity", 1, part),
	}
}

func readUnreachable(c cursor) UnreachableStrategy {
	if c.n.kind == stringNode {
		return UnreachableStrategy{Disabled: oneOf(disabled)(c) == disabled}
	}
	o, _ := c.object(words{known: []string{"inactiveAfterSeconds", "expungeAfterSeconds"}})
	return UnreachableStrategy{
		InactiveAfterSeconds: int64(field(o, "inactiveAfterSeconds", 0, seconds)),
		ExpungeAfterSeconds:  int64(field(o, "expungeAfterSeconds", 0, seconds)),
	}
}

func readLimits(c cursor) *ResourceLimits {
	o, _ := c.object(words{known: []string{"cpus", "mem"}})
	l := &ResourceLimits{CPUs: optional(o, "cpus", readLimit), Mem: optional(o, "mem", readLimit)}
	if l.CPUs == nil && l.Mem == nil {
		return nil
	}
	return l
}

func readLimit(c cursor) ResourceLimit {
	if c.n.kind == stringNode {
		return ResourceLimit{Unlimited: oneOf(unlimited)(c) == unlimited}
	}
	return ResourceLimit{Value: number(0, math.MaxInt32)(c)}
}
