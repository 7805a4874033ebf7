// Package badinput holds what howdah says to bad input and to a host that
// lacks something: exact texts, exit codes, and that nothing was changed.
package badinput
