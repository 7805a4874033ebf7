package stack

import (
	"fmt"

	"howdah.dev/howdah/api"
)

// Describe tells users what the stack is.
func (s *Stack) Describe() api.Stack {
	out := api.Stack{Name: s.Name, Summary: s.Summary, Version: s.Version, Digest: s.Digest, Exports: sortedKeys(s.Exports), Workloads: sortedKeys(s.Workloads)}
	out.Java = fmt.Sprintf("%d or newer", s.Java.Min)
	if s.Java.Max != 0 {
		out.Java = fmt.Sprintf("%d to %d", s.Java.Min, s.Java.Max)
	}
	for _, l := range sortedKeys(s.Links) {
		if out.Links == nil {
			out.Links = map[string]string{}
		}
		text := s.Links[l].Summary
		if s.Links[l].Required {
			text += " (required)"
		}
		out.Links[l] = text
	}
	for _, name := range sortedKeys(s.Roles) {
		r := s.Roles[name]
		role := api.StackRole{Name: name, Summary: r.Summary, Services: r.Services, MemoryMB: r.MemoryMB}
		for _, c := range r.Count {
			role.Rules = append(role.Rules, c.Require.String())
		}
		for _, n := range r.Needs {
			role.Rules = append(role.Rules, "needs "+n)
		}
		out.Roles = append(out.Roles, role)
	}
	out.Files = sortedKeys(s.UserFiles())
	if s.Client != nil {
		out.Tools = sortedKeys(s.Client.Commands)
	}
	return out
}
