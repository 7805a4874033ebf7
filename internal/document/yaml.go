package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"howdah.dev/howdah/api"
)

// yamlBuilder turns the library's nodes into ours: offsets instead of lines and
// runes, our reading of scalars, aliases and merges expanded within the limits.
type yamlBuilder struct {
	doc    *Document
	text   []byte // the file without its BOM
	base   int    // offset of text in the file
	lines  []yamlLine
	limits Limits
	nodes  int
	open   map[*yaml.Node]bool // anchors being expanded, against cycles
	found  api.Diagnostics
}

func (d *Document) parseYAML(l Limits, start int) api.Diagnostics {
	text := d.data[start:]
	b := &yamlBuilder{doc: d, text: text, base: start, limits: l, lines: yamlLines(text), open: map[*yaml.Node]bool{}}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var y yaml.Node
		err := dec.Decode(&y)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return append(b.found, b.syntax(err))
		}
		if s := b.root(&y); s != nil {
			return append(b.found, d.at(s.at, s.summary, s.detail))
		}
	}
	if len(d.roots) == 0 && !b.found.HasErrors() {
		return append(b.found, d.at(start, "the file holds no document, only comments or separators", "Give a JSON or YAML document."))
	}
	return b.found
}

func (b *yamlBuilder) root(y *yaml.Node) *stop {
	if y.Kind != yaml.DocumentNode || len(y.Content) != 1 {
		return nil
	}
	c := y.Content[0]
	if c.Kind == yaml.ScalarNode && c.Value == "" && c.Style == 0 {
		return nil // nothing between two separators
	}
	root, s := b.node(c, nil, 0)
	if s == nil {
		b.doc.roots = append(b.doc.roots, root)
	}
	return s
}

func (b *yamlBuilder) node(y *yaml.Node, parent *Node, depth int) (*Node, *stop) {
	n := &Node{doc: b.doc, parent: parent, index: -1, at: b.offset(y), keyAt: -1}
	if b.nodes++; b.nodes > b.limits.Nodes {
		return nil, &stop{n.at, fmt.Sprintf("the file has more than %d values, aliases expanded", b.limits.Nodes), "Use fewer aliases, or split the file."}
	}
	if depth > b.limits.Depth {
		return nil, &stop{n.at, fmt.Sprintf("values are nested more than %d deep", b.limits.Depth), "Look for an indentation that grows by mistake."}
	}
	switch y.Kind {
	case yaml.AliasNode:
		return b.alias(y, parent, depth)
	case yaml.SequenceNode:
		n.kind = List
		b.tag(n, y, "!!seq")
		return n, b.sequence(n, y, depth)
	case yaml.MappingNode:
		n.kind = Mapping
		b.tag(n, y, "!!map")
		return n, b.mapping(n, y, depth)
	}
	b.scalar(n, y)
	return n, nil
}

func (b *yamlBuilder) alias(y *yaml.Node, parent *Node, depth int) (*Node, *stop) {
	if y.Alias == nil || b.open[y.Alias] {
		return nil, &stop{b.offset(y), "the alias *" + short(y.Value) + " stands inside what it refers to", "Write the value out."}
	}
	b.open[y.Alias] = true
	defer delete(b.open, y.Alias)
	return b.node(y.Alias, parent, depth)
}

func (b *yamlBuilder) sequence(n *Node, y *yaml.Node, depth int) *stop {
	n.items = make([]*Node, 0, len(y.Content))
	for i, c := range y.Content {
		v, s := b.node(c, n, depth+1)
		if s != nil {
			return s
		}
		v.index = i
		n.items = append(n.items, v)
	}
	return nil
}

func (b *yamlBuilder) mapping(n *Node, y *yaml.Node, depth int) *stop {
	var merges []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Kind == yaml.ScalarNode && k.Tag == "!!merge" {
			merges = append(merges, v)
			continue
		}
		key, ok := b.key(k)
		if !ok {
			continue
		}
		value, s := b.node(v, n, depth+1)
		if s != nil {
			return s
		}
		value.key, value.keyAt = key, b.offset(k)
		if value.kind == Null && value.plain == "" {
			value.at = value.keyAt // nothing is written: point at the key
		}
		n.add(value)
	}
	own := len(n.items)
	for _, m := range merges {
		if s := b.merge(n, m, own, depth); s != nil {
			return s
		}
	}
	return nil
}

// key returns the text of a key: a scalar as written.
func (b *yamlBuilder) key(k *yaml.Node) (string, bool) {
	for k.Kind == yaml.AliasNode && k.Alias != nil {
		k = k.Alias
	}
	switch {
	case k.Kind != yaml.ScalarNode:
		b.report(k, "a list or a mapping stands where a key is wanted", "Write a plain word as key. Text such as {{ name }} must be quoted.")
	case k.Value == "" && k.Style == 0:
		b.report(k, "a key is missing before the colon", "")
	default:
		return k.Value, true
	}
	return "", false
}

// merge adds the entries of a merge key (<<) that the mapping has not itself.
// Of several merged mappings the first one wins.
func (b *yamlBuilder) merge(n *Node, y *yaml.Node, own, depth int) *stop {
	target := y
	for target.Kind == yaml.AliasNode && target.Alias != nil {
		target = target.Alias
	}
	if target.Kind == yaml.SequenceNode {
		for _, c := range target.Content {
			if c.Kind == yaml.SequenceNode {
				b.report(c, "a list stands where a mapping to merge is wanted", "")
			} else if s := b.merge(n, c, own, depth); s != nil {
				return s
			}
		}
		return nil
	}
	if target.Kind != yaml.MappingNode {
		b.report(y, "only a mapping can be merged with <<", "Write <<: *name, where &name marks a mapping.")
		return nil
	}
	v, s := b.node(y, n, depth+1)
	if s != nil {
		return s
	}
	for _, it := range v.items {
		if _, has := n.find(it.key); !has {
			it.parent = n
			n.add(it)
		}
	}
	return nil
}

// scalar decides what a scalar is; quoted and block scalars are always text.
func (b *yamlBuilder) scalar(n *Node, y *yaml.Node) {
	n.plain = y.Value
	quoted := y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	n.kind, n.text = String, y.Value
	tagged := y.Style&yaml.TaggedStyle != 0
	if tagged && y.Tag == "!!str" || quoted && !tagged {
		return
	}
	n.kind, n.text = plainScalar(y.Value)
	if !tagged {
		return
	}
	want, known := map[string]Kind{"!!int": Number, "!!float": Number, "!!bool": Bool, "!!null": Null}[y.Tag]
	switch {
	case !known:
		b.badTag(y)
	case n.kind != want:
		b.report(y, fmt.Sprintf("%s is not %s, as its tag %s says", quote(y.Value), want, y.Tag), "Remove the tag.")
	}
}

func (b *yamlBuilder) tag(n *Node, y *yaml.Node, allowed string) {
	if y.Style&yaml.TaggedStyle != 0 && y.Tag != allowed {
		b.badTag(y)
	}
}

func (b *yamlBuilder) badTag(y *yaml.Node) {
	detail := "Remove the tag."
	if y.Kind == yaml.ScalarNode {
		detail = "Remove the tag; put text that starts with ! in quotes."
	}
	b.report(y, "the YAML tag "+short(visible([]byte(y.Tag)))+" is not supported", detail)
}

func (b *yamlBuilder) report(y *yaml.Node, summary, detail string) {
	b.found = append(b.found, b.doc.at(b.offset(y), summary, detail))
}

// yamlLine is where a line starts by YAML's rules, which know more line breaks
// than editors do. marks hold the offset of every markEvery-th rune of a line
// that is not all ASCII, filled when first asked for.
type yamlLine struct {
	start, end int
	marks      []int
}

const markEvery = 256

func yamlLines(text []byte) []yamlLine {
	var lines []yamlLine
	start := 0
	for i := 0; i < len(text); {
		n := breakAt(text[i:])
		if n == 0 {
			i++
			continue
		}
		lines = append(lines, yamlLine{start: start, end: i})
		i += n
		start = i
	}
	return append(lines, yamlLine{start: start, end: len(text)})
}

// breakAt returns the length of the line break at the start of b, 0 without one.
func breakAt(b []byte) int {
	switch b[0] {
	case '\n':
		return 1
	case '\r':
		if len(b) > 1 && b[1] == '\n' {
			return 2
		}
		return 1
	case 0xc2:
		if len(b) > 1 && b[1] == 0x85 {
			return 2
		}
	case 0xe2:
		if len(b) > 2 && b[1] == 0x80 && (b[2] == 0xa8 || b[2] == 0xa9) {
			return 3
		}
	}
	return 0
}

// offset returns the offset in the file of a library node; its column counts runes.
func (b *yamlBuilder) offset(y *yaml.Node) int {
	if y.Line < 1 || y.Line > len(b.lines) {
		return len(b.doc.data)
	}
	line := &b.lines[y.Line-1]
	if line.marks == nil {
		line.marks = runeMarks(b.text, line.start, line.end)
	}
	runes := y.Column - 1
	at := line.start
	if len(line.marks) == 1 { // all ASCII
		at += runes
	} else {
		m := min(runes/markEvery, len(line.marks)-1)
		at = line.marks[m]
		for left := runes - m*markEvery; left > 0 && at < line.end; left-- {
			_, n := utf8.DecodeRune(b.text[at:line.end])
			at += n
		}
	}
	return b.base + min(at, line.end)
}

func runeMarks(text []byte, start, end int) []int {
	marks, ascii, count := []int{start}, true, 0
	for at := start; at < end; count++ {
		if count > 0 && count%markEvery == 0 {
			marks = append(marks, at)
		}
		n := 1
		if text[at] >= utf8.RuneSelf {
			ascii = false
			_, n = utf8.DecodeRune(text[at:end])
		}
		at += n
	}
	if ascii {
		return marks[:1]
	}
	if len(marks) == 1 {
		marks = append(marks, end) // more than one mark says: not ASCII
	}
	return marks
}

// yamlMessages says in plain words what the library's messages mean.
var yamlMessages = []struct{ library, summary, detail string }{
	{"mapping values are not allowed in this context", "a key with a colon is not possible here", "Check the indentation of this line and the one above; text that holds \": \" must be quoted."},
	{"found character that cannot start any token", "this character cannot start a value", "Indent by spaces, not tabs; quote text that starts with @, ` or %."},
	{"found a tab character that violates indentation", "a tab is used to indent", "Indent by spaces."},
	{"found unexpected end of stream", "this quote is not closed", "Add the closing quote."},
	{"did not find expected key", "a key is wanted here", "Check the indentation and the quotes of this line and the one above."},
	{"did not find expected '-' indicator", "a list item (-) is wanted here", "Check the indentation of this line."},
	{"could not find expected ':'", "a colon is missing after this key", "Write key: value, with a space after the colon."},
	{"did not find expected ',' or ']'", "a comma or ] is missing", "Close the list that was opened with [."},
	{"did not find expected ',' or '}'", "a comma or } is missing", "Close the mapping that was opened with {; text such as ${name} or {{name}} inside one must be quoted."},
	{"did not find expected node content", "a value is missing here", "Check for an open bracket or a stray comma."},
	{"did not find expected alphabetic or numeric character", "a name is missing after & or *", "Quote text that starts with & or *."},
	{"found unknown escape character", "this escape is unknown", "In double quotes a backslash is written \\\\; single quotes take text as it is."},
	{"did not find expected <document start>", "text follows the end of the document", "Separate documents by a line ---, and check the indentation."},
	{"control characters are not allowed", "the file holds a control character", "Remove it, or write it as an escape in double quotes."},
	{"invalid leading UTF-8 octet", "the file is not UTF-8 here", "Save it as UTF-8."},
	{"invalid trailing UTF-8 octet", "the file is not UTF-8 here", "Save it as UTF-8."},
	{"incomplete UTF-8 octet sequence", "the file is not UTF-8 here", "Save it as UTF-8."},
}

// syntax turns an error of the library into a finding with a position.
func (b *yamlBuilder) syntax(err error) api.Diagnostic {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	var contextLine int
	if _, scan := fmt.Sscanf(text, "line %d:", &contextLine); scan == nil {
		_, text, _ = strings.Cut(text, ": ")
	}
	at := b.place(text, contextLine)
	if name, ok := strings.CutPrefix(text, "unknown anchor "); ok {
		name = strings.Trim(strings.TrimSuffix(name, " referenced"), "'")
		return b.doc.at(at, "the alias *"+short(name)+" refers to no anchor above it", "Mark the value with &"+short(name)+", or quote text that starts with *.")
	}
	for _, m := range yamlMessages {
		if strings.HasPrefix(text, m.library) {
			return b.doc.at(at, m.summary, m.detail)
		}
	}
	return b.doc.at(at, "the YAML cannot be read: "+short(text), "Check indentation, quotes and brackets around this line.")
}

// place finds where the parser stopped. A scanner's error carries its line,
// none for the first. A parser's error carries that of the collection around
// the mistake, often far above: the text is parsed again byte by byte, and the
// last byte asked for is at most a few characters past the mistake.
func (b *yamlBuilder) place(message string, libraryLine int) int {
	switch {
	case strings.Contains(message, "UTF-8"):
		return b.base + invalidUTF8(b.text)
	case strings.HasPrefix(message, "control characters"):
		if i := bytes.IndexFunc(b.text, forbidden); i >= 0 {
			return b.base + i
		}
	}
	line := max(libraryLine-1, 0)
	if strings.HasPrefix(message, "did not find expected ','") {
		line = b.opened(libraryLine)
	} else if strings.HasPrefix(message, "did not find expected") || strings.HasPrefix(message, "unknown anchor") {
		line = b.reached()
	} else if strings.HasPrefix(message, "found unexpected end of stream") && !bytes.ContainsAny(b.line(line), `"'`) {
		line = 0 // the line of the quote is only given when it is not the first
	}
	return b.base + b.firstOn(line)
}

// line returns the text of a line, from 0.
func (b *yamlBuilder) line(i int) []byte {
	l := b.lines[min(i, len(b.lines)-1)]
	return b.text[l.start:l.end]
}

// firstOn returns the offset of the first character of a line that is no blank.
func (b *yamlBuilder) firstOn(i int) int {
	text := b.line(i)
	return b.lines[min(i, len(b.lines)-1)].start + len(text) - len(bytes.TrimLeft(text, " \t"))
}

// opened returns the line of the bracket that is not closed. The library gives
// it (one too small) unless it is the first, for which it gives where it stopped.
func (b *yamlBuilder) opened(libraryLine int) int {
	reached := b.reached()
	for _, i := range []int{libraryLine, 0} {
		if i <= reached && bytes.ContainsAny(b.line(i), "[{") {
			return i
		}
	}
	return reached
}

// reached returns the line, from 0, up to which the parser reads before it fails.
func (b *yamlBuilder) reached() int {
	r := &byteReader{data: b.text}
	dec := yaml.NewDecoder(r)
	for dec.Decode(new(yaml.Node)) == nil {
	}
	line := 0
	for line+1 < len(b.lines) && b.lines[line+1].start < r.at {
		line++
	}
	return line
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8.
func invalidUTF8(text []byte) int {
	for at := 0; at < len(text); {
		r, n := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && n == 1 {
			return at
		}
		at += n
	}
	return len(text)
}

// forbidden reports whether YAML does not allow a character unescaped.
func forbidden(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f || r >= 0x80 && r < 0xa0 && r != 0x85
}

// byteReader hands out one byte at a time and remembers how far it got.
type byteReader struct {
	data []byte
	at   int
}

func (r *byteReader) Read(p []byte) (int, error) {
	if r.at >= len(r.data) {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	p[0] = r.data[r.at]
	r.at++
	return 1, nil
}
