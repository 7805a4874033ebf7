package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// screen is a terminal whose width tables keep to. In a pipe, and with -o
// wide, nothing is cut.
type screen struct {
	io.Writer
	columns int
}

// screen is where text goes.
func (a *app) screen() io.Writer {
	if n := columns(a.out); n > 0 && a.output == "table" {
		return screen{a.out, n}
	}
	return a.out
}

// columns is the width of a terminal; 0 for anything else.
func columns(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) { //nolint:gosec // descriptors fit
		return 0
	}
	n, _, err := term.GetSize(int(f.Fd())) //nolint:gosec // as above
	if err != nil {
		return 0
	}
	return n
}

// gap is the space between columns.
const gap = 2

// leastWidth is how narrow a column may become, where it was wider.
const leastWidth = 8

// table prints rows in columns; the last column is not padded. On a screen
// that is too narrow the widest columns are cut, with an ellipsis.
func table(w io.Writer, header []string, rows [][]string) {
	for _, r := range rows {
		for i := range r {
			r[i] = tame(r[i])
		}
	}
	all := append([][]string{header}, rows...)
	width := make([]int, len(header))
	for _, r := range all {
		for i, c := range r {
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	if s, ok := w.(screen); ok {
		fit(width, s.columns)
	}
	if len(strings.Join(header, "")) == 0 {
		all = rows
	}
	for _, r := range all {
		var b strings.Builder
		for i, c := range r {
			text := []rune(c)
			if len(text) > width[i] {
				text = append(text[:width[i]-1:width[i]-1], '…')
			}
			b.WriteString(string(text))
			if i < len(r)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-len(text)+gap))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// fit takes from the widest column until a row has room.
func fit(width []int, columns int) {
	over := gap*(len(width)-1) - columns
	for _, n := range width {
		over += n
	}
	for ; over > 0; over-- {
		widest := 0
		for i, n := range width {
			if n >= width[widest] {
				widest = i
			}
		}
		if width[widest] <= leastWidth {
			return
		}
		width[widest]--
	}
}
