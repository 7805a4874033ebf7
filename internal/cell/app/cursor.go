package app

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"howdah.dev/howdah/internal/document"
)

// Bounds of what one body may hold; beyond them it is an error, never cut.
const (
	maxText  = 64 << 10 // bytes of a text: commands are long
	maxItems = 4096     // of a list or map inside an app
	maxName  = 1024     // bytes of a name of a map
)

// unsupported is said of what Marathon has and Howdah has not.
const unsupported = "not supported in this version"

// maxSuggestions bounds how many unknown names of one body are compared with the
// known ones, which costs more than reading them.
const maxSuggestions = 100

// log collects what is wrong while a body, or an app in it, is read.
type log struct {
	problems    problems
	suggestions *int // left for the whole body
}

func newLog() *log {
	left := maxSuggestions
	return &log{suggestions: &left}
}

// part returns an empty log for a part of the same body.
func (l *log) part() *log { return &log{suggestions: l.suggestions} }

// cursor is a value and where it stands.
type cursor struct {
	log *log
	n   *node
	at  place
}

func (c cursor) add(k kind, text, message, remedy string) {
	c.log.problems = append(c.log.problems, problem{k, c.at, text, message, remedy})
}

// shape says that a value is of the wrong kind or out of bounds.
func (c cursor) shape(text, want string) {
	c.add(shape, text, "it is "+c.show()+", wanted is "+want, "Give "+want+".")
}

func (c cursor) refuse(why, remedy string) { c.add(rule, why, "", remedy) }

func (c cursor) show() string {
	switch c.n.kind {
	case nullNode:
		return "null"
	case boolNode:
		return strconv.FormatBool(c.n.truth)
	case numberNode:
		return clip(c.n.text)
	case stringNode:
		return strconv.Quote(clip(c.n.text))
	case arrayNode:
		return "an array"
	default:
		return "an object"
	}
}

// object is a JSON object whose names have been checked.
type object struct {
	cursor
	members map[string]*node // the first of each name
}

// words are the names an object may have.
type words struct {
	known   []string
	dropped []string          // Marathon's own output, accepted and not read
	refused map[string]string // what Marathon has and Howdah has not: name to remedy
}

// object reads an object and reports every name that is not among the words.
func (c cursor) object(w words) (object, bool) {
	o := object{cursor: c, members: map[string]*node{}}
	if c.n.kind != objectNode {
		c.shape("error.expected.jsobject", "an object")
		return o, false
	}
	for i, key := range c.n.keys {
		item := cursor{c.log, c.n.items[i], c.at.field(clip(key))}
		if o.members[key] != nil {
			item.refuse("is given twice", "Give it once.")
			continue
		}
		o.members[key] = item.n
		switch remedy, refused := w.refused[key]; {
		case slices.Contains(w.known, key), slices.Contains(w.dropped, key):
		case refused && harmless(item.n):
		case refused:
			item.refuse(unsupported, remedy)
		default:
			item.unknown(key, w.known)
		}
	}
	return o, true
}

// members reads an object whose names are reported elsewhere.
func (c cursor) members() object {
	o := object{cursor: c, members: map[string]*node{}}
	for i, key := range c.n.keys {
		if o.members[key] == nil {
			o.members[key] = c.n.items[i]
		}
	}
	return o
}

// harmless tells whether a refused field asks for nothing.
func harmless(n *node) bool {
	switch n.kind {
	case nullNode:
		return true
	case boolNode:
		return !n.truth
	case arrayNode, objectNode:
		return len(n.items) == 0
	case numberNode:
		f, err := strconv.ParseFloat(n.text, 64)
		return err == nil && f == 0
	default:
		return n.text == ""
	}
}

func (c cursor) unknown(name string, known []string) {
	text := "is not a known field"
	remedy := "Remove it, or see the reference of supported fields."
	near := ""
	if *c.log.suggestions > 0 {
		*c.log.suggestions--
		near = document.Suggest(name, known)
	}
	if near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
		remedy = fmt.Sprintf("Write %q.", near)
	}
	c.refuse(text, remedy)
}

// get returns a member; null is as if absent, as with Marathon.
func (o object) get(name string) (cursor, bool) {
	n := o.members[name]
	if n == nil || n.kind == nullNode {
		return cursor{}, false
	}
	return cursor{o.log, n, o.at.field(name)}, true
}

// need reports a member that is missing.
func (o object) need(name, what string) {
	if _, ok := o.get(name); !ok {
		cursor{o.log, &node{}, o.at.field(name)}.add(shape, "error.path.missing", "it is missing", "Give "+what+".")
	}
}

// field reads a member, or returns def where it is absent.
func field[T any](o object, name string, def T, read func(cursor) T) T {
	c, ok := o.get(name)
	if !ok {
		return def
	}
	return read(c)
}

// optional reads a member, or returns nil where it is absent.
func optional[T any](o object, name string, read func(cursor) T) *T {
	c, ok := o.get(name)
	if !ok {
		return nil
	}
	v := read(c)
	return &v
}

func anyText(c cursor) string { return text(0, maxText)(c) }

// text reads a string of lo to hi bytes.
func text(lo, hi int) func(cursor) string {
	return func(c cursor) string {
		switch {
		case c.n.kind != stringNode:
			c.shape("error.expected.jsstring", "a text")
			return ""
		case len(c.n.text) < lo:
			c.shape("error.minLength", "a text that is not empty")
		case len(c.n.text) > hi:
			c.shape("error.maxLength", fmt.Sprintf("a text of at most %d bytes", hi))
		case strings.ContainsRune(c.n.text, 0):
			c.shape("error.pattern", "a text without NUL")
		}
		return c.n.text
	}
}

// oneOf reads one of some words. kind is Marathon's name of the set.
func oneOf(allowed ...string) func(cursor) string {
	return func(c cursor) string {
		if c.n.kind != stringNode {
			c.shape("error.expected.jsstring", "one of "+strings.Join(allowed, ", "))
			return ""
		}
		if !slices.Contains(allowed, c.n.text) {
			c.shape("error.unknown.enum.literal", "one of "+strings.Join(allowed, ", "))
		}
		return c.n.text
	}
}

func boolean(c cursor) bool {
	if c.n.kind != boolNode {
		c.shape("error.expected.jsboolean", "true or false")
	}
	return c.n.truth
}

// number reads a number of at least lo.
func number(lo, hi float64) func(cursor) float64 {
	return func(c cursor) float64 {
		f, err := strconv.ParseFloat(c.n.text, 64)
		switch {
		case c.n.kind != numberNode:
			c.shape("error.expected.jsnumber", "a number")
			return 0
		case err != nil:
			c.shape("error.invalid", "a number a computer can hold")
			return 0
		case f < lo:
			c.shape("error.min", fmt.Sprintf("at least %v", lo))
		case f > hi:
			c.shape("error.max", fmt.Sprintf("at most %v", hi))
		}
		return f + 0 // no negative zero
	}
}

// integer reads a whole number from lo to hi; 1.0 and 1e2 are whole.
func integer(lo, hi int) func(cursor) int {
	return func(c cursor) int {
		f, err := strconv.ParseFloat(c.n.text, 64)
		switch {
		case c.n.kind != numberNode:
			c.shape("error.expected.jsnumber", "a whole number")
			return 0
		case err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53:
			c.shape("error.expected.int", "a whole number")
			return 0
		case f < float64(lo):
			c.shape("error.min", fmt.Sprintf("a whole number of at least %d", lo))
		case f > float64(hi):
			c.shape("error.max", fmt.Sprintf("a whole number of at most %d", hi))
		}
		return int(f)
	}
}

func port(c cursor) int { return integer(0, 65535)(c) }

func seconds(c cursor) int { return integer(0, math.MaxInt32)(c) }

// list reads an array; it is never nil.
func list[T any](read func(cursor) T) func(cursor) []T { return listOf(maxItems, read) }

func listOf[T any](most int, read func(cursor) T) func(cursor) []T {
	return func(c cursor) []T {
		out := []T{}
		if c.n.kind != arrayNode {
			c.shape("error.expected.jsarray", "an array")
			return out
		}
		if len(c.n.items) > most {
			c.add(shape, "error.maxLength", fmt.Sprintf("it has %d items, at most %d may be", len(c.n.items), most), "Give fewer.")
			return out
		}
		for i, item := range c.n.items {
			out = append(out, read(cursor{c.log, item, c.at.index(i)}))
		}
		return out
	}
}

// mapOf reads an object of free names; it is never nil.
func mapOf[T any](read func(cursor) T) func(cursor) map[string]T {
	return func(c cursor) map[string]T {
		out := map[string]T{}
		if c.n.kind != objectNode {
			c.shape("error.expected.jsobject", "an object")
			return out
		}
		if len(c.n.items) > maxItems {
			c.add(shape, "error.maxLength", fmt.Sprintf("it has %d members, at most %d may be", len(c.n.items), maxItems), "Give fewer.")
			return out
		}
		for i, item := range c.n.items {
			name := c.n.keys[i]
			member := cursor{c.log, item, c.at.field(clip(name))}
			if _, twice := out[name]; twice {
				member.refuse("is given twice", "Give it once.")
			}
			if len(name) > maxName || strings.ContainsRune(name, 0) {
				member.add(shape, "error.maxLength", fmt.Sprintf("its name has %d bytes, at most %d may be, and no NUL", len(name), maxName), "Shorten the name.")
			}
			out[name] = read(member)
		}
		return out
	}
}
