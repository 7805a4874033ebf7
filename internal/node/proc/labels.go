package proc

import (
	"bytes"
	"strconv"
	"strings"
)

// The environment variables that carry the labels. Children inherit them.
const (
	EnvNode        = "HOWDAH_NODE"
	EnvService     = "HOWDAH_SERVICE"
	EnvIncarnation = "HOWDAH_INCARNATION"

	// envStarted holds the moment of the fork in clock ticks since boot. It
	// tells the process that was started from children that inherited its labels.
	envStarted = "HOWDAH_STARTED"
)

// Labels say whose process it is. They travel in the environment, so every child
// has them too. Node must be unique on the host, not only within one cluster:
// a sweep of a node kills whatever carries its name.
type Labels struct {
	Node        string `json:"node"`
	Service     string `json:"service,omitempty"`
	Incarnation int64  `json:"incarnation,omitempty"` // counts from 1
}

// String reads like "node-1/datanode#3".
func (l Labels) String() string {
	s := l.Node
	if l.Service != "" {
		s += "/" + l.Service
	}
	if l.Incarnation != 0 {
		s += "#" + strconv.FormatInt(l.Incarnation, 10)
	}
	return s
}

// Matches reports whether have is covered by l, where an empty Service or a zero
// Incarnation of l stands for any. A service covers those it starts and names
// after itself: worker covers worker/task-1, whatever their incarnation.
func (l Labels) Matches(have Labels) bool {
	if l.Node != have.Node {
		return false
	}
	if l.Service != "" && strings.HasPrefix(have.Service, l.Service+"/") {
		return true
	}
	return (l.Service == "" || l.Service == have.Service) && (l.Incarnation == 0 || l.Incarnation == have.Incarnation)
}

// Env returns the labels as environment entries.
func (l Labels) Env() []string {
	return []string{
		EnvNode + "=" + l.Node,
		EnvService + "=" + l.Service,
		EnvIncarnation + "=" + strconv.FormatInt(l.Incarnation, 10),
	}
}

// labelled is what the environment of a process says about it.
type labelled struct {
	Labels
	started uint64 // clock ticks since boot, 0 when absent
}

// parseEnviron reads the labels out of NUL-separated entries. As with getenv, the
// first entry of a name counts. ok is false when there is no node.
func parseEnviron(environ []byte) (l labelled, ok bool) {
	seen := make(map[string]bool, 4)
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		if !bytes.HasPrefix(entry, []byte("HOWDAH_")) {
			continue
		}
		name, value, _ := strings.Cut(string(entry), "=")
		if seen[name] {
			continue
		}
		seen[name] = true
		switch name {
		case EnvNode:
			l.Node = value
		case EnvService:
			l.Service = value
		case EnvIncarnation:
			l.Incarnation, _ = strconv.ParseInt(value, 10, 64)
		case envStarted:
			l.started, _ = strconv.ParseUint(value, 10, 64)
		}
	}
	return l, l.Node != ""
}
