package worker

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/shim"
)

// TestExecByWebSocketOnly: what is no web socket, or comes from another site's page,
// runs nothing, whatever credentials a browser has kept.
func TestExecByWebSocketOnly(t *testing.T) {
	c := newCell(t, nil)
	id := c.launch(shell("echo up; sleep 300"), "")
	c.untilState(id, mesos.TaskRunning)
	mark := filepath.Join(t.TempDir(), "mark")
	address := func(argv ...string) string {
		return "http://" + c.setup.Address + "/exec?" + url.Values{"framework": {c.id.Value}, "task": {id}, "arg": argv}.Encode()
	}
	handshake := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	foreign := handshake.Clone()
	foreign.Set("Origin", "http://evil.example.com")
	for _, tt := range []struct {
		name   string
		header http.Header
		code   int
	}{{"no web socket", http.Header{}, http.StatusUpgradeRequired}, {"another site's page", foreign, http.StatusForbidden}} {
		for range 10 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address("/usr/bin/touch", mark), http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = tt.header.Clone()
			req.SetBasicAuth("owner", "pw")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != tt.code {
				t.Errorf("%s: %s", tt.name, resp.Status)
			}
		}
		time.Sleep(100 * time.Millisecond)
		if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the command ran: %v", tt.name, err)
		}
	}

	owner := &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Basic b3duZXI6cHc="}}}
	socket, _, err := websocket.Dial(t.Context(), address("/no/such/"+strings.Repeat("program", 30)), owner) //nolint:bodyclose // the library did
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	for {
		_, frame, err := socket.Read(t.Context())
		if closed, ok := errors.AsType[websocket.CloseError](err); ok {
			if closed.Code != websocket.StatusInternalError || !strings.Contains(closed.Reason, "/no/such/program") {
				t.Errorf("the socket is closed with %v", closed)
			}
			return
		}
		if err != nil || len(frame) > 0 && frame[0] == shim.FrameExit {
			t.Fatalf("%v, %q", err, frame)
		}
	}
}
