package marathon_test

import (
	"net/http"
	"testing"
)

// TestLife takes one app through its life.
func TestLife(t *testing.T) {
	c := newCell(t, cellConfig{})
	c.ok(http.MethodPost, "/v2/apps", `{"id": "/shop/web", "cmd": "sleep 1000", "instances": 5, "cpus": 0.5, "mem": 64}`, nil)
	c.until("5 instances run", func() bool { return c.settled("/shop/web") })
	first := c.app("/shop/web")

	c.ok(http.MethodPut, "/v2/apps/shop/web", `{"instances": 8}`, nil)
	c.until("8 instances run", func() bool { return c.settled("/shop/web") && c.app("/shop/web").TasksRunning == 8 })
	if now := c.app("/shop/web"); now.Tasks[0].ID != first.Tasks[0].ID {
		t.Errorf("scaling replaced %s by %s", first.Tasks[0].ID, now.Tasks[0].ID)
	}

	c.ok(http.MethodPut, "/v2/apps/shop/web", `{"cmd": "sleep 2000"}`, nil)
	c.until("the new version runs", func() bool { return c.settled("/shop/web") })
	for _, task := range c.app("/shop/web").Tasks {
		for _, old := range first.Tasks {
			if task.ID == old.ID {
				t.Errorf("%s was not replaced", task.ID)
			}
		}
	}

	// The scheduler ends and begins again: nothing changes.
	before := c.app("/shop/web")
	c.stop()
	c.start()
	c.until("it is settled again", func() bool { return c.settled("/shop/web") })
	if after := c.app("/shop/web"); len(after.Tasks) != 8 || after.Tasks[0].ID != before.Tasks[0].ID {
		t.Errorf("after a restart the tasks are %v, they were %v", after.Tasks, before.Tasks)
	}

	c.ok(http.MethodPut, "/v2/apps/shop/web", `{"instances": 2}`, nil)
	c.until("2 instances run", func() bool { return c.settled("/shop/web") && c.app("/shop/web").TasksRunning == 2 })
	c.ok(http.MethodDelete, "/v2/apps/shop/web", "", nil)
	c.until("the app is gone", func() bool {
		code, _ := c.call(http.MethodGet, "/v2/apps/shop/web", "")
		n := 0
		for _, w := range c.workers {
			n += len(w.Tasks())
		}
		return code == http.StatusNotFound && n == 0
	})
}
