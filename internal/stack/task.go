package stack

import (
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"howdah.dev/howdah/internal/agentapi"
)

// SmokeMax is the longest time the cluster's own test may take.
func (s *Stack) SmokeMax() time.Duration {
	if s.Smoke == nil {
		return 0
	}
	return or(s.Smoke.Max, 3*time.Minute)
}

// taskVars is what a task's expressions may name.
func (r *Renderer) taskVars(m Member, h Host, id, dir string) map[string]any {
	vars := r.hostVars(h)
	conf := filepath.Join(dir, "client")
	vars["self"] = r.member(m, 0)
	vars["run"] = map[string]any{"id": id, "dir": dir, "user": h.User}
	vars["dir"] = clientDirs(conf)
	return vars
}

func clientDirs(home string) map[string]any {
	return map[string]any{"home": home, "conf": filepath.Join(home, "conf"), "logs": filepath.Join(home, "logs"), "tmp": filepath.Join(home, "tmp")}
}

// SmokeTask renders the cluster's own test for one of its nodes.
func (r *Renderer) SmokeTask(node string, h Host, id, dir string) (*agentapi.Task, error) {
	m, ok := r.Member(node)
	if !ok {
		return nil, fmt.Errorf("cannot render test: %s is no member of revision %d", node, r.rev.Number)
	}
	sm := r.stack.Smoke
	e := &evaluator{vars: r.taskVars(m, h, id, dir)}
	t := &agentapi.Task{ID: id, Title: "test of " + r.rev.Cluster.Name, Dir: dir, Timeout: r.stack.SmokeMax()}
	r.clientParts(e, t, m)
	for _, name := range sortedKeys(sm.Files) {
		t.Files = append(t.Files, agentapi.File{Path: filepath.Join(dir, name), Content: e.text(sm.Files[name])})
	}
	t.Secrets = secretFiles(sm.Secrets, dir)
	for _, st := range sm.Steps {
		step := agentapi.TaskStep{Title: st.Title}
		switch {
		case st.HTTP != nil:
			step.HTTP = &agentapi.Request{Method: st.HTTP.Method, URL: e.text(st.HTTP.URL), Body: e.text(st.HTTP.Body)}
			if st.HTTP.expect != nil {
				step.HTTP.Expect = e.expectation(st.HTTP.expect)
			}
		case st.Probe != nil:
			step.Probe = e.probe(st.Probe)
			if step.Probe == nil {
				continue
			}
		default:
			step.Argv = e.list(st.Command)
		}
		t.Steps = append(t.Steps, step)
	}
	return t, e.err
}

// clientParts gives a task the stack's client: its files and environment.
func (r *Renderer) clientParts(e *evaluator, t *agentapi.Task, m Member) {
	if r.stack.Client == nil {
		return
	}
	t.Env = e.texts(r.stack.Client.Env)
	home, _ := e.vars["dir"].(map[string]any)["home"].(string)
	t.Files = append(t.Files, r.files(e, r.stack.Client.Files, home, m)...)
}

// Submission is what a user says of a workload.
type Submission struct {
	Name       string
	Jar        string // path in the task's directory
	Main       string
	Args       []string
	File       string // path of the user's file in the task's directory
	Properties string // path of a properties file in the task's directory
}

// SubmitTask renders the submission of a workload.
func (r *Renderer) SubmitTask(kind, node string, h Host, id, dir string, sub Submission) (*agentapi.Task, error) {
	m, ok := r.Member(node)
	if !ok {
		return nil, fmt.Errorf("cannot render submission: %s is no member of revision %d", node, r.rev.Number)
	}
	w := r.stack.Workloads[kind]
	e := &evaluator{vars: r.taskVars(m, h, id, dir)}
	maps.Copy(e.vars, map[string]any{"jar": sub.Jar, "main": sub.Main, "name": sub.Name, "id": "", "args": append([]string{}, sub.Args...), "file": sub.File, "properties": sub.Properties})
	t := &agentapi.Task{ID: id, Title: kind + " " + sub.Name, Dir: dir, Timeout: 24 * time.Hour}
	r.clientParts(e, t, m)
	t.Steps = []agentapi.TaskStep{{Title: "submit", Argv: e.list(w.Submit), Capture: w.ID}}
	return t, e.err
}

// Bound is a workload's protocol client and where it finds the cluster.
type Bound struct {
	Adapter, Address string
	Extra            map[string]string
}

// Workload evaluates where a workload's protocol client finds the cluster.
func (r *Renderer) Workload(kind string) (Bound, error) {
	w, ok := r.stack.Workloads[kind]
	if !ok {
		return Bound{}, fmt.Errorf("stack %s runs no %s", r.stack.Name, kind)
	}
	e := &evaluator{vars: r.cluster}
	b := Bound{Adapter: w.Adapter, Address: e.text(w.Address), Extra: e.texts(w.Extra)}
	return b, e.err
}

// ClientSpec is a rendered command line client.
type ClientSpec struct {
	Env      map[string]string
	Files    []agentapi.File
	Commands []ClientCommand
	Sets     []string // artifact sets it uses
}

// ClientCommand is one tool; Subcommands by the user's first argument.
type ClientCommand struct {
	Name        string
	Summary     string
	Argv        []string
	Subcommands map[string][]string
}

// Client renders the command line client for a directory on some host.
func (r *Renderer) Client(home string, h Host) (*ClientSpec, error) {
	cl := r.stack.Client
	if cl == nil {
		return nil, fmt.Errorf("stack %s has no command line client", r.stack.Name)
	}
	e := &evaluator{vars: r.hostVars(h)}
	e.vars["dir"] = clientDirs(home)
	out := &ClientSpec{Env: e.texts(cl.Env), Files: r.files(e, cl.Files, home, Member{})}
	for _, name := range sortedKeys(cl.Commands) {
		c := cl.Commands[name]
		cc := ClientCommand{Name: name, Summary: c.Summary, Argv: e.list(c.Command)}
		if len(c.Subcommands) > 0 {
			cc.Subcommands = map[string][]string{}
			for sub, argv := range c.Subcommands {
				cc.Subcommands[sub] = e.list(argv)
			}
		}
		out.Commands = append(out.Commands, cc)
	}
	out.Sets = sortedKeys(r.stack.Artifacts)
	return out, e.err
}

// WorkloadLogs renders the client command that prints a workload's logs.
func (r *Renderer) WorkloadLogs(kind, id string) ([]string, error) {
	w := r.stack.Workloads[kind]
	if len(w.Logs) == 0 {
		return nil, fmt.Errorf("stack %s does not say how to read the logs of a %s", r.stack.Name, kind)
	}
	e := &evaluator{vars: map[string]any{"id": id, "name": id}}
	out := e.list(w.Logs)
	return out, e.err
}
