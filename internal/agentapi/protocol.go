package agentapi

import (
	"errors"
	"fmt"
)

// Protocol numbers what agents and servers say to each other. It rises when one
// of them begins to ask for something that a peer of the former number does not
// do; a field more that may be ignored needs no other number.
const Protocol = 2

// unnumbered is the protocol of peers that name none.
const unnumbered = 1

// ErrProtocol is returned for a peer that is too old or too new to be understood.
var ErrProtocol = errors.New("protocols too far apart")

// Numbered returns the protocol a message names.
func Numbered(protocol int) int { return max(protocol, unnumbered) }

// Understood reports whether two protocols are at most one version apart.
func Understood(a, b int) bool {
	d := Numbered(a) - Numbered(b)
	return d >= -1 && d <= 1
}

// CheckAgent refuses an agent that this server does not understand.
func CheckAgent(protocol int) error {
	if Understood(protocol, Protocol) {
		return nil
	}
	return fmt.Errorf("%w: the agent speaks protocol %d, this server %d, and at most one version apart is understood; replace the agent by: howdah upgrade",
		ErrProtocol, Numbered(protocol), Protocol)
}

// CheckServer refuses a server that this agent does not understand.
func CheckServer(protocol int) error {
	if Understood(protocol, Protocol) {
		return nil
	}
	return fmt.Errorf("%w: the server speaks protocol %d, this agent %d, and at most one version apart is understood; replace the agent by running, with the server's own program: howdah upgrade",
		ErrProtocol, Numbered(protocol), Protocol)
}
