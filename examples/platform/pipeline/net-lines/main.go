// Command net-lines is a Storm bolt that counts lines a package.
//
// Its input tuples hold one string: package, sequence number and text, split
// by tabs. A sequence number counts once for its package however often it
// arrives, so replays do no harm. On every tick it emits, for each package
// whose total has changed, one string: package, tab, total so far.
//
// With -journal it writes down what it has counted before it acknowledges it
// and reads that back when it starts: a killed worker then loses nothing as
// long as the topology stays on its machine. Totals are cumulative, so a
// reader keeps the largest one of each package.
package main

import (
	"flag"
	"fmt"
	"os"

	"howdah.dev/howdah/examples/platform/pipeline/multilang"
)

func main() {
	path := flag.String("journal", "", "file that remembers what has been counted; none if empty")
	flag.Parse()
	// Standard output belongs to the protocol; the worker logs standard error.
	if err := multilang.Run(newCounter(*path), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "net-lines:", err)
		os.Exit(1)
	}
}
