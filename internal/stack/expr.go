package stack

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/document"
)

// Template is a string with ${…} expressions. A string that is one expression
// and nothing else has the value of that expression, whatever its type.
type Template struct {
	src   string
	node  *document.Node
	parts []part
}

// part is a literal or a compiled expression of a template.
type part struct {
	lit  string
	src  string
	off  int // of the expression in the template, bytes
	prog *vm.Program
}

// Expr is a bare expression.
type Expr struct {
	src  string
	node *document.Node
	prog *vm.Program
}

// Literal makes a template out of plain text.
func Literal(s string) Template { return Template{src: s, parts: []part{{lit: s}}} }

// String returns the template as written.
func (t Template) String() string { return t.src }

// String returns the expression as written.
func (e Expr) String() string { return e.src }

// IsZero reports whether the template was not written at all.
func (t Template) IsZero() bool { return t.src == "" }

// UnmarshalNode keeps the text and where it stands; numbers and booleans keep
// the characters they were written with.
func (t *Template) UnmarshalNode(n *document.Node) api.Diagnostics {
	s, ok := scalar(n)
	if !ok {
		return api.Diagnostics{document.Error(n, "is "+n.Kind().String()+"; a text is wanted", "write a string, a number or a boolean; ${…} holds an expression")}
	}
	t.src, t.node = s, n
	parts, err := split(s)
	if err != nil {
		return api.Diagnostics{document.Error(n, err.Error(), "every ${ needs its }; write $${ for the characters themselves")}
	}
	t.parts = parts
	return nil
}

// UnmarshalNode keeps the text and where it stands.
func (e *Expr) UnmarshalNode(n *document.Node) api.Diagnostics {
	s, ok := scalar(n)
	if !ok {
		return api.Diagnostics{document.Error(n, "is "+n.Kind().String()+"; an expression is wanted", "write it as a string, without ${}")}
	}
	e.src, e.node = s, n
	return nil
}

// scalar returns a string's value, or a number or boolean as written.
func scalar(n *document.Node) (string, bool) {
	if s, ok := n.StringValue(); ok {
		return s, true
	}
	switch n.Kind() {
	case document.Number, document.Bool:
		return n.Text(), true
	case document.Missing, document.Null, document.String, document.List, document.Mapping:
	}
	return "", false
}

// split cuts a template into literals and expressions. Braces inside an
// expression must balance outside its string literals.
func split(s string) ([]part, error) {
	var parts []part
	var lit strings.Builder
	for i := 0; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], "$${"):
			lit.WriteString("${")
			i += 3
		case strings.HasPrefix(s[i:], "${"):
			end, err := closing(s, i+2)
			if err != nil {
				return nil, err
			}
			if lit.Len() > 0 {
				parts = append(parts, part{lit: lit.String()})
				lit.Reset()
			}
			parts = append(parts, part{src: s[i+2 : end], off: i + 2})
			i = end + 1
		default:
			lit.WriteByte(s[i])
			i++
		}
	}
	if lit.Len() > 0 || len(parts) == 0 {
		parts = append(parts, part{lit: lit.String()})
	}
	return parts, nil
}

// closing finds the brace that closes the expression starting at from.
func closing(s string, from int) (int, error) {
	depth := 0
	var quote byte
	for i := from; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0:
			if c == '\\' && quote != '`' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"' || c == '`':
			quote = c
		case c == '{':
			depth++
		case c == '}' && depth == 0:
			return i, nil
		case c == '}':
			depth--
		}
	}
	return 0, fmt.Errorf("the expression %q is not closed", s[from:])
}

// env declares what expressions may name.
type env = types.Map

// memberType is one node in a role list.
var memberType = types.Map{
	"name":     types.String,
	"group":    types.String,
	"ordinal":  types.Int,
	"index":    types.Int,
	"ip":       types.String,
	"host":     types.String,
	"memoryMB": types.Int,
	"cpus":     types.Int,
	"draining": types.Bool, // of self only
}

// with returns a copy of the environment with more names.
func with(e env, more env) env {
	out := make(env, len(e)+len(more))
	maps.Copy(out, e)
	maps.Copy(out, more)
	return out
}

// compile checks one expression against an environment.
func compile(src string, e env, opts ...expr.Option) (*vm.Program, error) {
	prog, err := expr.Compile(src, append([]expr.Option{expr.Env(e), pure}, opts...)...)
	if err == nil {
		return prog, nil
	}
	if fe, ok := errors.AsType[*file.Error](err); ok {
		return nil, errors.New(fe.Message)
	}
	return nil, err
}

// compile checks a template's expressions.
func (t *Template) compile(e env) api.Diagnostics {
	var ds api.Diagnostics
	for i := range t.parts {
		p := &t.parts[i]
		if p.src == "" && p.lit != "" {
			continue
		}
		if p.src == "" && t.src == "" {
			continue
		}
		prog, err := compile(p.src, e)
		if err != nil {
			ds = append(ds, document.Error(t.node, fmt.Sprintf("cannot use ${%s}: %v", p.src, err), known(e)))
			continue
		}
		p.prog = prog
	}
	return ds
}

// compile checks an expression; kind is bool, list or any.
func (e *Expr) compile(en env, opts ...expr.Option) api.Diagnostics {
	prog, err := compile(e.src, en, opts...)
	if err != nil {
		return api.Diagnostics{document.Error(e.node, fmt.Sprintf("cannot use %s: %v", e.src, err), known(en))}
	}
	e.prog = prog
	return nil
}

// known lists the names an expression may use.
func known(e env) string {
	return "it may name " + strings.Join(sortedKeys(e), ", ")
}

// value evaluates a template: the value of its only expression, or a string.
func (t Template) value(vars map[string]any) (any, error) {
	if len(t.parts) == 1 {
		p := t.parts[0]
		if p.prog == nil {
			return p.lit, nil
		}
		return run(p.prog, p.src, vars)
	}
	var b strings.Builder
	for _, p := range t.parts {
		if p.prog == nil {
			b.WriteString(p.lit)
			continue
		}
		v, err := run(p.prog, p.src, vars)
		if err != nil {
			return nil, err
		}
		b.WriteString(text(v))
	}
	return b.String(), nil
}

// text evaluates a template to a string.
func (t Template) text(vars map[string]any) (string, error) {
	v, err := t.value(vars)
	if err != nil {
		return "", err
	}
	return text(v), nil
}

// list evaluates a list of templates; an expression that is a list is spliced,
// one that is nil disappears.
func list(ts []Template, vars map[string]any) ([]string, error) {
	out := make([]string, 0, len(ts))
	for _, t := range ts {
		v, err := t.value(vars)
		if err != nil {
			return nil, err
		}
		switch v := v.(type) {
		case nil:
		case []string:
			out = append(out, v...)
		case []any:
			for _, x := range v {
				out = append(out, text(x))
			}
		default:
			out = append(out, text(v))
		}
	}
	return out, nil
}

// truth evaluates an expression that must be a boolean.
func (e Expr) truth(vars map[string]any) (bool, error) {
	v, err := run(e.prog, e.src, vars)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("cannot use %s: it is %v, not true or false", e.src, v)
	}
	return b, nil
}

func run(prog *vm.Program, src string, vars map[string]any) (any, error) {
	if prog == nil {
		return nil, fmt.Errorf("cannot evaluate %s: it was not compiled", src)
	}
	v, err := expr.Run(prog, vars)
	if err != nil {
		if fe, ok := errors.AsType[*file.Error](err); ok {
			return nil, fmt.Errorf("cannot evaluate %s: %s", src, fe.Message)
		}
		return nil, fmt.Errorf("cannot evaluate %s: %w", src, err)
	}
	return v, nil
}

// text writes a value as configuration files want it: whole numbers without a
// point, nil as nothing.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}
