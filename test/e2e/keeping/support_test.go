package keeping

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/support/supporttest"
	"howdah.dev/howdah/test/e2e/harness"
)

// TestSupport collects a bundle of a running platform, and one of it with its
// server dead; a cell has the most kinds of secrets.
func TestSupport(t *testing.T) {
	h := harness.New(t)
	h.Up()
	h.Apply("zk", harness.OneZooKeeper)
	owner := read(t, filepath.Join(h.Dir, "run", "token"))
	key := strings.Split(read(t, filepath.Join(h.Dir, "ca", "ca.key")), "\n")[1]
	var identity struct{ Key string }
	if err := json.Unmarshal([]byte(read(t, filepath.Join(h.Dir, "nodes/zk/zk-server-1/agent/identity.json"))), &identity); err != nil || identity.Key == "" {
		t.Fatalf("the agent has no key: %v", err)
	}
	agent := strings.Split(identity.Key, "\n")[1]
	user := harness.JSON[api.Token](h, "token", "create").Token
	log, err := os.OpenFile(filepath.Join(h.Dir, "nodes/zk/zk-server-1/zookeeper/logs/zookeeper.out"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(log, "said "+owner+" "+user+"\n"+key+"\n"+agent+"\nthese words stay\n"); err != nil {
		t.Fatal(err)
	}
	log.Close()
	look := func(file string, want ...string) {
		t.Helper()
		members := supporttest.Read(t, file)
		for _, name := range want {
			if members["howdah-support/"+name] == "" {
				t.Errorf("%s lacks %s", file, name)
			}
		}
		for name, text := range members {
			for what, secret := range map[string]string{"the owner's token": owner, "the authority's key": key, "the agent's key": agent, "a user's token": user} {
				if strings.Contains(text, secret) {
					t.Errorf("%s is in %s of %s", what, name, file)
				}
			}
		}
		harness.Contains(t, "the service's log", members["howdah-support/logs/nodes/zk/zk-server-1/zookeeper/logs/zookeeper.out"], "these words stay", "[redacted]")
	}

	file := filepath.Join(h.Files(), "one.tar.gz")
	harness.Contains(t, "a bundle", h.OK("support", "-f", file), file, "the server answers", "Secrets were taken out")
	look(file, "about.json", "server.json", "clusters/zk/describe.json", "clusters/zk/explain.json", "operations/1.json", "events.json", "goroutines.txt", "logs/server.log", "processes.json")
	if text := supporttest.Read(t, file)["howdah-support/goroutines.txt"]; !strings.Contains(text, "server.(*Server).serve(") {
		t.Errorf("no goroutine serves:\n%.500s", text)
	}

	h.KillServer()
	file = filepath.Join(h.Files(), "two.tar.gz")
	harness.Contains(t, "a bundle without a server", h.OK("support", "-f", file), "the server does not answer; what is here of clusters and operations is from the database")
	look(file, "about.json", "clusters.json", "clusters/zk/database.json", "operations/1.json", "events.json", "logs/server.log", "processes.json")
	h.Up()
	harness.NewEmpty(t).Fails(3, "support")
}
