package app

import (
	"net/http"
	"slices"
	"strings"
)

// Filter chooses apps for GET /v2/apps; the zero value takes all.
type Filter struct {
	ID     string // part of the id, whatever the case
	Cmd    string // part of the command, whatever the case
	Labels []LabelRule
}

// Match tells whether the filter takes an app.
func (f Filter) Match(a *App) bool {
	if f.ID != "" && !containsFold(a.ID, f.ID) || f.Cmd != "" && !containsFold(a.Cmd, f.Cmd) {
		return false
	}
	for _, r := range f.Labels {
		if !r.Match(a.Labels) {
			return false
		}
	}
	return true
}

func containsFold(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}

// LabelRule is one condition on a label: without Values the label exists, else it is
// (Not: exists and is not) one of them.
type LabelRule struct {
	Key    string
	Values []string
	Not    bool
}

// Match tells whether labels fulfil the rule.
func (r LabelRule) Match(labels map[string]string) bool {
	value, ok := labels[r.Key]
	return ok && (r.Values == nil || slices.Contains(r.Values, value) != r.Not)
}

// maxSelector bounds the text of a selector.
const maxSelector = 8 << 10

// ParseLabels reads a label selector: "a", "a==b", "a!=b", "a in (x, y)",
// "a notin (x, y)", joined by commas that mean and; a backslash takes the next
// character as it is.
func ParseLabels(s string) ([]LabelRule, *Error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	p := &selector{all: s, rest: s}
	var rules []LabelRule
	if len(s) > maxSelector {
		return nil, p.fail("it is longer than 8 KiB")
	}
	for {
		rule, err := p.rule()
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule)
		if p.space(); p.rest == "" {
			return rules, nil
		}
		if !p.take(",") {
			return nil, p.fail("wanted is a comma or the end at " + clip(p.rest))
		}
	}
}

type selector struct{ all, rest string }

func (p *selector) fail(why string) *Error {
	text := "Can not parse label selector " + clip(p.all) + ". Reason: " + why
	return &Error{
		Status: http.StatusUnprocessableEntity, Message: text,
		Findings: []Finding{{Message: text, Remedy: `Write conditions such as: a, a==b, a!=b, a in (x,y), a notin (x,y).`}},
	}
}

func (p *selector) space() { p.rest = strings.TrimLeft(p.rest, " \t") }

func (p *selector) take(token string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.rest, token)
	if ok {
		p.rest = rest
	}
	return ok
}

// word reads up to a space or a mark of the language; whatever follows a backslash
// belongs to the word.
func (p *selector) word() (string, *Error) {
	p.space()
	var b strings.Builder
	for p.rest != "" {
		c := p.rest[0]
		switch {
		case c == '\\' && len(p.rest) > 1:
			b.WriteByte(p.rest[1])
			p.rest = p.rest[2:]
			continue
		case c == '\\', strings.IndexByte(" \t,()!=", c) >= 0:
			if b.Len() == 0 {
				return "", p.fail("wanted is a word at " + clip(p.rest))
			}
			return b.String(), nil
		}
		b.WriteByte(c)
		p.rest = p.rest[1:]
	}
	if b.Len() == 0 {
		return "", p.fail("wanted is a word at the end")
	}
	return b.String(), nil
}

func (p *selector) rule() (LabelRule, *Error) {
	key, err := p.word()
	if err != nil {
		return LabelRule{}, err
	}
	r := LabelRule{Key: key}
	if equal := p.take("=="); equal || p.take("!=") {
		value, err := p.word()
		r.Values, r.Not = []string{value}, !equal
		return r, err
	}
	if p.space(); p.rest == "" || p.rest[0] == ',' {
		return r, nil
	}
	operator, err := p.word()
	if err != nil || operator != "in" && operator != "notin" {
		return r, p.fail("wanted is ==, !=, in or notin after " + clip(key))
	}
	r.Not = operator == "notin"
	r.Values, err = p.set()
	return r, err
}

func (p *selector) set() ([]string, *Error) {
	if !p.take("(") {
		return nil, p.fail("wanted is a list in parentheses")
	}
	values := []string{}
	if p.take(")") {
		return values, nil
	}
	for {
		value, err := p.word()
		if err != nil {
			return nil, err
		}
		values = append(values, value)
		switch {
		case p.take(")"):
			return values, nil
		case !p.take(","):
			return nil, p.fail("wanted is a comma or a closing parenthesis at " + clip(p.rest))
		}
	}
}
