package document

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"

	"howdah.dev/howdah/api"
)

// lineStarts returns the offset at which each line begins; lines end at LF.
func lineStarts(data []byte) []int {
	starts := []int{0}
	for i, c := range data {
		if c == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

// position turns an offset into the original file into line and column.
func (d *Document) position(offset int) api.Position {
	offset = max(0, min(offset, len(d.data)))
	line := sort.Search(len(d.lines), func(i int) bool { return d.lines[i] > offset })
	return api.Position{File: d.file, Line: line, Column: offset - d.lines[line-1] + 1}
}

// excerptWidth is how many columns of a long line an excerpt shows.
const excerptWidth = 100

// Excerpt returns the source line of a position with a caret under its column,
// each line ended by a newline, or "" when the position is not in the document.
// Lines too long for a terminal are cut around the column.
func Excerpt(d *Document, pos api.Position) string {
	if d == nil {
		return ""
	}
	return ExcerptOf(d.data, pos)
}

// ExcerptOf is Excerpt for the bytes of a file that was not parsed.
func ExcerptOf(data []byte, pos api.Position) string {
	line, ok := nthLine(data, pos.Line)
	if !ok || pos.Column < 1 || pos.Column > len(line)+1 {
		return ""
	}
	before, after := visible(line[:pos.Column-1]), visible(line[pos.Column-1:])
	before = cutLeft(before, excerptWidth*2/3)
	after = runewidth.Truncate(after, excerptWidth-runewidth.StringWidth(before), "…")
	var pad strings.Builder
	for _, r := range before {
		if r == '\t' {
			pad.WriteByte('\t')
		} else {
			pad.WriteString(strings.Repeat(" ", runewidth.RuneWidth(r)))
		}
	}
	return fmt.Sprintf("%5d | %s%s\n      | %s^\n", pos.Line, before, strings.TrimRight(after, " \t"), pad.String())
}

func nthLine(data []byte, n int) ([]byte, bool) {
	if n < 1 {
		return nil, false
	}
	for ; n > 1; n-- {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			return nil, false
		}
		data = data[i+1:]
	}
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		data = data[:i]
	}
	return bytes.TrimSuffix(data, []byte{'\r'}), true
}

// visible replaces what could move a terminal's cursor; tabs stay.
func visible(b []byte) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\ufeff':
			return -1
		case r == '\t' || unicode.IsPrint(r):
			return r
		}
		return utf8.RuneError
	}, string(b))
}

func cutLeft(s string, width int) string {
	if runewidth.StringWidth(s) <= width {
		return s
	}
	runes, used := []rune(s), 1
	i := len(runes)
	for i > 0 && used+runewidth.RuneWidth(runes[i-1]) <= width {
		i--
		used += runewidth.RuneWidth(runes[i])
	}
	return "…" + string(runes[i:])
}
