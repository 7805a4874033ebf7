package app

import "slices"

// Unreserved is the role of resources that nobody reserved.
const Unreserved = "*"

// singleInstanceLabel marks an app of which there may never be two instances.
const singleInstanceLabel = "MARATHON_SINGLE_INSTANCE_APP"

// Limits are what a cell sets for an app; see also Settings, which makes them for a
// place in the tree of groups.
type Limits struct {
	Role    string   // of an app that names none; "*" if empty
	Roles   []string // which roles an app may have besides Role
	Network string   // joined by an app that asks for a container network without a name
}

// blank is an app of which nothing is said yet but the id.
func blank(id string) *App {
	return &App{
		ID: id, BackoffFactor: 1.15, BackoffSeconds: 1, CPUs: 1, Instances: 1,
		MaxLaunchDelaySeconds: 300, Mem: 128, KillSelection: YoungestFirst,
		UpgradeStrategy: UpgradeStrategy{MaximumOverCapacity: 1, MinimumHealthCapacity: 1},
	}
}

// Normalise returns the app in canonical form: everything that follows from what is
// given is written out. It may share memory with a. Normalising twice changes
// nothing. Numbers are left as they are: 0 instances are wanted, not forgotten.
func Normalise(a *App, l Limits) *App {
	n := *a
	n.settle(l, true)
	return &n
}

// settle normalises in place, but changes nothing that a points to. portsGiven tells
// whether port definitions belong to this request; those of a stored app in host
// mode mean nothing once it has another network.
func (a *App) settle(l Limits, portsGiven bool) {
	a.ID = Canonical(a.ID, "/")
	if a.Role == "" {
		a.Role = l.Role
	}
	if a.Role == "" {
		a.Role = Unreserved
	}
	if a.KillSelection == "" {
		a.KillSelection = YoungestFirst
	}
	if a.Labels == nil {
		a.Labels = map[string]string{}
	}
	a.settleDependencies()
	a.settleLists()
	a.settleNetworks(l)
	if a.Host() {
		a.settleHostPorts()
	} else {
		a.settleMappings(portsGiven)
	}
	a.settleContainer()
	a.settleHealthChecks()
	for i, r := range a.ReadinessChecks {
		if len(r.HTTPStatusCodesForReady) == 0 {
			a.ReadinessChecks = slices.Clone(a.ReadinessChecks)
			a.ReadinessChecks[i].HTTPStatusCodesForReady = []int{200}
		}
	}
}

func (a *App) settleDependencies() {
	if len(a.Dependencies) == 0 {
		a.Dependencies = nil
		return
	}
	deps := make([]string, len(a.Dependencies))
	for i, d := range a.Dependencies {
		deps[i] = Canonical(d, Parent(a.ID))
	}
	a.Dependencies = distinct(deps)
}

// settleLists makes what is empty absent, so that equal apps are deeply equal.
func (a *App) settleLists() {
	a.AcceptedResourceRoles = some(a.AcceptedResourceRoles)
	a.Args = some(a.Args)
	a.Fetch = some(a.Fetch)
	a.HealthChecks = some(a.HealthChecks)
	a.ReadinessChecks = some(a.ReadinessChecks)
	a.Env = someMap(a.Env)
	a.Secrets = someMap(a.Secrets)
	// Constraints are a set, as with Marathon.
	var constraints []Constraint
	seen := map[string]bool{}
	for _, c := range a.Constraints {
		c = c.normalised()
		if !seen[c.key()] {
			constraints = append(constraints, c)
		}
		seen[c.key()] = true
	}
	a.Constraints = constraints
}

func some[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

func someMap[T any](m map[string]T) map[string]T {
	if len(m) == 0 {
		return nil
	}
	return m
}

func (a *App) settleNetworks(l Limits) {
	if len(a.Networks) == 0 {
		a.Networks = []Network{{Mode: ModeHost}}
	}
	networks := slices.Clone(a.Networks)
	for i, n := range networks {
		if n.Mode == ModeContainer && n.Name == "" {
			networks[i].Name = l.Network
		}
		networks[i].Labels = someMap(n.Labels)
	}
	a.Networks = networks
}

// Host tells whether the app's instances use the network of their worker.
func (a *App) Host() bool {
	return !slices.ContainsFunc(a.Networks, func(n Network) bool { return n.Mode != ModeHost })
}

// Bridged tells whether the app's instances have the worker's bridge.
func (a *App) Bridged() bool {
	return slices.ContainsFunc(a.Networks, func(n Network) bool { return n.Mode == ModeBridge })
}

func (a *App) settleHostPorts() {
	if a.PortDefinitions == nil {
		a.PortDefinitions = []PortDefinition{{Name: "default", Protocol: "tcp"}}
	}
	defs := make([]PortDefinition, len(a.PortDefinitions))
	for i, d := range a.PortDefinitions {
		d.Labels = someMap(d.Labels)
		if d.Protocol == "" {
			d.Protocol = "tcp"
		}
		defs[i] = d
	}
	a.PortDefinitions = defs
	if a.Container != nil && len(a.Container.PortMappings) == 0 {
		c := *a.Container
		c.PortMappings = nil
		a.Container = &c
	}
}

// settleMappings gives an app with a network of its own its port mappings. Old
// clients send as many port definitions as they want mappings.
func (a *App) settleMappings(portsGiven bool) {
	c := Container{Type: TypeMesos}
	if a.Container != nil {
		c = *a.Container
	}
	mappings := c.PortMappings
	if mappings == nil {
		mappings = []PortMapping{{Name: "default"}}
	}
	mappings = slices.Clone(mappings)
	for portsGiven && len(mappings) < len(a.PortDefinitions) {
		mappings = append(mappings, PortMapping{})
	}
	for i := range mappings {
		m := &mappings[i]
		if m.Labels == nil {
			m.Labels = map[string]string{}
		}
		if m.Protocol == "" {
			m.Protocol = "tcp"
		}
		if m.HostPort == nil && a.Bridged() {
			m.HostPort = new(int)
		}
		m.NetworkNames = some(m.NetworkNames)
	}
	c.PortMappings = mappings
	a.Container = &c
	a.PortDefinitions = nil
	a.RequirePorts = false // means host ports
}

func (a *App) settleContainer() {
	if a.Container == nil {
		return
	}
	c := *a.Container
	if c.Volumes == nil {
		c.Volumes = []Volume{}
	}
	if c.Docker != nil {
		d := *c.Docker
		if d.Parameters == nil {
			d.Parameters = []Parameter{}
		}
		c.Docker = &d
	}
	a.Container = &c
}

func (a *App) settleHealthChecks() {
	a.HealthChecks = slices.Clone(a.HealthChecks)
	for i := range a.HealthChecks {
		h := &a.HealthChecks[i]
		http := h.Protocol == HealthHTTP || h.Protocol == HealthHTTPS
		switch {
		case h.Protocol == HealthCommand:
			h.Port, h.PortIndex = nil, nil // Marathon allows and drops them
		case h.Port == nil && h.PortIndex == nil && len(a.Ports()) > 0:
			h.PortIndex = new(int)
		}
		if h.Protocol == HealthCommand || h.Protocol == HealthTCP || h.Protocol == HealthMesosTCP {
			h.Path = ""
		}
		if !http {
			h.IgnoreHTTP1xx = nil
		} else if h.IgnoreHTTP1xx == nil {
			h.IgnoreHTTP1xx = new(bool)
		}
	}
}

// Single tells whether there may never be two instances of the app.
func (a *App) Single() bool { return a.Labels[singleInstanceLabel] == "true" }
