package document

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// SchemaOptions names the schema that Schema writes.
type SchemaOptions struct {
	ID          string // $id, a URL
	Title       string
	Description string
}

// Schemer is a type that decodes itself and says what it accepts.
type Schemer interface {
	// NodeSchema returns a JSON Schema as a value for encoding/json.
	NodeSchema() map[string]any
}

var (
	schemerType      = reflect.TypeFor[Schemer]()
	unmarshalerType  = reflect.TypeFor[Unmarshaler]()
	textDecoderType  = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonDecoderType  = reflect.TypeFor[json.Unmarshaler]()
	durationPattern  = `^[-+]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+$|^0$`
	schemaTextKinds  = []string{"string", "number", "boolean"}
	schemaDefaultURI = "https://json-schema.org/draft/2020-12/schema"
)

// Schema writes the JSON Schema (draft 2020-12) of what Decode and Check accept
// for a type. Field tags: doc, enum, minimum, maximum, minLength, maxLength,
// minItems, maxItems, pattern, format, default, example. A key is required
// unless it is a pointer or has omitempty. The output is the same for the same type.
func Schema(t reflect.Type, opts SchemaOptions) ([]byte, error) {
	g := &schemaWriter{defs: map[string]any{}, names: map[reflect.Type]string{}}
	root := g.of(t)
	if g.err != nil {
		return nil, fmt.Errorf("cannot write the schema of %s: %w", t, g.err)
	}
	out := map[string]any{"$schema": schemaDefaultURI}
	for key, value := range map[string]string{"$id": opts.ID, "title": opts.Title, "description": opts.Description} {
		if value != "" {
			out[key] = value
		}
	}
	maps.Copy(out, root)
	if len(g.defs) > 0 {
		out["$defs"] = g.defs
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(out); err != nil {
		return nil, fmt.Errorf("cannot write the schema of %s: %w", t, err)
	}
	return b.Bytes(), nil
}

type schemaWriter struct {
	defs  map[string]any
	names map[reflect.Type]string
	err   error
}

func (g *schemaWriter) of(t reflect.Type) map[string]any {
	if t.Kind() == reflect.Pointer && t != nodeType {
		return g.of(t.Elem())
	}
	if s, ok := g.special(t); ok {
		return s
	}
	switch t.Kind() {
	case reflect.Struct:
		if t.Name() == "" {
			return g.object(t)
		}
		return map[string]any{"$ref": "#/$defs/" + g.define(t)}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": g.of(t.Elem())}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": g.of(t.Elem())}
	case reflect.Array:
		return map[string]any{"type": "array", "items": g.of(t.Elem()), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Interface:
		return map[string]any{}
	}
	if s := integerSchema(t.Kind()); s != nil {
		return s
	}
	g.fail(fmt.Errorf("%s has no JSON form", t))
	return nil
}

func (g *schemaWriter) special(t reflect.Type) (map[string]any, bool) {
	p := reflect.PointerTo(t)
	switch {
	case t.Implements(schemerType):
		return reflect.Zero(t).Interface().(Schemer).NodeSchema(), true
	case p.Implements(schemerType):
		return reflect.New(t).Interface().(Schemer).NodeSchema(), true
	case t == nodeType, p.Implements(unmarshalerType):
		return map[string]any{}, true
	case t == textType:
		return map[string]any{"type": schemaTextKinds}, true
	case t == durationType:
		return map[string]any{"type": "string", "pattern": durationPattern, "examples": []string{"200ms", "30s", "1h30m"}}, true
	case t == numberType:
		return map[string]any{"type": "number"}, true
	case p.Implements(textDecoderType):
		return map[string]any{"type": "string"}, true
	case p.Implements(jsonDecoderType):
		return map[string]any{}, true
	}
	return nil, false
}

func integerSchema(k reflect.Kind) map[string]any {
	s := map[string]any{"type": "integer"}
	switch k {
	case reflect.Int, reflect.Int64:
	case reflect.Int8:
		s["minimum"], s["maximum"] = math.MinInt8, math.MaxInt8
	case reflect.Int16:
		s["minimum"], s["maximum"] = math.MinInt16, math.MaxInt16
	case reflect.Int32:
		s["minimum"], s["maximum"] = math.MinInt32, math.MaxInt32
	case reflect.Uint, reflect.Uint64:
		s["minimum"] = 0
	case reflect.Uint8:
		s["minimum"], s["maximum"] = 0, math.MaxUint8
	case reflect.Uint16:
		s["minimum"], s["maximum"] = 0, math.MaxUint16
	case reflect.Uint32:
		s["minimum"], s["maximum"] = 0, math.MaxUint32
	default:
		return nil
	}
	return s
}

// define writes a named struct once under $defs and returns its name there.
func (g *schemaWriter) define(t reflect.Type) string {
	if name, ok := g.names[t]; ok {
		return name
	}
	name := strings.Map(func(r rune) rune {
		if r == '[' || r == ']' || r == '/' || r == ',' || r == '*' || r == ' ' {
			return '_'
		}
		return r
	}, t.Name())
	if _, taken := g.defs[name]; taken {
		name = t.PkgPath()[strings.LastIndex(t.PkgPath(), "/")+1:] + "." + name
	}
	for base, i := name, 2; g.defs[name] != nil; i++ {
		name = base + strconv.Itoa(i)
	}
	g.names[t], g.defs[name] = name, true // keeps the name while its fields are written
	g.defs[name] = g.object(t)
	return name
}

func (g *schemaWriter) object(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, f := range fieldsOf(t) {
		s := g.of(f.typ)
		if s == nil {
			return nil
		}
		g.annotate(s, f)
		properties[f.name] = s
		if f.required() {
			required = append(required, f.name)
		}
	}
	s := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// annotate puts the tags of a field into its schema. Constraints on values go
// to the elements of a list, except those that count them.
func (g *schemaWriter) annotate(s map[string]any, f field) {
	for tag, key := range map[string]string{"doc": "description", "format": "format"} {
		if text := f.tag.Get(tag); text != "" {
			s[key] = text
		}
	}
	for _, tag := range []string{"minItems", "maxItems"} {
		g.numberTag(s, f, tag)
	}
	if text, ok := f.tag.Lookup("default"); ok {
		s["default"] = tagValue(text, f.typ)
	}
	if text, ok := f.tag.Lookup("example"); ok {
		s["examples"] = []any{tagValue(text, f.typ)}
	}
	target, typ := s, elementType(f.typ)
	if items, ok := s["items"].(map[string]any); ok {
		target = items
	}
	for _, tag := range []string{"minimum", "maximum", "minLength", "maxLength"} {
		g.numberTag(target, f, tag)
	}
	if text := f.tag.Get("pattern"); text != "" {
		if _, err := regexp.Compile(text); err != nil {
			g.fail(fmt.Errorf("field %s: %w", f.name, err))
		}
		target["pattern"] = text
	}
	if text := f.tag.Get("enum"); text != "" {
		var values []any
		for v := range strings.SplitSeq(text, ",") {
			values = append(values, tagValue(v, typ))
		}
		target["enum"] = values
	}
}

func (g *schemaWriter) numberTag(s map[string]any, f field, tag string) {
	text := f.tag.Get(tag)
	if text == "" {
		return
	}
	if !jsonNumber(text) {
		g.fail(fmt.Errorf("field %s: %s is %q, no number", f.name, tag, text))
		return
	}
	s[tag] = json.Number(text)
}

func (g *schemaWriter) fail(err error) {
	if g.err == nil {
		g.err = err
	}
}

// elementType is the type that value tags speak of: through pointers and lists.
func elementType(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
		t = t.Elem()
	}
	return t
}

// tagValue turns the text of a tag into a value of the type's JSON form.
func tagValue(text string, t reflect.Type) any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.String && t != durationType && json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return text
}
