// Package session joins what an API client asks of a node with the node's agent,
// which dials back over the connection it has: a command with its input and output,
// lines of logs. A session is two streams of frames in one HTTP/2 request:
//
//	client ── asks ──▶ server ── SessionRequest in the watch stream ──▶ agent
//	                     ▲                                               │
//	                     └── POST …/Session/ID: frames in both directions ┘
//
// Whichever side ends, the other ends. It knows no commands and no logs, keeps no
// state over a restart, and must not import the server, the store or the node.
package session
