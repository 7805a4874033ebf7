package document

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"howdah.dev/howdah/api"
)

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
	{"exceeded max depth", "values are nested more than 10000 deep", "Look for brackets that are not closed, or an indentation that grows by mistake."},
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
	case strings.HasPrefix(message, "exceeded max depth"):
		return b.base + b.stopped()
	}
	line := max(libraryLine-1, 0)
	switch {
	case strings.HasPrefix(message, "did not find expected ','"):
		line = b.opened(libraryLine)
	case strings.HasPrefix(message, "did not find expected"), strings.HasPrefix(message, "unknown anchor"):
		line = b.reached()
	case strings.HasPrefix(message, "found unexpected end of stream") && !bytes.ContainsAny(b.line(line), `"'`):
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

// asked returns how many bytes of a text the parser asks for before it fails.
func asked(text []byte) int {
	r := &byteReader{data: text}
	dec := yaml.NewDecoder(r)
	for dec.Decode(new(yaml.Node)) == nil {
	}
	return r.at
}

// reached returns the line, from 0, up to which the parser reads before it fails.
func (b *yamlBuilder) reached() int {
	end, line := asked(b.text), 0
	for line+1 < len(b.lines) && b.lines[line+1].start < end {
		line++
	}
	return line
}

// ahead is how many characters the library's scanner asks for before it looks at one.
const ahead = 4

// stopped returns the offset of the character at which the scanner fails.
func (b *yamlBuilder) stopped() int {
	text := append(bytes.Clone(b.text), strings.Repeat("\n", ahead)...)
	at := asked(text)
	for range ahead {
		_, n := utf8.DecodeLastRune(text[:at])
		at -= n
	}
	return at
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
