package stack

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"howdah.dev/howdah/internal/agentapi"
)

// pair is one key of a file before it is written. Raw is what the expression
// gave; literal text is a string.
type pair struct {
	key string
	raw any
}

// write puts pairs and lines into a file's own format. Keys are sorted, so
// that equal values make equal files.
func write(format string, pairs []pair, lines []string) (string, error) {
	slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	var b strings.Builder
	switch format {
	case "xml":
		writeXML(&b, pairs)
	case "properties":
		for _, p := range pairs {
			writeProperty(&b, p.key, text(p.raw))
		}
	case "env":
		for _, p := range pairs {
			fmt.Fprintf(&b, "%s=%s\n", p.key, shellQuote(text(p.raw)))
		}
	case "yaml":
		for _, p := range pairs {
			v, err := yamlValue(p.raw)
			if err != nil {
				return "", fmt.Errorf("cannot write %s: %w", p.key, err)
			}
			fmt.Fprintf(&b, "%s: %s\n", yamlKey(p.key), v)
		}
	case "lines":
		for _, l := range lines {
			b.WriteString(l)
			b.WriteByte('\n')
		}
	default:
		return "", fmt.Errorf("cannot write format %q", format)
	}
	return b.String(), nil
}

// Properties writes values in Java's format, sorted by key.
func Properties(values map[string]string) string {
	var b strings.Builder
	for _, k := range sortedKeys(values) {
		writeProperty(&b, k, values[k])
	}
	return b.String()
}

func writeProperty(b *strings.Builder, key, value string) {
	fmt.Fprintf(b, "%s=%s\n", escapeProperty(key, true), escapeProperty(value, false))
}

// writeXML writes Hadoop's configuration format.
func writeXML(b *strings.Builder, pairs []pair) {
	b.WriteString("<?xml version=\"1.0\"?>\n<configuration>\n")
	for _, p := range pairs {
		b.WriteString("  <property><name>")
		_ = xml.EscapeText(b, []byte(p.key)) // a strings.Builder does not fail
		b.WriteString("</name><value>")
		_ = xml.EscapeText(b, []byte(text(p.raw)))
		b.WriteString("</value></property>\n")
	}
	b.WriteString("</configuration>\n")
}

// escapeProperty follows java.util.Properties.load.
func escapeProperty(s string, key bool) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case key && (r == '=' || r == ':' || r == ' '), i == 0 && (r == ' ' || r == '#' || r == '!'):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		case r < 0x20 || r > 0x7e:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

var shellSafe = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]*$`)

// shellQuote quotes a word for a POSIX shell where it needs it.
func shellQuote(s string) string {
	if shellSafe.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// yamlValue writes a value in YAML's flow style. Text that reads as a number
// or a boolean is written bare: users and stacks write such values as text.
func yamlValue(v any) (string, error) {
	if s, ok := v.(string); ok {
		if s == "true" || s == "false" {
			return s, nil
		}
		// A leading zero would be read as octal by some.
		if n, err := strconv.ParseInt(s, 10, 64); err == nil && strconv.FormatInt(n, 10) == s {
			return s, nil
		}
		if _, err := strconv.ParseFloat(s, 64); err == nil && strings.ContainsRune(s, '.') {
			return s, nil
		}
	}
	out, err := json.Marshal(v)
	return string(out), err
}

var yamlPlain = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

func yamlKey(k string) string {
	if yamlPlain.MatchString(k) {
		return k
	}
	return strconv.Quote(k)
}

// values lists what a file says, for comparing two renderings.
func values(pairs []pair, lines []string) []agentapi.Value {
	out := make([]agentapi.Value, 0, len(pairs)+1)
	for _, p := range pairs {
		out = append(out, agentapi.Value{Key: p.key, Value: text(p.raw)})
	}
	if len(lines) > 0 {
		out = append(out, agentapi.Value{Value: strings.Join(lines, " ")})
	}
	return out
}
