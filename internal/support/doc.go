// Package support owns the bundle that is sent to those who help: what is in it,
// and that no secret is. It reads a home's server where one answers and the
// home's own files where none does. It must not import the command line.
package support
