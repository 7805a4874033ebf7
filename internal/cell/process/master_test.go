package process

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAnnounceConfig reads what the stack writes, with and without a link.
func TestAnnounceConfig(t *testing.T) {
	for text, want := range map[string]AnnounceConfig{
		"zookeeper.hosts: 127.0.0.1:2181,127.0.0.2:2181\nzookeeper.path: /mesos/cell\n": {List{"127.0.0.1:2181", "127.0.0.2:2181"}, "/mesos/cell"},
		"zookeeper.hosts: \"\"\nzookeeper.path: /mesos/cell\n":                          {nil, "/mesos/cell"},
	} {
		file := filepath.Join(t.TempDir(), "master.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var cfg MasterConfig
		if err := read(file, &cfg); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, cfg.Announce); diff != "" {
			t.Error(diff)
		}
	}
}
