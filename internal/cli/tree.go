package cli

import (
	"io"

	"github.com/spf13/cobra"
)

// Tree returns the tree of commands, for writing its reference.
func Tree() *cobra.Command {
	root := (&app{out: io.Discard, err: io.Discard}).root()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	return root
}
