package stack

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/types"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/document"
)

// checker walks a decoded stack and collects findings. Positions come from the
// stack's own file; what an include brought has been checked there.
type checker struct {
	s    *Stack
	root *document.Node
	ds   api.Diagnostics
}

// check compiles every expression and reports every mistake of a stack.
func check(s *Stack, root *document.Node) api.Diagnostics {
	c := &checker{s: s, root: root}
	c.classpaths()
	for _, name := range sortedKeys(s.Links) {
		for _, k := range sortedKeys(s.Links[name].External) {
			t := s.Links[name].External[k]
			c.template(&t, env{"value": types.String})
			s.Links[name].External[k] = t
		}
	}
	for _, name := range sortedKeys(s.Roles) {
		c.role(name)
	}
	for i := range s.Rules {
		c.rule(&s.Rules[i], s.clusterEnv())
	}
	for _, name := range sortedKeys(s.Services) {
		c.service(name)
	}
	c.templates(s.Exports, s.clusterEnv())
	c.client()
	for _, name := range sortedKeys(s.Workloads) {
		c.workload(name)
	}
	for _, name := range sortedKeys(s.Web) {
		c.web(name)
	}
	c.smoke()
	c.defaults()
	return c.ds
}

func (c *checker) errorf(at *document.Node, detail, format string, args ...any) {
	c.ds = append(c.ds, document.Error(at, fmt.Sprintf(format, args...), detail))
}

func (c *checker) template(t *Template, e env)           { c.ds = append(c.ds, t.compile(e)...) }
func (c *checker) expr(x *Expr, e env, o ...expr.Option) { c.ds = append(c.ds, x.compile(e, o...)...) }

func (c *checker) list(ts []Template, e env) {
	for i := range ts {
		c.template(&ts[i], e)
	}
}

func (c *checker) templates(m map[string]Template, e env) {
	for _, k := range sortedKeys(m) {
		t := m[k]
		c.template(&t, e)
		m[k] = t
	}
}

func (c *checker) rule(r *Rule, e env) {
	c.expr(&r.Require, e, expr.AsBool())
	c.template(&r.Message, e)
}

// oneOf reports a name that is not among the known ones, with the nearest.
func (c *checker) oneOf(at *document.Node, what, name string, known []string) bool {
	if slices.Contains(known, name) {
		return true
	}
	detail := "known: " + strings.Join(known, ", ")
	if near := document.Suggest(name, known); near != "" {
		detail = "did you mean " + near + "?"
	}
	c.errorf(at, detail, "unknown %s %s", what, name)
	return false
}

func (c *checker) classpaths() {
	sets := sortedKeys(c.s.Artifacts)
	for _, name := range sortedKeys(c.s.Classpaths) {
		cp := c.s.Classpaths[name]
		c.named(c.root.At("classpaths", name), "class path", name)
		for i, d := range cp.Dirs {
			if !below(d) {
				c.errorf(c.root.At("classpaths", name, "dirs", i), "name it relative to the set, as lib", "directory %q leaves the set", d)
			}
		}
		c.oneOf(c.root.At("classpaths", name, "set"), "artifact set", cp.Set, sets)
	}
}

func (c *checker) role(name string) {
	r := c.s.Roles[name]
	at := c.root.At("roles", name)
	services := sortedKeys(c.s.Services)
	if len(r.Services) == 0 {
		c.errorf(at, "list at least one service", "role %s has no services", name)
	}
	ports := map[int]string{}
	for i, svc := range r.Services {
		if !c.oneOf(at.At("services", i), "service", svc, services) {
			continue
		}
		for _, p := range sortedKeys(c.s.Services[svc].Ports) {
			n := c.s.Services[svc].Ports[p]
			if other, dup := ports[n]; dup {
				c.errorf(at.At("services", i), "give one of them another port", "services %s and %s of role %s both listen on %d", other, svc, name, n)
			}
			ports[n] = svc
		}
	}
	for i, need := range r.Needs {
		c.oneOf(at.At("needs", i), "role", need, sortedKeys(c.s.Roles))
	}
	if r.MemoryMB <= 0 {
		c.errorf(at.At("memoryMB"), "say how much memory a node needs for it", "role %s has no memoryMB", name)
	}
	count := with(c.s.clusterEnv(), env{"n": types.Int})
	for i := range r.Count {
		c.rule(&r.Count[i], count)
	}
	if r.Removable != nil {
		c.expr(&r.Removable.When, with(count, env{"self": memberType}), expr.AsBool())
		c.template(&r.Removable.Message, with(count, env{"self": memberType}))
	}
}

func (c *checker) service(name string) {
	svc := c.s.Services[name]
	at := c.root.At("services", name)
	e := c.s.serviceEnv(svc)
	c.named(at, "service", name)
	for _, d := range sortedKeys(svc.Dirs) {
		c.named(at.At("dirs", d), "directory", d)
	}
	for _, d := range implicitDirs {
		if _, dup := svc.Dirs[d]; dup {
			c.errorf(at.At("dirs", d), "every service has it already", "directory %s of service %s cannot be declared", d, name)
		}
	}
	for _, p := range sortedKeys(svc.Ports) {
		if n := svc.Ports[p]; n < 1 || n > 65535 {
			c.errorf(at.At("ports", p), "ports go from 1 to 65535", "port %d is not a port", n)
		}
	}
	if svc.HeapMB != nil {
		c.template(svc.HeapMB, e)
	}
	if len(svc.Command) == 0 {
		c.errorf(at, "say what is run", "service %s has no command", name)
	}
	c.templates(svc.Env, e)
	c.list(svc.Command, e)
	c.list(svc.Reload, e)
	c.files(svc.Files, e, at)
	c.secrets(svc.Secrets, svc.Files, at)
	for i := range svc.Init {
		in := &svc.Init[i]
		c.named(at.At("init", i, "name"), "task", in.Name)
		c.list(in.Command, e)
		c.template(&in.Evidence, e)
		c.template(&in.Wipe, e)
	}
	for i := range svc.Gates {
		c.probe(&svc.Gates[i], e, at.At("gates", i))
	}
	c.probe(&svc.Ready, e, at.At("ready"))
	if svc.Health != nil {
		c.probe(svc.Health, e, at.At("health"))
	}
	if svc.Drained != nil {
		c.probe(svc.Drained, e, at.At("drained"))
	}
	if svc.Backup != nil {
		c.backup(svc, at.At("backup"))
	}
	if svc.Conditions != "" && !below(svc.Conditions) {
		c.errorf(at.At("conditions"), "name it relative to the service's directory", "file %q leaves the service's directory", svc.Conditions)
	}
	for i, p := range svc.Logs {
		if _, err := path.Match(p, ""); err != nil || !below(p) {
			c.errorf(at.At("logs", i), "write a pattern relative to the service's directory, as workers/*/worker.log", "%q names no logs of the service", p)
		}
	}
	for i := range svc.Web {
		c.template(&svc.Web[i].URL, c.s.pageEnv(svc))
	}
	c.s.Services[name] = svc
}

// secrets checks that each secret file says what its kind needs.
func (c *checker) secrets(secrets map[string]Secret, files map[string]File, at *document.Node) {
	for _, name := range sortedKeys(secrets) {
		secret := secrets[name]
		here := at.At("secrets", name)
		switch {
		case !below(name):
			c.errorf(here, "name a file below the directory, such as conf/key", "secret file %q is in another directory", name)
		case files[name].Format != "" || files[name].Use != "":
			c.errorf(here, "give one of them another name", "%s is both a file and a secret file", name)
		case secret.Kind == "shared" && secret.Name == "":
			c.errorf(here, "name: cell, for example; files with the same name hold the same secret", "secret file %s does not name its secret", name)
		case secret.Kind == "token" && secret.Role == "":
			c.errorf(here, "role: viewer, operator or admin", "secret file %s does not say what its token may do", name)
		case secret.Kind != "shared" && secret.Name != "":
			c.errorf(here.At("name"), "Take it out.", "secret file %s is of kind %s, which has no name", name, secret.Kind)
		case secret.Kind != "token" && secret.Role != "":
			c.errorf(here.At("role"), "Take it out.", "secret file %s is of kind %s, which has no role", name, secret.Kind)
		}
	}
}

// files resolves shared files and compiles all of them for one environment.
func (c *checker) files(files map[string]File, e env, at *document.Node) {
	for _, name := range sortedKeys(files) {
		f := files[name]
		fat := at.At("files", name)
		if !below(name) {
			c.errorf(fat, "name it relative to the service's directory", "file %q leaves the service's directory", name)
		}
		if f.Use != "" {
			if !c.oneOf(fat.At("use"), "shared file", f.Use, sortedKeys(c.s.Files)) {
				continue
			}
			f = f.over(c.s.Files[f.Use])
		}
		if f.Format == "" {
			c.errorf(fat, "one of xml, properties, yaml, env, lines", "file %s has no format", name)
		}
		if f.User != "" && len(strings.Split(f.User, "/")) != 2 {
			c.errorf(fat.At("user"), "write it as service/file", "%q does not name a user file", f.User)
		}
		if len(f.Lines) > 0 && f.Format != "lines" {
			c.errorf(fat.At("lines"), "use values, or format lines", "file %s has lines but is %s", name, f.Format)
		}
		c.templates(f.Values, e)
		c.list(f.Lines, e)
		for i := range f.ForEach {
			fe := &f.ForEach[i]
			c.expr(&fe.In, e)
			each := with(e, env{"it": types.Any})
			if fe.When != nil {
				c.expr(fe.When, e, expr.AsBool())
			}
			if fe.Key != nil {
				c.template(fe.Key, each)
			}
			c.template(&fe.Value, each)
		}
		files[name] = f
	}
}

// over lays a file over the shared one it uses: settings of its own win.
// Templates are copied, because each user compiles them for itself.
func (f File) over(base File) File {
	out := base
	out.Use = ""
	out.Format = or(f.Format, base.Format)
	out.User = or(f.User, base.User)
	out.OnChange = or(f.OnChange, base.OnChange)
	out.Locked = slices.Concat(base.Locked, f.Locked)
	out.Values = make(map[string]Template, len(base.Values)+len(f.Values))
	for k, t := range base.Values {
		out.Values[k] = t.clone()
	}
	maps.Copy(out.Values, f.Values)
	out.Lines = nil
	for _, t := range slices.Concat(base.Lines, f.Lines) {
		out.Lines = append(out.Lines, t.clone())
	}
	out.ForEach = slices.Concat(base.ForEach, f.ForEach)
	for i := range out.ForEach {
		out.ForEach[i] = out.ForEach[i].clone()
	}
	return out
}

func (t Template) clone() Template {
	t.parts = slices.Clone(t.parts)
	return t
}

func (f ForEach) clone() ForEach {
	f.Value = f.Value.clone()
	if f.Key != nil {
		k := f.Key.clone()
		f.Key = &k
	}
	if f.When != nil {
		w := *f.When
		f.When = &w
	}
	return f
}

func (c *checker) probe(p *Probe, e env, at *document.Node) {
	kinds := 0
	for _, on := range []bool{p.HTTP != nil, p.TCP != nil, p.Adapter != ""} {
		if on {
			kinds++
		}
	}
	if kinds != 1 {
		c.errorf(at, "give one of http, tcp and adapter", "a probe asks one question, this one %d", kinds)
	}
	if p.When != nil {
		c.expr(p.When, e, expr.AsBool())
	}
	c.template(&p.Message, e)
	c.template(&p.Check, e)
	for _, t := range []*Template{p.HTTP, p.TCP, p.Address} {
		if t != nil {
			c.template(t, e)
		}
	}
	if p.Adapter != "" && (p.Check.IsZero() || p.Address == nil) {
		c.errorf(at, "an adapter needs both", "probe through %s has no check or no address", p.Adapter)
	}
	if p.Expect != "" {
		p.expect = c.expectation(p.Expect, e, at.At("expect"))
	}
	if p.Says != "" {
		if _, err := compile(p.Says, AnswerEnv()); err != nil {
			c.errorf(at.At("says"), known(AnswerEnv()), "cannot use %s: %v", p.Says, err)
		}
	}
}

// expectation compiles an answer's condition: the ${…} inside it are filled
// when the probe is rendered, the rest is evaluated on the answer.
func (c *checker) expectation(src string, e env, at *document.Node) *Template {
	parts, err := split(src)
	if err != nil {
		c.errorf(at, "every ${ needs its }", "%v", err)
		return nil
	}
	t := &Template{src: src, node: at, parts: parts}
	c.template(t, e)
	answer := AnswerEnv()
	var b strings.Builder
	for i, p := range parts {
		if p.prog == nil && p.src == "" {
			b.WriteString(p.lit)
			continue
		}
		name := fmt.Sprintf("_%d", i)
		answer[name] = types.Any
		b.WriteString(name)
	}
	if _, err := compile(b.String(), answer, expr.AsBool()); err != nil {
		c.errorf(at, known(AnswerEnv()), "cannot use %s: %v", src, err)
	}
	return t
}

// AnswerEnv declares what an expectation may name: the HTTP status, the JSON
// body (or the adapter's answer), the body as text, and when the service that
// the probe is about was started.
func AnswerEnv() types.Map {
	return env{"status": types.Int, "body": types.Any, "text": types.String, "started": types.Int}
}

func (c *checker) client() {
	cl := c.s.Client
	if cl == nil {
		return
	}
	at := c.root.At("client")
	e := c.s.clientEnv()
	c.templates(cl.Env, e)
	c.files(cl.Files, e, at)
	for _, name := range sortedKeys(cl.Commands) {
		cmd := cl.Commands[name]
		if (len(cmd.Command) == 0) == (len(cmd.Subcommands) == 0) {
			c.errorf(at.At("commands", name), "give one of them", "tool %s needs either command or subcommands", name)
		}
		c.list(cmd.Command, e)
		for _, sub := range sortedKeys(cmd.Subcommands) {
			c.list(cmd.Subcommands[sub], e)
		}
	}
}

func (c *checker) workload(name string) {
	w := c.s.Workloads[name]
	at := c.root.At("workloads", name)
	e := c.s.workloadEnv()
	c.oneOf(at.At("on"), "role", w.On, sortedKeys(c.s.Roles))
	c.template(&w.Address, c.s.clusterEnv())
	c.templates(w.Extra, c.s.clusterEnv())
	c.list(w.Submit, e)
	c.list(w.Logs, e)
	if re, err := regexp.Compile(w.ID); err != nil {
		c.errorf(at.At("id"), "a regular expression finds the id in what the command prints", "cannot use id %q: %v", w.ID, err)
	} else if re.NumSubexp() > 1 {
		c.errorf(at.At("id"), "with one group or none", "id %q has %d groups", w.ID, re.NumSubexp())
	}
	if c.s.Client == nil {
		c.errorf(at, "add client", "workload %s needs the stack's client", name)
	}
	if w.Jar != nil {
		c.base(at.At("jar", "base"), w.Jar.Base)
	}
	c.s.Workloads[name] = w
}

// base checks a SET/PATH reference to a file in an artifact set.
func (c *checker) base(at *document.Node, ref string) {
	set, path, _ := strings.Cut(ref, "/")
	if !c.oneOf(at, "artifact set", set, sortedKeys(c.s.Artifacts)) {
		return
	}
	lock := c.s.locks[set]
	if lock == nil {
		return
	}
	for _, en := range lock.Entries {
		if en.Path == path {
			return
		}
	}
	c.errorf(at, "name a path of the set's lock", "artifact set %s has no %s", set, path)
}

func (c *checker) smoke() {
	sm := c.s.Smoke
	if sm == nil {
		return
	}
	at := c.root.At("smoke")
	e := c.s.taskEnv()
	c.oneOf(at.At("on"), "role", sm.On, sortedKeys(c.s.Roles))
	for _, name := range sortedKeys(sm.Files) {
		c.taskFile(at.At("files", name), name)
	}
	c.templates(sm.Files, e)
	c.secrets(sm.Secrets, nil, at)
	for _, k := range sortedKeys(sm.Jars) {
		c.taskFile(at.At("jars", k), k)
		c.base(at.At("jars", k), sm.Jars[k])
	}
	for i := range sm.Steps {
		st := &sm.Steps[i]
		sat := at.At("steps", i)
		kinds := 0
		if len(st.Command) > 0 {
			kinds++
			c.list(st.Command, e)
		}
		if st.HTTP != nil {
			kinds++
			c.template(&st.HTTP.URL, e)
			c.template(&st.HTTP.Body, e)
			if st.HTTP.Expect != "" {
				st.HTTP.expect = c.expectation(st.HTTP.Expect, e, sat.At("http", "expect"))
			}
		}
		if st.Probe != nil {
			kinds++
			c.probe(st.Probe, e, sat.At("probe"))
		}
		if kinds != 1 {
			c.errorf(sat, "give one of command, http and probe", "a step does one thing, this one %d", kinds)
		}
	}
}

func (c *checker) defaults() {
	at := c.root.At("default", "nodeGroups")
	if len(c.s.Default.NodeGroups) == 0 {
		c.errorf(c.root, "say what a cluster is where the user names no node groups", "the stack has no default definition")
	}
	for i, g := range c.s.Default.NodeGroups {
		for j, r := range g.Roles {
			c.oneOf(at.At(i, "roles", j), "role", r, sortedKeys(c.s.Roles))
		}
	}
}
