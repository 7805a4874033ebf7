package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
)

// maxDifferences is how many differences a Mismatch names.
const maxDifferences = 10

// Mismatch is a result that differs from the independent count.
type Mismatch struct {
	What   string       `json:"what" enum:"words,packages" doc:"What was counted"`
	Result string       `json:"result" doc:"Step whose result it is"`
	Wanted int          `json:"wanted" doc:"Distinct words or packages in the independent count"`
	Got    int          `json:"got" doc:"Distinct words or packages in the result"`
	Differ int          `json:"differ" doc:"How many of both have another count"`
	First  []Difference `json:"first" doc:"The first differences in order"`
}

// Difference is one word or package with two counts; 0 where it is missing.
type Difference struct {
	Key    string `json:"key" doc:"Word or package"`
	Wanted int64  `json:"wanted" doc:"Independent count"`
	Got    int64  `json:"got" doc:"Count in the result"`
}

// Error lists the first differences, one a line.
func (m *Mismatch) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the result of %s is wrong: %s %s wanted, %s got, %s differ", m.Result,
		humanize.Comma(int64(m.Wanted)), m.What, humanize.Comma(int64(m.Got)), humanize.Comma(int64(m.Differ)))
	for _, d := range m.First {
		fmt.Fprintf(&b, "\n  %s wanted %s, got %s", quote(d.Key), humanize.Comma(d.Wanted), humanize.Comma(d.Got))
	}
	if more := m.Differ - len(m.First); more > 0 {
		fmt.Fprintf(&b, "\n  and %s more", humanize.Comma(int64(more)))
	}
	return b.String()
}

// differences collects differences and keeps the first ones by key.
type differences struct {
	n     int
	first []Difference
}

func (d *differences) add(key string, wanted, got int64) {
	d.n++
	i, _ := slices.BinarySearchFunc(d.first, key, func(f Difference, key string) int { return strings.Compare(f.Key, key) })
	if i == maxDifferences {
		return
	}
	d.first = slices.Insert(d.first, i, Difference{Key: strings.Clone(key), Wanted: wanted, Got: got})
	d.first = d.first[:min(len(d.first), maxDifferences)]
}

// mismatch returns a Mismatch, or nil when there is no difference.
func (d *differences) mismatch(what, result string, wanted, got int) error {
	if d.n == 0 {
		return nil
	}
	return &Mismatch{What: what, Result: result, Wanted: wanted, Got: got, Differ: d.n, First: d.first}
}

// compareTotals compares two counts by package.
func compareTotals(result string, wanted, got map[string]int64) error {
	var d differences
	for pkg, n := range wanted {
		if got[pkg] != n {
			d.add(pkg, n, got[pkg])
		}
	}
	for pkg, n := range got {
		if _, ok := wanted[pkg]; !ok {
			d.add(pkg, 0, n)
		}
	}
	return d.mismatch("packages", result, len(wanted), len(got))
}
