package stack

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/expr-lang/expr/types"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/document"
)

// backupTime is the longest time a backup of one service may take.
const backupTime = 2 * time.Hour

// backup checks how a service's data is copied.
func (c *checker) backup(svc Service, at *document.Node) {
	b := svc.Backup
	c.oneOf(at.At("dir"), "directory", b.Dir, sortedKeys(svc.Dirs))
	c.template(&b.Point, env{"value": types.String})
	copies := 0
	for i := range b.Steps {
		st, sat := &b.Steps[i], at.At("steps", i)
		if (len(st.Command) > 0) == (len(st.Files) > 0) {
			c.errorf(sat, "give one of command and files", "step %q does not do exactly one thing", st.Title)
		}
		c.list(st.Command, c.s.serviceEnv(svc))
		if re, err := regexp.Compile(st.Capture); err != nil || re.NumSubexp() > 1 || st.Capture != "" && len(st.Command) == 0 {
			c.errorf(sat.At("capture"), "a regular expression with one group or none, for what a command prints", "cannot use capture %q", st.Capture)
		}
		for j, f := range st.Files {
			copies++
			if _, err := path.Match(f, ""); err != nil || !filepath.IsLocal(f) {
				c.errorf(sat.At("files", j), "a pattern relative to the directory, as current/edits_*", "cannot use %q", f)
			}
		}
	}
	if copies == 0 {
		c.errorf(at, "add a step with files", "the backup copies nothing")
	}
}

// BackupTask renders the task that copies a service's data on one of the nodes.
func (r *Renderer) BackupTask(node, service string, h Host, id, dir string) (*agentapi.Task, error) {
	m, ok := r.rev.Member(node)
	spec := r.stack.Services[service]
	if !ok || spec.Backup == nil {
		return nil, fmt.Errorf("cannot render a backup of %s on %s: it has none", service, node)
	}
	home := filepath.Join(h.Dir, service)
	e := &evaluator{vars: r.serviceVars(spec, home, m, h)}
	t := &agentapi.Task{ID: id, Title: "backup of " + service, Dir: dir, Env: e.texts(spec.Env), Timeout: backupTime}
	for _, st := range spec.Backup.Steps {
		step := agentapi.TaskStep{Title: st.Title, Argv: e.list(st.Command), Capture: st.Capture}
		if len(st.Files) > 0 {
			step.Archive = &agentapi.Archived{Dir: filepath.Join(home, spec.Backup.Dir), Files: st.Files}
		}
		t.Steps = append(t.Steps, step)
	}
	return t, e.err
}

// BackupPoint says what a copy of a service's data stands for.
func (s *Stack) BackupPoint(service, value string) (string, error) {
	b := s.Services[service].Backup
	if b == nil {
		return "", nil
	}
	return b.Point.text(map[string]any{"value": value})
}

// Unsaved lists the directories of a service that hold data and get into no backup.
func (s *Stack) Unsaved(service string) string {
	svc := s.Services[service]
	var out []string
	for _, d := range sortedKeys(svc.Dirs) {
		if svc.Dirs[d].Keep && (svc.Backup == nil || svc.Backup.Dir != d) {
			out = append(out, d)
		}
	}
	return strings.Join(out, ", ")
}
