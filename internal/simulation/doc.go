// Package simulation holds the deterministic simulation of what changes
// clusters: the real manager, engine, store and handler of agents over a
// simulated infrastructure, in the virtual time of testing/synctest. A seed
// chooses which clusters there are, what is asked for, what goes wrong, where
// the server dies, and who goes first of all that could go on. It has tests
// only and must not be imported.
//
//	engine, driver calls, answers ──► park at a gate
//	all else rests ──► the seed chooses: one goes on, is held up, or the server dies
package simulation
