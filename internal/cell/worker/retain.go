package worker

import (
	"os"
	"slices"
)

// retain removes sandboxes of ended tasks: the oldest of an app when there are more
// than enough, the oldest of all when they take too much disk. A task is forgotten
// with its sandbox, but not before its last status was acknowledged.
func (w *Worker) retain() {
	type entry struct {
		t   *task
		rec record
	}
	var ended []entry
	for _, t := range w.all() {
		if rec, tell := t.snapshot(); !tell {
			ended = append(ended, entry{t, rec})
		}
	}
	slices.SortFunc(ended, func(a, b entry) int { return b.rec.Ended.Compare(a.rec.Ended) })
	ofApp := map[taskKey]int{}
	var bytes int64
	for _, e := range ended { // newest first
		app := taskKey{e.rec.FrameworkID.Value, e.rec.Info.Name}
		ofApp[app]++
		bytes += e.rec.Size
		if ofApp[app] > w.cfg.KeepPerApp || bytes > w.cfg.KeepBytes {
			bytes -= e.rec.Size
			w.forget(e.t)
		}
	}
}

func (w *Worker) forget(t *task) {
	w.mu.Lock()
	known := w.tasks[t.key()] == t
	if known {
		delete(w.tasks, t.key())
	}
	w.mu.Unlock()
	if !known {
		return
	}
	t.mu.Lock()
	t.gone = true
	t.mu.Unlock()
	if err := removeAll(t.sandbox()); err != nil {
		t.log.Warn("cannot remove the sandbox of an ended task", "error", err)
	}
	if err := os.RemoveAll(t.dir()); err != nil {
		t.log.Warn("cannot remove an ended task", "error", err)
	}
}
