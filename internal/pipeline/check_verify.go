package pipeline

import (
	"slices"
	"strings"

	"howdah.dev/howdah/internal/document"
)

// verify checks one comparison: what it names exists, is of the right kind, and
// is done before.
func (c *checker) verify(i, k int, s Step, check Check) {
	n := c.node(i, "verify", k)
	if (check.Words == "") == (check.Lines == "") {
		c.fail(n, "the check wants either words or lines", "Name one step: a job under words, or a topology under lines.")
		return
	}
	key, result, want, sources := "words", check.Words, KindJob, []Kind{KindApp, KindIngest}
	if check.Lines != "" {
		key, result, want, sources = "lines", check.Lines, KindTopology, []Kind{KindFeed}
	}
	known := c.refers(n.At(key), s, result, want)
	if c.refers(n.At("of"), s, check.Of, sources...) && known && !slices.Contains(c.def.before(result), check.Of) {
		c.fail(n.At("of"), "step "+result+" does not come after "+check.Of, "Name the "+oneOf(sources)+" step whose files it counted.")
	}
}

// oneOf joins kinds by "or".
func oneOf(kinds []Kind) string {
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	return strings.Join(names, " or ")
}

// refers checks that a name is that of a step of some kind which s comes after.
func (c *checker) refers(n *document.Node, s Step, name string, want ...Kind) bool {
	other, ok := c.def.step(name)
	switch {
	case name == "":
		return false // its absence is found by document.Check
	case !ok:
		c.unknown(n, name)
	case !slices.Contains(want, other.Kind()):
		c.fail(n, "step "+name+" is no "+oneOf(want)+" step", "Name one that is.")
	case s.Name != "" && !slices.Contains(c.def.before(s.Name), name):
		c.fail(n, "step "+s.Name+" does not come after "+name, "Add it to after.")
	default:
		return true
	}
	return false
}

// before returns the names of all steps that must be done before a step starts.
func (d *Definition) before(name string) []string {
	var out []string
	var walk func(string)
	walk = func(name string) {
		s, _ := d.step(name)
		for _, a := range s.After {
			if !slices.Contains(out, a) {
				out = append(out, a)
				walk(a)
			}
		}
	}
	walk(name)
	return out
}

// cycles reports each step that waits for itself through others.
func (c *checker) cycles() {
	for i, s := range c.def.Steps {
		if slices.Contains(s.After, s.Name) || s.Name == "" {
			continue // found by after
		}
		if slices.Contains(c.def.before(s.Name), s.Name) {
			c.fail(c.node(i, "after"), "step "+s.Name+" comes after itself by way of others", "Remove one of the names that close the circle.")
		}
	}
}
