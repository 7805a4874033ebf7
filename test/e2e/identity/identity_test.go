// Package identity holds scenarios of who may do what: certificates and tokens change
// while a cluster runs, and what was done is on record.
package identity

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/test/e2e/harness"
)

// TestIdentity changes the certificate authority under a running ZooKeeper, makes and
// revokes a token, reads the audit record, and goes over to the shared posture. Neither
// the agent nor the service notices.
func TestIdentity(t *testing.T) {
	h := harness.New(t)
	h.Up()
	h.Apply("zk", harness.OneZooKeeper)
	h.Ready(10*time.Second, "zk")
	before := h.PIDs("zk")
	stop := watch(t, h)

	first := harness.JSON[api.Authorities](h, "ca", "rotate")
	if len(first.Authorities) != 2 {
		t.Fatalf("after a rotation there are the authorities %+v", first.Authorities)
	}
	r := h.Fails(4, "ca", "rotate")
	harness.Contains(t, "rotating twice", r.Stderr, "retire that one first: howdah ca retire")
	harness.Within(t, 20*time.Second, "the node has a certificate of the new authority", func() (bool, string) {
		now := harness.JSON[api.Authorities](h, "ca")
		return len(now.Authorities[1].Nodes) == 1 && len(now.Authorities[0].Nodes) == 0, fmt.Sprintf("%+v", now)
	})
	harness.Contains(t, "howdah security", h.OK("security"), "is still trusted beside "+first.Authorities[1].ID, "howdah ca retire")
	last := harness.JSON[api.Authorities](h, "ca", "retire")
	if len(last.Authorities) != 1 || last.Authorities[0].ID != first.Authorities[1].ID || len(last.Lost) != 0 {
		t.Errorf("after the old authority was retired: %+v", last)
	}
	harness.Contains(t, "howdah ca", h.OK("ca"), last.Authorities[0].ID+"   trusted")

	tokens(t, h)
	looks, drops := stop()
	if len(drops) > 0 || looks == 0 {
		t.Errorf("of %d looks these saw a drop: %v", looks, drops)
	}
	if now := h.PIDs("zk"); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("the services are %v, they were %v", now, before)
	}

	audit := h.OK("audit")
	harness.Contains(t, "the audit record", audit, "rotate-authority", "retire-authority", "create-token", "revoke-token", "join", "renew", "apply", "zk-server-1", "socket, uid ")
	if n := len(harness.JSON[[]api.AuditEntry](h, "audit", "--what", "rotate-authority")); n != 2 {
		t.Errorf("%d rotations are on record, want the one and the refused one", n)
	}
	h.Fails(2, "audit", "--since", "yesterday")

	refused := h.Fails(1, "up", "--posture", "shared", "--allow-open-ports")
	harness.Contains(t, "a posture that cannot be kept", refused.Stderr, "cannot start in the posture shared:", "services may listen on every address of this host")
	h.OK("up", "--posture", "shared")
	harness.Contains(t, "howdah security", h.OK("security"), "posture  shared: people who do not trust each other")
	harness.Contains(t, "a token without end", h.Fails(2, "token", "create", "--for", "0").Stderr, "a token must have an end, within a year")
	if now := h.PIDs("zk"); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("after going over to the shared posture the services are %v, they were %v", now, before)
	}
	h.OK("delete", "zk", "--yes", "--destroy-data", "zk")
	harness.Contains(t, "the audit record", h.OK("audit", "--what", "revoke-node"), "zk-server-1")
}

// tokens makes a token, uses it, takes it back.
func tokens(t *testing.T, h *harness.Home) {
	t.Helper()
	made := harness.JSON[api.Token](h, "token", "create", "--role", "operator", "--name", "ci", "--for", "1h")
	ask := func() int {
		code, _ := harness.Ask(t, http.MethodGet, h.Address()+"/v1/clusters", made.Token, "")
		return code
	}
	if got := ask(); got != http.StatusOK {
		t.Errorf("a good token gets %d", got)
	}
	h.OK("token", "revoke", made.ID[:8])
	if got := ask(); got != http.StatusUnauthorized {
		t.Errorf("a revoked token gets %d", got)
	}
	list := h.OK("token", "list")
	harness.Contains(t, "howdah token list", list, made.ID, "revoked", "ci")
	if strings.Contains(list, made.Token) {
		t.Error("the list shows the token's text")
	}
	harness.Contains(t, "revoking what is not there", h.Fails(3, "token", "revoke", "nothing").Stderr, "howdah token list shows those that can be taken back")
}

// watch looks all the time whether the agent is connected, its service ready, and
// ZooKeeper's port open.
func watch(t *testing.T, h *harness.Home) (stop func() (looks int, drops []string)) {
	t.Helper()
	c := h.API()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	var looks int
	var drops []string
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			now, err := c.Cluster(ctx, "zk")
			if ctx.Err() != nil {
				return
			}
			looks++
			if err != nil {
				drops = append(drops, err.Error())
				continue
			}
			n := now.Nodes[0]
			if !n.Connected || n.Services[0].State != api.StateReady {
				drops = append(drops, fmt.Sprintf("connected %v, %s", n.Connected, n.Services[0].State))
			}
			conn, err := net.DialTimeout("tcp", n.Address+":2181", 5*time.Second)
			if err != nil {
				drops = append(drops, err.Error())
				continue
			}
			conn.Close()
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return func() (int, []string) { cancel(); <-done; return looks, drops }
}
