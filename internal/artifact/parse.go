package artifact

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"howdah.dev/howdah/api"
)

// Limits on a lock, which may come from a user's own stack.
const (
	maxLockBytes = 4 << 20
	maxEntries   = 20_000
	maxBlobSize  = 16 << 30
	maxPathBytes = 1024
)

const columns = "path  source  size  sha256:<hex>  licence"

var (
	hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)
	// An SPDX expression: identifiers, operators, parentheses.
	licenceText = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+() -]*$`)
)

// ParseLock reads a lock. # starts a comment line. A line "path source size
// digest licence" is a heading. Every other line is one file:
//
//	path  source  size  sha256:<hex>  licence
//
// The licence is the rest of the line. A path that ends in / means: unpack
// the archive (jar, zip, tar, tar.gz) there; a source may then carry
// !/prefix/, and only what is below the prefix is unpacked, without it. The
// order of lines is classpath order. All findings are reported.
func ParseLock(file string, data []byte) (*Lock, api.Diagnostics) {
	p := &lockParser{
		file: file,
		lock: &Lock{Name: strings.TrimSuffix(filepath.Base(file), ".lock")},
		seen: map[string]int{}, size: map[string]Entry{},
	}
	if len(data) > maxLockBytes {
		p.report(1, 1, fmt.Sprintf("the lock has %d bytes; the limit is %d", len(data), maxLockBytes), "Split the stack's artifacts into several locks.")
		return p.lock, p.diags
	}
	for i, line := range strings.Split(string(data), "\n") {
		p.line(i+1, strings.TrimSuffix(line, "\r"))
	}
	if len(p.lock.Entries) == 0 && !p.diags.HasErrors() {
		p.report(1, 1, "the lock names no file", "Write one line a file: "+columns+".")
	}
	return p.lock, p.diags
}

type lockParser struct {
	file  string
	lock  *Lock
	diags api.Diagnostics
	seen  map[string]int   // path → line
	size  map[string]Entry // digest → first entry
}

func (p *lockParser) report(line, column int, summary, detail string) {
	p.diags = append(p.diags, api.Diagnostic{
		Severity: api.SeverityError, Summary: summary, Detail: detail,
		Source: &api.Position{File: p.file, Line: line, Column: column},
	})
}

// field is a column's text and where it starts, in bytes from 1.
type field struct {
	text   string
	column int
}

// fields cuts a line into at most five; the last is the rest of the line.
func fields(line string) []field {
	const blank = " \t"
	var out []field
	for pos := 0; pos < len(line); {
		rest := strings.TrimLeft(line[pos:], blank)
		pos = len(line) - len(rest)
		if rest == "" {
			break
		}
		end := strings.IndexAny(rest, blank)
		if len(out) == 4 || end < 0 {
			out = append(out, field{strings.TrimRight(rest, blank), pos + 1})
			break
		}
		out = append(out, field{rest[:end], pos + 1})
		pos += end
	}
	return out
}

func (p *lockParser) line(n int, text string) {
	f := fields(text)
	if len(f) == 0 || strings.HasPrefix(f[0].text, "#") || strings.Join(strings.Fields(text), " ") == "path source size digest licence" {
		return
	}
	if !utf8.ValidString(text) {
		p.report(n, 1, "the line is not UTF-8", "Save the lock as UTF-8.")
		return
	}
	if len(f) < 5 {
		p.report(n, len(text)+1, fmt.Sprintf("the line has %d of 5 columns", len(f)), "A line is: "+columns+". Where no licence is known, write NOASSERTION.")
		return
	}
	if len(p.lock.Entries) == maxEntries {
		p.report(n, 1, fmt.Sprintf("the lock has more than %d files", maxEntries), "Split the stack's artifacts into several locks.")
	}
	if len(p.lock.Entries) >= maxEntries {
		return
	}
	before := len(p.diags)
	e := Entry{Path: p.path(n, f[0]), Source: p.source(n, f[1]), Size: p.bytes(n, f[2]), SHA256: p.digest(n, f[3]), Licence: p.licence(n, f[4]), Line: n}
	if len(p.diags) == before {
		p.consistent(e, f)
	}
	if len(p.diags) == before {
		p.seen[e.Path] = n
		p.size[e.SHA256] = e
		p.lock.Entries = append(p.lock.Entries, e)
	}
}

func (p *lockParser) path(n int, f field) string {
	if err := checkPath(f.text); err != nil {
		p.report(n, f.column, fmt.Sprintf("path %q %v", f.text, err), "A path is relative to the set, with forward slashes: lib/a.jar, or web/ for an archive to unpack.")
	} else if len(f.text) > maxPathBytes {
		p.report(n, f.column, fmt.Sprintf("the path has %d bytes; the limit is %d", len(f.text), maxPathBytes), "Choose a shorter path.")
	}
	return f.text
}

func (p *lockParser) source(n int, f field) Source {
	s, err := ParseSource(f.text)
	if err != nil {
		p.report(n, f.column, fmt.Sprintf("cannot read source %q: %v", f.text, err), "A source is mvn:group:artifact:version[:classifier][@extension], https://... or file:relative/path.")
	}
	return s
}

func (p *lockParser) bytes(n int, f field) int64 {
	size, err := strconv.ParseInt(f.text, 10, 64)
	if err != nil || size < 1 || size > maxBlobSize {
		p.report(n, f.column, fmt.Sprintf("size %q is not a number of bytes from 1 to %d", f.text, int64(maxBlobSize)), "Write the size of the file in bytes.")
	}
	return size
}

func (p *lockParser) digest(n int, f field) string {
	sum, ok := strings.CutPrefix(f.text, "sha256:")
	if !ok || !hexDigest.MatchString(sum) {
		p.report(n, f.column, fmt.Sprintf("digest %q is not sha256: and 64 lower-case hexadecimal digits", f.text), "Write what sha256sum says of the file, after sha256:.")
	}
	return sum
}

func (p *lockParser) licence(n int, f field) string {
	if !licenceText.MatchString(f.text) {
		p.report(n, f.column, fmt.Sprintf("licence %q is not an SPDX expression", f.text), "Write an SPDX identifier such as Apache-2.0, or NOASSERTION.")
	}
	return f.text
}

// consistent checks an entry against the ones before it.
func (p *lockParser) consistent(e Entry, f []field) {
	if first, dup := p.seen[e.Path]; dup {
		p.report(e.Line, f[0].column, fmt.Sprintf("path %q is already on line %d", e.Path, first), "Give every file a path of its own.")
	}
	if first, ok := p.size[e.SHA256]; ok && first.Size != e.Size {
		p.report(e.Line, f[2].column, fmt.Sprintf("size %d contradicts line %d, which gives %d for the same digest", e.Size, first.Line, first.Size), "Correct the size or the digest.")
	}
	if e.Source.Prefix != "" && !e.Unpacked() {
		p.report(e.Line, f[1].column, "only an archive that is unpacked can have a !/prefix/", "End the path in /, or drop the prefix.")
	}
}
