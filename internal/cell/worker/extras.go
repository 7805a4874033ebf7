package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Extras are what a task gets beside what it asks for.
type Extras struct {
	// Env is added before the task's own variables, which win.
	Env map[string]string
	// Files are put into the sandbox, for the task's user only. Names are plain.
	Files map[string][]byte
}

// InSandbox in a value of Extras.Env stands for the sandbox as the task sees it.
const InSandbox = "{sandbox}"

// extras puts the worker's own additions into a wish and the sandbox.
func (t *task) extras(w *wish) error {
	if t.w.cfg.Extras == nil {
		return nil
	}
	x, err := t.w.cfg.Extras(t.framework, &t.info)
	if err != nil {
		return err
	}
	own := t.ownEnv(w.image != "")
	sandbox := strings.TrimPrefix(own[0], "MESOS_SANDBOX=")
	var env []string
	for name, value := range x.Env {
		env = append(env, name+"="+strings.ReplaceAll(value, InSandbox, sandbox))
	}
	w.spec.Env = append(env, w.spec.Env...)
	for name, data := range x.Files {
		if err := os.WriteFile(filepath.Join(t.sandbox(), filepath.Base(name)), data, 0o600); err != nil {
			return fmt.Errorf("cannot write %s for the task: %w", name, err)
		}
	}
	return nil
}
