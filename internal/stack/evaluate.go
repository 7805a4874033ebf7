package stack

import (
	"encoding/json"
	"maps"
	"strings"

	"github.com/expr-lang/expr"

	"howdah.dev/howdah/internal/agentapi"
)

// evaluator evaluates many templates and keeps the first error, so that
// rendering reads as a list of fields.
type evaluator struct {
	vars map[string]any
	err  error
}

func (e *evaluator) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

func (e *evaluator) value(t Template) any {
	v, err := t.value(e.vars)
	e.fail(err)
	return v
}

func (e *evaluator) text(t Template) string { return text(e.value(t)) }

func (e *evaluator) list(ts []Template) []string {
	if len(ts) == 0 {
		return nil
	}
	out, err := list(ts, e.vars)
	e.fail(err)
	return out
}

func (e *evaluator) texts(m map[string]Template) map[string]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, t := range m {
		out[k] = e.text(t)
	}
	return out
}

func (e *evaluator) truth(x *Expr) bool {
	if x == nil {
		return true
	}
	b, err := x.truth(e.vars)
	e.fail(err)
	return b
}

// each adds the keys or lines a forEach makes.
func (e *evaluator) each(fe ForEach, pairs []pair, lines []string) ([]pair, []string) {
	if !e.truth(fe.When) {
		return pairs, lines
	}
	v, err := run(fe.In.prog, fe.In.src, e.vars)
	e.fail(err)
	for _, it := range items(v) {
		vars := maps.Clone(e.vars)
		vars["it"] = it
		inner := &evaluator{vars: vars}
		value := inner.value(fe.Value)
		if fe.Key != nil {
			pairs = set(pairs, inner.text(*fe.Key), value)
		} else {
			lines = append(lines, text(value))
		}
		e.fail(inner.err)
	}
	return pairs, lines
}

// probe renders a probe; nil when its when does not hold.
func (e *evaluator) probe(p *Probe) *agentapi.Probe {
	if !e.truth(p.When) {
		return nil
	}
	out := &agentapi.Probe{
		Message: e.text(p.Message), Adapter: p.Adapter, Check: e.text(p.Check),
		Says: p.Says, Every: p.Every, Timeout: p.Timeout, Max: p.Max, Fails: p.Fails,
	}
	for _, f := range []struct {
		t  *Template
		to *string
	}{{p.HTTP, &out.HTTP}, {p.TCP, &out.TCP}, {p.Address, &out.Address}} {
		if f.t != nil {
			*f.to = e.text(*f.t)
		}
	}
	if p.expect != nil {
		out.Expect = e.expectation(p.expect)
	}
	return out
}

// expectation fills the ${…} of a condition with literals of the expression
// language, so that text needs no quotes around it.
func (e *evaluator) expectation(t *Template) string {
	var b strings.Builder
	for _, p := range t.parts {
		if p.prog == nil {
			b.WriteString(p.lit)
			continue
		}
		v, err := run(p.prog, p.src, e.vars)
		e.fail(err)
		lit, err := json.Marshal(v)
		e.fail(err)
		b.Write(lit)
	}
	return b.String()
}

func items(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case []map[string]any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = v[i]
		}
		return out
	case []string:
		out := make([]any, len(v))
		for i := range v {
			out[i] = v[i]
		}
		return out
	}
	return nil
}

// pure takes away what would make two renderings of one revision differ.
var pure = expr.DisableBuiltin("now")
