package cell

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"howdah.dev/howdah/test/e2e/harness"
)

// TestServicePorts reaches an app by its service port at every worker while its
// instances, which end at once when they are told to, are replaced by those of other
// versions, one with a health check and a port that the first has not, and while the
// scheduler is killed. No request fails.
func TestServicePorts(t *testing.T) {
	c := newCell(t)
	c.pack("hello:1")
	const (
		port  = `{"containerPort": 8080, "hostPort": 0, "servicePort": 10100, "name": "http"}`
		check = `{"protocol": "HTTP", "path": "/status/200", "portIndex": 1, "delaySeconds": 0, "intervalSeconds": 1, "gracePeriodSeconds": 20}`
	)
	version := func(v, ports, checks string) string {
		return `{"instances": 3, "env": {"V": "` + v + `"}, "args": ["trap", "0", "listen", "8081", "listen", "8080", "wait"],
			"container": {"type": "MESOS", "docker": {"image": "hello:1"}, "portMappings": [` + ports + `]}, "healthChecks": [` + checks + `]}`
	}
	c.run("/web", version("1", port, ""))
	harness.Contains(t, "describe", c.OK("app", "describe", "/web"), "service ports, at the address of any worker: 10100 (http)\n")
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(ip, rest string) (string, error) {
		resp, err := client.Get("http://" + ip + rest)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return string(text), err
	}
	ips := c.addresses()
	delete(ips, "cell-master-1")
	for host, ip := range ips {
		harness.Within(t, 10*time.Second, "the app is reached at "+host, func() (bool, string) {
			got, err := ask(ip, ":10100/env/V")
			return got == "1", fmt.Sprint(got, err)
		})
	}
	ctx, stop := context.WithCancel(t.Context())
	var asked atomic.Int64
	var askers sync.WaitGroup
	for host, ip := range ips {
		askers.Go(func() {
			for ctx.Err() == nil {
				if got, err := ask(ip, ":10100/"); err != nil || !strings.HasSuffix(got, ", port 8080\n") {
					t.Errorf("at %s: %q, %v", host, got, err)
				}
				asked.Add(1)
			}
		})
	}
	// The first update brings the health check, and moves the port to another place in the list.
	const both = `{"containerPort": 8081, "hostPort": 0, "servicePort": 10101, "name": "admin"}, ` + port
	for _, v := range []string{"2", "3"} {
		c.put("/web", version(v, both, check))
		c.settled("/web")
	}
	c.Kill(c.PIDs("cell")["cell-master-1/scheduler"])
	c.Ready(30*time.Second, "cell")
	c.settled("/web")
	for host, ip := range ips {
		if got, err := ask(ip, ":10100/env/V"); got != "3" || err != nil {
			t.Errorf("after the updates %s is answered %q, %v", host, got, err)
		}
		if got, err := ask(ip, ":10101/"); !strings.HasSuffix(got, ", port 8081\n") || err != nil {
			t.Errorf("by the new port %s is answered %q, %v", host, got, err)
		}
	}
	stop()
	askers.Wait()
	if asked.Load() < 50 {
		t.Errorf("only %d requests were made", asked.Load())
	}
	t.Logf("%d requests", asked.Load())
}
