// Command howdah-shim stands between a worker of a cell and one task of it. The
// worker carries it inside itself and starts it; see internal/cell/shim.
package main

import (
	"os"

	"howdah.dev/howdah/internal/cell/shim"
)

func main() { os.Exit(shim.Main(os.Args[1:])) }
