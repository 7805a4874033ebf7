// Package infra is the contract between Howdah and what makes machines. A
// driver makes, powers and deletes nodes; it knows nothing of what runs on
// them. The contract in words is docs/reference/driver-contract.md.
package infra

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Driver makes nodes somewhere. Every call is idempotent by the node's key:
// it looks before it acts, adopts what carries the key, and never touches what
// carries another. No call waits for a machine to boot.
type Driver interface {
	// Inventory says what there is to place nodes on.
	Inventory(ctx context.Context) (Inventory, error)
	// Create makes a node and starts its agent.
	Create(ctx context.Context, r CreateRequest) error
	// Delete removes a node and what Create made for it, data included. A node
	// that is not there is deleted already.
	Delete(ctx context.Context, ref Ref) error
	// Power switches a node on or off. Its data stays.
	Power(ctx context.Context, ref Ref, on bool) error
	// Describe says what is there; a KindNotFound error when nothing is.
	Describe(ctx context.Context, ref Ref) (Description, error)
}

// Runner is a driver with work of its own, such as watching agents. Run
// returns when ctx ends.
type Runner interface {
	Run(ctx context.Context) error
}

// Limited is a driver that says how many calls it can have under way at a
// time; others are trusted with 16.
type Limited interface {
	Limit() int
}

// Mender is a driver that brings back a node whose agent is silent otherwise
// than by its power switch. An error of KindUnsupported says that nodes of this
// infrastructure are left to people.
type Mender interface {
	Mend(ctx context.Context, ref Ref) error
}

// AgentReplacer is a driver that starts a node's agent anew, with the program
// the installation has now, and touches nothing else that runs on the node.
type AgentReplacer interface {
	ReplaceAgent(ctx context.Context, ref Ref) error
}

// Inviter is a driver that can hand a node that is there another join file. The
// agent joins again by it: for nodes whose certificate is good no longer.
type Inviter interface {
	Invite(ctx context.Context, ref Ref, join []byte) error
}

// Ref names a node to its driver.
type Ref struct {
	Key     string // id of the node, never reused
	Cluster string
	Name    string
}

// CreateRequest is a node to make.
type CreateRequest struct {
	Ref
	Address  string
	Host     string
	MemoryMB int
	CPUs     int
	Join     []byte // join file for the agent; holds a one-time token
}

// Description is what a driver knows of a node.
type Description struct {
	Powered bool
	Trouble string // what keeps the driver from running the node's agent; "" where nothing is known to
}

// Inventory is what nodes can be placed on.
type Inventory struct {
	Hosts     []Host
	Addresses netip.Prefix // addresses nodes get, one each; invalid when the driver hands them out
	First     int          // first address of the prefix that nodes may have
	// Identity says whether nodes that share a host have addresses of their
	// own even for programs that listen on every address.
	Identity bool
	Reason   string // why not
}

// Host is a place for nodes.
type Host struct {
	Name       string
	CPUs       int // may be shared between nodes
	MemoryMB   int // for nodes in all; a hard sum
	DiskFreeMB int64
}

// Kind sorts errors by what helps against them.
type Kind string

// Kinds of driver errors. All but KindThrottled and KindTemporary need a person
// or another plan.
const (
	KindAuth        Kind = "auth"
	KindQuota       Kind = "quota"
	KindCapacity    Kind = "capacity"
	KindNotFound    Kind = "not-found"
	KindConflict    Kind = "conflict"
	KindInvalid     Kind = "invalid"
	KindUnsupported Kind = "unsupported"
	KindThrottled   Kind = "throttled" // too many calls; see RetryAfter
	KindTemporary   Kind = "temporary"
)

// Error is an error of a driver.
type Error struct {
	Kind       Kind
	Err        error
	RetryAfter time.Duration // of KindThrottled: when the infrastructure wants to be asked again; 0 when it did not say
}

// Errorf makes a driver error.
func Errorf(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// Throttled makes the error of a call that was refused because there are too
// many; after is when the infrastructure wants to be asked again, 0 when it
// does not say.
func Throttled(after time.Duration, format string, args ...any) error {
	return &Error{Kind: KindThrottled, Err: fmt.Errorf(format, args...), RetryAfter: after}
}

// Error returns the message alone; the kind is for programs.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of a driver's error; errors without one are temporary.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindTemporary
}
