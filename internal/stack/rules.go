package stack

import (
	"fmt"
	"maps"
	"slices"

	"howdah.dev/howdah/api"
)

// Problem is a rule of the stack that a definition breaks.
type Problem struct {
	Role    string // "" when it is about the cluster as a whole
	Field   string // field of the role's group it is about
	Message string
	Detail  string

	rule string // tells problems of one role apart
}

// maxUnsure is up to how many more nodes rules are tried with where a
// definition leaves open how many there are.
const maxUnsure = 3

// Problems evaluates the stack's rules over a definition. Of the unsure roles
// there may be more nodes than it says, because a part of it could not be
// read: what their number could mend does not come back.
func (s *Stack) Problems(c api.Cluster, unsure ...string) []Problem {
	out := s.problems(c, unsure)
	if len(unsure) == 0 {
		return out
	}
	more := c
	for n := range maxUnsure {
		more.NodeGroups = append(slices.Clone(c.NodeGroups), api.NodeGroup{Name: "unsure", Roles: unsure, InstanceNum: n + 1})
		still := s.problems(more, nil)
		out = slices.DeleteFunc(out, func(p Problem) bool {
			return !slices.ContainsFunc(still, func(o Problem) bool { return o.Role == p.Role && o.rule == p.rule })
		})
	}
	return out
}

// problems evaluates the rules as if the definition said everything. Groups of
// unsure roles count as there, whatever their number.
func (s *Stack) problems(c api.Cluster, unsure []string) []Problem {
	rev := &Revision{Cluster: c, Members: pretend(c)}
	r := NewRenderer(s, rev, nil)
	var out []Problem
	counts := map[string]int{}
	for _, m := range rev.Members {
		for _, role := range m.Roles {
			counts[role]++
		}
	}
	for _, g := range c.NodeGroups {
		for _, role := range g.Roles {
			if slices.Contains(unsure, role) {
				counts[role] += 0 // now it is listed
			}
		}
	}
	for _, role := range sortedKeys(counts) {
		spec, ok := s.Roles[role]
		if !ok {
			continue
		}
		for _, need := range spec.Needs {
			if counts[need] == 0 {
				out = append(out, Problem{
					Role: role, Field: "roles", Message: fmt.Sprintf("role %s needs a node with role %s", role, need),
					Detail: "Add a node group with it.", rule: "needs " + need,
				})
			}
		}
		if counts[role] == 0 {
			continue
		}
		vars := maps.Clone(r.cluster)
		vars["n"] = counts[role]
		for i, rule := range spec.Count {
			if msg, broken := rule.broken(vars); broken {
				out = append(out, Problem{Role: role, Field: "instanceNum", Message: msg, rule: fmt.Sprint("count ", i)})
			}
		}
	}
	if len(rev.Members) == 0 {
		return append(out, Problem{Message: "the cluster has no nodes", Detail: "Set instanceNum of a group to 1 or more.", rule: "nodes"})
	}
	for i, rule := range s.Rules {
		if msg, broken := rule.broken(r.cluster); broken {
			out = append(out, Problem{Message: msg, rule: fmt.Sprint("rule ", i)})
		}
	}
	return out
}

func (r Rule) broken(vars map[string]any) (string, bool) {
	ok, err := r.Require.truth(vars)
	if err != nil {
		return err.Error(), true
	}
	if ok {
		return "", false
	}
	msg, err := r.Message.text(vars)
	if err != nil {
		return err.Error(), true
	}
	return msg, true
}

// pretend makes members of a definition that has no nodes yet.
func pretend(c api.Cluster) []Member {
	var out []Member
	for _, g := range c.NodeGroups {
		for i := range min(g.InstanceNum, maxPretend) {
			out = append(out, Member{
				Name: fmt.Sprintf("%s-%s-%d", c.Name, g.Name, i+1), Group: g.Name, Ordinal: i + 1, Roles: g.Roles,
				Address: "192.0.2.1", MemoryMB: g.MemCapacityMB, CPUs: g.CPUNum,
			})
		}
	}
	return out
}

// maxPretend bounds how many nodes of a group rules look at.
const maxPretend = 10000

// Removable says whether a member may go, of a cluster as it is now.
func (r *Renderer) Removable(m Member) (ok bool, why string) {
	for _, role := range m.Roles {
		spec := r.stack.Roles[role]
		if spec.Removable == nil {
			continue
		}
		vars := maps.Clone(r.cluster)
		n := 0
		for _, o := range r.rev.Members {
			if slices.Contains(o.Roles, role) {
				n++
			}
		}
		vars["n"], vars["self"] = n, r.member(m, 0)
		may, err := spec.Removable.When.truth(vars)
		if err == nil && may {
			continue
		}
		why, msgErr := spec.Removable.Message.text(vars)
		if err == nil {
			err = msgErr
		}
		if err != nil {
			return false, err.Error()
		}
		return false, why
	}
	return true, ""
}

// UserFiles lists the files users can configure, as service/file, with the
// keys they cannot set.
func (s *Stack) UserFiles() map[string][]string {
	out := map[string][]string{}
	add := func(files map[string]File) {
		for _, name := range sortedKeys(files) {
			if f := files[name]; f.User != "" {
				for _, k := range append(out[f.User], f.Locked...) {
					if !slices.Contains(out[f.User], k) {
						out[f.User] = append(out[f.User], k)
					}
				}
				if out[f.User] == nil {
					out[f.User] = []string{}
				}
			}
		}
	}
	for _, name := range sortedKeys(s.Services) {
		add(s.Services[name].Files)
	}
	if s.Client != nil {
		add(s.Client.Files)
	}
	return out
}

// External evaluates the exports of a link to something unmanaged.
func (s *Stack) External(link, value string) (map[string]string, error) {
	out := map[string]string{}
	for _, k := range sortedKeys(s.Links[link].External) {
		v, err := s.Links[link].External[k].text(map[string]any{"value": value})
		if err != nil {
			return nil, err
		}
		out[k] = v
	}
	return out, nil
}

// Keeps reports whether clusters of this stack hold data.
func (s *Stack) Keeps() bool {
	for _, svc := range s.Services {
		for _, d := range svc.Dirs {
			if d.Keep {
				return true
			}
		}
	}
	return false
}
