package document

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"howdah.dev/howdah/api"
)

// Text is a configuration value: a string, number or boolean scalar, kept as
// written (1.10 stays 1.10).
type Text = api.Text

// Unmarshaler is a type that decodes itself. UnmarshalNode may call Decode for
// parts, or for itself through a type without the method.
type Unmarshaler interface {
	UnmarshalNode(n *Node) api.Diagnostics
}

var (
	textType     = reflect.TypeFor[Text]()
	numberType   = reflect.TypeFor[json.Number]()
	durationType = reflect.TypeFor[time.Duration]()
	nodeType     = reflect.TypeFor[*Node]()
)

// Decode fills the value into points to from a node, over what it holds
// already, and returns every finding: unknown and repeated keys, wrong types,
// numbers out of range. Keys match json tags exactly. A field of type *Node
// keeps the node itself; any receives what Raw returns. Null is accepted where
// Go has a nil (pointer, slice, map, any). The value is only whole when there
// is no error. Missing keys are no finding here; see Check.
func Decode(n *Node, into any) api.Diagnostics {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return api.Diagnostics{Error(n, fmt.Sprintf("cannot be decoded into %T", into), "This is a mistake in Howdah: a pointer is wanted.")}
	}
	if !n.Exists() {
		return api.Diagnostics{Error(n, "is missing", "")}
	}
	var d decoder
	d.duplicates(n)
	d.value(n, v.Elem())
	return tidy(d.found)
}

type decoder struct{ found api.Diagnostics }

func (d *decoder) fail(n *Node, summary, detail string) {
	d.found = append(d.found, Error(n, summary, detail))
}

// duplicates reports repeated keys in the whole tree, also in parts nothing decodes.
func (d *decoder) duplicates(n *Node) {
	if len(d.found) > 10*maxFindings {
		return // enough to be refused; a hostile file has no end of them
	}
	for _, dup := range n.dups[:min(len(n.dups), 10*maxFindings)] {
		f := KeyError(&Node{doc: n.doc, parent: n, key: dup.key, index: -1, at: dup.at, keyAt: dup.at},
			"the key is given twice", fmt.Sprintf("It stands on line %d already; keep one of the two.", n.doc.position(dup.first).Line))
		d.found = append(d.found, f)
	}
	for _, it := range n.items {
		d.duplicates(it)
	}
}

func (d *decoder) value(n *Node, v reflect.Value) {
	if v.Type() == nodeType {
		v.Set(reflect.ValueOf(n))
		return
	}
	if n.kind == Null {
		switch v.Kind() {
		case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
			v.SetZero()
			return
		}
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, v.Elem())
		return
	}
	if d.special(n, v) {
		return
	}
	d.plain(n, v)
}

// special decodes types with a notation of their own.
func (d *decoder) special(n *Node, v reflect.Value) bool {
	if v.CanAddr() && v.Addr().CanInterface() {
		switch u := v.Addr().Interface().(type) {
		case Unmarshaler:
			d.found = append(d.found, u.UnmarshalNode(n)...)
			return true
		case encoding.TextUnmarshaler:
			d.textUnmarshaler(n, u)
			return true
		case json.Unmarshaler:
			d.jsonUnmarshaler(n, u)
			return true
		}
	}
	switch v.Type() {
	case textType:
		if n.kind != String && n.kind != Number && n.kind != Bool {
			d.wrongType(n, "text")
			return true
		}
		v.SetString(n.plain)
	case numberType:
		if n.kind != Number {
			d.wrongType(n, Number.String())
			return true
		}
		v.SetString(n.text)
	case durationType:
		d.duration(n, v)
	default:
		return false
	}
	return true
}

func (d *decoder) textUnmarshaler(n *Node, u encoding.TextUnmarshaler) {
	if n.kind != String {
		d.wrongType(n, String.String())
		return
	}
	if err := u.UnmarshalText([]byte(n.text)); err != nil {
		d.fail(n, quote(n.text)+" is not valid: "+short(err.Error()), "")
	}
}

func (d *decoder) jsonUnmarshaler(n *Node, u json.Unmarshaler) {
	b, err := json.Marshal(n.Raw())
	if err == nil {
		err = u.UnmarshalJSON(b)
	}
	if err != nil {
		d.fail(n, "is not valid: "+short(err.Error()), "")
	}
}

// plain decodes by the kind of the Go value.
func (d *decoder) plain(n *Node, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v)
	case reflect.Map:
		d.mapping(n, v)
	case reflect.Slice:
		d.slice(n, v)
	case reflect.Array:
		d.array(n, v)
	case reflect.String:
		if n.kind != String {
			d.wrongType(n, String.String())
			return
		}
		v.SetString(n.text)
	case reflect.Bool:
		if n.kind != Bool {
			d.wrongType(n, Bool.String())
			return
		}
		v.SetBool(n.text == "true")
	case reflect.Interface:
		if v.NumMethod() != 0 {
			d.fail(n, "cannot be decoded into "+v.Type().String(), "This is a mistake in Howdah; please report it.")
			return
		}
		if raw := n.Raw(); raw != nil {
			v.Set(reflect.ValueOf(raw))
		}
	default:
		d.number(n, v)
	}
}

func (d *decoder) structure(n *Node, v reflect.Value) {
	if n.kind != Mapping {
		d.wrongType(n, Mapping.String())
		return
	}
	fs := fieldsOf(v.Type())
	known := make(map[string]int, len(fs))
	for i, f := range fs {
		known[f.name] = i
	}
	for _, it := range n.items {
		i, ok := known[it.key]
		if !ok {
			d.found = append(d.found, UnknownField(it, names(fs)))
			continue
		}
		d.value(it, fieldAt(v, fs[i].index))
	}
}

// UnknownField is the finding for a key that is not among the known ones; for
// types that decode themselves.
func UnknownField(n *Node, known []string) api.Diagnostic {
	summary, detail := "unknown field", "Remove it."
	if near := Suggest(n.Key(), known); near != "" {
		summary += "; did you mean " + near + "?"
	}
	if len(known) > 0 {
		detail = "Known here: " + list(known, 16) + "."
	}
	return KeyError(n, summary, detail)
}

// fieldAt is FieldByIndex that makes embedded pointers on its way.
func fieldAt(v reflect.Value, index []int) reflect.Value {
	for i, x := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(x)
	}
	return v
}

func (d *decoder) mapping(n *Node, v reflect.Value) {
	if n.kind != Mapping {
		d.wrongType(n, Mapping.String())
		return
	}
	t := v.Type()
	if t.Key().Kind() != reflect.String {
		d.fail(n, "cannot be decoded into "+t.String(), "This is a mistake in Howdah; please report it.")
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMapWithSize(t, len(n.items)))
	}
	for _, it := range n.items {
		e := reflect.New(t.Elem()).Elem()
		d.value(it, e)
		v.SetMapIndex(reflect.ValueOf(it.key).Convert(t.Key()), e)
	}
}

func (d *decoder) slice(n *Node, v reflect.Value) {
	if n.kind != List {
		d.wrongType(n, List.String())
		return
	}
	s := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, it := range n.items {
		d.value(it, s.Index(i))
	}
	v.Set(s)
}

func (d *decoder) array(n *Node, v reflect.Value) {
	if n.kind != List {
		d.wrongType(n, List.String())
		return
	}
	if len(n.items) != v.Len() {
		d.fail(n, fmt.Sprintf("has %d items; %d are wanted", len(n.items), v.Len()), "")
		return
	}
	for i, it := range n.items {
		d.value(it, v.Index(i))
	}
}
