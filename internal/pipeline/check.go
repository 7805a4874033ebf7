package pipeline

import (
	"path"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/document"
)

// maxSteps bounds the steps, what a step may come after, and what it verifies;
// it is the maxItems of all three.
const maxSteps = 100

// checker looks for what the tags of Definition cannot say.
type checker struct {
	def   *Definition
	names []string // of all steps, "" where one has none
	found api.Diagnostics
}

func (d *Definition) check() api.Diagnostics {
	tooLong := func(s Step) bool { return len(s.After) > maxSteps || len(s.Verify) > maxSteps }
	if len(d.Steps) > maxSteps || slices.ContainsFunc(d.Steps, tooLong) {
		return nil // found by document.Check; looking at each would take too long
	}
	c := &checker{def: d}
	for _, s := range d.Steps {
		c.names = append(c.names, s.Name)
	}
	for i, s := range d.Steps {
		c.step(i, s)
	}
	c.cycles()
	c.paths()
	c.topologies()
	c.apps()
	return c.found
}

func (c *checker) fail(n *document.Node, summary, detail string) {
	c.found = append(c.found, document.Error(n, summary, detail))
}

func (c *checker) node(path ...any) *document.Node {
	return c.def.root.At(append([]any{"steps"}, path...)...)
}

func (c *checker) step(i int, s Step) {
	if s.Name != "" && slices.Index(c.names, s.Name) < i {
		c.fail(c.node(i, "name"), "step "+s.Name+" is declared twice", "Give each step a name of its own.")
	}
	c.kind(i)
	c.after(i, s)
	c.variables(i, s)
	if s.App != nil {
		c.app(i, s.App)
	}
	if s.Ingest != nil {
		c.pattern(c.node(i, "ingest", "match"), s.Ingest.Match)
	}
	if s.Feed != nil {
		c.pattern(c.node(i, "feed", "match"), s.Feed.Match)
	}
	if j := s.Job; j != nil && j.Jar == "" && j.Main == "" {
		c.fail(c.node(i, "job", "main"), "is missing", "Name a program of the examples jar, or give a jar.")
	}
	if s.Job != nil {
		c.deadline(c.node(i, "job", "deadline"), s.Job.Deadline)
	}
	if t := s.Topology; t != nil {
		c.deadline(c.node(i, "topology", "deadline"), t.Deadline)
		c.oneFeed(i, s)
		c.properties(i, t)
	}
	for k, check := range s.Verify {
		c.verify(i, k, s, check)
	}
}

func (c *checker) deadline(n *document.Node, d time.Duration) {
	if d < 0 {
		c.fail(n, "the deadline is negative", "Give a time such as 3m.")
	}
}

var kinds = []string{"app", "ingest", "feed", "job", "topology", "verify"}

func (c *checker) kind(i int) {
	n := c.node(i)
	if n.Kind() != document.Mapping {
		return
	}
	var given []string
	for _, k := range kinds {
		if n.Get(k) != nil {
			given = append(given, k)
		}
	}
	const detail = "Give exactly one of app, ingest, feed, job, topology and verify."
	switch {
	case len(given) == 0:
		c.fail(n, "the step does nothing", detail)
	case len(given) > 1:
		c.fail(n.Get(given[1]), "the step does several things: "+strings.Join(given, ", "), detail)
	case n.Get(given[0]).Kind() == document.Null || given[0] == "verify" && len(n.Get("verify").Items()) == 0:
		c.fail(n.Get(given[0]), given[0]+" is empty", "Say what the step does.")
	}
}

func (c *checker) after(i int, s Step) {
	for k, name := range s.After {
		n := c.node(i, "after", k)
		switch {
		case name == s.Name && name != "":
			c.fail(n, "step "+name+" comes after itself", "Remove it.")
		case !slices.Contains(c.names, name):
			c.unknown(n, name)
		case slices.Index(s.After, name) < k:
			c.fail(n, "step "+name+" is named twice", "Remove it.")
		}
	}
}

func (c *checker) unknown(n *document.Node, name string) {
	detail := "Name a step of this file."
	if near := document.Suggest(name, c.names); near != "" {
		detail = "Did you mean " + near + "?"
	}
	c.fail(n, "there is no step "+quote(name), detail)
}

func (c *checker) pattern(n *document.Node, pattern string) {
	if _, err := path.Match(pattern, ""); err != nil {
		c.fail(n, quote(pattern)+" is no pattern", "Use * for any characters, ? for one, [a-z] for one of several.")
	}
	if strings.Contains(pattern, "/") {
		c.fail(n, quote(pattern)+" holds a slash", "The pattern is matched with the base name of each file, in every directory.")
	}
}

// oneFeed: the feed tells how many lines the topology must count.
func (c *checker) oneFeed(i int, s Step) {
	feeds := 0
	for _, name := range s.After {
		other, ok := c.def.step(name)
		if !ok {
			return // found by after
		}
		if other.Feed != nil {
			feeds++
		}
	}
	if feeds != 1 {
		c.fail(c.node(i, "after"), "the topology comes after "+plural(feeds, "feed step")+"; exactly one is wanted",
			"Name the feed whose lines it counts.")
	}
}

func (c *checker) properties(i int, t *Topology) {
	for _, key := range sortedKeys(t.Properties) {
		n := c.node(i, "topology", "properties", key)
		if strings.ContainsAny(string(t.Properties[key]), "\r\n") {
			c.fail(n, "the value holds a line break", "Flux fills in one property a line.")
		}
	}
}

func (c *checker) topologies() {
	type place struct{ cluster, name string }
	seen := map[place]bool{}
	for i, s := range c.def.Steps {
		if s.Topology == nil || s.Topology.Name == "" {
			continue
		}
		p := place{s.Topology.Cluster, s.Topology.Name}
		if seen[p] {
			c.fail(c.node(i, "topology", "name"), "another step runs topology "+p.name+" on "+p.cluster, "Each would kill the other's; give it another name.")
		}
		seen[p] = true
	}
}
