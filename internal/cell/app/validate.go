package app

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// Validate reports everything that is wrong with a normalised app, nil if nothing.
func Validate(a *App, l Limits) *Error { return a.check(place{}, l).err() }

// checker collects what rules find.
type checker struct {
	app  *App
	at   place
	list problems
}

// add reports a rule that is broken at a path of field names and indexes.
func (c *checker) add(text, remedy string, path ...any) {
	at := c.at
	for _, p := range path {
		switch p := p.(type) {
		case string:
			at = at.field(p)
		case int:
			at = at.index(p)
		}
	}
	c.list = append(c.list, problem{place: at, text: text, remedy: remedy})
}

func (a *App) check(at place, l Limits) problems {
	c := &checker{app: a, at: at}
	c.size()
	c.id()
	c.command()
	c.amounts()
	c.roles(l)
	c.containers()
	c.networks()
	c.ports()
	c.healthChecks()
	c.check()
	c.readiness()
	c.strategies()
	c.secrets()
	for i, constraint := range a.Constraints {
		if text := constraint.Problem(); text != "" {
			c.add(text, "See the reference of constraints; regular expressions are those of RE2.", "constraints", i)
		}
	}
	for i, f := range a.Fetch {
		if u, err := url.Parse(f.URI); err != nil || u.Scheme == "" && u.Host == "" && u.Path == "" {
			c.add("URI has invalid syntax.", "Write a URI such as https://example.com/file.tgz.", "fetch", i, "uri")
		}
	}
	return c.list
}

// maxSize bounds an app as JSON. Its task, which repeats the labels as variables and
// goes to its worker with others in one call of 4 MiB, is up to four times as long.
const maxSize = 512 << 10

func (c *checker) size() {
	if text, err := json.Marshal(c.app); err == nil && len(text) > maxSize {
		c.add("it has "+itoa(len(text))+" bytes as JSON, at most "+itoa(maxSize)+" may be", "Put what is large into files to fetch or into the image.")
	}
}

func (c *checker) id() {
	a := c.app
	if a.ID == "/" || a.ID == "" {
		c.add("Path must contain at least one path element", "Give the app a name.", "id")
		return
	}
	if text, remedy := checkPath(a.ID); text != "" {
		c.add(text, remedy, "id")
	}
	if len(a.ID) > maxID {
		c.add("must be at most "+itoa(maxID)+" characters long, with its groups", "Shorten it: ids of tasks and names of folders are made of it.", "id")
	}
	for i, d := range a.Dependencies {
		if text, remedy := checkPath(d); text != "" && d != "/" {
			c.add(text, remedy, "dependencies", i)
		} else if d == a.ID {
			c.add("Dependency graph has cyclic dependencies.", "Remove the app from its own dependencies.", "dependencies", i)
		}
	}
}

func (c *checker) command() {
	a := c.app
	cmd, args := a.Cmd != "", len(a.Args) > 0
	container := a.Container != nil && (a.Container.Docker != nil || a.Container.Type == TypeMesos)
	if cmd && args || !cmd && !args && !container {
		c.add("AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
			"Keep one of cmd and args; an app in a container may have neither.")
	}
	for name := range a.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			c.add("must not be empty and must not contain '='", "Rename the variable.", "env", name)
		}
	}
	if strings.ContainsAny(a.User, ": \n\x00") {
		c.add("must be the name or number of a user", "Name one user, without a group.", "user")
	}
}

func (c *checker) amounts() {
	a := c.app
	if a.Single() && a.Instances > 1 {
		c.add("Single instance app may only have one instance", "Write 1 or 0 instances, or remove the label "+singleInstanceLabel+".")
	}
	limit := func(name string, l *ResourceLimit, request float64) {
		if l != nil && !l.Unlimited && l.Value < request {
			c.add("resource limit must be greater than or equal to requested resource ("+decimal(request)+")",
				`Raise the limit, or write "unlimited".`, "resourceLimits", name)
		}
	}
	if a.ResourceLimits != nil {
		limit("cpus", a.ResourceLimits.CPUs, a.CPUs)
		limit("mem", a.ResourceLimits.Mem, a.Mem)
	}
}

func (c *checker) roles(l Limits) {
	a := c.app
	valid := l.allowed()
	if !slices.Contains(valid, a.Role) {
		c.add("got "+a.Role+", expected one of: "+strings.Join(valid, ", "), "Use one of these roles, or none.", "role")
	}
	for _, r := range a.AcceptedResourceRoles {
		if r != Unreserved && r != a.Role {
			both := slices.Compact([]string{Unreserved, a.Role})
			c.add("acceptedResourceRoles can only contain "+strings.Join(both, " and "), "Remove "+clip(r)+".", "acceptedResourceRoles")
		}
	}
}

// allowed lists the roles an app may have, each once.
func (l Limits) allowed() []string {
	role := l.Role
	if role == "" {
		role = Unreserved
	}
	roles := slices.DeleteFunc(distinct(append([]string{role}, l.Roles...)), func(r string) bool { return r == "" })
	slices.Sort(roles)
	return roles
}

func (c *checker) strategies() {
	u := c.app.UpgradeStrategy
	part := func(name string, v float64) {
		switch {
		case v > 1:
			c.add("is greater than 1", "Write a number from 0 to 1.", "upgradeStrategy", name)
		case v < 0:
			c.add("is less than 0", "Write a number from 0 to 1.", "upgradeStrategy", name)
		case v != 0 && c.app.Single():
			c.add("got "+decimal(v)+", expected 0.0", "Write 0: there may never be two instances of this app.", "upgradeStrategy", name)
		}
	}
	part("minimumHealthCapacity", u.MinimumHealthCapacity)
	part("maximumOverCapacity", u.MaximumOverCapacity)
	if r := c.app.UnreachableStrategy; r.InactiveAfterSeconds > r.ExpungeAfterSeconds {
		c.add("inactiveAfterSeconds must be less than or equal to expungeAfterSeconds", "Raise expungeAfterSeconds.", "unreachableStrategy")
	}
}

func (c *checker) secrets() {
	a := c.app
	names := make([]string, 0, len(a.Env))
	for name, v := range a.Env {
		if _, ok := a.Secrets[v.Secret]; v.Secret != "" && !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		c.add("references an undefined secret", "Name it in secrets.", "env", name, "secret")
	}
	for name := range a.Secrets {
		if name == "" {
			c.add("must not be empty", "Give the secret a name.", "secrets", name)
		}
	}
}
