package process

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestForeignPages: a browser on another site's page reaches no program of a cell. It
// asks a listener as all of them are opened.
func TestForeignPages(t *testing.T) {
	// At an address of this process alone what is free stays free.
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 128|byte(os.Getpid()>>16), byte(os.Getpid()>>8), byte(os.Getpid())))
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here\n") })
	go func() {
		ended <- serve(ctx, listener{Address: address, Host: "node-1"}, page, func() {}, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			break
		}
	}
	site := `{"message":"The request comes from another site's page."}`
	name := `{"message":"Use the own address of this program, http://` + address + `."}`
	for _, tc := range []struct {
		name, method, path, header, value string
		code                              int
		body                              string
	}{
		{"another site's page", http.MethodPost, "/v2/apps", "Sec-Fetch-Site", "cross-site", 403, site},
		{"another origin", http.MethodPost, "/v2/apps", "Origin", "https://evil.example", 403, site},
		{"a name that leads here", http.MethodGet, "/exec", "Host", "evil.example", 403, name},
		{"a name with a port", http.MethodGet, "/state", "Host", "evil.example:80", 403, name},
		{"another address", http.MethodGet, "/", "Host", "192.0.2.1", 403, name},
		{"its own address", http.MethodPost, "/", "", "", 200, "here"},
		{"its own name", http.MethodGet, "/", "Host", "Node-1:8080", 200, "here"},
		{"loopback", http.MethodGet, "/", "Host", "127.0.0.9:81", 200, "here"},
		{"loopback of IPv6", http.MethodGet, "/", "Host", "[::1]", 200, "here"},
		{"localhost", http.MethodGet, "/", "Host", "localhost:8080", 200, "here"},
		{"a load balancer", http.MethodGet, "/ping", "Host", "evil.example", 200, "here"},
		{"a change at that path", http.MethodPost, "/ping", "Host", "evil.example", 403, name},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tc.method, "http://"+address+tc.path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			switch tc.header {
			case "":
			case "Host":
				req.Host = tc.value
			default:
				req.Header.Set(tc.header, tc.value)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if got := strings.TrimSpace(string(body)); resp.StatusCode != tc.code || got != tc.body {
				t.Errorf("%d %s", resp.StatusCode, got)
			}
		})
	}
}
