package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/stack"
)

// effects in order of how much they disturb.
var effects = []agentapi.OnChange{agentapi.ChangeNone, agentapi.ChangeReload, agentapi.ChangeRestart, agentapi.ChangeRolling}

// compare renders a node as it is and as it would be.
func compare(before, after *stack.Renderer, m stack.Member, host stack.Host) ([]api.FileChange, agentapi.OnChange, error) {
	old, err := before.Assignment(m.Name, host)
	if err != nil {
		return nil, "", err
	}
	next, err := after.Assignment(m.Name, host)
	if err != nil {
		return nil, "", err
	}
	d := &differ{effect: agentapi.ChangeNone}
	was := map[string]*agentapi.Service{}
	for i := range old.Services {
		was[old.Services[i].Name] = &old.Services[i]
	}
	for i := range next.Services {
		s := &next.Services[i]
		o := was[s.Name]
		delete(was, s.Name)
		if o == nil {
			o = &agentapi.Service{Name: s.Name}
		}
		d.service(o, s)
	}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		d.add(api.FileChange{Service: name, File: "service", Old: "running"}, agentapi.ChangeRestart)
	}
	return d.changes, d.effect, nil
}

// differ collects the differences of two renderings.
type differ struct {
	changes []api.FileChange
	effect  agentapi.OnChange
}

func (d *differ) add(c api.FileChange, e agentapi.OnChange) {
	d.changes = append(d.changes, c)
	if slices.Index(effects, e) > slices.Index(effects, d.effect) {
		d.effect = e
	}
}

func (d *differ) service(old, next *agentapi.Service) {
	if a, b := strings.Join(old.Argv, " "), strings.Join(next.Argv, " "); a != b {
		x, y := firstDifference(old.Argv, next.Argv)
		d.add(api.FileChange{Service: next.Name, File: "command", Old: x, New: y}, agentapi.ChangeRestart)
	}
	d.keys(next.Name, "environment", agentapi.ChangeRestart, old.Env, next.Env)
	files := map[string]agentapi.File{}
	for _, f := range old.Files {
		files[f.Path] = f
	}
	for _, f := range next.Files {
		o := files[f.Path]
		delete(files, f.Path)
		if o.Content != f.Content {
			before := len(d.changes)
			d.keys(next.Name, f.Name, f.OnChange, keyed(o.Values), keyed(f.Values))
			if len(d.changes) == before { // the same keys, written another way
				d.add(api.FileChange{Service: next.Name, File: f.Name}, f.OnChange)
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		d.add(api.FileChange{Service: next.Name, File: files[path].Name, Old: "present"}, files[path].OnChange)
	}
	// Probes, gates and stops take effect by themselves; a difference in them
	// alone still makes a new assignment.
	if len(d.changes) == 0 && probes(old) != probes(next) {
		d.add(api.FileChange{Service: next.Name, File: "probes"}, agentapi.ChangeNone)
	}
}

func (d *differ) keys(service, file string, effect agentapi.OnChange, old, next map[string]string) {
	all := maps.Clone(old)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, next)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if a, b := old[k], next[k]; a != b {
			d.add(api.FileChange{Service: service, File: file, Key: k, Old: a, New: b}, effect)
		}
	}
}

func keyed(vs []agentapi.Value) map[string]string {
	out := make(map[string]string, len(vs))
	for _, v := range vs {
		out[v.Key] = v.Value
	}
	return out
}

func probes(s *agentapi.Service) string {
	return fmt.Sprint(s.Gates, s.Ready, s.Health != nil, s.Drained != nil, s.Stop, s.Reload, s.Ports, s.Conditions, s.Logs)
}

// firstDifference returns the first arguments that differ.
func firstDifference(a, b []string) (string, string) {
	for i := range max(len(a), len(b)) {
		x, y := "", ""
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return clip(x), clip(y)
		}
	}
	return "", ""
}

func clip(s string) string {
	if len(s) > 120 {
		return s[:120] + "…"
	}
	return s
}

func servicesOf(changes []api.FileChange) []string {
	var out []string
	for _, c := range changes {
		if !slices.Contains(out, c.Service) {
			out = append(out, c.Service)
		}
	}
	return out
}

func reasonOf(changes []api.FileChange, resized bool) string {
	if len(changes) == 0 && resized {
		return "its size changes"
	}
	c := changes[0]
	reason := c.File
	if c.Key != "" {
		reason += ": " + c.Key
	}
	if c.Old != "" || c.New != "" {
		reason += fmt.Sprintf(" %s → %s", or(c.Old, "(none)"), or(c.New, "(none)"))
	}
	if n := len(changes) - 1; n > 0 {
		reason += fmt.Sprintf(" and %d more", n)
	}
	return reason
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
