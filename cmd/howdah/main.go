// Command howdah is the whole of Howdah: command line, server and agent.
package main

import (
	"os"

	"howdah.dev/howdah/internal/cli"
	"howdah.dev/howdah/internal/node/proc"
)

func main() {
	// A task's wrapper is this program too; it must do nothing else first.
	if len(os.Args) > 1 && os.Args[1] == proc.TaskCommand {
		os.Exit(proc.TaskMain(os.Args[2:]))
	}
	os.Exit(cli.Main(os.Args[1:]))
}
