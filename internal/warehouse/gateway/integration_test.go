package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/adapter/webhdfs"
)

// TestReal runs Howdah's own client through the gateway to a real HDFS:
//
//	HOWDAH_TEST_WEBHDFS=http://host:9870 HOWDAH_TEST_HDFS_USER=superuser go test ./internal/warehouse/gateway
func TestReal(t *testing.T) {
	address := os.Getenv("HOWDAH_TEST_WEBHDFS")
	if address == "" {
		t.Skip("HOWDAH_TEST_WEBHDFS is not set")
	}
	const dir, user = "/tmp/howdah-gateway", "howdah-project"
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	direct := &http.Client{Transport: &http.Transport{}}
	defer direct.CloseIdleConnections()
	root := webhdfs.New(webhdfs.Config{Addresses: []string{address}, User: os.Getenv("HOWDAH_TEST_HDFS_USER"), HTTP: direct})
	must(root.Mkdirs(ctx, dir+"/rw", 0o755))
	must(root.Mkdirs(ctx, dir+"/ro", 0o755))
	must(root.SetOwner(ctx, dir+"/rw", user, "howdah"))
	defer func() { must(root.Delete(ctx, dir, true)) }()
	grant := Grant{Project: "p", User: user, Datasets: []Dataset{{Name: "out", Path: dir + "/rw", Access: ReadWrite}, {Name: "in", Path: dir + "/ro", Access: ReadOnly}}}
	g, err := New(Config{
		NameNodes: func() []string { return []string{address} },
		Authorize: func(_ context.Context, token string) (Grant, bool) { return grant, token == "secret" },
		Log:       slog.New(slog.DiscardHandler),
	})
	must(err)
	defer g.Close()
	server := httptest.NewServer(g)
	defer server.Close()
	c := webhdfs.New(webhdfs.Config{Addresses: []string{server.URL}, User: "root", HTTP: &http.Client{Transport: bearer{"secret", server.Client().Transport}}})

	const odd = dir + "/rw/a %41%2B+é=1"
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	// One copy: HDFS may refuse to append while others of a new file are being finished.
	must(c.Create(ctx, dir+"/rw/tmp", bytes.NewReader(big), webhdfs.CreateOptions{Replication: 1}))
	must(c.Rename(ctx, dir+"/rw/tmp", odd))
	must(c.Append(ctx, odd, strings.NewReader("end")))
	r, err := c.Open(ctx, odd, 0, -1)
	must(err)
	got, err := io.ReadAll(r)
	must(err)
	must(r.Close())
	if !bytes.Equal(got, append(big, "end"...)) {
		t.Errorf("%d bytes came back", len(got))
	}
	if s, err := c.Status(ctx, odd); err != nil || s.Owner != user || s.Length != int64(len(big))+3 {
		t.Errorf("%+v, %v", s, err)
	}
	for s, err := range c.List(ctx, dir+"/rw") {
		if err != nil || s.Path != odd {
			t.Errorf("%+v, %v", s, err)
		}
	}
	if err := c.Create(ctx, odd, bytes.NewReader(big), webhdfs.CreateOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create over: %v", err)
	}
	if err := c.Create(ctx, dir+"/ro/x", strings.NewReader("x"), webhdfs.CreateOptions{}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("read-only: %v", err)
	}
	if _, err := c.Open(ctx, dir+"/ro/none", 0, -1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := c.Open(ctx, "/", 0, -1); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("outside: %v", err)
	}
	must(c.Create(ctx, dir+"/rw/b", strings.NewReader("B"), webhdfs.CreateOptions{}))
	everyOperation(t, server.URL+prefix+dir, server.Client())
	must(c.Delete(ctx, dir+"/rw/b", false))
}

// everyOperation asks what the client has no method for.
func everyOperation(t *testing.T, at string, client *http.Client) {
	t.Helper()
	for _, test := range []struct{ method, target, want string }{
		{"GET", "/rw/b?op=GETFILECHECKSUM", `"FileChecksum"`},
		{"GET", "/rw/b?op=GETFILECHECKSUM&noredirect=true", `{"Location":`},
		{"GET", "/rw/b?op=OPEN&noredirect=true", `{"Location":`},
		{"GET", "/rw/b?op=OPEN", "B"},
		{"GET", "/rw?op=GETCONTENTSUMMARY", `"fileCount":2`},
		{"GET", "/rw?op=GETQUOTAUSAGE", `"QuotaUsage"`},
		{"GET", "/rw?op=LISTSTATUS", `"pathSuffix":"b"`},
		{"GET", "/rw/b?op=GETACLSTATUS", `"AclStatus"`},
		{"GET", "/rw/b?op=CHECKACCESS&fsaction=rw-", ""},
		{"GET", "?op=GETHOMEDIRECTORY", `{"Path":"/user/howdah-project"}`},
		{"GET", "?op=GETSERVERDEFAULTS", `"blockSize"`},
		{"GET", "/rw?op=GETTRASHROOT", `.Trash"}`},
		{"PUT", "/rw/b?op=SETTIMES&modificationtime=1000000", ""},
		{"PUT", "/rw/b?op=RENAME&destination=/tmp/howdah-gateway/rw/c&renameoptions=OVERWRITE", ""},
		{"PUT", "/rw/b?op=CREATE&overwrite=true", ""},
		{"PUT", "/rw/c?op=CREATE&overwrite=true&data=true", ""},
		{"POST", "/rw/c?op=TRUNCATE&newlength=0", `{"boolean":true}`},
		{"DELETE", "/rw/c?op=DELETE", `{"boolean":true}`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), test.method, at+test.target, strings.NewReader(map[bool]string{true: "body"}[strings.Contains(test.target, "/rw/b?op=CREATE")]))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Howdah-Token", "secret")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode/100 != 2 || !strings.Contains(string(text), test.want) {
			t.Errorf("%s %s: %s, %s", test.method, test.target, resp.Status, text)
		}
	}
}
