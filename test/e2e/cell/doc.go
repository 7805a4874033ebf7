// Package cell runs apps on cells of the built howdah: containers and plain
// commands, updates and failures, projects and what they may not do, and
// crashes of everything that takes part. No cell here has a warehouse; see the
// package platform for one that has.
package cell
