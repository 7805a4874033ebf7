package document

import (
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

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
