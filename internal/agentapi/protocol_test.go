package agentapi_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/agentapi"
)

// former is the message each file of the former protocol holds.
var former = map[string]func() any{
	"join":             func() any { return new(agentapi.JoinRequest) },
	"watch":            func() any { return new(agentapi.WatchRequest) },
	"event-first":      func() any { return new(agentapi.WatchEvent) },
	"event-fenced":     func() any { return new(agentapi.WatchEvent) },
	"event-assignment": func() any { return new(agentapi.WatchEvent) },
	"report":           func() any { return new(agentapi.Report) },
	"permit-request":   func() any { return new(agentapi.PermitRequest) },
	"permit-answer":    func() any { return new(agentapi.PermitResponse) },
}

// TestFormerMessages: what a peer of the former protocol says is understood whole,
// and said in the same words: read and written again, nothing of it is lost or has
// another name.
func TestFormerMessages(t *testing.T) {
	files, err := filepath.Glob("testdata/protocol-1/*.json")
	if err != nil || len(files) != len(former) {
		t.Fatalf("%d files for %d messages: %v", len(files), len(former), err)
	}
	for name, message := range former {
		data, err := os.ReadFile(filepath.Join("testdata", "protocol-1", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		m := message()
		if err := (agentapi.Codec{}).Unmarshal(data, m); err != nil {
			t.Errorf("%s is not understood: %v", name, err)
			continue
		}
		again, err := agentapi.Codec{}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tree(t, data), tree(t, again)); diff != "" {
			t.Errorf("%s is not what it was (-former +now):\n%s", name, diff)
		}
	}
}

func tree(t *testing.T, data []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestLaterFields: what a peer of the next protocol says besides is passed over.
func TestLaterFields(t *testing.T) {
	var ev agentapi.WatchEvent
	err := agentapi.Codec{}.Unmarshal([]byte(`{"protocol": 3, "later": {"a": [1]}, "assignment": {"generation": 4, "also": true, "services": [{"name": "zk", "new": 1}]}}`), &ev)
	if err != nil || ev.Protocol != 3 || ev.Assignment.Generation != 4 || ev.Assignment.Services[0].Name != "zk" {
		t.Errorf("%+v, %v", ev, err)
	}
}

func TestOneVersionApart(t *testing.T) {
	for _, c := range []struct {
		a, b int
		want bool
	}{{0, 1, true}, {0, 2, true}, {1, 2, true}, {3, 2, true}, {0, 3, false}, {1, 3, false}, {4, 2, false}} {
		if got := agentapi.Understood(c.a, c.b); got != c.want {
			t.Errorf("protocols %d and %d are understood: %v", c.a, c.b, got)
		}
	}
	for _, near := range []int{agentapi.Protocol - 1, agentapi.Protocol, agentapi.Protocol + 1} {
		if err := agentapi.CheckAgent(near); err != nil {
			t.Error(err)
		}
	}
	want := "protocols too far apart: the agent speaks protocol 4, this server 2, and at most one version apart is understood; replace the agent by: howdah upgrade"
	if err := agentapi.CheckAgent(agentapi.Protocol + 2); err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}
