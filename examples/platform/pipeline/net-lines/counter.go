package main

import (
	"fmt"

	"howdah.dev/howdah/examples/platform/pipeline/multilang"
)

// counter is the bolt.
type counter struct {
	path    string // of the journal; none if empty
	journal *journal
	tally   tally
	bad     int   // lines that made no sense, since the last tick
	lastBad error // the newest of them
}

func newCounter(journalPath string) *counter {
	return &counter{path: journalPath, tally: tally{}}
}

// Prepare reads the journal back. What it holds is emitted at the first tick.
func (c *counter) Prepare(_ multilang.Setup, out *multilang.Output) error {
	if c.path == "" {
		return nil
	}
	j, lines, err := openJournal(c.path, c.tally)
	if err != nil {
		return err
	}
	c.journal = j
	out.BeforeFlush(j.flush)
	return out.Log(multilang.LevelInfo, "journal %s: %d lines were counted before", c.path, lines)
}

// Execute counts one line or, on a tick, emits the totals that changed.
func (c *counter) Execute(t multilang.Tuple, out *multilang.Output) error {
	if t.IsTick() {
		if err := c.report(out); err != nil {
			return err
		}
		return out.Ack(t)
	}
	c.count(t)
	return out.Ack(t)
}

// count adds one line. A line that makes no sense is counted apart: replaying
// it would not mend it.
func (c *counter) count(t multilang.Tuple) {
	pkg, seq, err := lineOf(t)
	if err != nil {
		c.bad++
		c.lastBad = err
		return
	}
	if c.tally.add(pkg, seq) && c.journal != nil {
		c.journal.add(pkg, seq)
	}
}

func lineOf(t multilang.Tuple) (string, uint64, error) {
	if len(t.Values) != 1 {
		return "", 0, fmt.Errorf("cannot read tuple of %s: %d fields, want 1", t.Component, len(t.Values))
	}
	line, ok := t.Values[0].(string)
	if !ok {
		return "", 0, fmt.Errorf("cannot read tuple of %s: field is no text", t.Component)
	}
	return parseLine(line)
}

func (c *counter) report(out *multilang.Output) error {
	for _, line := range c.tally.changes() {
		if err := out.Emit([]any{line}); err != nil {
			return err
		}
	}
	if c.bad == 0 {
		return nil
	}
	err := out.ReportError("%d lines left out, the last: %v", c.bad, c.lastBad)
	c.bad, c.lastBad = 0, nil
	return err
}
