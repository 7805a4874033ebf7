package document

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"howdah.dev/howdah/api"
)

// maxFindings is how many findings one call returns; a last one counts the rest.
const maxFindings = 200

// maxShown is how many bytes of a user's text a finding repeats.
const maxShown = 60

// Error returns an error about a node, with its address and position.
func Error(n *Node, summary, detail string) api.Diagnostic {
	return finding(api.SeverityError, n, summary, detail)
}

// Warning returns a warning about a node, with its address and position.
func Warning(n *Node, summary, detail string) api.Diagnostic {
	return finding(api.SeverityWarning, n, summary, detail)
}

// KeyError returns an error that points at the key of a node rather than at its value.
func KeyError(n *Node, summary, detail string) api.Diagnostic {
	d := Error(n, summary, detail)
	if d.Source != nil {
		*d.Source = n.KeyPosition()
	}
	return d
}

func finding(sev api.Severity, n *Node, summary, detail string) api.Diagnostic {
	d := api.Diagnostic{Severity: sev, Address: n.Address(), Summary: summary, Detail: detail}
	if pos := n.Position(); pos.Line > 0 {
		d.Source = &pos
	}
	return d
}

// at returns an error at an offset, for findings made before there is a tree.
func (d *Document) at(offset int, summary, detail string) api.Diagnostic {
	pos := d.position(offset)
	return api.Diagnostic{Severity: api.SeverityError, Summary: summary, Detail: detail, Source: &pos}
}

// tidy sorts findings by their place in the file, drops exact repeats (nested
// Decode calls may look at the same mapping) and bounds their number.
func tidy(ds api.Diagnostics) api.Diagnostics {
	if len(ds) == 0 {
		return nil
	}
	sort.SliceStable(ds, func(i, j int) bool {
		a, b := ds[i].Source, ds[j].Source
		if a == nil || b == nil {
			return a == nil && b != nil
		}
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Column < b.Column
	})
	type identity struct {
		pos              api.Position
		address, summary string
	}
	seen := make(map[identity]bool, len(ds))
	out := ds[:0]
	for _, d := range ds {
		id := identity{address: d.Address, summary: d.Summary}
		if d.Source != nil {
			id.pos = *d.Source
		}
		if !seen[id] {
			seen[id] = true
			out = append(out, d)
		}
	}
	if more := len(out) - maxFindings; more > 0 {
		sev := api.SeverityWarning
		if out[maxFindings:].HasErrors() {
			sev = api.SeverityError
		}
		out = append(out[:maxFindings:maxFindings], api.Diagnostic{
			Severity: sev,
			Summary:  fmt.Sprintf("%d more findings are not shown", more),
			Detail:   "Correct those above and try again.",
		})
	}
	return out
}

// quote returns a user's text in quotes, shortened and safe for a terminal.
func quote(s string) string { return strconv.Quote(short(s)) }

func short(s string) string {
	if len(s) <= maxShown {
		return s
	}
	cut := maxShown
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// list joins words for a detail: a, b and c.
func list(words []string, most int) string {
	if len(words) > most {
		return strings.Join(words[:most], ", ") + fmt.Sprintf(" and %d more", len(words)-most)
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
