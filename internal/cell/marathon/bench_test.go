package marathon_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
)

// BenchmarkList asks for 1,000 apps with 8 tasks each: by one who has the newest
// list, from what is kept, and after one task changed.
func BenchmarkList(b *testing.B) {
	const apps, tasks = 1000, 8
	c := newCell(b, cellConfig{workers: 20, resources: "cpus:64;mem:262144;disk:100000;ports:[20000-39999]", perOffer: 1000})
	var list []string
	for i := range apps {
		list = append(list, fmt.Sprintf(`{"id": "app-%d", "cmd": "x", "cpus": 0.01, "mem": 8, "instances": %d, "backoffSeconds": 0}`, i, tasks))
	}
	c.ok(http.MethodPut, "/v2/groups/g", `{"apps": [`+strings.Join(list, ",")+`]}`, nil)
	for deadline := time.Now().Add(3 * time.Minute); c.counted(mesos.TaskRunning) < apps*tasks || c.deploying(); {
		if time.Now().After(deadline) {
			b.Fatalf("only %d run", c.counted(mesos.TaskRunning))
		}
		time.Sleep(50 * time.Millisecond)
	}
	const path = "/v2/apps?embed=apps.tasks"
	get := func(tag string) (string, int64) {
		req, err := http.NewRequest(http.MethodGet, c.api.URL+path, nil)
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("If-None-Match", tag)
		resp, err := http.DefaultClient.Do(req) //nolint:bodyclose // joinClose closes it
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		if err = joinClose(err, resp.Body); err != nil {
			b.Fatal(err)
		}
		return resp.Header.Get("ETag"), n
	}
	tag, _ := get("")
	b.Run("304", func(b *testing.B) {
		for b.Loop() {
			if _, n := get(tag); n != 0 {
				b.Fatalf("%d bytes", n)
			}
		}
	})
	b.Run("cached", func(b *testing.B) {
		for b.Loop() {
			get("")
		}
	})
	b.Run("one changed", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			tag, _ := get("")
			c.end(c.app("/g/app-7").Tasks[0].ID, mesos.TaskFailed, "")
			c.until("the list changes", func() bool { now := c.ask(http.MethodHead, path, "", "If-None-Match: "+tag); return now.code == 200 })
			c.until("it is whole again", func() bool { return c.settled("/g/app-7") })
			b.StartTimer()
			get(tag)
		}
	})
}

func joinClose(err error, c io.Closer) error {
	if closed := c.Close(); err == nil {
		err = closed
	}
	return err
}

// counted counts the tasks in a state as the workers know them.
func (c *cell) counted(state mesos.TaskState) int {
	n := 0
	for _, s := range c.truth() {
		if s == state {
			n++
		}
	}
	return n
}

func (c *cell) deploying() bool {
	_, body := c.call(http.MethodGet, "/v2/deployments?", "")
	return body != "[]"
}
