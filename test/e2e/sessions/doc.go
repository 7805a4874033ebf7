// Package sessions looks into running nodes: logs followed over the death of their
// service, commands on a node over the death of its agent, events over the death of the
// server.
package sessions
