package local_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/node/proc"
)

// TestReplaceAgent: the agent's process is another afterwards; what runs on the
// node in a session of its own is the same.
func TestReplaceAgent(t *testing.T) {
	s := newSite(t)
	s.create()
	before := s.oneAgent()
	service, err := proc.Start(proc.Spec{
		Argv: []string{"/bin/sleep", "1000"}, Dir: "/", Output: s.path("service.out"),
		Labels: proc.Labels{Node: s.node.Key, Service: "svc", Incarnation: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = service.Stop(context.Background(), 0) })

	if err := s.ReplaceAgent(t.Context(), s.node.Ref); err != nil {
		t.Fatal(err)
	}
	if now := s.oneAgent(); now == before {
		t.Errorf("the agent is still pid %d", now)
	}
	select {
	case <-service.Done():
		t.Error("a service of the node ended with its agent")
	default:
	}

	if err := s.Power(t.Context(), s.node.Ref, false); err != nil {
		t.Fatal(err)
	}
	if err := s.ReplaceAgent(t.Context(), s.node.Ref); infra.KindOf(err) != infra.KindConflict {
		t.Errorf("the agent of a node that is off: %v", err)
	}
	other := s.node.Ref
	other.Key = "another"
	if err := s.ReplaceAgent(t.Context(), other); infra.KindOf(err) != infra.KindConflict {
		t.Errorf("the agent of another's node: %v", err)
	}
}

// oneAgent waits until exactly one agent holds the node.
func (s *site) oneAgent() int {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		all, err := proc.List(s.node.Key)
		if err != nil {
			s.t.Fatal(err)
		}
		all = slices.DeleteFunc(all, func(p proc.Info) bool { return p.Service != "agent" })
		if len(all) == 1 && s.held() {
			return all[0].PID
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("agents %v hold the node, want one", all)
		}
	}
}

// held tells whether somebody has the node's lock.
func (s *site) held() bool {
	f, err := os.OpenFile(s.path("agent", "lock"), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}
