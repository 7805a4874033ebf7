package policy

import (
	"fmt"
	"path"
	"strings"
)

// judgeDataset checks a path of the warehouse, perhaps with ":ro" behind it.
func (p Policy) judgeDataset(value string) (message, remedy string) {
	at, readOnly := strings.CutSuffix(value, ":ro")
	switch {
	case !strings.HasPrefix(at, "/") || path.Clean(at) != at || at == "/":
		return fmt.Sprintf("%q is no dataset", clip(value)), "Write a clean absolute path below the root, with :ro behind it to read only."
	case p.Unknown != "":
		return fmt.Sprintf("whose %s is cannot be told: %s", clip(at), p.Unknown), "Try again when the warehouse answers."
	}
	own := false
	for _, d := range p.Declared {
		inside := UnderPrefix(at, d.Path)
		if !inside && !UnderPrefix(d.Path, at) {
			continue
		}
		if message, remedy := d.judge(at, readOnly, inside); message != "" {
			return message, remedy
		}
		own = own || inside
	}
	if own {
		return "", ""
	}
	for _, allowed := range p.Datasets {
		if UnderPrefix(at, allowed) {
			return "", ""
		}
	}
	return fmt.Sprintf("the dataset %s is not the project's", clip(at)), "Use one of " + listed(p.Datasets, "none (the project has no dataset)") + ", " + askOperator + "."
}

// judge checks a path that is in a declared dataset, or holds one.
func (d Dataset) judge(at string, readOnly, inside bool) (message, remedy string) {
	switch {
	case d.Write, d.Read && readOnly:
		return "", ""
	case d.Read:
		return fmt.Sprintf("the project may only read dataset %s", d.Name), fmt.Sprintf("Write %s:ro, or ask project %s to declare the access rw.", clip(at), d.Owner)
	case inside:
		return fmt.Sprintf("%s is dataset %s of project %s", clip(at), d.Name, d.Owner), fmt.Sprintf("Ask project %s to declare access for this one.", d.Owner)
	}
	return fmt.Sprintf("%s holds dataset %s of project %s", clip(at), d.Name, d.Owner),
		fmt.Sprintf("Name the folders that are needed, or ask project %s to declare access for this one.", d.Owner)
}
