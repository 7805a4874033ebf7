package document

import (
	"math/big"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"howdah.dev/howdah/api"
)

// Check reports what the tags of a Go type ask of a node beyond what Decode
// does: keys that are required (no pointer, no omitempty), enum, minimum,
// maximum, minLength, maxLength, minItems, maxItems and pattern. Values of a
// wrong type are passed over: Decode reports them. The model is any value of
// the type, or a pointer to one. Together with Decode it accepts what Schema describes.
func Check(n *Node, model any) api.Diagnostics {
	t := reflect.TypeOf(model)
	if t == nil || !n.Exists() {
		return nil
	}
	var c checker
	c.value(n, t)
	return tidy(c.found)
}

type checker struct{ found api.Diagnostics }

func (c *checker) fail(n *Node, summary, detail string) {
	c.found = append(c.found, Error(n, summary, detail))
}

func (c *checker) value(n *Node, t reflect.Type) {
	if t == nodeType || n.kind == Null {
		return
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if p := reflect.PointerTo(t); p.Implements(unmarshalerType) || p.Implements(textDecoderType) || p.Implements(jsonDecoderType) {
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		if n.kind == Mapping {
			c.structure(n, t)
		}
	case reflect.Map, reflect.Slice, reflect.Array:
		if n.kind == List && t.Kind() == reflect.Map || n.kind == Mapping && t.Kind() != reflect.Map {
			return
		}
		for _, it := range n.items {
			c.value(it, t.Elem())
		}
	}
}

func (c *checker) structure(n *Node, t reflect.Type) {
	for _, f := range fieldsOf(t) {
		it := n.Get(f.name)
		if it == nil {
			if f.required() {
				c.fail(n.At(f.name), "is missing", f.tag.Get("doc"))
			}
			continue
		}
		c.value(it, f.typ)
		c.count(it, f)
		if it.kind == List {
			for _, e := range it.items {
				c.scalar(e, f)
			}
		} else {
			c.scalar(it, f)
		}
	}
}

// count checks the number of items of a list.
func (c *checker) count(n *Node, f field) {
	if n.kind != List {
		return
	}
	if least, ok := tagInt(f, "minItems"); ok && len(n.items) < least {
		c.fail(n, "has "+strconv.Itoa(len(n.items))+" items; at least "+strconv.Itoa(least)+" are wanted", "")
	}
	if most, ok := tagInt(f, "maxItems"); ok && len(n.items) > most {
		c.fail(n, "has "+strconv.Itoa(len(n.items))+" items; at most "+strconv.Itoa(most)+" are possible", "")
	}
}

func (c *checker) scalar(n *Node, f field) {
	if n.kind != String && n.kind != Number {
		return
	}
	if text := f.tag.Get("enum"); text != "" {
		c.enum(n, strings.Split(text, ","))
	}
	if n.kind == Number {
		c.bounds(n, f)
		return
	}
	if least, ok := tagInt(f, "minLength"); ok && utf8.RuneCountInString(n.text) < least {
		detail := "Give at least " + strconv.Itoa(least) + " characters."
		if n.text == "" {
			c.fail(n, "is empty", detail)
		} else {
			c.fail(n, quote(n.text)+" is too short", detail)
		}
	}
	if most, ok := tagInt(f, "maxLength"); ok && utf8.RuneCountInString(n.text) > most {
		c.fail(n, quote(n.text)+" is too long", "Give at most "+strconv.Itoa(most)+" characters.")
	}
	if text := f.tag.Get("pattern"); text != "" {
		if re, err := regexp.Compile(text); err == nil && !re.MatchString(n.text) {
			c.fail(n, quote(n.text)+" has not the form wanted here", patternDetail(f, text))
		}
	}
}

func patternDetail(f field, pattern string) string {
	detail := "It must match " + pattern
	if example := f.tag.Get("example"); example != "" {
		detail += ", for example " + example
	}
	return detail + "."
}

func (c *checker) enum(n *Node, values []string) {
	for _, v := range values {
		if n.plain == v || n.text == v {
			return
		}
	}
	summary := quote(n.plain) + " is not possible here"
	if near := Suggest(n.plain, values); near != "" {
		summary += "; did you mean " + near + "?"
	}
	c.fail(n, summary, "Possible: "+list(values, 16)+".")
}

func (c *checker) bounds(n *Node, f field) {
	v, ok := exact(n.text)
	if !ok {
		return
	}
	if text := f.tag.Get("minimum"); text != "" {
		if least, ok := exact(text); ok && v.Cmp(least) < 0 {
			c.fail(n, short(n.plain)+" is too small", "Give "+text+" or more.")
		}
	}
	if text := f.tag.Get("maximum"); text != "" {
		if most, ok := exact(text); ok && v.Cmp(most) > 0 {
			c.fail(n, short(n.plain)+" is too large", "Give "+text+" or less.")
		}
	}
}

// exact reads a JSON number: as written when it is of ordinary length, rounded otherwise.
func exact(text string) (*big.Float, bool) {
	if len(text) > maxShown {
		v, _ := strconv.ParseFloat(text, 64) // out of range is an infinity, which compares right
		return big.NewFloat(v), true
	}
	f, _, err := big.ParseFloat(text, 10, 256, big.ToNearestEven)
	return f, err == nil
}

func tagInt(f field, tag string) (int, bool) {
	i, err := strconv.Atoi(f.tag.Get(tag))
	return i, err == nil
}
