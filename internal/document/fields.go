package document

import (
	"reflect"
	"strings"
	"sync"
)

// field is one key a struct accepts.
type field struct {
	name      string
	index     []int // as for reflect.Value.FieldByIndex
	typ       reflect.Type
	tag       reflect.StructTag
	omitEmpty bool
}

// required reports whether the key must be given: it has no omitempty (or
// omitzero) and is no pointer.
func (f field) required() bool { return !f.omitEmpty && f.typ.Kind() != reflect.Pointer }

// fieldCache maps reflect.Type to []field; types are few and live as long as the program.
var fieldCache sync.Map

// fieldsOf returns the fields of a struct type in declaration order, with
// embedded structs in place and, of equal names, the shallowest.
func fieldsOf(t reflect.Type) []field {
	if fs, ok := fieldCache.Load(t); ok {
		return fs.([]field)
	}
	var fs []field
	collect(t, nil, map[reflect.Type]bool{t: true}, &fs)
	best := map[string]int{}
	for i, f := range fs {
		if j, ok := best[f.name]; !ok || len(f.index) < len(fs[j].index) {
			best[f.name] = i
		}
	}
	var out []field
	for i, f := range fs {
		if best[f.name] == i {
			out = append(out, f)
		}
	}
	fieldCache.Store(t, out)
	return out
}

func collect(t reflect.Type, index []int, on map[reflect.Type]bool, out *[]field) {
	for i := range t.NumField() {
		sf := t.Field(i)
		name, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if name == "-" && options == "" {
			continue
		}
		at := append(append([]int{}, index...), i)
		if sf.Anonymous && name == "" {
			e := sf.Type
			if e.Kind() == reflect.Pointer && sf.IsExported() {
				e = e.Elem()
			}
			if e.Kind() == reflect.Struct {
				if !on[e] {
					on[e] = true
					collect(e, at, on, out)
					delete(on, e)
				}
				continue
			}
		}
		if !sf.IsExported() {
			continue
		}
		if name == "" {
			name = sf.Name
		}
		*out = append(*out, field{
			name: name, index: at, typ: sf.Type, tag: sf.Tag,
			omitEmpty: strings.Contains(","+options+",", ",omitempty,") || strings.Contains(","+options+",", ",omitzero,"),
		})
	}
}

// names returns the keys of fields.
func names(fs []field) []string {
	out := make([]string, len(fs))
	for i, f := range fs {
		out[i] = f.name
	}
	return out
}
