package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/adapter/webhdfs"
)

func TestNewNeedsItsConfig(t *testing.T) {
	if _, err := New(Config{}); err == nil || err.Error() != "cannot make gateway: NameNodes and Authorize must be given" {
		t.Error(err)
	}
}

// TestClient runs Howdah's own client through the gateway: it asks without a
// body, and sends the body where it is told.
func TestClient(t *testing.T) {
	w := newWorld(t, nil)
	ctx, c := t.Context(), w.adapter("secret")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const name = "/data/clicks/a b%+é"
	must(c.Mkdirs(ctx, "/data/clicks/sub", 0o750))
	must(c.Create(ctx, "/data/clicks/tmp", strings.NewReader("hello "), webhdfs.CreateOptions{}))
	must(c.Create(ctx, "/data/clicks/empty", strings.NewReader(""), webhdfs.CreateOptions{}))
	must(c.Append(ctx, "/data/clicks/tmp", strings.NewReader("world")))
	must(c.Rename(ctx, "/data/clicks/tmp", name))
	w.wantFile(name, "hello world")
	r, err := c.Open(ctx, name, 3, 4)
	must(err)
	text, err := io.ReadAll(r)
	must(err)
	must(r.Close())
	if string(text) != "lo w" {
		t.Errorf("read %q", text)
	}
	var names []string
	for s, err := range c.List(ctx, "/data/clicks") {
		must(err)
		names = append(names, s.Name())
	}
	if diff := cmp.Diff([]string{"a b%+é", "empty", "sub"}, names); diff != "" {
		t.Error(diff)
	}
	if s, err := c.Status(ctx, name); err != nil || s.Length != 11 || s.Owner != "ads" {
		t.Errorf("status %+v, %v", s, err)
	}
	if sum, err := c.ContentSummary(ctx, "/data/clicks"); err != nil || sum.Files != 2 || sum.Length != 11 {
		t.Errorf("summary %+v, %v", sum, err)
	}
	must(c.Delete(ctx, name, false))
	for _, seen := range w.store.Requests() {
		if got := seen.Query.Get("user.name"); got != "ads" && seen.Path != "/jmx" {
			t.Errorf("%s %s as %q", seen.Method, seen.Path, got)
		}
		if seen.Header.Get("Authorization") != "" {
			t.Errorf("%s %s carries the token", seen.Method, seen.Path)
		}
	}
	want := []Record{
		{Project: "ads", User: "ads", Op: "MKDIRS", Path: "/data/clicks/sub", Status: 200},
		{Project: "ads", User: "ads", Op: "CREATE", Path: "/data/clicks/tmp", Status: 200, Bytes: 6},
		{Project: "ads", User: "ads", Op: "CREATE", Path: "/data/clicks/empty", Status: 200},
		{Project: "ads", User: "ads", Op: "APPEND", Path: "/data/clicks/tmp", Status: 200, Bytes: 5},
		{Project: "ads", User: "ads", Op: "RENAME", Path: "/data/clicks/tmp", Others: []string{name}, Status: 200},
		{Project: "ads", User: "ads", Op: "DELETE", Path: name, Status: 200},
	}
	if diff := cmp.Diff(want, w.audited()); diff != "" {
		t.Error(diff)
	}
}

// TestStyles: every way in which WebHDFS clients send and fetch.
func TestStyles(t *testing.T) {
	w := newWorld(t, nil)
	at := w.server.URL + prefix + "/data/clicks/"

	resp, _ := w.do("PUT", "/data/clicks/one?op=CREATE&permission=640", strings.NewReader("in one step"))
	if resp.StatusCode != 201 || resp.Header.Get("Location") != at+"one" {
		t.Errorf("one step: %s, %s", resp.Status, resp.Header.Get("Location"))
	}
	w.wantFile("/data/clicks/one", "in one step")

	resp, _ = w.do("PUT", "/data/clicks/two?op=CREATE&delegation=secret", nil)
	if got := resp.Header.Get("Location"); resp.StatusCode != 307 || got != at+"two?data=true&delegation=secret&op=CREATE" {
		t.Errorf("two steps: %s, %s", resp.Status, got)
	}
	resp, _ = w.do("PUT", resp.Header.Get("Location"), io.MultiReader(strings.NewReader("in two"))) // chunked
	if resp.StatusCode != 201 {
		t.Errorf("second step: %s", resp.Status)
	}
	w.wantFile("/data/clicks/two", "in two")

	resp, body := w.do("PUT", "/data/clicks/three?op=CREATE&noredirect=true", nil)
	if want := fmt.Sprintf("{\"Location\":\"%sthree?data=true\\u0026op=CREATE\"}\n", at); resp.StatusCode != 200 || body != want {
		t.Errorf("noredirect: %s, %s, want %s", resp.Status, body, want)
	}
	resp, _ = w.do("PUT", at+"three?data=true&op=CREATE", nil)
	w.wantFile("/data/clicks/three", "")
	if _, ok := w.store.Get("/data/clicks/three"); !ok || resp.StatusCode != 201 {
		t.Errorf("an empty file: %s", resp.Status)
	}

	resp, body = w.do("GET", "/data/clicks/one?op=OPEN&offset=3&length=3", nil)
	if resp.StatusCode != 200 || body != "one" || resp.Header.Get("Set-Cookie") != "" {
		t.Errorf("open: %s, %q, %v", resp.Status, body, resp.Header)
	}
	resp, body = w.do("GET", "/data/clicks/one?op=OPEN&noredirect=TRUE&token=secret", nil)
	if want := fmt.Sprintf("{\"Location\":\"%sone?op=OPEN\\u0026token=secret\"}\n", at); resp.StatusCode != 200 || body != want {
		t.Errorf("open, noredirect: %s, %s", resp.Status, body)
	}
	resp, body = w.do("GET", "/data/clicks/none?op=OPEN&noredirect=true", nil)
	if want := refused("FileNotFoundException", "org.apache.hadoop.FileNotFoundException", "File does not exist: /data/clicks/none"); resp.StatusCode != 404 || body != want {
		t.Errorf("open of nothing: %s, %s", resp.Status, body)
	}
	if resp, body = w.do("GET", "/data/clicks/one?op=GETFILECHECKSUM", nil); resp.StatusCode != 200 || !strings.Contains(body, "MD5-of-0MD5-of-512CRC32C") {
		t.Errorf("checksum: %s, %s", resp.Status, body)
	}
	if resp, body = w.do("GET", "?op=GETHOMEDIRECTORY", nil); body != "{\"Path\":\"/user/ads\"}\n" {
		t.Errorf("home: %s, %s", resp.Status, body)
	}
	if resp, _ = w.do("PUT", "/data/clicks/one?op=RENAME&destination=/data/clicks/two&renameoptions=OVERWRITE", nil); resp.StatusCode != 200 {
		t.Errorf("rename: %s", resp.Status)
	}
	w.wantFile("/data/clicks/two", "in one step")
	for _, target := range []string{
		"/data/clicks/two?op=TRUNCATE&newlength=6", "/data/clicks/two?op=CONCAT&sources=/data/clicks/three",
	} {
		if resp, body = w.do("POST", target, nil); resp.StatusCode != 200 {
			t.Errorf("%s: %s, %s", target, resp.Status, body)
		}
	}
	w.wantFile("/data/clicks/two", "in one")
}

// TestCallersParameters: the user and everything unknown stay here.
func TestCallersParameters(t *testing.T) {
	w := newWorld(t, nil)
	w.store.Put("/data/geo/a", "a")
	resp, _ := w.do("GET", "/data/geo/a?OP=open&User.Name=root&doAs=root&delegation=secret&proxyuser=x&OFFSET=0&fsaction=rwx", nil)
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	for _, seen := range w.store.Requests() {
		want := url.Values{"op": {"OPEN"}, "user.name": {"ads"}, "offset": {"0"}}
		if seen.Node == "data" {
			want["namenoderpcaddress"] = []string{"nn:8020"}
		}
		if seen.Path == "/jmx" {
			continue
		}
		if diff := cmp.Diff(want, seen.Query); diff != "" {
			t.Errorf("%s: %s", seen.Node, diff)
		}
	}
}

func TestTokens(t *testing.T) {
	w := newWorld(t, nil)
	w.store.Put("/data/geo/a", "a")
	const java = "java.lang.SecurityException"
	unknown := refused("SecurityException", java, "the token is not known, or is no longer valid")
	for query, want := range map[string]string{
		"&token=":            refused("SecurityException", java, "a token is needed: send the one in the file named by HOWDAH_TOKEN_FILE as Authorization: Bearer TOKEN"),
		"&token=guess":       unknown,
		"&delegation=guess":  unknown,
		"&token=old":         refused("SecurityException", java, "the token has expired"),
		"&token=secret":      "a",
		"&delegation=secret": "a",
		"&user.name=hdfs&token=" + strings.Repeat("x", maxToken+1): refused("SecurityException", java, "a token is needed: send the one in the file named by HOWDAH_TOKEN_FILE as Authorization: Bearer TOKEN"),
	} {
		resp, body := w.do("GET", "/data/geo/a?op=OPEN"+query, nil)
		if body != want {
			t.Errorf("%.40s: %s, %s", query, resp.Status, body)
		}
		if want != "a" && (resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") == "") {
			t.Errorf("%.40s: %s, %v", query, resp.Status, resp.Header)
		}
	}
	for _, seen := range w.store.Requests() {
		if seen.Query.Has("token") || seen.Query.Has("delegation") {
			t.Errorf("a token was passed on: %v", seen.Query)
		}
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, nil)
	w.store.Put("/data/geo/a", "a")
	w.store.Put("/data/clicks/a", "a")
	const access = "org.apache.hadoop.security.AccessControlException"
	tests := []struct {
		method, target string
		status         int
		want           string
	}{
		{"PUT", "/data/geo/b?op=CREATE", 403, refused("AccessControlException", access, "dataset geo is read-only for project ads: CREATE is not allowed on /data/geo/b")},
		{"DELETE", "/data/geo/a?op=DELETE", 403, refused("AccessControlException", access, "dataset geo is read-only for project ads: DELETE is not allowed on /data/geo/a")},
		{"GET", "/user?op=LISTSTATUS", 403, refused("AccessControlException", access, "/user is in no dataset of project ads; its datasets are clicks (/data/clicks, rw), geo (/data/geo, ro)")},
		{"GET", "/data/clicks/%2e%2e/%2e%2e/user?op=LISTSTATUS", 400, refused("IllegalArgumentException", "java.lang.IllegalArgumentException", `the path \"/data/clicks/../../user\" holds . or ..; give the whole path`)},
		{"GET", "/data/clicks/a?op=GETDELEGATIONTOKEN", 400, refused("UnsupportedOperationException", "java.lang.UnsupportedOperationException", "GETDELEGATIONTOKEN is not allowed through the gateway: the task's own token is used for every request")},
		{"PUT", "/data/clicks/a?op=CREATE&data=true", 403, refused("FileAlreadyExistsException", "org.apache.hadoop.fs.FileAlreadyExistsException", "/data/clicks/a already exists; give overwrite=true to replace it")},
		{"POST", "/data/clicks/none?op=APPEND&data=true", 404, refused("FileNotFoundException", "org.apache.hadoop.FileNotFoundException", "File does not exist: /data/clicks/none")},
	}
	for _, test := range tests {
		resp, body := w.do(test.method, test.target, nil)
		if resp.StatusCode != test.status || body != test.want {
			t.Errorf("%s %s: %s, %s, want %s", test.method, test.target, resp.Status, body, test.want)
		}
	}
	for _, seen := range w.store.Requests() {
		if !strings.HasPrefix(seen.Path, prefix+"/data/clicks/") {
			t.Errorf("%s %s reached the warehouse", seen.Method, seen.Path)
		}
	}
	want := []Record{
		{Project: "ads", Op: "CREATE", Path: "/data/geo/b", Status: 403, Reason: "dataset geo is read-only for project ads: CREATE is not allowed on /data/geo/b"},
		{Project: "ads", Op: "DELETE", Path: "/data/geo/a", Status: 403, Reason: "dataset geo is read-only for project ads: DELETE is not allowed on /data/geo/a"},
		{Project: "ads", User: "ads", Op: "CREATE", Path: "/data/clicks/a", Status: 403, Reason: "/data/clicks/a already exists; give overwrite=true to replace it"},
		{Project: "ads", User: "ads", Op: "APPEND", Path: "/data/clicks/none", Status: 404, Reason: "File does not exist: /data/clicks/none"},
	}
	if diff := cmp.Diff(want, w.audited()); diff != "" {
		t.Error(diff)
	}
}

// TestExpectContinue: the body is asked for only once it is wanted.
func TestExpectContinue(t *testing.T) {
	w := newWorld(t, nil)
	say := func(target string) (answer string, body func()) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.server.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "PUT %s%s?op=CREATE HTTP/1.1\r\nHost: x\r\nAuthorization: bearer secret\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n", prefix, target)
		in := bufio.NewReader(conn)
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(line), func() {
			if _, err := in.ReadString('\n'); err != nil { // the empty line after it
				t.Fatal(err)
			}
			fmt.Fprint(conn, "body")
			resp, err := http.ReadResponse(in, nil)
			if err != nil || resp.StatusCode != 201 {
				t.Errorf("after the body: %v, %v", resp, err)
			}
			if err == nil {
				resp.Body.Close()
			}
		}
	}
	if got, _ := say("/data/geo/x"); got != "HTTP/1.1 403 Forbidden" {
		t.Errorf("a refused body was asked for: %s", got)
	}
	got, body := say("/data/clicks/x")
	if got != "HTTP/1.1 100 Continue" {
		t.Fatalf("the body was not asked for: %s", got)
	}
	body()
	w.wantFile("/data/clicks/x", "body")
}
