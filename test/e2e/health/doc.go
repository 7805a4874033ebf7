// Package health tests what is watched and what is repaired by itself, on a
// ZooKeeper of one node: a service that ends again and again, an agent that is
// stopped, a server that was away.
package health
