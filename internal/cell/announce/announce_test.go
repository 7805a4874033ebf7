package announce

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
)

// How it is with a ZooKeeper is tested in test/e2e/cell.

func TestParsePath(t *testing.T) {
	for _, good := range []string{"/mesos", "/mesos/cell", "/a-b_c/d.e"} {
		if got, err := ParsePath(good); got != good || err != nil {
			t.Errorf("%q: %q, %v", good, got, err)
		}
	}
	for _, bad := range []string{"", "/", "mesos", "/mesos/", "//mesos", "/a/../b", "/a\nb", "/" + strings.Repeat("a", 1024)} {
		if _, err := ParsePath(bad); err == nil || !strings.HasSuffix(err.Error(), "as a path in ZooKeeper: write it as /mesos/cell") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestAway goes on while nobody answers, or somebody who is no ZooKeeper, and ends
// when it is told to.
func TestAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cut := make(chan struct{}, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
			select {
			case cut <- struct{}{}:
			default:
			}
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Config{Hosts: []string{l.Addr().String()}, Path: "/mesos/cell", Info: mesos.MasterInfo{ID: "m"}})
	}()
	for range 2 {
		select {
		case <-cut:
		case err := <-done:
			t.Fatalf("it gave up: %v", err)
		case <-time.After(time.Minute):
			t.Fatal("it does not try again")
		}
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it does not end")
	}
}
