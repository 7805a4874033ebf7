package document

import (
	"encoding/json"
	"iter"
	"slices"
	"strconv"
	"strings"

	"howdah.dev/howdah/api"
)

// Kind is what a node holds.
type Kind int

// The kinds of node. Missing is the kind of a nil Node and of what At returns
// for a path that the document does not have.
const (
	Missing Kind = iota
	Null
	Bool
	Number
	String
	List
	Mapping
)

// String names the kind the way a finding does: "a string", "a list".
func (k Kind) String() string {
	return [...]string{"missing", "null", "a boolean", "a number", "a string", "a list", "a mapping"}[k]
}

// Document is one parsed file with one or several roots.
type Document struct {
	file  string
	data  []byte
	lines []int // offset at which each line starts
	roots []*Node
}

// Roots returns the documents of the file in order: one for JSON, one per
// non-empty YAML document.
func (d *Document) Roots() []*Node { return d.roots }

// File returns the name the document was parsed under.
func (d *Document) File() string { return d.file }

// Data returns the bytes of the original file. They must not be changed.
func (d *Document) Data() []byte { return d.data }

// Node is one value of a document: a scalar, a list or a mapping. Nodes are
// read-only and safe for concurrent use. Methods accept a nil Node.
type Node struct {
	doc    *Document
	parent *Node
	kind   Kind
	key    string // key in the parent mapping
	index  int    // index in the parent list, -1 under a mapping or at the root
	text   string // String: the value; Number: JSON number text; Bool: true or false
	plain  string // a scalar as written, without quotes
	at     int    // offset of the value
	keyAt  int    // offset of the key, -1 without one
	items  []*Node
	byKey  map[string]int // only for large mappings
	dups   []duplicate
}

// duplicate is a key that stood in a mapping before.
type duplicate struct {
	key   string
	at    int
	first int
}

// indexFrom is the number of entries from which a mapping keeps an index.
const indexFrom = 12

// Kind returns what the node holds; Missing for a nil Node.
func (n *Node) Kind() Kind {
	if n == nil {
		return Missing
	}
	return n.kind
}

// Exists reports whether the node is in the document.
func (n *Node) Exists() bool { return n.Kind() != Missing }

// Get returns the value of a key of a mapping, nil without one.
func (n *Node) Get(key string) *Node {
	if n.Kind() != Mapping {
		return nil
	}
	if n.byKey != nil {
		if i, ok := n.byKey[key]; ok {
			return n.items[i]
		}
		return nil
	}
	for _, it := range n.items {
		if it.key == key {
			return it
		}
	}
	return nil
}

// Items returns the elements of a list or the values of a mapping, in file order.
func (n *Node) Items() []*Node {
	if n == nil {
		return nil
	}
	return n.items
}

// Entries yields the keys and values of a mapping in file order.
func (n *Node) Entries() iter.Seq2[string, *Node] {
	return func(yield func(string, *Node) bool) {
		if n.Kind() != Mapping {
			return
		}
		for _, it := range n.items {
			if !yield(it.key, it) {
				return
			}
		}
	}
}

// Keys returns the keys of a mapping in file order.
func (n *Node) Keys() []string {
	var keys []string
	for k := range n.Entries() {
		keys = append(keys, k)
	}
	return keys
}

// Key returns the key under which the node stands in its parent mapping, "" elsewhere.
func (n *Node) Key() string {
	if n == nil {
		return ""
	}
	return n.key
}

// Parent returns the list or mapping that holds the node, nil at the root.
func (n *Node) Parent() *Node {
	if n == nil {
		return nil
	}
	return n.parent
}

// Text returns a scalar as written, without quotes: 1.10, 0x1f, True. It is ""
// for null, lists and mappings.
func (n *Node) Text() string {
	if n == nil {
		return ""
	}
	return n.plain
}

// StringValue returns the value of a string node.
func (n *Node) StringValue() (string, bool) {
	if n.Kind() != String {
		return "", false
	}
	return n.text, true
}

// BoolValue returns the value of a boolean node.
func (n *Node) BoolValue() (value, ok bool) {
	if n.Kind() != Bool {
		return false, false
	}
	return n.text == "true", true
}

// NumberValue returns the value of a number node as exact JSON number text.
func (n *Node) NumberValue() (json.Number, bool) {
	if n.Kind() != Number {
		return "", false
	}
	return json.Number(n.text), true
}

// Raw returns the value as plain Go values: nil, bool, string, json.Number
// (exact, whatever its size), []any and map[string]any.
func (n *Node) Raw() any {
	switch n.Kind() {
	case Bool:
		return n.text == "true"
	case Number:
		return json.Number(n.text)
	case String:
		return n.text
	case List:
		list := make([]any, len(n.items))
		for i, it := range n.items {
			list[i] = it.Raw()
		}
		return list
	case Mapping:
		m := make(map[string]any, len(n.items))
		for _, it := range n.items {
			m[it.key] = it.Raw()
		}
		return m
	case Missing, Null:
	}
	return nil
}

// Position returns where the value starts in the original file.
func (n *Node) Position() api.Position {
	if n == nil || n.doc == nil {
		return api.Position{}
	}
	return n.doc.position(n.at)
}

// KeyPosition returns where the key of the node starts, or the value when it has no key.
func (n *Node) KeyPosition() api.Position {
	if n == nil || n.doc == nil {
		return api.Position{}
	}
	if n.keyAt < 0 {
		return n.Position()
	}
	return n.doc.position(n.keyAt)
}

// Document returns the document the node belongs to.
func (n *Node) Document() *Document {
	if n == nil {
		return nil
	}
	return n.doc
}

// Address returns the path from the root: clusters[1].nodeGroups[0].roles, with
// keys that are no plain words in brackets: configuration["hdfs-site.xml"]. It
// is "" at the root.
func (n *Node) Address() string {
	var path []*Node
	for ; n != nil && n.parent != nil; n = n.parent {
		path = append(path, n)
	}
	var b strings.Builder
	for _, p := range slices.Backward(path) {
		switch {
		case p.index >= 0:
			b.WriteString("[" + strconv.Itoa(p.index) + "]")
		case plainKey(p.key):
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(p.key)
		default:
			b.WriteString("[" + quote(p.key) + "]")
		}
	}
	return b.String()
}

// At returns the node at a path of keys (string) and indexes (int) below n, so
// that a check made on a decoded value can point at its place. Where the path
// leaves the document, the result is a Missing node that carries the whole
// address and the position of the nearest parent that exists.
func (n *Node) At(path ...any) *Node {
	cur := n
	for _, step := range path {
		next := cur.child(step)
		if next == nil {
			next = cur.missing(step)
		}
		cur = next
	}
	return cur
}

func (n *Node) child(step any) *Node {
	switch s := step.(type) {
	case string:
		return n.Get(s)
	case int:
		if n.Kind() == List && s >= 0 && s < len(n.items) {
			return n.items[s]
		}
	}
	return nil
}

func (n *Node) missing(step any) *Node {
	if n == nil {
		return nil
	}
	m := &Node{doc: n.doc, parent: n, at: n.at, keyAt: n.keyAt, index: -1}
	switch s := step.(type) {
	case string:
		m.key = s
	case int:
		m.index = s
	}
	return m
}

// add appends an entry to a mapping under construction. A key seen before is
// noted and its last value wins, as in encoding/json.
func (n *Node) add(value *Node) {
	if i, seen := n.find(value.key); seen {
		n.dups = append(n.dups, duplicate{key: value.key, at: value.keyAt, first: n.items[i].keyAt})
		n.items[i] = value
		return
	}
	if n.byKey == nil && len(n.items) >= indexFrom {
		n.byKey = make(map[string]int, 2*indexFrom)
		for i, it := range n.items {
			n.byKey[it.key] = i
		}
	}
	if n.byKey != nil {
		n.byKey[value.key] = len(n.items)
	}
	n.items = append(n.items, value)
}

func (n *Node) find(key string) (int, bool) {
	if n.byKey != nil {
		i, ok := n.byKey[key]
		return i, ok
	}
	for i, it := range n.items {
		if it.key == key {
			return i, true
		}
	}
	return 0, false
}

// plainKey reports whether a key can stand in an address without brackets.
func plainKey(key string) bool {
	if key == "" || len(key) > maxShown {
		return false
	}
	for i := range len(key) {
		c := key[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c != '-' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}
