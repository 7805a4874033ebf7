package node

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/tenant"
)

// logged is a log that may be read while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

// logging starts an agent that logs.
func (h *hub) logging() (log *logged, stop func()) {
	log = &logged{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = Run(ctx, Config{ // it was told to end
			Dir: h.dir, Version: "test", BootID: func() string { return "boot" }, Log: slog.New(slog.NewTextHandler(log, nil)),
			Javas: func(context.Context) []agentapi.Java { return nil },
		})
	}()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-done }) }
	h.t.Cleanup(stop)
	return log, stop
}

func (h *hub) streams() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.watches
}

// TestEndedCertificate: an agent that was away when its certificate ended says what to
// do, takes a new join file when there is one, and keeps nothing of the old.
func TestEndedCertificate(t *testing.T) {
	h := newHub(t)
	join, err := os.ReadFile(h.path("join.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file agentapi.JoinFile
	if err := readJSON(h.path("join.json"), &file); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(h.path("join.json")); err != nil {
		t.Fatal(err)
	}
	authority, err := tenant.Open(tenant.Config{Dir: t.TempDir(), Life: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	key, csr, err := request()
	if err != nil {
		t.Fatal(err)
	}
	der, err := authority.Node(h.node, csr)
	if err != nil {
		t.Fatal(err)
	}
	// As an earlier version kept it: in three files.
	if err := os.Mkdir(h.path(dirAgent), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{fileCert: certPEM(der), fileKey: key} {
		if err := os.WriteFile(h.path(dirAgent, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeJSON(h.path(dirAgent, fileIdentity), identity{Node: h.node, Server: file.Server, CA: file.CA}); err != nil {
		t.Fatal(err)
	}
	log, stop := h.logging()
	h.until("the agent says what to do", func() bool {
		return log.has("the certificate of this node ended") && log.has("on the server, run: howdah ca rejoin "+h.node)
	})
	if h.streams() != 0 {
		t.Error("it got a stream with a certificate that has ended")
	}
	if err := os.WriteFile(h.path("join.json"), join, 0o600); err != nil {
		t.Fatal(err)
	}
	h.until("it joined again", func() bool { return h.streams() > 0 })
	for _, name := range []string{"join.json", "agent/" + fileCert, "agent/" + fileKey} {
		if there, err := exists(h.path(name)); there || err != nil {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	stop()

	// A join that was noted everywhere but in the file: the present certificate is good.
	file.Token = "used up"
	h.write("join.json", file)
	before := h.streams()
	log, stop = h.logging()
	h.until("it goes on with the certificate it has", func() bool { return h.streams() > before })
	if there, _ := exists(h.path("join.json")); there || !log.has("the join file is good no longer") {
		t.Error("the join file is still there, or nothing was said of it")
	}
	stop()
}

// TestWishesWithOtherSecrets: contents of secret files that change are no other wish.
func TestWishesWithOtherSecrets(t *testing.T) {
	spec := func(content, key string) want {
		return want{spec: &agentapi.Service{Name: "s", RestartKey: key, Secrets: []agentapi.Secret{{Path: "p", Content: agentapi.SecretText(content)}}}, run: true}
	}
	if !sameButSecrets(spec("a", "1"), spec("b", "1")) || sameButSecrets(spec("a", "1"), spec("a", "2")) || sameButSecrets(want{}, spec("a", "1")) {
		t.Error("wishes are told apart wrongly")
	}
}
