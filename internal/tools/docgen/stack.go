package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/internal/stack"
)

// stackPage lists every field of stack.yaml, type by type.
func stackPage() ([]byte, error) {
	p := &page{anchors: map[reflect.Type]string{}}
	p.b.WriteString(`# stack.yaml

Every field of a stack. ` + "`howdah stack check DIR`" + ` reports mistakes with file and line;
[how to add a stack](../how-to/add-a-stack.md) explains the fields by example.
Generated from the code by ` + "`go generate ./internal/tools/docgen`" + `; do not edit.

A *template* is text in which ` + "`${…}`" + ` holds an expression; ` + "`$${`" + ` stands for the characters themselves.
A template that is one expression and nothing else has that expression's value, of any type.
An *expression* is written without ` + "`${}`" + `. Both are checked when the stack is loaded.
A *duration* is a number with a unit: 200ms, 30s, 5m. Fields in bold must be there.
`)
	p.visit(reflect.TypeFor[stack.Spec](), "The stack")
	for len(p.todo) > 0 {
		t := p.todo[0]
		p.todo = p.todo[1:]
		p.visit(t, t.Name())
	}
	return []byte(p.b.String()), nil
}

// page collects sections.
type page struct {
	b       strings.Builder
	anchors map[reflect.Type]string
	todo    []reflect.Type
}

func (p *page) visit(t reflect.Type, title string) {
	fmt.Fprintf(&p.b, "\n## %s\n\n| field | value | |\n|---|---|---|\n", title)
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "" || name == "-" {
			continue
		}
		doc := f.Tag.Get("doc")
		if values := f.Tag.Get("enum"); values != "" {
			doc += ". One of `" + strings.ReplaceAll(values, ",", "`, `") + "`"
		}
		if pattern := f.Tag.Get("pattern"); pattern != "" {
			doc += ". Matches `" + pattern + "`"
		}
		if f.Type.Kind() != reflect.Pointer && !strings.Contains(options, "omitempty") {
			name = "**" + name + "**"
		}
		fmt.Fprintf(&p.b, "| %s | %s | %s |\n", name, p.kind(f.Type), strings.ReplaceAll(doc, "|", `\|`))
	}
}

// kind names a type in words.
func (p *page) kind(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[stack.Template]():
		return "template"
	case reflect.TypeFor[stack.Expr]():
		return "expression"
	case reflect.TypeFor[time.Duration]():
		return "duration"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return p.kind(t.Elem())
	case reflect.Slice:
		return "list of " + p.kind(t.Elem())
	case reflect.Map:
		return "name → " + p.kind(t.Elem())
	case reflect.Struct:
		if p.anchors[t] == "" {
			p.anchors[t] = strings.ToLower(t.Name())
			p.todo = slices.Insert(p.todo, len(p.todo), t)
		}
		return fmt.Sprintf("[%s](#%s)", t.Name(), p.anchors[t])
	case reflect.Int:
		return "number"
	case reflect.Bool:
		return "true or false"
	default:
		return "text"
	}
}
