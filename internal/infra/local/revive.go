package local

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/node/proc"
)

// How often an agent is started that ends soon after each start. One that lived
// longer is started again at once.
const (
	soonAfter     = 10 * time.Second
	firstPause    = time.Second // doubled with each such end in a row
	maxSoon       = 5           // such ends in a row; then it counts as failing
	failingPause  = time.Minute // between the tries from then on
	maxLastOutput = 4096        // bytes of its log that are looked at
)

// attempts is how starts of one agent went lately.
type attempts struct {
	soon int       // ends in a row soon after a start
	next time.Time // not started before; monotonic
	why  string    // how it ended last
}

// Run starts dead agents of powered nodes until ctx ends. The agents go on.
func (d *Driver) Run(ctx context.Context) error {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		d.revive()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
		}
	}
}

// revive starts the agents that do not run and should. It is done every second: where
// all run it opens their locks and nothing else.
func (d *Driver) revive() {
	for _, dir := range nodes(d.cfg.Dir) {
		if time.Now().Before(d.attempt(dir).next) {
			continue
		}
		if err := d.startAgent(dir); err != nil {
			d.cfg.Log.Error("cannot start agent", "dir", dir, "error", err)
			d.failed(dir, err.Error())
		}
	}
}

// nodes returns the directories of nodes below one. Names with a dot are of those that are
// being made and removed.
func nodes(dir string) (dirs []string) {
	below := func(dir string) (dirs []string) {
		entries, err := os.ReadDir(dir)
		if err != nil { // it goes
			return nil
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			is := e.IsDir()
			if e.Type()&fs.ModeSymlink != 0 { // somebody moved it to another disk
				st, err := os.Stat(path)
				is = err == nil && st.IsDir()
			}
			if is && !strings.HasPrefix(e.Name(), ".") {
				dirs = append(dirs, path)
			}
		}
		return dirs
	}
	for _, cluster := range below(dir) {
		dirs = append(dirs, below(cluster)...)
	}
	return dirs
}

// Mend ends a node's agent, whatever state it is in, and starts another. The
// node's services go on.
func (d *Driver) Mend(ctx context.Context, ref infra.Ref) error {
	if _, err := d.claimOf(ref); err != nil {
		return err
	}
	if _, err := proc.Sweep(ctx, proc.Labels{Node: ref.Key, Service: labelAgent}, 0); err != nil {
		return fmt.Errorf("cannot end the agent of node %s: %w", ref.Name, err)
	}
	d.forget(d.dir(ref))
	return d.startAgent(d.dir(ref))
}

// attempt returns how starts of an agent went.
func (d *Driver) attempt(dir string) attempts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.attempts[dir]
}

// forget lets an agent be started at once.
func (d *Driver) forget(dir string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.attempts, dir)
}

// failed notes a start that came to nothing.
func (d *Driver) failed(dir, why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.attempts[dir]
	a.soon++
	wait := failingPause
	if a.soon < maxSoon {
		wait = firstPause << (a.soon - 1)
	}
	a.next, a.why = time.Now().Add(wait), why
	d.attempts[dir] = a
}

// await reaps an agent while we live, and notes how it went.
func (d *Driver) await(dir string, p *proc.Process) {
	began := time.Now()
	exit, err := p.Wait(context.Background())
	if err != nil {
		return
	}
	if time.Since(began) >= soonAfter {
		d.forget(dir)
		return
	}
	why := exit.String()
	if line := lastLine(filepath.Join(dir, "agent", "agent.log")); line != "" {
		why += ": " + line
	}
	d.failed(dir, why)
}

// trouble says what keeps an agent from running, "" where nothing is known to.
func (d *Driver) trouble(dir string) string {
	a := d.attempt(dir)
	if a.soon < maxSoon {
		return ""
	}
	return fmt.Sprintf("its agent ended %d times in a row within %d s of its start, last: %s; tried again every %d s; its log is %s",
		a.soon, int(soonAfter.Seconds()), a.why, int(failingPause.Seconds()), filepath.Join(dir, "agent", "agent.log"))
}

// lastLine returns the last line of a file that says something.
func lastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > maxLastOutput {
		if _, err := f.Seek(-maxLastOutput, io.SeekEnd); err != nil {
			return ""
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxLastOutput))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(text), "")), "\n")
	line := strings.TrimSpace(lines[len(lines)-1])
	if r := []rune(line); len(r) > 300 {
		line = string(r[:300])
	}
	return line
}
