package definition

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
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

// Completed is a definition with every default filled in, and its stack.
type Completed struct {
	Cluster api.Cluster
	Stack   *stack.Stack
	Node    *document.Node
	TTL     time.Duration // its time to live; 0 for ever
	Project string        // that owns it; the caller settles it
	// Unsure lists groups whose number, size or roles could not be read. It is
	// empty where there is no error.
	Unsure []string
	// Vague says that even which groups there are, or where, could not be read.
	Vague bool
}

// Complete fills in what the stack supplies and checks everything that can be
// checked without a machine. All findings of all clusters come back together.
func Complete(ps []Parsed, w World) ([]Completed, api.Diagnostics) {
	var ds api.Diagnostics
	exports, vague := map[string][]string{}, map[string]bool{}
	maps.Copy(exports, w.Exports)
	chosen := make([]*stack.Stack, len(ps))
	for i := range ps {
		s, more := chooseStack(&ps[i], w.Stacks)
		ds = append(ds, more...)
		chosen[i] = s
		if s == nil {
			vague[ps[i].Cluster.Name] = true
			continue
		}
		exports[ps[i].Cluster.Name] = slices.Collect(maps.Keys(s.Exports))
	}
	var out []Completed
	for i, p := range ps {
		c := &completer{w: w, s: chosen[i], n: p.Node, c: p.Cluster, wrong: p.wrong, exports: exports, vague: vague, unsure: map[string]bool{}}
		if c.s == nil {
			c.withoutStack()
			ds = append(ds, c.ds...)
			continue
		}
		c.complete()
		ds = append(ds, c.ds...)
		out = append(out, Completed{Cluster: c.c, Stack: c.s, Node: p.Node, TTL: c.ttl, Unsure: c.unread, Vague: c.unclear})
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
	s       *stack.Stack // nil where none could be chosen
	n       *document.Node
	c       api.Cluster
	wrong   map[string]bool // addresses that have an error already
	exports map[string][]string
	vague   map[string]bool // clusters of the file whose stack is not known
	ds      api.Diagnostics

	unsure  map[string]bool // roles there may be more of than could be read
	unread  []string        // groups that could not be read as a whole
	unclear bool            // which groups there are, or where, could not be read
	ttl     time.Duration
}

func (c *completer) errorf(at *document.Node, detail, format string, args ...any) {
	c.ds = append(c.ds, document.Error(at, fmt.Sprintf(format, args...), detail))
}

func (c *completer) warnf(at *document.Node, detail, format string, args ...any) {
	c.ds = append(c.ds, document.Warning(at, fmt.Sprintf(format, args...), detail))
}

// bad reports whether a value has an error already.
func (c *completer) bad(at *document.Node) bool { return c.wrong[at.Address()] }

func (c *completer) complete() {
	c.unclear = c.bad(c.n.At("name"))
	c.infrastructure()
	c.life()
	c.groups()
	c.links()
	c.configuration(c.n.At("configuration"), c.c.Configuration)
	for i := range c.c.NodeGroups {
		c.configuration(c.group(i).At("configuration"), c.c.NodeGroups[i].Configuration)
	}
}

// withoutStack checks what can be checked where the stack is not known.
func (c *completer) withoutStack() {
	if c.n.Kind() != document.Mapping {
		return
	}
	c.infrastructure()
	c.life()
	c.sameNames()
	for key, to := range c.c.Links {
		c.target(c.n.At("links", key), to)
	}
}

func (c *completer) infrastructure() {
	at := c.n.At("infrastructure")
	if c.c.Infrastructure == "" {
		c.unclear = c.unclear || c.bad(at)
		c.c.Infrastructure = "local"
	}
	if !slices.Contains(c.w.Infrastructures, c.c.Infrastructure) {
		c.unclear = true
		c.errorf(at, hint(c.c.Infrastructure, c.w.Infrastructures), "unknown infrastructure %s", c.c.Infrastructure)
	}
}

// Bounds of a time to live.
const (
	minTTL = time.Second
	maxTTL = 10 * 365 * 24 * time.Hour
)

// life reads the time to live.
func (c *completer) life() {
	at := c.n.At("ttl")
	if !at.Exists() || c.bad(at) {
		return
	}
	d, err := time.ParseDuration(c.c.TTL)
	switch {
	case err != nil:
		c.errorf(at, "Write a number with a unit: 90m, 8h or 168h.", "%q is not a duration", c.c.TTL)
	case d < minTTL || d > maxTTL:
		c.errorf(at, "Take it out where the cluster is to stay for ever.", "%s is not between 1 s and ten years", c.c.TTL)
	default:
		c.ttl = d
	}
}

// links checks what the cluster uses.
func (c *completer) links() {
	names := make([]string, 0, len(c.s.Links))
	for l := range c.s.Links {
		names = append(names, l)
	}
	slices.Sort(names)
	meant := map[string]bool{}
	for key, to := range c.c.Links {
		at := c.n.At("links", key)
		spec, ok := c.s.Links[key]
		if !ok {
			c.errorf(at, hint(key, names), "stack %s has no link %s", c.s.Name, key)
			meant[document.Suggest(key, names)] = true
			continue
		}
		if !c.target(at, to) {
			continue
		}
		for _, e := range spec.Exports {
			if !slices.Contains(c.exports[to], e) {
				c.errorf(at, "Link to a cluster of a kind that does.", "cluster %s does not export %s, which %s needs", to, e, c.s.Name)
				break
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
		} else if spec.Required && !linked && !external && !meant[l] && !c.bad(c.n.At("links")) && !c.bad(c.n.At("links", l)) && !c.bad(c.n.At("externalHDFS")) {
			c.errorf(c.n.At("links"), fmt.Sprintf("Add links: {%s: NAME}", l), "stack %s needs a link %s (%s)", c.s.Name, l, spec.Summary)
		}
	}
	if c.c.ExternalHDFS != "" && outside == 0 {
		c.errorf(c.n.At("externalHDFS"), "Take it out.", "stack %s does not use an external file system", c.s.Name)
	}
}

// target checks the cluster a link leads to; it reports whether what that
// cluster exports is known.
func (c *completer) target(at *document.Node, to string) bool {
	_, known := c.exports[to]
	switch {
	case c.bad(at):
		return false
	case to == c.c.Name:
		c.errorf(at, "Name another cluster.", "cluster %s links to itself", to)
		return false
	case c.vague[to]:
		return false
	case !known:
		c.errorf(at, hint(to, others(c.exports, c.c.Name)), "there is no cluster %s", to)
		return false
	}
	return true
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
