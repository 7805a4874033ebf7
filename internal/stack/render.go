package stack

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/artifact"
)

// Revision is everything a rendering depends on beside the stack: the
// definition, the members and what linked clusters exported when it was made.
type Revision struct {
	Number      int64                        `json:"number"`
	ClusterID   string                       `json:"clusterID"`
	Cluster     api.Cluster                  `json:"cluster"`
	StackDigest string                       `json:"stackDigest"`
	Members     []Member                     `json:"members"`
	Leaving     []Member                     `json:"leaving,omitempty"` // nodes this revision takes away
	Links       map[string]map[string]string `json:"links,omitempty"`
}

// Member is a node as the others see it.
type Member struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Group    string   `json:"group"`
	Ordinal  int      `json:"ordinal"`
	Roles    []string `json:"roles"`
	Address  string   `json:"address"`
	Host     string   `json:"host"`
	MemoryMB int      `json:"memoryMB"`
	CPUs     int      `json:"cpus"`
	DiskGB   int      `json:"diskGB,omitempty"` // set aside
}

// Host is what a rendering needs to know of where a program will run.
type Host struct {
	User    string // its processes run as
	Dir     string
	Cache   string
	Java    agentapi.Java
	Program string // Howdah's own
	API     string // address of the server's API
}

// Renderer renders one revision with one stack. It is not changed by rendering: many
// may render with one.
type Renderer struct {
	stack    *Stack
	rev      *Revision
	present  map[string]bool // leaving nodes that are still there, by name; nil means all
	draining string          // node whose rendering has self.draining set
	cluster  map[string]any
	members  map[string]int // index in rev.Members by name
}

// NewRenderer prepares to render a revision. present names the leaving nodes
// that are still there; nil stands for all of them.
func NewRenderer(s *Stack, rev *Revision, present map[string]bool) *Renderer {
	r := &Renderer{stack: s, rev: rev, present: present, members: make(map[string]int, len(rev.Members))}
	for i, m := range rev.Members {
		r.members[m.Name] = i
	}
	r.cluster = r.clusterVars()
	return r
}

// Member returns a member of the revision by name.
func (r *Renderer) Member(name string) (Member, bool) {
	i, ok := r.members[name]
	if !ok {
		return Member{}, false
	}
	return r.rev.Members[i], true
}

func (r *Renderer) clusterVars() map[string]any {
	roles, leaving := map[string]any{}, map[string]any{}
	gone := slices.DeleteFunc(slices.Clone(r.rev.Leaving), func(m Member) bool { return r.present != nil && !r.present[m.Name] })
	for name := range r.stack.Roles {
		roles[name], leaving[name] = r.with(name, r.rev.Members), r.with(name, gone)
	}
	links := map[string]any{}
	for name, spec := range r.stack.Links {
		given := r.rev.Links[name]
		l := map[string]any{"cluster": given["cluster"]}
		for _, e := range spec.Exports {
			l[e] = given[e]
		}
		links[name] = l
	}
	all := map[string]any{}
	for name, svc := range r.stack.Services {
		all[name] = ports(svc)
	}
	return map[string]any{
		"cluster": map[string]any{"name": r.rev.Cluster.Name, "id": r.rev.ClusterID},
		"role":    roles, "leaving": leaving, "links": links, "ports": all,
	}
}

// with lists the members that have a role.
func (r *Renderer) with(role string, members []Member) []map[string]any {
	out := []map[string]any{}
	for _, m := range members {
		if slices.Contains(m.Roles, role) {
			out = append(out, r.member(m, len(out)))
		}
	}
	return out
}

func (r *Renderer) member(m Member, index int) map[string]any {
	return map[string]any{
		"name": m.Name, "group": m.Group, "ordinal": m.Ordinal, "index": index,
		"ip": m.Address, "host": m.Host, "memoryMB": m.MemoryMB, "cpus": m.CPUs, "draining": false,
	}
}

// hostVars adds artifacts and Java of one host.
func (r *Renderer) hostVars(h Host) map[string]any {
	vars := maps.Clone(r.cluster)
	sets, cps, cds := map[string]any{}, map[string]any{}, map[string]any{}
	for name, lock := range r.stack.locks {
		sets[name] = artifact.SetRoot(h.Cache, lock.ID())
	}
	for name, cp := range r.stack.Classpaths {
		lock := r.stack.locks[cp.Set]
		root := artifact.SetRoot(h.Cache, lock.ID())
		cps[name] = strings.Join(lock.Classpath(root, cp.Dirs...), ":")
		cds[name] = []string{}
		if cp.Classes != "" {
			cds[name] = []string{
				"-XX:SharedArchiveFile=" + artifact.ArchivePath(h.Cache, lock.ID(), name, h.Java.Key),
				"-Xshare:auto", "-Xlog:disable", "-Xlog:all=error:stderr",
			}
		}
	}
	vars["artifact"], vars["cp"], vars["cds"] = sets, cps, cds
	vars["program"], vars["platform"] = h.Program, map[string]any{"api": h.API}
	vars["java"] = map[string]any{"home": h.Java.Home, "bin": h.Java.Bin, "major": h.Java.Major}
	return vars
}

// Draining returns a renderer by which a node's own rendering is that of one which
// gives up what it holds.
func (r *Renderer) Draining(node string) *Renderer {
	d := *r
	d.draining = node
	return &d
}

// Exports evaluates what the cluster offers to others.
func (r *Renderer) Exports() (map[string]string, error) {
	out := map[string]string{}
	for _, k := range sortedKeys(r.stack.Exports) {
		v, err := r.stack.Exports[k].text(r.cluster)
		if err != nil {
			return nil, fmt.Errorf("cannot render export %s of %s: %w", k, r.rev.Cluster.Name, err)
		}
		out[k] = v
	}
	return out, nil
}

// Member returns a member of the revision by name.
func (rev *Revision) Member(name string) (Member, bool) {
	for _, m := range rev.Members {
		if m.Name == name {
			return m, true
		}
	}
	return Member{}, false
}

// First returns the first member with a role.
func (rev *Revision) First(role string) (Member, bool) {
	for _, m := range rev.Members {
		if slices.Contains(m.Roles, role) {
			return m, true
		}
	}
	return Member{}, false
}

// Assignment renders what one node should be running. Generation, intent,
// archives' class lists and tasks are the caller's to add.
func (r *Renderer) Assignment(node string, h Host) (*agentapi.Assignment, error) {
	m, ok := r.Member(node)
	if !ok {
		return nil, fmt.Errorf("cannot render node %s: it is not a member of revision %d", node, r.rev.Number)
	}
	a := &agentapi.Assignment{Node: agentapi.Node{ID: m.ID, Name: m.Name, Cluster: r.rev.Cluster.Name, Address: m.Address}}
	used := map[string]bool{}
	for _, role := range m.Roles {
		for _, name := range r.stack.Roles[role].Services {
			svc, err := r.service(name, role, m, h)
			if err != nil {
				return nil, fmt.Errorf("cannot render %s of %s: %w", name, node, err)
			}
			a.Services = append(a.Services, *svc)
			for _, t := range r.stack.Services[name].Command {
				r.uses(t.src, used)
			}
			for _, f := range r.stack.Services[name].Files {
				for _, t := range f.Values {
					r.uses(t.src, used)
				}
			}
		}
	}
	r.sets(a, used, h)
	return a, nil
}

// uses notes which classpaths and sets an expression names.
func (r *Renderer) uses(src string, used map[string]bool) {
	for name := range r.stack.Classpaths {
		for _, v := range []string{"cp.", "cds."} {
			if strings.Contains(src, v+name) {
				used["cp:"+name] = true
			}
		}
	}
	for name := range r.stack.Artifacts {
		if strings.Contains(src, "artifact."+name) {
			used["set:"+name] = true
		}
	}
}

// sets lists the artifact sets the services use, and the archives of their
// classpaths.
func (r *Renderer) sets(a *agentapi.Assignment, used map[string]bool, h Host) {
	for _, name := range sortedKeys(r.stack.Classpaths) {
		if !used["cp:"+name] {
			continue
		}
		cp := r.stack.Classpaths[name]
		used["set:"+cp.Set] = true
		if cp.Classes == "" {
			continue
		}
		lock := r.stack.locks[cp.Set]
		var expand []string
		if cp.Expanded {
			for _, d := range cp.Dirs {
				expand = append(expand, filepath.Join(artifact.SetRoot(h.Cache, lock.ID()), d))
			}
		}
		a.Archives = append(a.Archives, agentapi.Archive{
			Expand: expand,
			Name:   name, Set: lock.ID(), JavaHome: h.Java.Home, JavaKey: h.Java.Key,
			Classpath: lock.Classpath(artifact.SetRoot(h.Cache, lock.ID()), cp.Dirs...),
			ListBlob:  cp.Classes, // the caller puts the blob's digest here
			Path:      artifact.ArchivePath(h.Cache, lock.ID(), name, h.Java.Key),
		})
	}
	for _, name := range sortedKeys(r.stack.Artifacts) {
		if used["set:"+name] {
			a.Sets = append(a.Sets, r.Set(name, h))
		}
	}
}

// Set describes an artifact set for an agent.
func (r *Renderer) Set(name string, h Host) agentapi.Set {
	lock := r.stack.locks[name]
	sum := sha256.Sum256(r.stack.raw[name])
	return agentapi.Set{
		Name: name, ID: lock.ID(), Lock: path.Base(r.stack.Artifacts[name].Lock),
		LockBlob: hex.EncodeToString(sum[:]), Root: artifact.SetRoot(h.Cache, lock.ID()),
	}
}

// service renders one service of a node.
func (r *Renderer) service(name, role string, m Member, h Host) (*agentapi.Service, error) {
	spec := r.stack.Services[name]
	home := filepath.Join(h.Dir, name)
	vars := r.serviceVars(spec, home, m, h)
	if spec.HeapMB != nil {
		v, err := spec.HeapMB.value(vars)
		if err != nil {
			return nil, err
		}
		heap, err := number(v)
		if err != nil {
			return nil, fmt.Errorf("cannot use heapMB: %w", err)
		}
		vars["heapMB"] = heap
	}
	e := &evaluator{vars: vars}
	svc := &agentapi.Service{
		Name: name, Role: role, Dir: home,
		Argv: e.list(spec.Command), Env: e.texts(spec.Env), Reload: e.list(spec.Reload),
		Stop: agentapi.Stop{Signal: or(spec.Stop.Signal, "TERM"), Grace: or(spec.Stop.Grace, 20*time.Second), KeepChildren: spec.Stop.KeepChildren},
	}
	svc.Logs = spec.Logs
	for _, d := range implicitDirs[1:] {
		svc.Dirs = append(svc.Dirs, agentapi.Dir{Name: d, Path: filepath.Join(home, d)})
	}
	for _, d := range sortedKeys(spec.Dirs) {
		svc.Dirs = append(svc.Dirs, agentapi.Dir{Name: d, Path: filepath.Join(home, d), Keep: spec.Dirs[d].Keep})
	}
	for _, p := range sortedKeys(spec.Ports) {
		svc.Ports = append(svc.Ports, agentapi.Port{Name: p, Address: fmt.Sprintf("%s:%d", m.Address, spec.Ports[p])})
	}
	svc.Files = r.files(e, spec.Files, home, m)
	svc.Secrets = secretFiles(spec.Secrets, home)
	for _, in := range spec.Init {
		svc.Init = append(svc.Init, agentapi.InitTask{
			Name: in.Name, Cluster: in.Scope == "cluster", Argv: e.list(in.Command),
			Env: svc.Env, Evidence: e.text(in.Evidence), Wipe: e.text(in.Wipe), Timeout: or(in.Timeout, 2*time.Minute),
		})
	}
	if spec.Conditions != "" {
		svc.Conditions = filepath.Join(home, spec.Conditions)
	}
	e.probes(svc, spec)
	if e.err != nil {
		return nil, e.err
	}
	svc.RestartKey = restartKey(svc)
	return svc, nil
}

// probes renders all a service is asked, with what holds where the stack says
// nothing of times.
func (e *evaluator) probes(svc *agentapi.Service, spec Service) {
	for i := range spec.Gates {
		if p := e.probe(&spec.Gates[i]); p != nil {
			p.Max = or(p.Max, time.Minute)
			svc.Gates = append(svc.Gates, *p)
		}
	}
	if p := e.probe(&spec.Ready); p != nil {
		p.Max = or(p.Max, 3*time.Minute)
		svc.Ready = *p
	}
	if spec.Health != nil {
		svc.Health = e.probe(spec.Health)
	}
	if svc.Health != nil {
		svc.Health.Every = or(spec.Health.Every, 5*time.Second)
		svc.Health.Fails = or(svc.Health.Fails, 3)
	}
	if spec.Drained != nil {
		svc.Drained = e.probe(spec.Drained)
	}
}

// secretFiles lists secret files below a directory, without their contents.
func secretFiles(specs map[string]Secret, dir string) []agentapi.Secret {
	var out []agentapi.Secret
	for _, name := range sortedKeys(specs) {
		s := specs[name]
		out = append(out, agentapi.Secret{Path: filepath.Join(dir, name), Kind: s.Kind, Name: s.Name, Role: s.Role})
	}
	return out
}

func (r *Renderer) serviceVars(spec Service, home string, m Member, h Host) map[string]any {
	vars := r.hostVars(h)
	dirs := map[string]any{"home": home}
	for _, d := range implicitDirs[1:] {
		dirs[d] = filepath.Join(home, d)
	}
	for d := range spec.Dirs {
		dirs[d] = filepath.Join(home, d)
	}
	self := r.member(m, 0)
	self["draining"] = r.draining == m.Name
	vars["self"], vars["dir"], vars["port"], vars["heapMB"] = self, dirs, ports(spec), 0
	return vars
}

// Pages lists the pages of a node's services.
func (r *Renderer) Pages(node string) ([]api.WebAddress, error) {
	m, ok := r.Member(node)
	if !ok {
		return nil, nil
	}
	vars := maps.Clone(r.cluster)
	vars["self"] = r.member(m, 0)
	e := &evaluator{vars: vars}
	var out []api.WebAddress
	for _, role := range m.Roles {
		for _, name := range r.stack.Roles[role].Services {
			vars["port"] = ports(r.stack.Services[name])
			for _, w := range r.stack.Services[name].Web {
				out = append(out, api.WebAddress{Title: w.Title, URL: e.text(w.URL)})
			}
		}
	}
	return out, e.err
}

func ports(s Service) map[string]any {
	out := map[string]any{}
	for p, n := range s.Ports {
		out[p] = n
	}
	return out
}

// files renders files and lays the user's configuration over them.
func (r *Renderer) files(e *evaluator, specs map[string]File, home string, m Member) []agentapi.File {
	out := make([]agentapi.File, 0, len(specs))
	for _, name := range sortedKeys(specs) {
		f := specs[name]
		var pairs []pair
		for _, k := range sortedKeys(f.Values) {
			v := e.value(f.Values[k])
			if v != nil {
				pairs = set(pairs, k, v)
			}
		}
		lines := e.list(f.Lines)
		for _, fe := range f.ForEach {
			pairs, lines = e.each(fe, pairs, lines)
		}
		for k, v := range r.user(f.User, m.Group) {
			if !slices.Contains(f.Locked, k) {
				pairs = set(pairs, k, string(v))
			}
		}
		content, err := write(f.Format, pairs, lines)
		e.fail(err)
		out = append(out, agentapi.File{
			Path: filepath.Join(home, name), Content: content, OnChange: f.onChange(),
			Values: values(pairs, lines), Name: name,
		})
	}
	return out
}

// user returns the user's values for a file: the cluster's, then the group's.
func (r *Renderer) user(ref, group string) map[string]api.Text {
	svc, file, ok := strings.Cut(ref, "/")
	if !ok {
		return nil
	}
	out := maps.Clone(r.rev.Cluster.Configuration[svc][file])
	for _, g := range r.rev.Cluster.NodeGroups {
		if g.Name != group {
			continue
		}
		for k, v := range g.Configuration[svc][file] {
			if out == nil {
				out = map[string]api.Text{}
			}
			out[k] = v
		}
	}
	return out
}

func set(pairs []pair, key string, v any) []pair {
	for i := range pairs {
		if pairs[i].key == key {
			pairs[i].raw = v
			return pairs
		}
	}
	return append(pairs, pair{key, v})
}

// restartKey digests what takes effect only by a restart.
func restartKey(s *agentapi.Service) string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	_ = enc.Encode(s.Argv) // a hash does not fail
	_ = enc.Encode(s.Env)
	for _, f := range s.Files {
		if f.OnChange == agentapi.ChangeRestart || f.OnChange == agentapi.ChangeRolling {
			_ = enc.Encode([]string{f.Path, f.Content})
		}
	}
	if len(s.Secrets) > 0 { // which ones; their contents are not known here
		_ = enc.Encode(s.Secrets)
	}
	return hex.EncodeToString(h.Sum(nil))[:24]
}

// number turns a value into a whole number.
func number(v any) (int, error) {
	switch v := v.(type) {
	case int:
		return v, nil
	case float64:
		return int(v), nil
	case string:
		var n int
		if _, err := fmt.Sscan(v, &n); err != nil {
			return 0, fmt.Errorf("%q is not a number", v)
		}
		return n, nil
	}
	return 0, fmt.Errorf("%v is not a number", v)
}
