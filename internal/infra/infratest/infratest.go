// Package infratest is the conformance suite of drivers: the contract of
// internal/infra as cases, in words. Every driver runs it in its tests;
// docs/reference/driver-contract.md lists the cases under the same names. It
// knows no driver.
package infratest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/infra"
)

// Trouble is what an infrastructure of a case is like.
type Trouble string

// Kinds of trouble. A harness that cannot make one returns nil, and the case is
// skipped.
const (
	None       Trouble = ""
	NeverBoots Trouble = "machines never boot"
	Slow       Trouble = "calls take longer than callers wait"
	Auth       Trouble = "we are not allowed to"
	Quota      Trouble = "our quota is used up"
	Capacity   Trouble = "there is no room"
	Throttled  Trouble = "there are too many calls"
)

// Harness makes what a case needs.
type Harness struct {
	// New makes an infrastructure for one case, with nothing on it.
	New func(t *testing.T, trouble Trouble) *Site
}

// Site is an infrastructure, and how a test looks at it from outside.
type Site struct {
	Driver infra.Driver
	// Node describes the i-th node, from 1, that is not there yet. Each call with
	// one number describes the same node.
	Node func(i int) infra.CreateRequest
	// Agents counts the agents that run for a node.
	Agents func(ref infra.Ref) int
	// Occupy puts something of somebody else where a node would be.
	Occupy func(ref infra.Ref)
	// Things lists all that is on the infrastructure, sorted, without what agents
	// do to it.
	Things func() []string
	// Write puts data on a node; Data tells whether they are there.
	Write func(ref infra.Ref)
	Data  func(ref infra.Ref) bool
	// CutShort leaves what a call (create or delete) leaves behind that ended in
	// its middle, as when our process is killed.
	CutShort func(call string, r infra.CreateRequest)
}

// Secret is in the join file of every node and must be in no error.
const Secret = "0123456789abcdef-join-token" //nolint:gosec // that it is not shown is what is tested

// soon is how long a call may take that does nothing slow; generous, because
// tests run on busy machines.
const soon = 30 * time.Second

// Cases are the names of all cases, in order.
func Cases() []string {
	out := make([]string, len(cases))
	for i, c := range cases {
		out[i] = c.name
	}
	return out
}

// Run runs all cases.
func Run(t *testing.T, h Harness) {
	for _, c := range cases {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			s := h.New(t, c.trouble)
			if s == nil {
				t.Skipf("this driver's tests cannot make it so that %s", c.trouble)
			}
			s.Driver = discreet{s.Driver, t}
			c.run(&bench{T: t, Site: s})
		})
	}
}

// bench is what a case works with.
type bench struct {
	*testing.T
	*Site
}

// must fails the test unless a call went well.
func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// kind checks an error's kind.
func (b *bench) kind(err error, want infra.Kind) {
	b.Helper()
	if err == nil {
		b.Fatalf("no error, want one that is %s", want)
	}
	if got := infra.KindOf(err); got != want {
		b.Fatalf("error is %s, want %s: %v", got, want, err)
	}
}

func (b *bench) create(r infra.CreateRequest) {
	b.Helper()
	b.must(b.Driver.Create(b.Context(), r))
}

// power checks what Describe says of a node: on, off or gone.
func (b *bench) power(ref infra.Ref, want string) {
	b.Helper()
	got := "off"
	d, err := b.Driver.Describe(b.Context(), ref)
	switch {
	case err != nil && infra.KindOf(err) == infra.KindNotFound:
		got = "gone"
	case err != nil:
		b.Fatal(err)
	case d.Powered:
		got = "on"
	}
	if got != want {
		b.Fatalf("%s is %s, want %s", ref.Name, got, want)
	}
}

// agents waits until so many agents run for a node. One that is too many may
// be about to end by itself.
func (b *bench) agents(ref infra.Ref, want int) {
	b.Helper()
	for deadline := time.Now().Add(soon); ; time.Sleep(5 * time.Millisecond) {
		got := b.Agents(ref)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("%s has %d agents, want %d", ref.Name, got, want)
		}
	}
}

// quick fails the test when a call takes long.
func (b *bench) quick(what string, call func() error) error {
	b.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(soon):
		b.Fatalf("%s has not returned after %s", what, soon)
		return nil
	}
}

// discreet is a driver whose errors are searched for secrets.
type discreet struct {
	infra.Driver
	t *testing.T
}

func (d discreet) look(err error) error {
	if err != nil && strings.Contains(err.Error(), Secret) {
		d.t.Errorf("an error holds the join token: %v", err)
	}
	return err
}

func (d discreet) Create(ctx context.Context, r infra.CreateRequest) error {
	return d.look(d.Driver.Create(ctx, r))
}

func (d discreet) Delete(ctx context.Context, ref infra.Ref) error {
	return d.look(d.Driver.Delete(ctx, ref))
}

func (d discreet) Power(ctx context.Context, ref infra.Ref, on bool) error {
	return d.look(d.Driver.Power(ctx, ref, on))
}

// forgetful is a driver whose answers are lost: it acts, and the caller gets a
// temporary error.
type forgetful struct{ infra.Driver }

var errLost = errors.New("no answer came")

func (f forgetful) Create(ctx context.Context, r infra.CreateRequest) error {
	return errors.Join(errLost, f.Driver.Create(ctx, r))
}

func (f forgetful) Delete(ctx context.Context, ref infra.Ref) error {
	return errors.Join(errLost, f.Driver.Delete(ctx, ref))
}

func (f forgetful) Power(ctx context.Context, ref infra.Ref, on bool) error {
	return errors.Join(errLost, f.Driver.Power(ctx, ref, on))
}
