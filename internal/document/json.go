package document

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"howdah.dev/howdah/api"
)

// jsonParser reads JSON with comments and trailing commas. It is written out
// here rather than taken from a library for its positions, its limits (a
// library's recursion is unbounded) and its texts.
type jsonParser struct {
	doc    *Document
	data   []byte
	at     int
	limits Limits
	nodes  int
	found  api.Diagnostics // mistakes the parser could read past
}

// stop is a mistake that ends the parse.
type stop struct {
	at              int
	summary, detail string
}

func (d *Document) parseJSON(l Limits, start int) api.Diagnostics {
	p := &jsonParser{doc: d, data: d.data, at: start, limits: l}
	root, s := p.document()
	if s != nil {
		return append(p.found, d.at(s.at, s.summary, s.detail))
	}
	d.roots = []*Node{root}
	return p.found
}

func (p *jsonParser) document() (*Node, *stop) {
	if s := p.blanks(); s != nil {
		return nil, s
	}
	root, s := p.value(nil, 0)
	if s != nil {
		return nil, s
	}
	if s := p.blanks(); s != nil {
		return nil, s
	}
	if p.at < len(p.data) {
		return nil, &stop{p.at, p.unexpected() + " after the end of the document", "A JSON file holds one value; look for a bracket closed too early."}
	}
	return root, nil
}

// blanks skips white space and comments.
func (p *jsonParser) blanks() *stop {
	for p.at < len(p.data) {
		switch c := p.data[p.at]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			p.at++
		case c == '/' && p.follows("//"):
			for p.at < len(p.data) && p.data[p.at] != '\n' {
				p.at++
			}
		case c == '/' && p.follows("/*"):
			end := bytes.Index(p.data[p.at+2:], []byte("*/"))
			if end < 0 {
				return &stop{p.at, "this comment is not closed", "Add */ where it ends."}
			}
			p.at += end + 4
		default:
			return nil
		}
	}
	return nil
}

func (p *jsonParser) follows(s string) bool {
	return len(p.data)-p.at >= len(s) && string(p.data[p.at:p.at+len(s)]) == s
}

// value reads one value; blanks before it are already skipped.
func (p *jsonParser) value(parent *Node, depth int) (*Node, *stop) {
	n := &Node{doc: p.doc, parent: parent, index: -1, at: p.at, keyAt: -1}
	if p.nodes++; p.nodes > p.limits.Nodes {
		return nil, &stop{p.at, fmt.Sprintf("the file has more than %d values", p.limits.Nodes), "Split it into several files."}
	}
	if depth > p.limits.Depth {
		return nil, &stop{p.at, fmt.Sprintf("values are nested more than %d deep", p.limits.Depth), "Look for brackets that are not closed."}
	}
	if p.at >= len(p.data) {
		return nil, &stop{p.at, "the file ends where a value is wanted", ""}
	}
	switch c := p.data[p.at]; {
	case c == '{':
		return n, p.object(n, depth)
	case c == '[':
		return n, p.array(n, depth)
	case c == '"':
		text, s := p.str()
		n.kind, n.text, n.plain = String, text, text
		return n, s
	case c == '-' || c >= '0' && c <= '9':
		return n, p.number(n)
	}
	return n, p.word(n)
}

func (p *jsonParser) object(n *Node, depth int) *stop {
	n.kind = Mapping
	p.at++
	for {
		if closed, s := p.next(n, '}', len(n.items)+len(n.dups)); closed || s != nil {
			return s
		}
		keyAt := p.at
		if p.data[p.at] != '"' {
			return &stop{p.at, p.unexpected() + " where a key is wanted", "Write the key in double quotes."}
		}
		key, s := p.str()
		if s != nil {
			return s
		}
		if s := p.blanks(); s != nil {
			return s
		}
		if p.at >= len(p.data) || p.data[p.at] != ':' {
			return &stop{p.at, "a colon is missing after the key " + quote(key), "Write " + quote(key) + ": and then the value."}
		}
		p.at++
		if s := p.blanks(); s != nil {
			return s
		}
		v, s := p.value(n, depth+1)
		if s != nil {
			return s
		}
		v.key, v.keyAt = key, keyAt
		n.add(v)
	}
}

func (p *jsonParser) array(n *Node, depth int) *stop {
	n.kind = List
	p.at++
	for {
		if closed, s := p.next(n, ']', len(n.items)); closed || s != nil {
			return s
		}
		v, s := p.value(n, depth+1)
		if s != nil {
			return s
		}
		v.index = len(n.items)
		n.items = append(n.items, v)
	}
}

// next moves to the next element of an object or array, over the comma, and
// reports whether the closing bracket came instead. A missing comma is noted
// and read past.
func (p *jsonParser) next(n *Node, closing byte, count int) (closed bool, s *stop) {
	before := p.at
	if s := p.blanks(); s != nil {
		return false, s
	}
	comma := p.at < len(p.data) && p.data[p.at] == ','
	if comma {
		if count == 0 {
			return false, &stop{p.at, "a comma stands where a value is wanted", "Remove it."}
		}
		p.at++
		if s := p.blanks(); s != nil {
			return false, s
		}
	}
	switch {
	case p.at >= len(p.data):
		return false, &stop{n.at, fmt.Sprintf("this %c is not closed", p.data[n.at]), fmt.Sprintf("Add %c where it ends.", closing)}
	case p.data[p.at] == closing:
		p.at++
		return true, nil
	case p.data[p.at] == '}' || p.data[p.at] == ']':
		return false, &stop{
			p.at, fmt.Sprintf("%c closes a %c", p.data[p.at], p.data[n.at]),
			fmt.Sprintf("Write %c, or close what was opened in between.", closing),
		}
	case count > 0 && !comma:
		if !p.startsElement(closing) {
			return false, &stop{p.at, p.unexpected() + fmt.Sprintf(" where a comma or %c is wanted", closing), ""}
		}
		p.found = append(p.found, p.doc.at(before, "a comma is missing here", "Separate values by commas."))
	}
	return false, nil
}

// startsElement reports whether what follows can be another element, so that
// only the comma is missing.
func (p *jsonParser) startsElement(closing byte) bool {
	c := p.data[p.at]
	return c == '"' || closing == ']' && strings.IndexByte("{[-0123456789", c) >= 0
}

// word reads true, false and null.
func (p *jsonParser) word(n *Node) *stop {
	end := p.at
	for end < len(p.data) && (unicode.IsLetter(rune(p.data[end])) || end > p.at && p.data[end] >= '0' && p.data[end] <= '9') && p.data[end] < utf8.RuneSelf {
		end++
	}
	switch w := string(p.data[p.at:end]); w {
	case "true", "false":
		n.kind, n.text, n.plain = Bool, w, w
	case "null":
		n.kind, n.plain = Null, w
	case "":
		s := &stop{at: p.at, summary: p.unexpected() + " where a value is wanted"}
		if p.data[p.at] == '\'' {
			s.detail = "JSON strings stand in double quotes."
		}
		return s
	default:
		s := &stop{p.at, quote(w) + " is not a JSON value", "Put text in double quotes."}
		if near := Suggest(w, []string{"true", "false", "null"}); near != "" {
			s.detail = "Write " + near + ", or put text in double quotes."
		}
		return s
	}
	p.at = end
	return nil
}

func (p *jsonParser) number(n *Node) *stop {
	start := p.at
	for p.at < len(p.data) && strings.IndexByte("+-.eE0123456789", p.data[p.at]) >= 0 {
		p.at++
	}
	text := string(p.data[start:p.at])
	if !jsonNumber(text) {
		s := &stop{start, quote(text) + " is not a JSON number", "Write numbers like 12, -3.5 or 1e6; put other text in double quotes."}
		if digits := strings.TrimLeft(text, "0"); len(digits) < len(text) && jsonNumber(digits) {
			s.detail = "Write " + digits + " without leading zeros, or " + quote(text) + " for text."
		}
		return s
	}
	n.kind, n.text, n.plain = Number, text, text
	return nil
}

// unexpected names the character at hand.
func (p *jsonParser) unexpected() string {
	if p.at >= len(p.data) {
		return "unexpected end of the file"
	}
	r, _ := utf8.DecodeRune(p.data[p.at:])
	if r > unicode.MaxASCII || !unicode.IsPrint(r) {
		return fmt.Sprintf("unexpected character U+%04X", r)
	}
	return fmt.Sprintf("unexpected %c", r)
}

// str reads a string; lone surrogates and bytes that are not UTF-8 become
// U+FFFD as in encoding/json.
func (p *jsonParser) str() (string, *stop) {
	start := p.at
	p.at++
	var b strings.Builder
	for p.at < len(p.data) {
		switch c := p.data[p.at]; {
		case c == '"':
			p.at++
			return b.String(), nil
		case c == '\\':
			if s := p.escape(&b); s != nil {
				return "", s
			}
		case c < ' ' && c != '\t':
			if c == '\n' || c == '\r' {
				return "", &stop{start, "this string is not closed on its line", `Add the closing quote; a line break inside text is written \n.`}
			}
			return "", &stop{p.at, fmt.Sprintf("control character U+%04X inside a string", c), fmt.Sprintf(`Write it as \u%04x.`, c)}
		case c < utf8.RuneSelf:
			b.WriteByte(c)
			p.at++
		default:
			r, n := utf8.DecodeRune(p.data[p.at:])
			if r == utf8.RuneError && n == 1 {
				w := p.doc.at(p.at, fmt.Sprintf("byte 0x%02x is not UTF-8; it is read as \ufffd", c), "Save the file as UTF-8.")
				w.Severity = api.SeverityWarning
				p.found = append(p.found, w)
			}
			b.WriteRune(r)
			p.at += n
		}
	}
	return "", &stop{start, "this string is not closed", "Add the closing quote."}
}

// escape reads what a backslash introduces.
func (p *jsonParser) escape(b *strings.Builder) *stop {
	if p.at+1 >= len(p.data) {
		p.at++
		return nil // the string is not closed: its reader says so
	}
	c := p.data[p.at+1]
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		b.WriteByte("\"\\/\b\f\n\r\t"[i])
		p.at += 2
		return nil
	}
	r, ok := p.unit(p.at)
	if !ok {
		return &stop{p.at, "this escape is unknown", `Known are \" \\ \/ \b \f \n \r \t and \u with four hexadecimal digits; a backslash itself is written \\.`}
	}
	p.at += 6
	if utf16.IsSurrogate(r) {
		if low, ok := p.unit(p.at); ok {
			if full := utf16.DecodeRune(r, low); full != utf8.RuneError {
				p.at += 6
				r = full
			}
		}
	}
	b.WriteRune(r) // a lone surrogate is written as U+FFFD
	return nil
}

// unit reads \uXXXX at an offset.
func (p *jsonParser) unit(at int) (rune, bool) {
	if len(p.data)-at < 6 || p.data[at] != '\\' || p.data[at+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range p.data[at+2 : at+6] {
		i := strings.IndexByte("0123456789abcdef", c|0x20)
		if i < 0 || c < '0' {
			return 0, false
		}
		r = r<<4 | rune(i)
	}
	return r, true
}
