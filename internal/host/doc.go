// Package host finds out what the machine Howdah runs on is and lacks: Java
// installations, memory, cores and disk as the container or cgroup allows them,
// the operating system, and the prerequisites, which it can install on Debian
// and Ubuntu.
//
// Everything the package reads or runs goes through Host, whose Config puts a
// folder in the place of / and a function in the place of running programs. It
// imports nothing else of the project.
package host
