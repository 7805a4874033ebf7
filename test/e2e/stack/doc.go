// Package stack adds the kind of cluster that docs/how-to/add-a-stack.md
// describes, made of nothing but that page, and breaks it.
package stack
