// Package faults kills the server, agents and services of a small warehouse, at
// every kind of step and while data is written, and takes its data away.
package faults
