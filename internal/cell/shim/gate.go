package shim

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// gateVerb makes the program a gate.
const gateVerb = "gate"

// Gate returns the command line of an engine's container in which the program is at
// path: it waits for a byte on its input, which says that the ports and gateways are
// open, and becomes the command. Without it the command would find them closed at first.
func Gate(path string, argv []string) []string {
	return append([]string{path, gateVerb}, argv...)
}

// gateLines are what a gate prints: that it is there, and that it becomes the command.
const gateLines = 2

// gate answers with lines as the control socket does. When the shim is gone its input
// ends.
func gate(argv []string) int {
	if writeLine(os.Stdout, answer{}) != nil {
		return 125
	}
	if n, err := os.Stdin.Read(make([]byte, 1)); n == 0 || err != nil {
		return 125
	}
	program, err := lookPath(argv[0], os.Environ())
	if err == nil && strings.Contains(program, "/") {
		err = unix.Access(program, unix.X_OK)
	}
	if err == nil {
		err = toNull()
	}
	if err != nil {
		_ = writeLine(os.Stdout, answer{Error: fmt.Sprintf("cannot start %s: %v", argv[0], err)})
		return 127
	}
	if writeLine(os.Stdout, answer{}) != nil {
		return 125
	}
	fmt.Fprintf(os.Stderr, "cannot start %s: %v\n", argv[0], syscall.Exec(program, argv, os.Environ()))
	return 126
}

// toNull gives the command an input that is empty, as other runtimes do.
func toNull() error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	return unix.Dup3(int(null.Fd()), 0, 0)
}
