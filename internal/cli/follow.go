package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
)

// glance is how often progress is looked at.
const glance = 250 * time.Millisecond

// sleep waits, unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// follow shows operations until all have ended. Leaving with ctrl-c leaves
// them going on. On a terminal lines are redrawn; in a pipe a line is printed
// when it says something new; for programs events are printed as they come.
func (a *app) follow(ctx context.Context, cl *client.Client, ops []api.Operation) error {
	a.lines, a.goesOn = true, "howdah op watch"
	if a.programs() {
		evCtx, cancel := context.WithCancel(ctx)
		e := newEvents(a, cl, ops)
		var printing sync.WaitGroup
		defer func() {
			cancel()
			printing.Wait()
			e.rest(ctx)
		}()
		printing.Go(func() { e.stream(evCtx) })
	}
	v := a.newLive()
	defer v.end()
	lost := time.Time{}
	for {
		open, failed, err := a.look(ctx, cl, v, ops)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, client.ErrUnreachable):
			if lost.IsZero() {
				lost = time.Now()
			}
			if time.Since(lost) > 30*time.Second {
				return fmt.Errorf("%w for 30 s", err)
			}
		case err != nil:
			return err
		case open == 0:
			v.end()
			a.goesOn = ""
			return a.verdict(ctx, cl, failed)
		default:
			lost = time.Time{}
		}
		select {
		case <-ctx.Done():
		case <-time.After(glance):
		}
	}
}

// verdict says why operations failed; nil when none did.
func (a *app) verdict(ctx context.Context, cl *client.Client, failed []api.Operation) error {
	if len(failed) == 0 {
		return nil
	}
	e := &followError{code: exitFailed}
	for _, o := range failed {
		summary := fmt.Sprintf("%s of %s %s: %s", o.Kind, o.Cluster, o.State, o.Reason)
		e.summary = strings.Join(slices.DeleteFunc([]string{e.summary, summary}, func(s string) bool { return s == "" }), "; ")
		if o.State == api.OperationFailed {
			if fs, err := cl.Explain(ctx, o.Cluster); err == nil {
				e.findings = append(e.findings, fs...)
				continue
			}
		}
		e.findings = append(e.findings, api.Finding{Object: o.Cluster, Kind: "is", Message: summary})
	}
	return e
}

// look shows where operations stand; it returns how many are open and which
// have failed.
func (a *app) look(ctx context.Context, cl *client.Client, v *live, ops []api.Operation) (open int, failed []api.Operation, err error) {
	sets, err := cl.Artifacts(ctx)
	if err != nil {
		return 0, nil, err
	}
	for _, was := range ops {
		o, err := cl.Operation(ctx, was.ID)
		if err != nil {
			return 0, nil, err
		}
		switch {
		case o.State == api.OperationFailed || o.State == api.OperationCancelled || o.State == api.OperationSuperseded || o.State == api.OperationAbandoned:
			failed = append(failed, o)
		case !o.State.Final():
			open++
		}
		c, err := cl.Cluster(ctx, o.Cluster)
		var p *api.Problem
		if err != nil && (!errors.As(err, &p) || p.Type != api.ProblemNotFound) {
			return 0, nil, err
		}
		v.set(o.Cluster, progressOf(o, c, sets))
	}
	v.draw()
	return open, failed, nil
}

// progressOf says where an operation stands in one line.
func progressOf(o api.Operation, c api.ClusterStatus, sets []api.ArtifactSet) string {
	took := ""
	if o.Started != nil && o.Finished != nil {
		took = "  " + seconds(o.Finished.Sub(*o.Started))
	}
	switch o.State {
	case api.OperationDone:
		switch o.Kind {
		case "delete":
			return "deleted" + took
		case "stop":
			return "stopped" + took
		}
		return "ready" + took
	case api.OperationFailed, api.OperationCancelled, api.OperationSuperseded, api.OperationAbandoned:
		return string(o.State)
	case api.OperationQueued:
		return "queued"
	case api.OperationRunning:
	}
	var parts []string
	for _, s := range o.Steps {
		if s.State != api.StepDoing && s.State != api.StepWaiting {
			continue
		}
		switch s.Phase {
		case "artifacts":
			parts = append(parts, artifactProgress(c.Stack, sets))
		case "smoke", "drain", "remove":
			text := s.Title
			if s.Waiting != "" {
				text += ": " + s.Waiting
			}
			parts = append(parts, text)
		}
	}
	if svc := services(c); svc != "" && o.Kind != "delete" && o.Kind != "stop" {
		parts = append([]string{svc}, parts...)
	}
	if len(parts) == 0 {
		return "working"
	}
	return strings.Join(slices.Compact(parts), " · ")
}

// artifactProgress says how many bytes of known totals are here.
func artifactProgress(stack string, sets []api.ArtifactSet) string {
	var parts []string
	for _, s := range sets {
		if stack != "" && !slices.Contains(s.Stacks, stack) || s.DoneBytes >= s.Bytes {
			continue
		}
		parts = append(parts, fmt.Sprintf("%s %s %d of %d MB", s.Name, bar(s.DoneBytes, s.Bytes), s.DoneBytes/1e6, s.Bytes/1e6))
	}
	if len(parts) == 0 {
		return "artifacts"
	}
	return strings.Join(parts, " · ")
}

// bar draws a share of a total.
func bar(done, total int64) string {
	const width = 16
	n := int(done * width / max(1, total))
	return "[" + strings.Repeat("#", n) + strings.Repeat("-", width-n) + "]"
}

// services counts ready services by name, and says what the first waits for.
func services(c api.ClusterStatus) string {
	type count struct {
		ready, all int
		state      string
	}
	counts := map[string]*count{}
	var order []string
	waits := ""
	for _, n := range c.Nodes {
		for _, s := range n.Services {
			if counts[s.Name] == nil {
				counts[s.Name] = &count{}
				order = append(order, s.Name)
			}
			counts[s.Name].all++
			counts[s.Name].state = s.State
			if s.State == api.StateReady {
				counts[s.Name].ready++
			} else if s.State == api.StateGated && waits == "" {
				waits = s.Name + " " + s.Message
			}
		}
	}
	if len(order) == 0 {
		return ""
	}
	var parts []string
	for _, name := range order {
		n := counts[name]
		if n.all == 1 {
			parts = append(parts, name+" "+n.state)
		} else {
			parts = append(parts, fmt.Sprintf("%s %d of %d", name, n.ready, n.all))
		}
	}
	if waits != "" {
		parts = append(parts, "("+waits+")")
	}
	return strings.Join(parts, " · ")
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

// live shows one line per key: redrawn on a terminal, printed when new in a
// pipe.
type live struct {
	out     io.Writer
	tty     bool
	silent  bool
	start   time.Time
	order   []string
	text    map[string]string
	shown   map[string]string
	last    map[string]time.Time
	drawn   int
	columns int
}

func (a *app) newLive() *live {
	v := &live{out: a.out, start: time.Now(), text: map[string]string{}, shown: map[string]string{}, last: map[string]time.Time{}, silent: a.programs()}
	v.columns = columns(a.out)
	v.tty = v.columns > 0
	return v
}

func (v *live) set(key, text string) {
	if _, ok := v.text[key]; !ok {
		v.order = append(v.order, key)
	}
	v.text[key] = tame(text)
}

// draw shows what changed.
func (v *live) draw() {
	if v.silent {
		return
	}
	wide := 0
	for _, k := range v.order {
		wide = max(wide, len(k))
	}
	if !v.tty {
		for _, k := range v.order {
			// A pipe gets no more than one line a second for each key.
			if v.shown[k] == v.text[k] || time.Since(v.last[k]) < time.Second {
				continue
			}
			v.shown[k], v.last[k] = v.text[k], time.Now()
			fmt.Fprintf(v.out, "%6.1fs  %-*s  %s\n", time.Since(v.start).Seconds(), wide, k, v.text[k])
		}
		return
	}
	if v.drawn > 0 {
		fmt.Fprintf(v.out, "\x1b[%dA", v.drawn)
	}
	for _, k := range v.order {
		line := fmt.Sprintf("  %-*s  %s", wide, k, v.text[k])
		if r := []rune(line); v.columns > 1 && len(r) >= v.columns {
			line = string(r[:v.columns-2]) + "…"
		}
		fmt.Fprintf(v.out, "\x1b[2K%s\n", line)
	}
	v.drawn = len(v.order)
}

// end shows the last state once more in a pipe, if it was held back.
func (v *live) end() {
	if v.silent || v.tty {
		v.drawn = 0
		return
	}
	for k := range v.last {
		v.last[k] = time.Time{}
	}
	v.draw()
}
