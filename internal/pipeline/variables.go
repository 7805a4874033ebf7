package pipeline

import (
	"fmt"
	"strings"

	"howdah.dev/howdah/internal/document"
)

// Variables of local paths, arguments and properties.
const (
	varGoroot    = "GOROOT"    // go env GOROOT of this machine
	varWarehouse = "WAREHOUSE" // hdfs://host:port
	varFeed      = "FEED"      // folder of this run's feed
	varOutput    = "OUTPUT"    // folder the step writes
)

var (
	pathVariables     = []string{varGoroot}
	argVariables      = []string{varOutput, varWarehouse}
	propertyVariables = []string{varFeed, varOutput, varWarehouse}
)

// expand fills in ${NAME}; $${ stands for ${ itself.
func expand(text string, value func(name string) (string, error)) (string, error) {
	var b strings.Builder
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			b.WriteString(text)
			return b.String(), nil
		}
		if i > 0 && text[i-1] == '$' {
			b.WriteString(text[:i-1])
			b.WriteString("${")
			text = text[i+2:]
			continue
		}
		b.WriteString(text[:i])
		name, rest, ok := strings.Cut(text[i+2:], "}")
		if !ok {
			return "", fmt.Errorf("${%s has no closing brace", short(name))
		}
		v, err := value(name)
		if err != nil {
			return "", err
		}
		b.WriteString(v)
		text = rest
	}
}

// values makes a lookup of a map.
func values(known map[string]string) func(string) (string, error) {
	return func(name string) (string, error) {
		if v, ok := known[name]; ok {
			return v, nil
		}
		return "", fmt.Errorf("${%s} is not known here", short(name))
	}
}

// localPaths calls f with every local path of a step and its place.
func (s *Step) localPaths(f func(path *string, keys ...any)) {
	switch {
	case s.App != nil:
		f(&s.App.Build.Binary, "app", "build", "binary")
		for i := range s.App.Build.Layers {
			f(&s.App.Build.Layers[i].From, "app", "build", "layers", i, "from")
		}
	case s.Ingest != nil:
		f(&s.Ingest.From, "ingest", "from")
	case s.Feed != nil:
		f(&s.Feed.From, "feed", "from")
		if s.Feed.Base != "" {
			f(&s.Feed.Base, "feed", "base")
		}
	case s.Job != nil:
		if s.Job.Jar != "" {
			f(&s.Job.Jar, "job", "jar")
		}
	case s.Topology != nil:
		f(&s.Topology.Flux, "topology", "flux")
		for i := range s.Topology.Resources {
			f(&s.Topology.Resources[i], "topology", "resources", i)
		}
		for i := range s.Topology.Files {
			f(&s.Topology.Files[i], "topology", "files", i)
		}
	}
}

// variables checks that every ${...} is known where it stands.
func (c *checker) variables(i int, s Step) {
	s.localPaths(func(path *string, keys ...any) {
		c.expands(c.node(append([]any{i}, keys...)...), *path, pathVariables)
	})
	if s.Job != nil {
		for k, arg := range s.Job.Args {
			c.expands(c.node(i, "job", "args", k), arg, argVariables)
		}
	}
	if s.Topology != nil {
		for _, key := range sortedKeys(s.Topology.Properties) {
			c.expands(c.node(i, "topology", "properties", key), string(s.Topology.Properties[key]), propertyVariables)
		}
	}
}

func (c *checker) expands(n *document.Node, text string, names []string) {
	known := map[string]string{}
	for _, name := range names {
		known[name] = ""
	}
	if _, err := expand(text, values(known)); err != nil {
		c.fail(n, err.Error(), "Known here: ${"+strings.Join(names, "}, ${")+"}. Write $${ for ${ itself.")
	}
}
