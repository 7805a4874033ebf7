package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxPackage bounds a package's name, in bytes.
const maxPackage = 1024

// tally counts distinct sequence numbers a package. Numbers come in runs, so a
// bit each in blocks of 64 is far smaller than a set.
type tally map[string]*packageCount

type packageCount struct {
	blocks  map[uint64]uint64 // sequence number / 64 → one bit each
	total   int
	changed bool // since the last changes()
}

// add counts one number and reports whether it is new.
func (t tally) add(pkg string, seq uint64) bool {
	p := t[pkg]
	if p == nil {
		p = &packageCount{blocks: map[uint64]uint64{}}
		t[strings.Clone(pkg)] = p
	}
	block, bit := seq/64, uint64(1)<<(seq%64)
	if p.blocks[block]&bit != 0 {
		return false
	}
	p.blocks[block] |= bit
	p.total++
	p.changed = true
	return true
}

// changes returns the packages whose total changed since the last call, in
// order, as package, tab, total.
func (t tally) changes() []string {
	var lines []string
	for pkg, p := range t {
		if p.changed {
			p.changed = false
			lines = append(lines, pkg+"\t"+strconv.Itoa(p.total))
		}
	}
	slices.Sort(lines)
	return lines
}

// parseLine splits package, sequence number and text; the text may be missing.
func parseLine(line string) (pkg string, seq uint64, err error) {
	pkg, rest, ok := strings.Cut(line, "\t")
	if !ok || pkg == "" {
		return "", 0, fmt.Errorf("cannot read line %.60q: want package, tab, number, tab, text", line)
	}
	if len(pkg) > maxPackage {
		return "", 0, fmt.Errorf("cannot read line %.60q: package name is longer than %d bytes", line, maxPackage)
	}
	number, _, _ := strings.Cut(rest, "\t")
	seq, err = strconv.ParseUint(number, 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("cannot read line %.60q: %.20q is no number", line, number)
	}
	return pkg, seq, nil
}
