package stack

import (
	"strings"
	"testing"

	"github.com/expr-lang/expr/types"
	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/document"
)

// cut shows how a template is split: literals bare, expressions in brackets.
func cut(t *testing.T, s string) []string {
	t.Helper()
	parts, err := split(s)
	if err != nil {
		return []string{"error: " + err.Error()}
	}
	out := make([]string, len(parts))
	for i, p := range parts {
		out[i] = p.lit
		if p.lit == "" {
			out[i] = "[" + p.src + "]"
			if s[p.off:p.off+len(p.src)] != p.src {
				t.Errorf("%q: the expression %q is not at %d", s, p.src, p.off)
			}
		}
	}
	return out
}

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{"", []string{"[]"}},
		{"plain $ { } text", []string{"plain $ { } text"}},
		{"${a}", []string{"[a]"}},
		{"x${a}y${b}z", []string{"x", "[a]", "y", "[b]", "z"}},
		{"${a}${b}", []string{"[a]", "[b]"}},
		{"$${a}", []string{"${a}"}},
		{"$$${a}", []string{"$${a}"}},
		{"$$$${a}", []string{"$$${a}"}},
		{"$ {a}", []string{"$ {a}"}},
		{`${ {"a": 1}.a }`, []string{`[ {"a": 1}.a ]`}},
		{`${map(xs, {.ip + "}"})}!`, []string{`[map(xs, {.ip + "}"})]`, "!"}},
		{`${'}'}`, []string{`['}']`}},
		{`${"\"}"}`, []string{`["\"}"]`}},
		{"${`\\`}", []string{"[`\\`]"}},
		{"${a", []string{`error: the expression "a" is not closed`}},
		{"ok ${a} ${b{}", []string{`error: the expression "b{}" is not closed`}},
		{`${"a}`, []string{`error: the expression "\"a}" is not closed`}},
	} {
		if diff := cmp.Diff(tt.want, cut(t, tt.in)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.in, diff)
		}
	}
}

// TestTemplateValues evaluates templates: one expression alone keeps its type,
// anything else is text.
func TestTemplateValues(t *testing.T) {
	vars := map[string]any{"n": 3, "f": 0.5, "s": "x", "none": nil, "xs": []string{"a", "b"}, "yes": true}
	declared := env{"n": types.Int, "f": types.Float, "s": types.String, "none": types.Any, "xs": types.Array(types.String), "yes": types.Bool}
	for _, tt := range []struct {
		in   string
		want any
	}{
		{"", ""},
		{"plain", "plain"},
		{"${n}", 3},
		{" ${n}", " 3"},
		{"${n / 2}", 1.5},
		{"${n * 2}-${s}", "6-x"},
		{"${none}", nil},
		{"[${none}]", "[]"},
		{"${xs}", []string{"a", "b"}},
		{"${f}", 0.5},
		{"${4 / 2}.", "2."},
		{"${yes}", true},
		{"$${n}", "${n}"},
		{"${n > 2 ? s : ''}", "x"},
		{"${1e21}.", "1000000000000000000000."},
	} {
		tmpl := Template{src: tt.in}
		var err error
		if tmpl.parts, err = split(tt.in); err != nil {
			t.Fatal(err)
		}
		if ds := tmpl.compile(declared); ds.HasErrors() {
			t.Fatal(ds)
		}
		got, err := tmpl.value(vars)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.in, diff)
		}
	}
}

// TestList splices lists and leaves out what is nil.
func TestList(t *testing.T) {
	declared := env{"xs": types.Array(types.String), "none": types.Any}
	ts := make([]Template, 0, 5)
	for _, s := range []string{"a", "${xs}", "${none}", "", "${[1, 'two']}"} {
		parts, err := split(s)
		if err != nil {
			t.Fatal(err)
		}
		tmpl := Template{src: s, parts: parts}
		if ds := tmpl.compile(declared); ds.HasErrors() {
			t.Fatal(ds)
		}
		ts = append(ts, tmpl)
	}
	got, err := list(ts, map[string]any{"xs": []string{"b", "c"}, "none": nil})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "", "1", "two"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestEvaluationFails says which expression, not where in our code.
func TestEvaluationFails(t *testing.T) {
	parts, _ := split("${xs[3].ip}")
	tmpl := Template{src: "${xs[3].ip}", parts: parts}
	if ds := tmpl.compile(env{"xs": types.Array(memberType)}); ds.HasErrors() {
		t.Fatal(ds)
	}
	_, err := tmpl.value(map[string]any{"xs": []map[string]any{}})
	if err == nil || err.Error() != "cannot evaluate xs[3].ip: index out of range: 3 (array length is 0)" {
		t.Errorf("%v", err)
	}
}

// FuzzTemplate reads any text as a template: it never panics, a template
// without expressions is its own text but for the escape, and what compiles
// can be evaluated or says why not.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"", "a", "${n}", "$${n}", "x${n + 1}y", `${map(xs, {.ip})}`, "${", "${'}'}", "${{}}", "${`a`}", "$$${n}", "${xs[0].ip}:8020"} {
		f.Add(s)
	}
	declared := env{"n": types.Int, "xs": types.Array(memberType)}
	vars := map[string]any{"n": 1, "xs": []map[string]any{{"ip": "127.0.0.1", "name": "a", "ordinal": 1}}}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1000 {
			return
		}
		parts, err := split(s)
		if err != nil {
			if !strings.Contains(s, "${") {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if !strings.Contains(s, "${") && (len(parts) != 1 || parts[0].lit != s) {
			t.Fatalf("%q became %v", s, parts)
		}
		tmpl := Template{src: s, parts: parts, node: &document.Node{}}
		if tmpl.compile(declared).HasErrors() {
			return
		}
		_, _ = tmpl.text(vars)
	})
}
