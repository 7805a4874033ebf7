package cluster_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/tenant"
)

// secret returns a secret file of the first service of a node's newest assignment.
func (c *cloud) secret(node, file string) string {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.taken[node]
	secrets := all[len(all)-1].Services[0].Secrets
	i := slices.IndexFunc(secrets, func(s agentapi.Secret) bool { return path.Base(s.Path) == file })
	if i < 0 {
		c.t.Fatalf("%s has no secret file %s", node, file)
	}
	return string(secrets[i].Content)
}

// TestSecrets: agents get secrets, the same in a cluster and others elsewhere;
// what is kept and what is shown holds none.
func TestSecrets(t *testing.T) {
	c := start(t)
	plans := c.apply(store1)
	c.apply(user1)
	key := c.secret("store-head-1", "key")
	if len(key) != 64 || key != c.secret("store-worker-1", "key") || key == c.secret("user-head-1", "key") {
		t.Errorf("the key is %q on the head, %q on a worker, %q in another cluster", key, c.secret("store-worker-1", "key"), c.secret("user-head-1", "key"))
	}
	token := c.secret("store-head-1", "token")
	v, err := tenant.NewVerifier([]byte(c.secret("store-head-1", "ca.pem")), nil)
	if err != nil {
		t.Fatal(err)
	}
	who, err := v.Verify(token, time.Now())
	if node, ok := tenant.NodeOfToken(who.ID); err != nil || !ok || node == "" || who.Role != tenant.Viewer || who.Project != tenant.DefaultProject {
		t.Errorf("the token is %+v: %v", who, err)
	}
	c.mu.Lock()
	smoked := slices.ContainsFunc(c.taken["store-head-1"], func(as *agentapi.Assignment) bool {
		return len(as.Tasks) > 0 && string(as.Tasks[0].Secrets[0].Content) == key
	})
	c.mu.Unlock()
	if !smoked {
		t.Error("the cluster's test got no key")
	}
	ops, err := c.m.Operations(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	places := map[string][]byte{}
	for what, v := range map[string]any{"plan": plans, "status": c.get("store"), "operations": ops, "operation": c.operation(ops[0].ID)} {
		if places[what], err = json.Marshal(v); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"", "-wal"} {
		places["database"+file], _ = os.ReadFile(c.path + file)
	}
	for what, text := range places {
		if len(text) == 0 && what == "database" {
			t.Error("the database was not looked at")
		}
		for _, secret := range []string{key, token, strings.Split(token, ".")[1]} {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("a secret is in the %s", what)
			}
		}
	}
}

func (c *cloud) operation(id int64) api.Operation {
	c.t.Helper()
	return c.until(id, api.OperationDone)
}
