package pipeline

import (
	"path"
	"slices"
	"strings"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/document"
)

// own is a path of the warehouse that a step writes, and may clear before.
type own struct {
	node *document.Node
	path string
}

// product returns the path of the warehouse that a step writes, with its keys.
func (s Step) product() (string, []any) {
	switch {
	case s.App != nil:
		return s.App.Dataset, []any{"app", "dataset"}
	case s.Ingest != nil:
		return s.Ingest.Dataset, []any{"ingest", "dataset"}
	case s.Feed != nil:
		return s.Feed.Path, []any{"feed", "path"}
	case s.Job != nil:
		return s.Job.Output, []any{"job", "output"}
	case s.Topology != nil:
		return s.Topology.Output, []any{"topology", "output"}
	}
	return "", nil
}

// paths checks that every path is sound and that no step clears another's.
func (c *checker) paths() {
	var all []own
	for i, s := range c.def.Steps {
		p, keys := s.product()
		if p == "" {
			continue
		}
		o := own{node: c.node(append([]any{i}, keys...)...), path: p}
		if !c.sound(o) {
			continue
		}
		for _, other := range all {
			if within(o.path, other.path) || within(other.path, o.path) {
				c.fail(o.node, o.path+" and "+other.path+" of "+other.node.Address()+" overlap", "A step replaces what is there; give each a path of its own.")
			}
		}
		all = append(all, o)
	}
}

func (c *checker) sound(o own) bool {
	p := o.path
	switch {
	case !strings.HasPrefix(p, "/"):
		c.fail(o.node, quote(p)+" does not start with a slash", "Give the whole path in the warehouse, such as /data/words.")
	case path.Clean(p) != p || strings.ContainsAny(p, ":\x00\r\n"):
		c.fail(o.node, quote(p)+" is no plain path", "Leave out empty parts, dots, colons and a slash at the end.")
	case strings.Count(p, "/") < 2:
		c.fail(o.node, p+" is too near the root", "A step replaces what is there; give a path of two parts or more, such as /data/words.")
	case within(p, recordDir) || within(recordDir, p):
		c.fail(o.node, p+" would replace Howdah's run records in "+recordDir, "Give another path.")
	default:
		return true
	}
	return false
}

// within reports whether p is dir or below it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// inOrder sorts findings by their place in the file and drops exact repeats.
func inOrder(ds api.Diagnostics) api.Diagnostics {
	slices.SortStableFunc(ds, func(a, b api.Diagnostic) int {
		if a.Source == nil || b.Source == nil {
			return 0
		}
		if a.Source.Line != b.Source.Line {
			return a.Source.Line - b.Source.Line
		}
		return a.Source.Column - b.Source.Column
	})
	var out api.Diagnostics
	seen := map[string]bool{}
	for _, d := range ds {
		if key := d.String(); !seen[key] {
			seen[key] = true
			out = append(out, d)
		}
	}
	return out
}
