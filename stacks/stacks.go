// Package stacks carries the stacks that come with Howdah: one directory each,
// and shared/ with the locks and class lists several of them use.
package stacks

import "embed"

// FS holds the stacks.
//
//go:embed */stack.yaml shared/*.lock shared/*.gz
var FS embed.FS
