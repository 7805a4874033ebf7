package definition

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/document"
	"howdah.dev/howdah/internal/stack"
)

// World is what a definition may refer to.
type World struct {
	Stacks          *stack.Catalog
	Infrastructures []string
	// Exports of the clusters that are there, by name.
	Exports map[string][]string
	// OpenPorts says whether services that listen on every address are fine:
	// because nodes have an identity of their own, or because the user said so.
	OpenPorts bool
	// WhyOpen says why they would be exposed.
	WhyOpen string
}

// sizes are BDE's instance types (reference bde.md 3.4): cores and MiB.
var sizes = map[string][2]int{"SMALL": {1, 3748}, "MEDIUM": {2, 7500}, "LARGE": {4, 15000}, "EXTRA_LARGE": {8, 30000}}

// Completed is a definition with every default filled in, and its stack.
type Completed struct {
	Cluster api.Cluster
	Stack   *stack.Stack
	Node    *document.Node
}

// Complete fills in what the stack supplies and checks everything that can be
// checked without a machine. All findings of all clusters come back together.
func Complete(ps []Parsed, w World) ([]Completed, api.Diagnostics) {
	var ds api.Diagnostics
	exports := map[string][]string{}
	maps.Copy(exports, w.Exports)
	chosen := make([]*stack.Stack, len(ps))
	for i := range ps {
		s, more := chooseStack(&ps[i], w.Stacks)
		ds = append(ds, more...)
		chosen[i] = s
		if s != nil {
			names := make([]string, 0, len(s.Exports))
			for e := range s.Exports {
				names = append(names, e)
			}
			exports[ps[i].Cluster.Name] = names
		}
	}
	var out []Completed
	for i, p := range ps {
		if chosen[i] == nil {
			continue
		}
		c := &completer{w: w, s: chosen[i], n: p.Node, c: p.Cluster, exports: exports}
		c.complete()
		ds = append(ds, c.ds...)
		out = append(out, Completed{Cluster: c.c, Stack: c.s, Node: p.Node})
	}
	slices.SortStableFunc(ds, inOrder)
	return out, ds
}

// inOrder compares findings by their place in the file.
func inOrder(a, b api.Diagnostic) int {
	if a.Source == nil || b.Source == nil {
		return 0
	}
	return cmp.Or(cmp.Compare(a.Source.Line, b.Source.Line), cmp.Compare(a.Source.Column, b.Source.Column))
}

// chooseStack finds the stack: by name, else by BDE type, else the only one
// that has all the roles.
func chooseStack(p *Parsed, cat *stack.Catalog) (*stack.Stack, api.Diagnostics) {
	if p.Cluster.Stack != "" {
		s, ok := cat.Get(p.Cluster.Stack)
		if ok {
			return s, nil
		}
		return nil, api.Diagnostics{document.Error(p.Node.At("stack"), "unknown stack "+p.Cluster.Stack, hint(p.Cluster.Stack, cat.Names()))}
	}
	var fits []string
	for _, name := range cat.Names() {
		s, _ := cat.Get(name)
		if p.Cluster.Type != "" && slices.Contains(s.Types, p.Cluster.Type) || p.Cluster.Type == "" && len(p.Cluster.NodeGroups) > 0 && hasRoles(s, p.Cluster.NodeGroups) {
			fits = append(fits, name)
		}
	}
	switch {
	case len(fits) == 1:
		p.Cluster.Stack = fits[0]
		s, _ := cat.Get(fits[0])
		return s, nil
	case p.Cluster.Type != "":
		return nil, api.Diagnostics{document.Error(p.Node.At("type"), fmt.Sprintf("no stack here makes clusters of type %s", p.Cluster.Type),
			"Name a stack instead: stack: "+strings.Join(cat.Names(), ", stack: "))}
	}
	if p.Node.Kind() != document.Mapping || p.Node.Get("stack").Exists() {
		return nil, nil // of another type; that has been said
	}
	return nil, api.Diagnostics{document.Error(p.Node.At("stack"), "the stack is missing", "Say what kind of cluster it is: "+strings.Join(cat.Names(), ", "))}
}

func hasRoles(s *stack.Stack, groups []api.NodeGroup) bool {
	for _, g := range groups {
		for _, r := range g.Roles {
			if _, ok := s.Roles[r]; !ok {
				return false
			}
		}
	}
	return true
}

// hint names the nearest known word, or all of them.
func hint(word string, known []string) string {
	if near := document.Suggest(word, known); near != "" {
		return "Did you mean " + near + "?"
	}
	return "Known: " + strings.Join(known, ", ")
}

// completer works on one cluster.
type completer struct {
	w       World
	s       *stack.Stack
	n       *document.Node
	c       api.Cluster
	exports map[string][]string
	ds      api.Diagnostics
}

func (c *completer) errorf(at *document.Node, detail, format string, args ...any) {
	c.ds = append(c.ds, document.Error(at, fmt.Sprintf(format, args...), detail))
}

func (c *completer) warnf(at *document.Node, detail, format string, args ...any) {
	c.ds = append(c.ds, document.Warning(at, fmt.Sprintf(format, args...), detail))
}

func (c *completer) complete() {
	if c.c.Infrastructure == "" {
		c.c.Infrastructure = "local"
	}
	if !slices.Contains(c.w.Infrastructures, c.c.Infrastructure) {
		c.errorf(c.n.At("infrastructure"), hint(c.c.Infrastructure, c.w.Infrastructures), "unknown infrastructure %s", c.c.Infrastructure)
	}
	if len(c.c.NodeGroups) == 0 {
		for _, g := range c.s.Default.NodeGroups {
			c.c.NodeGroups = append(c.c.NodeGroups, api.NodeGroup{Name: g.Name, Roles: slices.Clone(g.Roles), InstanceNum: g.InstanceNum})
		}
	}
	seen, sound, before := map[string]bool{}, true, len(c.ds)
	for i := range c.c.NodeGroups {
		g := &c.c.NodeGroups[i]
		if at := c.group(i); at.Exists() {
			sound = sound && at.Get("instanceNum").Kind() == document.Number
		}
		if seen[g.Name] {
			c.errorf(c.group(i).At("name"), "Give one of them another name.", "node group %s is defined twice", g.Name)
		}
		seen[g.Name] = true
		c.completeGroup(i, g)
	}
	// Rules over groups that are wrong themselves would only repeat it.
	if sound && !c.ds[before:].HasErrors() {
		c.rules()
	}
	c.links()
	c.configuration(c.n.At("configuration"), c.c.Configuration)
	for i := range c.c.NodeGroups {
		c.configuration(c.group(i).At("configuration"), c.c.NodeGroups[i].Configuration)
	}
}

func (c *completer) group(i int) *document.Node { return c.n.At("nodeGroups", i) }

// completeGroup checks a group's roles and fills in its size.
func (c *completer) completeGroup(i int, g *api.NodeGroup) {
	at := c.group(i)
	if len(g.Roles) == 0 && at.Get("roles").Kind() == document.List {
		c.errorf(at.At("roles"), "Known: "+strings.Join(c.roles(), ", "), "node group %s has no roles", g.Name)
	}
	needMB, cpus := 0, 1
	for j, r := range g.Roles {
		role, ok := c.s.Roles[r]
		if !ok {
			c.errorf(at.At("roles", j), hint(r, c.roles()), "stack %s has no role %s", c.s.Name, r)
			continue
		}
		if slices.Contains(g.Roles[:j], r) {
			c.errorf(at.At("roles", j), "Take one of them out.", "role %s is listed twice", r)
		}
		needMB += role.MemoryMB
		cpus = max(cpus, role.CPUs)
		for _, svc := range role.Services {
			if c.s.Services[svc].Open && !c.w.OpenPorts {
				c.errorf(at.At("roles", j), "Install a C compiler (apt-get install gcc libc6-dev), or accept it with --allow-open-ports.",
					"%s would listen on every address of this host: %s", svc, c.w.WhyOpen)
			}
		}
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
	case g.MemCapacityMB == 0:
		g.MemCapacityMB = needMB
	case g.MemCapacityMB < needMB:
		c.warnf(at.At("memCapacityMB"), "", "%d is below the %d MB its roles need; using %d", g.MemCapacityMB, needMB, needMB)
		g.MemCapacityMB = needMB
	}
	if g.Storage != nil && g.Storage.Type == "SHARED" && c.c.Infrastructure == "local" {
		c.errorf(at.At("storage", "type"), "Use LOCAL.", "the local infrastructure has no shared storage")
	}
	if g.InstanceNum > maxNodes {
		c.errorf(at.At("instanceNum"), fmt.Sprintf("A group has at most %d nodes.", maxNodes), "%d nodes is more than a group can have", g.InstanceNum)
	}
}

// maxNodes bounds a group.
const maxNodes = 10000

func (c *completer) roles() []string {
	out := make([]string, 0, len(c.s.Roles))
	for r := range c.s.Roles {
		out = append(out, r)
	}
	slices.Sort(out)
	return out
}

// links checks what the cluster uses.
func (c *completer) links() {
	names := make([]string, 0, len(c.s.Links))
	for l := range c.s.Links {
		names = append(names, l)
	}
	slices.Sort(names)
	for key, to := range c.c.Links {
		at := c.n.At("links", key)
		spec, ok := c.s.Links[key]
		if !ok {
			c.errorf(at, hint(key, names), "stack %s has no link %s", c.s.Name, key)
			continue
		}
		have, ok := c.exports[to]
		switch {
		case to == c.c.Name:
			c.errorf(at, "Name another cluster.", "cluster %s links to itself", to)
		case !ok:
			c.errorf(at, hint(to, others(c.exports, c.c.Name)), "there is no cluster %s", to)
		default:
			for _, e := range spec.Exports {
				if !slices.Contains(have, e) {
					c.errorf(at, "Link to a cluster of a kind that does.", "cluster %s does not export %s, which %s needs", to, e, c.s.Name)
					break
				}
			}
		}
	}
	outside := 0
	for _, l := range names {
		spec := c.s.Links[l]
		external := len(spec.External) > 0 && c.c.ExternalHDFS != ""
		if external {
			outside++
		}
		if _, linked := c.c.Links[l]; linked && external {
			c.errorf(c.n.At("externalHDFS"), "Keep one of them.", "both links.%s and externalHDFS are given", l)
		} else if spec.Required && !linked && !external {
			c.errorf(c.n.At("links"), fmt.Sprintf("Add links: {%s: NAME}", l), "stack %s needs a link %s (%s)", c.s.Name, l, spec.Summary)
		}
	}
	if c.c.ExternalHDFS != "" && outside == 0 {
		c.errorf(c.n.At("externalHDFS"), "Take it out.", "stack %s does not use an external file system", c.s.Name)
	}
}

func others(m map[string][]string, self string) []string {
	var out []string
	for k := range m {
		if k != self {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// configuration checks that some service reads each file, and that no key is
// locked.
func (c *completer) configuration(at *document.Node, conf api.Configuration) {
	files := c.s.UserFiles()
	known := make([]string, 0, len(files))
	for f := range files {
		known = append(known, f)
	}
	slices.Sort(known)
	for svc, byFile := range conf {
		for file, keys := range byFile {
			ref := svc + "/" + file
			locked, ok := files[ref]
			if !ok {
				c.errorf(at.At(svc, file), "It reads "+strings.Join(known, ", "), "nothing in stack %s reads %s", c.s.Name, ref)
				continue
			}
			for k := range keys {
				if strings.TrimSpace(k) != k || strings.ContainsFunc(k, unicode.IsControl) || k == "" {
					c.errorf(at.At(svc, file, k), "Programs drop them, and then read another key.", "the key %q has blanks or control characters around it", k)
				}
				if slices.Contains(locked, k) {
					c.errorf(at.At(svc, file, k), "Howdah sets it itself; take it out.", "%s cannot be set", k)
				}
			}
		}
	}
}

// rules checks what must hold for each role and the cluster as a whole.
func (c *completer) rules() {
	for _, p := range c.s.Problems(c.c) {
		at := c.n.At("nodeGroups")
		for i, g := range c.c.NodeGroups {
			if slices.Contains(g.Roles, p.Role) {
				at = c.group(i).At(p.Field)
				break
			}
		}
		c.errorf(at, p.Detail, "%s", p.Message)
	}
}
