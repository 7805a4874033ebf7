package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/number"
)

// print writes a value as JSON or YAML, or as text by the given function.
func (a *app) print(v any, text func(io.Writer)) error {
	switch a.output {
	case "json":
		enc := json.NewEncoder(a.out)
		if !a.lines {
			enc.SetIndent("", "  ")
		}
		return enc.Encode(v)
	case "yaml":
		if a.lines {
			fmt.Fprintln(a.out, "---")
		}
		return writeYAML(a.out, v)
	}
	text(a.screen())
	return nil
}

// writeYAML writes a value by way of JSON, so that field names are the same.
func writeYAML(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var n yaml.Node
	if err := yaml.Unmarshal(data, &n); err != nil {
		return err
	}
	plainStyle(&n)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	return enc.Encode(&n)
}

// plainStyle makes JSON's flow style read like YAML.
func plainStyle(n *yaml.Node) {
	if n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode {
		n.Style = 0
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		n.Style = 0
	}
	for _, c := range n.Content {
		plainStyle(c)
	}
}

// tame takes out what would move the cursor or break a table: names and
// messages may come from programs that are not ours.
func tame(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// printDiagnostics prints findings, aligned, with their advice and a last line.
func printDiagnostics(w io.Writer, ds api.Diagnostics, end string) {
	wide := 0
	for _, d := range ds {
		if d.Source != nil {
			wide = max(wide, len(d.Source.String()))
		}
	}
	errs, warns := 0, 0
	for _, d := range ds {
		place := ""
		if d.Source != nil {
			place = d.Source.String()
		}
		if d.Severity == api.SeverityError {
			errs++
		} else {
			warns++
		}
		what := d.Summary
		if d.Address != "" {
			what = d.Address + ": " + what
		}
		indent := ""
		if wide > 0 {
			fmt.Fprintf(w, "%-*s  ", wide, tame(place))
			indent = strings.Repeat(" ", wide+2)
		}
		fmt.Fprintf(w, "%-7s  %s\n", d.Severity, tame(what))
		if d.Detail != "" {
			fmt.Fprintf(w, "%s         %s\n", indent, tame(d.Detail))
		}
	}
	if errs > 0 {
		fmt.Fprintf(w, "%s; %s\n", counts(errs, warns), end)
	}
}

func counts(errs, warns int) string {
	s := number.Count(errs, "error")
	if warns > 0 {
		s += ", " + number.Count(warns, "warning")
	}
	return s
}

func printProblem(w io.Writer, p *api.Problem) {
	if len(p.Diagnostics) > 0 {
		printDiagnostics(w, p.Diagnostics, "nothing was changed")
		if p.Detail == "" {
			return
		}
	}
	msg := p.Detail
	if msg == "" {
		msg = p.Title
	}
	fmt.Fprintln(w, "howdah:", msg)
}

// since writes a time span the way people say it.
func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return span(time.Since(t))
}

func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// expires writes when a time to live ends, and how long that is from now.
func expires(t *time.Time) string {
	if t == nil {
		return ""
	}
	at := t.Format(time.DateTime)
	if left := time.Until(*t); left > 0 {
		return at + " (in " + span(left) + ")"
	}
	return at + " (" + since(*t) + " ago)"
}
