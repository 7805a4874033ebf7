package gateway

import (
	"strings"
	"unicode/utf8"
)

// Limits of HDFS itself, and on how often a name may be encoded.
const (
	maxPath     = 8000 // bytes
	maxDepth    = 1000 // names
	maxEncoding = 4
)

// hdfsPath is a path that is safe to pass on: absolute, without empty names,
// dots or anything that a server on the way might cut or decode differently.
type hdfsPath struct {
	// readings are the path, and what becomes of it when it is percent-decoded
	// again and again. A name such as ds=2020%3A01 is legal in HDFS, and a
	// server that decodes once too often must not get at another path with it:
	// every reading must be sound and permitted.
	readings []string
}

// String returns the path.
func (p hdfsPath) String() string {
	if len(p.readings) == 0 {
		return ""
	}
	return p.readings[0]
}

// parsePath checks a path that has been percent-decoded once. One slash at the
// end is dropped.
func parsePath(text string) (hdfsPath, error) {
	if len(text) > 1 {
		text = strings.TrimSuffix(text, "/")
	}
	var p hdfsPath
	for range maxEncoding {
		if why := unsound(text); why != "" {
			return hdfsPath{}, invalid("the path %.200q %s", text, why)
		}
		p.readings = append(p.readings, text)
		again := decode(text)
		if again == text {
			return p, nil
		}
		text = again
	}
	return hdfsPath{}, invalid("the path is percent-encoded more than %d times", maxEncoding)
}

// unsound says what is wrong with a path, "" if nothing is.
func unsound(text string) string {
	switch {
	case !strings.HasPrefix(text, "/"):
		return "does not start with a slash; give the whole path"
	case len(text) > maxPath:
		return "is too long"
	case !utf8.ValidString(text):
		return "is not UTF-8"
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "holds a control character"
	case strings.ContainsAny(text, `;\`):
		return `holds ; or \, which servers read differently`
	case text == "/":
		return ""
	}
	names := strings.Split(text[1:], "/")
	if len(names) > maxDepth {
		return "is too deep"
	}
	for i, name := range names {
		switch {
		case name == "":
			return "holds an empty name; leave out doubled slashes"
		case name == "." || name == "..":
			return "holds . or ..; give the whole path"
		case i == 0 && name == ".reserved":
			return "is reserved; give the plain path"
		}
	}
	return ""
}

// decode replaces every percent-encoded byte, and leaves what is no encoding
// as it is, the way a lenient server might.
func decode(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			high, ok1 := hex(text[i+1])
			low, ok2 := hex(text[i+2])
			if ok1 && ok2 {
				b.WriteByte(high<<4 | low)
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

func hex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// within reports whether path is dir or below it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
