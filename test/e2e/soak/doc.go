// Package soak resizes a cluster up and down while Howdah's own processes are killed at
// random, and a client writes files to the warehouse and reads them back all the while.
package soak
