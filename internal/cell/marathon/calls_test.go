package marathon_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/master"
)

// wire is the way of a scheduler's calls to the master; it counts them, and loses
// those it is told to.
type wire struct {
	mu   sync.Mutex
	made map[string]int
	lose map[string]int // so many of these calls, from now on
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var call struct{ Type string }
	if err := json.Unmarshal(text, &call); err != nil {
		return nil, err
	}
	w.mu.Lock()
	if w.made == nil {
		w.made = map[string]int{}
	}
	w.made[call.Type]++
	lost := w.lose[call.Type] > 0
	w.lose[call.Type]--
	w.mu.Unlock()
	if lost {
		return nil, errors.New("the connection was reset")
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	return http.DefaultTransport.RoundTrip(r)
}

func (w *wire) count(call string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.made[call]
}

func (w *wire) losing(call string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose = map[string]int{call: n}
}

// TestLostCall: a call that did not arrive holds nothing up for good.
func TestLostCall(t *testing.T) {
	for _, call := range []string{"DECLINE", "SUPPRESS", "REVIVE", "ACCEPT", "RECONCILE"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			w := &wire{lose: map[string]int{}}
			early := slices.Contains([]string{"DECLINE", "SUPPRESS", "RECONCILE"}, call) // made before there are apps
			if early {
				w.losing(call, 1)
			}
			c := newCell(t, cellConfig{transport: w})
			c.until("nothing is wanted of the master", func() bool { return w.count("SUPPRESS") > 0 })
			if !early {
				w.losing(call, 1)
			}
			c.run("/a", `"instances": 1`)
			if n := w.count("SUBSCRIBE"); n != 2 {
				t.Errorf("there were %d subscriptions", n)
			}
		})
	}
}

// TestManyLargeTasks: what one call cannot hold is launched with several.
func TestManyLargeTasks(t *testing.T) {
	w := &wire{lose: map[string]int{}}
	c := newCell(t, cellConfig{workers: 1, resources: "cpus:800;mem:1638400;disk:100000;ports:[31000-31999]", transport: w})
	var apps []string
	for n := range 60 {
		apps = append(apps, fmt.Sprintf(`{"id": "a%d", "cmd": "x", "cpus": 0.1, "mem": 32, "portDefinitions": [], "env": {"A": "%s", "B": "%[2]s"}}`, n, strings.Repeat("x", 60_000)))
	}
	c.done(http.MethodPut, "/v2/groups/g", `{"apps": [`+strings.Join(apps, ",")+`]}`)
	if n := len(c.truth()); n != len(apps) {
		t.Errorf("the worker runs %d tasks", n)
	}
	if n := w.count("SUBSCRIBE"); n != 1 {
		t.Errorf("there were %d subscriptions: the master refused a call", n)
	}
}

// TestAskedFromTimeToTime: the master is asked for all tasks though nothing happens.
func TestAskedFromTimeToTime(t *testing.T) {
	w := &wire{lose: map[string]int{}}
	c := newCell(t, cellConfig{transport: w, reconcile: 50 * time.Millisecond})
	before := w.count("RECONCILE")
	c.until("it was asked again and again", func() bool { return w.count("RECONCILE") > before+3 })
	if n := w.count("SUBSCRIBE"); n != 1 {
		t.Errorf("there were %d subscriptions", n)
	}
}

// TestReservedForSeveral: a worker with resources of several roles offers them
// apart, and they are accepted apart.
func TestReservedForSeveral(t *testing.T) {
	w := &wire{lose: map[string]int{}}
	c := newCell(t, cellConfig{
		workers: 1, roles: []string{"*", "dev", "ops"}, transport: w,
		resources: "cpus:2;mem:1000;disk:1000;ports:[31000-31999];cpus(dev):2;mem(dev):1000;cpus(ops):2;mem(ops):1000",
	})
	c.done(http.MethodPut, "/v2/apps", `[
		{"id": "/ops/x", "cmd": "x", "cpus": 1, "mem": 32, "role": "ops", "portDefinitions": []},
		{"id": "/dev/x", "cmd": "x", "cpus": 1, "mem": 32, "role": "dev", "portDefinitions": []}]`)
	if n := len(c.truth()); n != 2 {
		t.Errorf("the worker runs %d tasks", n)
	}
}

// TestRemovedFramework: a scheduler that was away for longer than the master waits
// begins anew: what ran has ended, and is launched again.
func TestRemovedFramework(t *testing.T) {
	c := newCell(t, cellConfig{failover: 0.2, timings: master.Timings{Cycle: 50 * time.Millisecond}})
	c.run("/a", `"instances": 2`)
	before := c.taskIDs("/a")
	c.stop()
	for end := time.Now().Add(time.Minute); len(c.truth()) > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	c.start()
	c.until("it runs again", func() bool {
		ids := c.taskIDs("/a")
		return c.settled("/a") && !slices.Contains(ids, before[0]) && !slices.Contains(ids, before[1])
	})
	if n := len(c.truth()); n != 2 {
		t.Errorf("the workers run %d tasks", n)
	}
	c.run("/b", `"instances": 1`)
}
