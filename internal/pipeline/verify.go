package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"howdah.dev/howdah/internal/pipeline/count"
)

// verify compares results with an independent count.
func (r *run) verify(ctx context.Context, s Step, p *progress) error {
	var errs []error
	for _, c := range s.Verify {
		of, _ := r.Definition.step(c.Of)
		var err error
		if c.Words != "" {
			err = r.verifyWords(ctx, c, of, p)
		} else {
			err = r.verifyLines(ctx, c, of.Feed, p)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	f := p.snapshot().Figures
	var what []string
	if f.Words > 0 {
		what = append(what, plural(f.Words, "word"))
	}
	if f.Packages > 0 {
		what = append(what, plural(f.Packages, "package"))
	}
	p.say(strings.Join(what, " and ") + " equal an independent count")
	return nil
}

func (r *run) verifyWords(ctx context.Context, c Check, of Step, p *progress) error {
	from, match := of.source()
	p.say("counting the words below " + from)
	wanted, err := count.Words(ctx, count.Tree{Root: from, Match: match}, func(n int64) {
		p.update(func(f *Figures) { f.Bytes += n })
	})
	if err != nil {
		return err
	}
	if err := r.unchanged(ctx, c.Of, from, match); err != nil {
		return err
	}
	p.say("comparing with the result of " + c.Words)
	job, _ := r.Definition.step(c.Words)
	if err := compareWords(ctx, r.Files, c.Words, job.Job.Output, wanted); err != nil {
		return err
	}
	p.update(func(f *Figures) { f.Words += int64(wanted.Len()); f.Occurrences += wanted.Sum() })
	return nil
}

func (r *run) verifyLines(ctx context.Context, c Check, in *Feed, p *progress) error {
	p.say("counting the lines below " + in.From)
	prefix, err := in.prefix()
	if err != nil {
		return err
	}
	wanted, err := count.Lines(ctx, count.Tree{Root: in.From, Match: in.Match}, prefix)
	if err != nil {
		return err
	}
	if err := r.unchanged(ctx, c.Of, in.From, in.Match); err != nil {
		return err
	}
	topology, _ := r.Definition.step(c.Lines)
	got, err := readTotals(ctx, r.Files, path.Join(topology.Topology.Output, r.id))
	if err != nil {
		return fmt.Errorf("cannot read the result of %s: %w", c.Lines, err)
	}
	if err := compareTotals(c.Lines, wanted, got); err != nil {
		return err
	}
	p.update(func(f *Figures) { f.Packages += int64(len(wanted)); f.Lines += sum(wanted) })
	return nil
}

// unchanged fails when the local files are no longer those a step read: the
// count would be of other files than the result.
func (r *run) unchanged(ctx context.Context, step, root, match string) error {
	t, err := scan(ctx, root, match)
	if err != nil {
		return err
	}
	for _, p := range r.steps {
		for _, in := range p.snapshot().Inputs {
			if in.Step == step && in.Path == t.root && in.Digest != t.digest {
				return fmt.Errorf("the files below %s changed while the pipeline ran; run it again", root)
			}
		}
	}
	return nil
}
