package pipeline

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"howdah.dev/howdah/internal/pipeline/count"
)

// maxDifferences is how many differences a Mismatch names.
const maxDifferences = 10

// Mismatch is a result that differs from the independent count.
type Mismatch struct {
	What   string       `json:"what" enum:"words,packages" doc:"What was counted"`
	Result string       `json:"result" doc:"Step whose result it is"`
	Wanted int          `json:"wanted" doc:"Distinct words or packages in the independent count"`
	Got    int          `json:"got" doc:"Distinct words or packages in the result"`
	Differ int          `json:"differ" doc:"How many of both have another count"`
	First  []Difference `json:"first" doc:"The first differences in order"`
}

// Difference is one word or package with two counts; 0 where it is missing.
type Difference struct {
	Key    string `json:"key" doc:"Word or package"`
	Wanted int64  `json:"wanted" doc:"Independent count"`
	Got    int64  `json:"got" doc:"Count in the result"`
}

// Error lists the first differences, one a line.
func (m *Mismatch) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the result of %s is wrong: %s %s wanted, %s got, %s differ", m.Result,
		humanize.Comma(int64(m.Wanted)), m.What, humanize.Comma(int64(m.Got)), humanize.Comma(int64(m.Differ)))
	for _, d := range m.First {
		fmt.Fprintf(&b, "\n  %s wanted %s, got %s", quote(d.Key), humanize.Comma(d.Wanted), humanize.Comma(d.Got))
	}
	if more := m.Differ - len(m.First); more > 0 {
		fmt.Fprintf(&b, "\n  and %s more", humanize.Comma(int64(more)))
	}
	return b.String()
}

// compare returns a Mismatch, or nil when both counts are equal.
func compare(what, result string, wanted, got map[string]int64) error {
	var keys []string
	for key, n := range wanted {
		if got[key] != n {
			keys = append(keys, key)
		}
	}
	for key := range got {
		if _, ok := wanted[key]; !ok {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	slices.Sort(keys)
	m := &Mismatch{What: what, Result: result, Wanted: len(wanted), Got: len(got), Differ: len(keys)}
	for _, key := range keys[:min(len(keys), maxDifferences)] {
		m.First = append(m.First, Difference{Key: key, Wanted: wanted[key], Got: got[key]})
	}
	return m
}

// verify compares results with an independent count.
func (r *run) verify(ctx context.Context, s Step, p *progress) error {
	var errs []error
	for _, c := range s.Verify {
		of, _ := r.Definition.step(c.Of)
		var err error
		if c.Words != "" {
			err = r.verifyWords(ctx, c, of.Ingest, p)
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

func (r *run) verifyWords(ctx context.Context, c Check, in *Ingest, p *progress) error {
	p.say("counting the words below " + in.From)
	wanted, err := count.Words(ctx, count.Tree{Root: in.From, Match: in.Match}, func(n int64) {
		p.update(func(f *Figures) { f.Bytes += n })
	})
	if err != nil {
		return err
	}
	if err := r.unchanged(ctx, c.Of, in.From, in.Match); err != nil {
		return err
	}
	p.say("comparing with the result of " + c.Words)
	job, _ := r.Definition.step(c.Words)
	got, err := readWords(ctx, r.Files, job.Job.Output, 2*len(wanted)+1_000_000)
	if err != nil {
		return fmt.Errorf("cannot read the result of %s: %w", c.Words, err)
	}
	if err := compare("words", c.Words, wanted, got); err != nil {
		return err
	}
	p.update(func(f *Figures) { f.Words += int64(len(wanted)); f.Occurrences += sum(wanted) })
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
	if err := compare("packages", c.Lines, wanted, got); err != nil {
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
			if in.Step == step && in.Digest != t.digest {
				return fmt.Errorf("the files below %s changed while the pipeline ran; run it again", root)
			}
		}
	}
	return nil
}

// readWords reads the part files of a job as lines of word, tab, count. More
// words than most are an error.
func readWords(ctx context.Context, files Reader, output string, most int) (map[string]int64, error) {
	entries, err := files.List(ctx, output)
	if err != nil {
		return nil, err
	}
	words := map[string]int64{}
	parts := 0
	for _, e := range entries {
		if !strings.HasPrefix(e.Name, "part-r-") {
			continue
		}
		parts++
		name := path.Join(output, e.Name)
		if err := readWordFile(ctx, files, name, words, most); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if parts == 0 {
		return nil, fmt.Errorf("%s holds no part-r-* file", output)
	}
	return words, nil
}

func readWordFile(ctx context.Context, files Reader, name string, words map[string]int64, most int) error {
	r, err := files.Open(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 256<<10), 3*count.MaxWord) // a malformed byte becomes three
	s.Split(lineFeeds)
	for n := 1; s.Scan(); n++ {
		word, times, ok := parseCount(s.Bytes())
		if !ok {
			return fmt.Errorf("line %d is %s, want word, tab, number", n, quote(s.Text()))
		}
		if _, twice := words[word]; twice {
			return fmt.Errorf("line %d: word %s is there twice", n, quote(word))
		}
		if words[word] = times; len(words) > most {
			return fmt.Errorf("there are more than %s different words", humanize.Comma(int64(most)))
		}
	}
	return s.Err()
}

// lineFeeds is bufio.ScanLines without the loss of \r, and with an end that
// is missing as an error.
func lineFeeds(data []byte, atEOF bool) (int, []byte, error) {
	for i, b := range data {
		if b == '\n' {
			return i + 1, data[:i], nil
		}
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}
