package agentapi

import "time"

// PathSession is where an agent dials a session, followed by its id: POST, with
// frames of package session in both directions.
const PathSession = "/howdah.agent.v1.Agent/Session/"

// SessionKind is what a session is for.
type SessionKind string

// Kinds of sessions.
const (
	SessionExec SessionKind = "exec"
	SessionLogs SessionKind = "logs"
)

// SessionRequest asks an agent to dial a session. One of Exec and Logs is set.
type SessionRequest struct {
	ID   string       `json:"id"`
	Kind SessionKind  `json:"kind"`
	Exec *ExecRequest `json:"exec,omitempty"`
	Logs *LogsRequest `json:"logs,omitempty"`
}

// ExecRequest is a command to run in the environment of a node.
type ExecRequest struct {
	Argv []string `json:"argv"`
	TTY  bool     `json:"tty,omitempty"`
	Term string   `json:"term,omitempty"` // kind of terminal
	Rows uint16   `json:"rows,omitempty"`
	Cols uint16   `json:"cols,omitempty"`
}

// LogAgent names the agent's own log among those of the services.
const LogAgent = "agent"

// LogsRequest chooses lines of a node's logs.
type LogsRequest struct {
	Services []string  `json:"services,omitempty"` // of all services where empty; LogAgent for the agent's own
	Since    time.Time `json:"since,omitzero"`     // lines of an earlier time are left out
	Tail     int       `json:"tail"`               // at most so many of the last lines of each log; negative for all
	Follow   bool      `json:"follow,omitempty"`
	Previous bool      `json:"previous,omitempty"` // of the incarnation before the newest
}
