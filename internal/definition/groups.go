package definition

import (
	"fmt"
	"slices"
	"strings"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/document"
)

// sizes are BDE's instance types (reference bde.md 3.4): cores and MiB.
var sizes = map[string][2]int{"SMALL": {1, 3748}, "MEDIUM": {2, 7500}, "LARGE": {4, 15000}, "EXTRA_LARGE": {8, 30000}}

// maxNodes bounds a cluster; one group has the same bound in api.NodeGroup.
const maxNodes = 10000

func (c *completer) group(i int) *document.Node { return c.n.At("nodeGroups", i) }

// groups completes every group and checks them together.
func (c *completer) groups() {
	at := c.n.At("nodeGroups")
	if len(c.c.NodeGroups) == 0 {
		c.unclear = c.unclear || c.bad(at)
		for _, g := range c.s.Default.NodeGroups {
			c.c.NodeGroups = append(c.c.NodeGroups, api.NodeGroup{Name: g.Name, Roles: slices.Clone(g.Roles), InstanceNum: g.InstanceNum})
		}
	}
	nodes := 0
	for i := range c.c.NodeGroups {
		c.completeGroup(i, &c.c.NodeGroups[i])
		nodes += c.c.NodeGroups[i].InstanceNum
	}
	c.sameNames()
	switch {
	case nodes > maxNodes:
		c.unclear = true
		c.errorf(at, fmt.Sprintf("A cluster has at most %d.", maxNodes), "all groups together have %d nodes", nodes)
	case !c.bad(at):
		c.rules()
	}
}

// sameNames refuses groups of one name.
func (c *completer) sameNames() {
	seen := map[string]bool{}
	for i, g := range c.c.NodeGroups {
		if seen[g.Name] && g.Name != "" {
			c.unclear = true
			c.errorf(c.group(i).At("name"), "Give one of them another name.", "node group %s is defined twice", g.Name)
		}
		seen[g.Name] = true
	}
}

// completeGroup checks a group's roles and fills in its size. What could not
// be read is noted, so that nothing is said that hangs on it alone.
func (c *completer) completeGroup(i int, g *api.NodeGroup) {
	at := c.group(i)
	mapping := !at.Exists() || at.Kind() == document.Mapping
	c.unclear = c.unclear || !mapping || c.bad(at.At("name"))
	sure := c.completeRoles(at, g) && mapping
	if c.bad(at.At("instanceNum")) {
		g.InstanceNum, sure = 0, false
		for _, r := range g.Roles {
			c.unsure[r] = true
		}
	}
	c.completeSize(at, g)
	if c.bad(at.At("memCapacityMB")) || c.bad(at.At("instanceType")) || c.bad(at.At("storage")) || c.bad(at.At("storage", "sizeGB")) {
		sure = false
	}
	if !sure {
		c.unread = append(c.unread, g.Name)
	}
	if g.MinInstances > g.InstanceNum && !c.bad(at.At("instanceNum")) && !c.bad(at.At("minInstances")) {
		c.errorf(at.At("minInstances"), "Ask for fewer, or for more nodes.", "%d is more than instanceNum, which is %d", g.MinInstances, g.InstanceNum)
	}
	if g.Storage != nil && g.Storage.Type == "SHARED" && c.c.Infrastructure == "local" {
		c.errorf(at.At("storage", "type"), "Use LOCAL.", "the local infrastructure has no shared storage")
	}
}

// completeRoles checks a group's roles; it reports whether all could be read.
func (c *completer) completeRoles(at *document.Node, g *api.NodeGroup) bool {
	roles, sure := at.At("roles"), true
	if len(g.Roles) == 0 {
		c.unsureOf("")
		if roles.Kind() == document.List && len(roles.Items()) == 0 {
			c.errorf(roles, "Known: "+strings.Join(c.roles(), ", "), "node group %s has no roles", g.Name)
		}
		return false
	}
	var known []string
	for j, r := range g.Roles {
		role, ok := c.s.Roles[r]
		switch {
		case c.bad(roles.At(j)):
			c.unsureOf("")
			sure = false
			continue
		case !ok:
			c.errorf(roles.At(j), hint(r, c.roles()), "stack %s has no role %s", c.s.Name, r)
			c.unsureOf(r)
			sure = false
			continue
		case slices.Contains(known, r):
			c.errorf(roles.At(j), "Take one of them out.", "role %s is listed twice", r)
			continue
		}
		known = append(known, r)
		for _, svc := range role.Services {
			if c.s.Services[svc].Open && !c.w.OpenPorts {
				c.errorf(roles.At(j), "Install a C compiler (apt-get install gcc libc6-dev), or accept it with --allow-open-ports.",
					"%s would listen on every address of this host: %s", svc, c.w.WhyOpen)
			}
		}
	}
	g.Roles = known
	return sure
}

// unsureOf notes that a role that is not known stands for another: the one
// that is spelled nearly so, or else any.
func (c *completer) unsureOf(role string) {
	if near := document.Suggest(role, c.roles()); near != "" {
		c.unsure[near] = true
		return
	}
	for _, r := range c.roles() {
		c.unsure[r] = true
	}
}

// completeSize fills in cores and memory.
func (c *completer) completeSize(at *document.Node, g *api.NodeGroup) {
	needMB, cpus := 0, 1
	for _, r := range g.Roles {
		needMB += c.s.Roles[r].MemoryMB
		cpus = max(cpus, c.s.Roles[r].CPUs)
	}
	if size, ok := sizes[g.InstanceType]; ok {
		if g.CPUNum == 0 {
			g.CPUNum = size[0]
		}
		if g.MemCapacityMB == 0 {
			g.MemCapacityMB = size[1]
		}
	}
	if g.CPUNum == 0 {
		g.CPUNum = cpus
	}
	switch {
	case g.MemCapacityMB == 0 || c.bad(at.At("memCapacityMB")):
		g.MemCapacityMB = needMB
	case g.MemCapacityMB < needMB:
		c.warnf(at.At("memCapacityMB"), "", "%d is below the %d MB its roles need; using %d", g.MemCapacityMB, needMB, needMB)
		g.MemCapacityMB = needMB
	}
}

func (c *completer) roles() []string {
	out := make([]string, 0, len(c.s.Roles))
	for r := range c.s.Roles {
		out = append(out, r)
	}
	slices.Sort(out)
	return out
}

// rules checks what must hold for each role and the cluster as a whole.
func (c *completer) rules() {
	unsure := make([]string, 0, len(c.unsure))
	for r := range c.unsure {
		unsure = append(unsure, r)
	}
	slices.Sort(unsure)
	for _, p := range c.s.Problems(c.c, unsure...) {
		at := c.n.At("nodeGroups")
		for i, g := range c.c.NodeGroups {
			if slices.Contains(g.Roles, p.Role) {
				at = c.group(i).At(p.Field)
				break
			}
		}
		c.errorf(at, p.Detail, "%s", p.Message)
	}
	c.fewest()
}

// fewest checks the rules with no more nodes than the cluster is to get along with.
// What they say of the full number has been said.
func (c *completer) fewest() {
	full := c.s.Problems(c.c)
	few := c.c
	few.NodeGroups = slices.Clone(c.c.NodeGroups)
	for i, g := range few.NodeGroups {
		if g.MinInstances > 0 && g.MinInstances < g.InstanceNum {
			few.NodeGroups[i].InstanceNum = g.MinInstances
		}
	}
	if len(c.unsure) > 0 || len(full) > 0 {
		return
	}
	for _, p := range c.s.Problems(few) {
		at := c.n.At("nodeGroups")
		for i, g := range c.c.NodeGroups {
			if g.MinInstances > 0 && slices.Contains(g.Roles, p.Role) {
				at = c.group(i).At("minInstances")
				break
			}
		}
		c.errorf(at, "Raise minInstances.", "with no more nodes than that: %s", p.Message)
	}
}
