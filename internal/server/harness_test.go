package server_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/server"
)

func TestMain(m *testing.M) {
	if code, ok := play(os.Args[1:]); ok {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

// running is a server of a home of its own.
type running struct {
	home server.Home
	c    *client.Client
	info api.Info
}

// newHome makes a home whose path is short enough for a socket.
func newHome(t *testing.T) server.Home {
	t.Helper()
	dir, err := os.MkdirTemp("", "howdah-s-") //nolint:usetesting // the path of a unix socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	h := server.Home{Dir: dir}
	t.Cleanup(func() {
		if _, err := os.Stat(h.Settings()); err == nil {
			if err := h.Remove(context.Background()); err != nil {
				t.Error(err)
			}
		}
		os.RemoveAll(dir)
	})
	return h
}

// serve runs a server until the test ends.
func serve(t *testing.T, h server.Home) *running {
	t.Helper()
	return serveAs(t, h, func(*server.Config) {})
}

// serveAs is serve with another configuration.
func serveAs(t *testing.T, h server.Home, change func(*server.Config)) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	var log bytes.Buffer
	go func() {
		cfg := server.Config{
			Home: h, Options: server.Options{MemoryMB: 1000, OpenPorts: true}, Version: "test", Build: "b", Stacks: os.DirFS("../../stacks"),
			Clients: func(string) cluster.Clients { return nil }, Agent: []string{"/bin/false"}, Log: slog.New(slog.NewTextHandler(&log, nil)),
		}
		change(&cfg)
		done <- server.Run(ctx, cfg)
	}()
	transport := &http.Transport{DisableKeepAlives: true}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended: %v\n%s", err, log.String())
		}
		transport.CloseIdleConnections()
	})
	r := &running{home: h, c: client.New(client.Config{Socket: h.Socket()})}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		info, err := r.c.Info(ctx)
		if err == nil {
			r.info = info
			return r
		}
		select {
		case err := <-done:
			done <- nil
			t.Fatalf("the server ended: %v\n%s", err, log.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("no server answers: %v", err)
		}
	}
}

// token is the owner's.
func (r *running) token(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(r.home.Token())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}
