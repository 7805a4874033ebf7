// Package cgroup owns control groups of tasks on both versions of the kernel's
// interface: it finds where groups may be made, makes one with limits, puts a
// process into it, reads what it used, ends all that is in it, and removes it.
//
// It knows nothing of tasks and imports only the standard library: the shim
// links it too, and wants to stay small.
package cgroup
