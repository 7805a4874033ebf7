package document

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"

	"howdah.dev/howdah/api"
)

// Limits bounds what is read. Zero fields stand for the defaults.
type Limits struct {
	Bytes int // size of the file; 4 MiB
	Depth int // nesting of lists and mappings; 100
	Nodes int // values in the file, aliases expanded; 1,000,000
}

// The limits Parse applies.
const (
	DefaultBytes = 4 << 20
	DefaultDepth = 100
	DefaultNodes = 1_000_000
)

var bom = []byte("\xef\xbb\xbf")

// Parse reads a JSON or YAML file within the default limits. The format follows
// the extension (.json, .yaml, .yml), else the first character. The document is
// never nil; with errors it holds the roots that could still be read.
func Parse(file string, data []byte) (*Document, api.Diagnostics) {
	return Limits{}.Parse(file, data)
}

// Parse is the function of the same name under these limits.
func (l Limits) Parse(file string, data []byte) (*Document, api.Diagnostics) {
	l = l.withDefaults()
	d := &Document{file: file, data: data}
	if len(data) > l.Bytes {
		d.data = nil
	}
	d.lines = lineStarts(d.data)
	if diag, ok := d.refuse(l, data); !ok {
		return d, api.Diagnostics{diag}
	}
	start := 0
	if bytes.HasPrefix(data, bom) {
		start = len(bom)
	}
	var ds api.Diagnostics
	switch looksJSON := startsJSON(data[start:]); {
	case isJSON(file) || looksJSON && !isYAML(file):
		ds = d.parseJSON(l, start)
	case looksJSON:
		// YAML knows no surrogate pairs and dislikes tabs: JSON is tried first.
		if js := d.parseJSON(l, start); js.HasErrors() {
			d.roots = nil
			ds = d.parseYAML(l, start)
		} else {
			ds = js
		}
	default:
		ds = d.parseYAML(l, start)
	}
	return d, tidy(ds)
}

func (l Limits) withDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = DefaultBytes
	}
	if l.Depth <= 0 {
		l.Depth = DefaultDepth
	}
	if l.Nodes <= 0 {
		l.Nodes = DefaultNodes
	}
	return l
}

// refuse finds what makes a file no text of ours at all.
func (d *Document) refuse(l Limits, data []byte) (api.Diagnostic, bool) {
	switch {
	case len(data) > l.Bytes:
		return d.at(0, fmt.Sprintf("the file has %s; at most %s is read", size(len(data)), size(l.Bytes)),
			"Split it into several files."), false
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return d.at(0, "the file is UTF-16 text", "Save it as UTF-8."), false
	case bytes.IndexByte(data, 0) >= 0:
		return d.at(bytes.IndexByte(data, 0), "the file is not text: it holds a zero byte", "Give a JSON or YAML file in UTF-8."), false
	case len(bytes.TrimSpace(bytes.TrimPrefix(data, bom))) == 0:
		return d.at(0, "the file is empty", "Give a JSON or YAML document."), false
	}
	return api.Diagnostic{}, true
}

func size(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", n)
}

func isJSON(file string) bool {
	ext := strings.ToLower(filepath.Ext(file))
	return ext == ".json" || ext == ".jsonc"
}

func isYAML(file string) bool {
	ext := strings.ToLower(filepath.Ext(file))
	return ext == ".yaml" || ext == ".yml"
}

// startsJSON reports whether the first thing after blanks and comments is an
// object or a list in JSON notation.
func startsJSON(data []byte) bool {
	p := jsonParser{data: data}
	return p.blanks() == nil && p.at < len(data) && (data[p.at] == '{' || data[p.at] == '[')
}
