package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// maxTotals bounds a file of totals, in bytes.
const maxTotals = 256 << 20

// errTotals is the kind of error that waiting does not mend.
var errTotals = errors.New("a total makes no sense")

// readTotals reads cumulative totals by package from the files of a folder and
// keeps the largest of each. Files may be written while they are read.
func readTotals(ctx context.Context, files Reader, folder string) (map[string]int64, error) {
	entries, err := list(ctx, files, folder)
	if err != nil {
		return nil, err
	}
	totals := map[string]int64{}
	for _, e := range entries {
		if e.Folder || strings.HasPrefix(e.Name, "_") || strings.HasPrefix(e.Name, ".") {
			continue
		}
		name := path.Join(folder, e.Name)
		data, err := readSmall(ctx, files, name, maxTotals)
		if err != nil {
			return nil, err
		}
		if err := addTotals(totals, data); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return totals, nil
}

// addTotals takes in lines of package, tab, total. A last line without an end
// is still being written.
func addTotals(totals map[string]int64, data []byte) error {
	for n := 1; ; n++ {
		line, rest, ok := bytes.Cut(data, []byte{'\n'})
		if !ok {
			return nil
		}
		pkg, total, ok := parseCount(line)
		if !ok {
			return fmt.Errorf("%w: line %d is %s, want package, tab, number", errTotals, n, quote(string(line)))
		}
		totals[string(pkg)] = max(totals[string(pkg)], total)
		data = rest
	}
}

// parseCount splits a key and a count at the last tab.
func parseCount(line []byte) (key []byte, n int64, ok bool) {
	tab := bytes.LastIndexByte(line, '\t')
	if tab <= 0 {
		return nil, 0, false
	}
	v, err := strconv.ParseUint(string(line[tab+1:]), 10, 63)
	return line[:tab], int64(v), err == nil
}

// counted returns how many of the wanted lines were counted, and of how many
// packages all.
func counted(wanted, have map[string]int64) (lines, packages int64) {
	for pkg, n := range wanted {
		lines += min(n, have[pkg])
		if have[pkg] >= n {
			packages++
		}
	}
	return lines, packages
}

// enough reports whether every package has reached its number. More than was
// fed can never become right, so that ends the waiting too.
func enough(wanted, have map[string]int64) (bool, error) {
	for _, pkg := range sortedKeys(have) {
		if n, ok := wanted[pkg]; have[pkg] > n || !ok {
			return true, fmt.Errorf("%w: %s lines of %s were fed, %s counted", errTotals,
				humanize.Comma(n), short(pkg), humanize.Comma(have[pkg]))
		}
	}
	_, packages := counted(wanted, have)
	return packages == int64(len(wanted)), nil
}

// shortfall says per package what is wanted and what is there.
func shortfall(wanted, have map[string]int64) string {
	const most = 10
	lines, packages := counted(wanted, have)
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s lines, %d of %d packages complete", humanize.Comma(lines), humanize.Comma(sum(wanted)), packages, len(wanted))
	shown := 0
	for _, pkg := range sortedKeys(wanted) {
		if have[pkg] >= wanted[pkg] {
			continue
		}
		if shown++; shown > most {
			fmt.Fprintf(&b, "; and %d more", int64(len(wanted))-packages-most)
			break
		}
		fmt.Fprintf(&b, "; %s wanted %s, have %s", short(pkg), humanize.Comma(wanted[pkg]), humanize.Comma(have[pkg]))
	}
	return b.String()
}

func sum(m map[string]int64) int64 {
	var n int64
	for _, v := range m {
		n += v
	}
	return n
}
