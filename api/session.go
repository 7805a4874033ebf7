package api

import "time"

// Kinds of frames of a command on a node. Over a web socket each binary message is
// one frame: its kind in the first byte, then the data.
const (
	FrameStdin  byte = 0 // to the command; no data ends its input
	FrameStdout byte = 1 // from the command; all of a terminal's
	FrameStderr byte = 2 // from the command
	FrameExit   byte = 3 // the exit code in decimal; the last frame
	FrameResize byte = 4 // TerminalSize as JSON
	FrameError  byte = 5 // why it cannot go on, in words; the last frame
)

// MaxFrame bounds the data of one frame, in bytes.
const MaxFrame = 64 << 10

// TerminalSize is the size of a terminal in characters.
type TerminalSize struct {
	Rows uint16 `json:"rows" doc:"Lines"`
	Cols uint16 `json:"cols" doc:"Columns"`
}

// LogLine is one line of a log.
type LogLine struct {
	Time    *time.Time `json:"time,omitempty" doc:"When it was written, as far as the log says: lines without a time of their own have that of the line before"`
	Node    string     `json:"node" doc:"Node it is of"`
	Service string     `json:"service,omitempty" doc:"Service it is of; SERVICE/TASK for what a one-time task printed, agent for the node's agent"`
	Text    string     `json:"text" doc:"The line without its end"`
	Notice  bool       `json:"notice,omitempty" doc:"Said by Howdah about the log; no line of it"`
}

// EventExec is the type of the event of a command run on a node.
const EventExec = "node.exec"
