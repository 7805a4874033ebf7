// Package archtest holds the rules of the whole tree that a linter cannot say, as
// tests: which words stay out of the generic packages, that every package says what
// it owns, how long a file may be, what no file may name, that the documents name
// commands and tests that exist, and that the reference names every condition, event
// and exit code there is. Who may import whom is in .golangci.yml. It holds no code,
// and nothing imports it.
package archtest
