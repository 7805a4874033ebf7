package master

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"howdah.dev/howdah/internal/cell/mesos"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// manyUnknown are tasks to ask for whose answers are long.
func manyUnknown(n int) *mesos.Reconcile {
	r := &mesos.Reconcile{}
	for i := range n {
		r.Tasks = append(r.Tasks, mesos.ReconcileTask{TaskID: mesos.ID{Value: fmt.Sprintf("%0200d", i)}})
	}
	return r
}

func TestSchedulerThatDoesNotRead(t *testing.T) {
	bubble(t, func(e *env) {
		stream, err := e.client("sched").Subscribe(e.t.Context(), mesos.Subscribe{FrameworkInfo: named("f")})
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		if _, err := stream.Next(); err != nil {
			t.Fatal(err)
		}
		other := e.register(named("other"))
		for range 10 {
			err = stream.Call(e.t.Context(), mesos.Call{Type: mesos.CallReconcile, Reconcile: manyUnknown(10_000)})
			if err != nil {
				break
			}
		}
		if err == nil || !strings.Contains(err.Error(), "403 Forbidden: Framework is not subscribed") {
			t.Fatalf("a scheduler that reads nothing is served: %v", err)
		}
		other.call(mesos.Call{Type: mesos.CallRevive})
		synctest.Wait()
		if got := e.metric("master/frameworks_disconnected"); got != 1 {
			t.Errorf("%v frameworks are disconnected", got)
		}
	})
}

// TestSocketThatDoesNotRead needs the buffers and the write deadline of a real
// connection.
func TestSocketThatDoesNotRead(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.Write = 300 * time.Millisecond
	e := loopback(t, cfg)
	info := named("f")
	info.Principal = "tester"
	body, err := json.Marshal(mesos.Call{Type: mesos.CallSubscribe, Subscribe: &mesos.Subscribe{FrameworkInfo: info}})
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(e.url)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", at.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, e.url+"/api/v1/scheduler", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("tester", "pw")
	r.Header.Set("Content-Type", "application/json")
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	var head [4096]byte
	n, err := io.ReadAtLeast(conn, head[:], 400)
	if err != nil {
		t.Fatal(err)
	}
	var stream, id string
	for line := range strings.SplitSeq(string(head[:n]), "\r\n") {
		if v, ok := strings.CutPrefix(line, "Mesos-Stream-Id: "); ok {
			stream = v
		}
		if _, v, ok := strings.Cut(line, `"framework_id":{"value":"`); ok {
			id, _, _ = strings.Cut(v, `"`)
		}
	}
	long, err := json.Marshal(mesos.Call{Type: mesos.CallReconcile, FrameworkID: &mesos.ID{Value: id}, Reconcile: manyUnknown(10_000)})
	if err != nil {
		t.Fatal(err)
	}
	// Less than the queue holds, so that it is the clock that ends the stream.
	for range 3 {
		code, text := e.send(http.MethodPost, "/api/v1/scheduler", string(long), "Mesos-Stream-Id", stream)
		if code == http.StatusForbidden {
			break
		}
		if code != http.StatusAccepted {
			t.Fatalf("%d %s", code, text)
		}
	}
	for start := time.Now(); e.metric("master/frameworks_disconnected") != 1; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatal("it is still subscribed")
		}
	}
}

func TestWholeWayOverLoopback(t *testing.T) {
	e := loopback(t, config(t.TempDir()))
	a := e.worker("w1", small)
	s := e.register(named("f"))
	offer := s.offer()
	s.launch(offer, todo(t, "one", "cpus:1;mem:100", offer))
	running := s.status()
	wantState(t, running, "one", mesos.TaskRunning, "", "")
	s.ack(running)
	a.hangUp()
	a.dial()
	s.kill("one")
	killed := s.status()
	for killed.State == mesos.TaskRunning { // the worker went before it heard of the acknowledgement
		s.ack(killed)
		killed = s.status()
	}
	wantState(t, killed, "one", mesos.TaskKilled, "", "")
	s.ack(killed)
	e.stop() // the master ends both streams, and who asks now is told
	for range s.events {
	}
	if code, text := e.send(http.MethodGet, "/state", ""); code != http.StatusServiceUnavailable || text != "Master is stopping" {
		t.Errorf("%d %s", code, text)
	}
}
