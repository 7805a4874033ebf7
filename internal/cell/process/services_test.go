package process

import (
	"testing"

	"howdah.dev/howdah/internal/cell/mesos"
)

// TestServicePorts keeps the proxy away from ports that tasks may be given, and
// off where it is not wanted.
func TestServicePorts(t *testing.T) {
	resources, err := mesos.ParseResources("cpus:1;ports:[31000-31010, 32000-32000]")
	if err != nil {
		t.Fatal(err)
	}
	avoid := offers(resources)
	for port, want := range map[int]bool{10000: false, 30999: false, 31000: true, 31010: true, 31011: false, 32000: true} {
		if avoid(port) != want {
			t.Errorf("port %d: %t", port, !want)
		}
	}
	for _, tt := range []struct {
		cfg  WorkerConfig
		want bool
	}{
		{WorkerConfig{Scheduler: "http://127.0.0.1:8080"}, true},
		{WorkerConfig{Scheduler: "http://127.0.0.1:8080", ServiceProxy: new(true)}, true},
		{WorkerConfig{Scheduler: "http://127.0.0.1:8080", ServiceProxy: new(false)}, false},
		{WorkerConfig{}, false},
	} {
		if got := tt.cfg.proxies(); got != tt.want {
			t.Errorf("%+v: %t", tt.cfg, got)
		}
	}
}
