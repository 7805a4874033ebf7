// Command lockgen writes the lock of an artifact set from a short list of
// roots, using the Maven of the person who runs it:
//
//	go run ./internal/tools/lockgen stacks/shared/*.roots
//
// Every NAME.roots becomes NAME.lock beside it. The generated POM lives in a
// temporary directory outside the repository.
//
// A roots file has one directive a line; # starts a comment, and the comment
// block at its head is copied into the lock.
//
//	into DIR/                 what follows goes into DIR; a new closure begins
//	closure G:A:V[:C][@EXT]   the artifact and everything it needs at run time
//	exclude G:A               left out of the closure of this section, with what only it needs
//	pin G:A:V                 the version this section's closure takes of G:A
//	drop G:A[:V[:C]]          taken out of the result; * matches any run of characters
//	single G:A:V[:C][@EXT] [as NAME]   the artifact alone, without its POM's dependencies
//	unpack G:A:V[:C][@EXT][!/PREFIX/]  its entries under PREFIX, with the prefix stripped
//
// Order is kept: sections as written, a closure in Maven's classpath order.
package main
