package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"strconv"
	"strings"
	"time"
)

const (
	// haltWait is how long the instances of an app may take to end.
	haltWait = 2 * time.Minute
	// loneWait is how long no instance may run, while they fail, before the step
	// fails too.
	loneWait = time.Minute
)

// app has a program in containers write a dataset.
func (r *run) app(ctx context.Context, s Step, p *progress) error {
	a := s.App
	from, match := s.source()
	p.say("reading " + from)
	t, err := scan(ctx, from, match)
	if err != nil {
		return err
	}
	programs, err := fileInputs(s.Name, s.programs()...)
	if err != nil {
		return err
	}
	want := &dataset{path: a.Dataset, tree: t, partMB: a.PartMB, parts: len(split(t.files, int64(a.PartMB)<<20))}
	p.input(append([]Input{{Step: s.Name, Path: from, Digest: t.digest}}, programs...)...)
	p.identify(a.App)
	p.update(func(f *Figures) {
		f.FilesTotal, f.BytesTotal, f.PartsTotal = int64(len(t.files)), t.bytes, int64(want.parts)
	})
	// Instances of a run that was killed may still be writing.
	before, err := r.haltApp(ctx, a, p)
	if err != nil {
		return err
	}
	if m, done, err := r.look(ctx, want); err != nil {
		return err
	} else if done {
		m.count(p)
		p.say("kept: " + a.Dataset + " holds the same input")
		return nil
	}
	req, err := r.appRequest(ctx, a, p)
	if err != nil {
		return err
	}
	if err := r.emptyDataset(ctx, a.Dataset); err != nil {
		return err
	}
	p.say("starting " + plural(a.Instances, "instance") + " of " + a.App + " on " + a.Cell)
	if err := r.Apps.RunApp(ctx, req); err != nil { // the answer may be lost, and the app be there
		return r.leaveApp(ctx, a, p, fmt.Errorf("cannot run app %s on %s: %w", a.App, a.Cell, err))
	}
	m, err := r.awaitDataset(ctx, a, want, before.FailedTask, p)
	if err := r.leaveApp(ctx, a, p, err); err != nil {
		return err
	}
	m.count(p)
	p.say(m.by())
	return r.tidy(ctx, a.Dataset)
}

// leaveApp scales the app to 0, also where its work failed.
func (r *run) leaveApp(ctx context.Context, a *App, p *progress, why error) error {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), haltWait)
	defer cancel()
	if why != nil { // that it is told to end is enough
		if err := r.Apps.ScaleApp(last, a.Cell, a.App, 0); err != nil {
			return errors.Join(why, fmt.Errorf("cannot scale app %s to 0: %w", a.App, err))
		}
		return why
	}
	_, err := r.haltApp(last, a, p)
	return err
}

// haltApp scales an app to 0 and waits until none of its instances is left. It
// returns what was known of the app before; one that is not there is halted.
func (r *run) haltApp(ctx context.Context, a *App, p *progress) (AppStatus, error) {
	var before AppStatus
	deadline := time.Now().Add(haltWait)
	var quiet patience
	for first := true; ; {
		status, err := r.Apps.AppStatus(ctx, a.Cell, a.App)
		if err := quiet.with(err); err != nil {
			return before, fmt.Errorf("cannot ask for app %s: %w", a.App, err)
		}
		if err == nil && first {
			before, first = status, false
			if status.Instances > 0 {
				p.say("scaling " + a.App + " to 0")
				if err := r.Apps.ScaleApp(ctx, a.Cell, a.App, 0); err != nil {
					return before, fmt.Errorf("cannot scale app %s to 0: %w", a.App, err)
				}
			}
		}
		if err == nil && status.Tasks == 0 && status.Running == 0 {
			return before, nil
		}
		if time.Now().After(deadline) {
			return before, fmt.Errorf("%s of app %s did not end in %s", plural(status.Tasks, "instance"), a.App, haltWait)
		}
		if err := r.sleep(ctx); err != nil {
			return before, err
		}
	}
}

// appRequest makes the image, or finds the way without containers.
func (r *run) appRequest(ctx context.Context, a *App, p *progress) (AppRequest, error) {
	first := a.Build.Layers[0]
	req := AppRequest{
		Cell: a.Cell, App: a.App, Instances: a.Instances, CPUs: a.CPUs, MemMB: a.MemMB, Dataset: a.Dataset,
		Env: map[string]string{
			"INGEST_SOURCE": first.To, "INGEST_MATCH": first.Match, "INGEST_PART_MB": strconv.Itoa(a.PartMB),
			"HOWDAH_PIPELINE": r.Definition.Name, "HOWDAH_RUN": r.id,
		},
	}
	own := map[string]string{}
	for name, value := range a.Env {
		own[name] = string(value)
	}
	maps.Copy(req.Env, own)
	cell, err := r.Images.Cell(ctx, a.Cell)
	if err != nil {
		return req, fmt.Errorf("cannot ask cell %s what it can run: %w", a.Cell, err)
	}
	switch {
	case cell.Containers:
		p.say("packing " + a.Image)
		image, err := r.Images.PushImage(ctx, ImageRequest{Name: a.Image, Build: a.Build})
		if err != nil {
			return req, fmt.Errorf("cannot make image %s: %w", a.Image, err)
		}
		req.Image = image
		p.image(image)
	case cell.Local:
		req.Program, req.Env["INGEST_SOURCE"] = a.Build.Binary, first.From
		p.weaker("cell " + a.Cell + " runs no containers (" + cell.Why + "): the same program runs as plain commands, without isolation, and reads " + first.From + " itself")
	default:
		return req, fmt.Errorf("cell %s runs no containers (%s), and its workers do not share the files of this machine: have them run containers", a.Cell, cell.Why)
	}
	return req, nil
}

// awaitDataset waits until the instances have written the dataset.
func (r *run) awaitDataset(ctx context.Context, a *App, want *dataset, oldFailure string, p *progress) (Manifest, error) {
	deadline := time.Now().Add(a.Deadline)
	var alive, readable patience
	var alone time.Time // since when no instance runs
	for {
		m, done, err := r.look(ctx, want)
		switch {
		case done:
			return m, nil
		case err == nil && m.Format != "" && (m.Digest != want.tree.digest || m.PartMB != want.partMB):
			return m, fmt.Errorf("app %s wrote %s from other files than those below %s; did they change while the pipeline ran?", a.App, a.Dataset, want.tree.root)
		}
		if err := readable.with(err); err != nil {
			return m, fmt.Errorf("cannot look at dataset: %w", err)
		}
		if err == nil {
			p.update(func(f *Figures) { f.Parts = int64(want.present) })
		}
		status, err := r.Apps.AppStatus(ctx, a.Cell, a.App)
		if err := alive.with(err); err != nil {
			return m, fmt.Errorf("cannot ask for app %s: %w", a.App, err)
		}
		if err == nil {
			if status.FailedTask == oldFailure {
				status.Failure = ""
			}
			p.update(func(f *Figures) { f.Instances = int64(status.Running) })
			if now := status.sentence(); now != p.snapshot().Message {
				p.say(now)
			}
			if status.Running > 0 || alone.IsZero() {
				alone = time.Now()
			}
			if status.Failure != "" && time.Since(alone) >= loneWait {
				return m, fmt.Errorf("no instance of app %s runs: %s", a.App, status.Failure)
			}
		}
		if time.Now().After(deadline) {
			return m, fmt.Errorf("app %s did not write %s in %s: %d of %s, %s%s", a.App, a.Dataset, a.Deadline,
				want.present, plural(want.parts, "part"), plural(status.Running, "instance")+" running", after("; ", status.sentence()))
		}
		if err := r.sleep(ctx); err != nil {
			return m, err
		}
	}
}

// sentence says what an app waits for, or what went wrong with it.
func (s AppStatus) sentence() string {
	var parts []string
	if s.Waiting != "" {
		parts = append(parts, "waiting: "+firstLine(s.Waiting))
	}
	if s.Failure != "" && s.Running < s.Instances { // otherwise it was made good
		parts = append(parts, "last failure: "+firstLine(s.Failure))
	}
	return strings.Join(parts, "; ")
}

// dataset is what a dataset must become.
type dataset struct {
	path    string
	tree    *tree
	partMB  int
	parts   int
	present int // parts seen at the last look
}

// look reports whether the dataset is there, whole and of the right input.
func (r *run) look(ctx context.Context, want *dataset) (Manifest, bool, error) {
	m, err := ReadManifest(ctx, r.Files, want.path)
	none := errors.Is(err, fs.ErrNotExist)
	if err != nil && !none {
		return m, false, err
	}
	entries, err := list(ctx, r.Files, want.path)
	if err != nil {
		return m, false, err
	}
	want.present = 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name, "part-") {
			want.present++
		}
	}
	done := !none && m.Digest == want.tree.digest && m.PartMB == want.partMB && m.complete(entries)
	return m, done, nil
}

// emptyDataset removes what earlier instances wrote.
func (r *run) emptyDataset(ctx context.Context, path string) error {
	entries, err := list(ctx, r.Files, path)
	if err != nil {
		return fmt.Errorf("cannot look at dataset: %w", err)
	}
	if err := r.clearDataset(ctx, path, entries); err != nil {
		return err
	}
	if err := r.Files.MakeFolder(ctx, path); err != nil {
		return fmt.Errorf("cannot make dataset: %w", err)
	}
	return nil
}

// tidy removes what served the writing: an instance that was killed after the
// dataset was complete may have left it.
func (r *run) tidy(ctx context.Context, dataset string) error {
	for _, name := range []string{claimsFolder, tmpFolder} {
		if err := r.Files.Remove(ctx, path.Join(dataset, name)); err != nil {
			return fmt.Errorf("cannot clean up: %w", err)
		}
	}
	return nil
}

// count notes a dataset's counts.
func (m Manifest) count(p *progress) {
	p.update(func(f *Figures) {
		f.Files, f.Bytes, f.Parts, f.Instances = int64(m.Files), m.Bytes, int64(len(m.Parts)), int64(len(m.tasks()))
	})
}

// tasks returns who wrote how many parts.
func (m Manifest) tasks() map[string]int {
	tasks := map[string]int{}
	for _, part := range m.Parts {
		if part.Task != "" {
			tasks[part.Task]++
		}
	}
	return tasks
}

func (m Manifest) by() string {
	return plural(len(m.Parts), "part") + " written by " + plural(len(m.tasks()), "instance")
}
