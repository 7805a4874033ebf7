// Package multilang speaks Storm's multilang protocol, JSON flavour: the way a
// Storm worker runs a bolt that is a program in any language. It owns the
// protocol only, uses nothing but the standard library, and may be copied into
// other programs as it is.
//
// A worker starts the program and talks to it over standard input and output.
// A message is JSON followed by a line that says "end". The first one is the
// handshake; tuples and heartbeats follow until the input closes. Standard
// output belongs to the protocol: log through [Output.Log] or standard error.
//
// The protocol is described on Storm's page "Multi-Lang Protocol"; what is
// implemented here was checked against Storm 2.8.3.
package multilang
