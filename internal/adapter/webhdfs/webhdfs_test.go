package webhdfs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStatus(t *testing.T) {
	f := newFake(t).always(200, "status.json")
	got, err := f.client().Status(t.Context(), "/page/a b.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := Status{
		Path: "/page/a b.txt", ID: 131451, Length: 677, Owner: "root", Group: "root", Mode: 0o644, Replication: 1, BlockSize: 128 << 20,
		Modified: time.UnixMilli(1795342955595), Accessed: time.UnixMilli(1795342955187),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantRequests := []seen{{"GET", "/webhdfs/v1/page/a b.txt", "op=GETFILESTATUS&user.name=ann", ""}}
	if diff := cmp.Diff(wantRequests, f.requests); diff != "" {
		t.Error(diff)
	}
}

func TestListPages(t *testing.T) {
	f := newFake(t)
	f.answer = func(_ string, r *http.Request) (int, string) {
		if r.URL.Query().Get("startAfter") == "" {
			return 200, `{"DirectoryListing":{"partialListing":{"FileStatuses":{"FileStatus":[{"pathSuffix":"0","type":"FILE"}]}},"remainingEntries":4}}`
		}
		return 200, "list.json"
	}
	var names []string
	for s, err := range f.client().List(t.Context(), "/page") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, s.Path+" "+s.Mode.String())
	}
	want := []string{"/page/0 ----------", "/page/a.txt -rw-r--r--", "/page/d1 drwxr-xr-x", "/page/d2 drwxr-xr-x", "/page/d3 drwxr-xr-x"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	for range f.client().List(t.Context(), "/page") {
		break // leaving early is allowed
	}
}

func TestContentSummary(t *testing.T) {
	got, err := newFake(t).always(200, "summary.json").client().ContentSummary(t.Context(), "/page")
	want := Summary{Folders: 4, Files: 1, Length: 677, Space: 677, NameQuota: -1, SpaceQuota: -1}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}

// The body goes to the DataNode only.
func TestCreate(t *testing.T) {
	f := newFake(t).always(307, "")
	f.data = func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(201) }
	body := io.NopCloser(strings.NewReader("hello"))
	err := f.client().Create(t.Context(), "/x", body, CreateOptions{Permission: 0o600 | fs.ModeSticky, Replication: 2, BlockSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	query := "blocksize=1048576&op=CREATE&overwrite=false&permission=1600&replication=2&user.name=ann"
	want := []seen{
		{"PUT", "/webhdfs/v1/x", query, ""},
		{"PUT", "/webhdfs/v1/x", query + "&namenoderpcaddress=nn:8020", "hello"},
	}
	if diff := cmp.Diff(want, f.requests); diff != "" {
		t.Error(diff)
	}
}

func TestAppend(t *testing.T) {
	f := newFake(t).always(307, "")
	f.data = func(http.ResponseWriter, *http.Request, string) {}
	if err := f.client().Append(t.Context(), "/x", strings.NewReader("more")); err != nil {
		t.Fatal(err)
	}
	if got := f.requests[1]; got.Method != "POST" || got.Body != "more" {
		t.Errorf("sent %+v", got)
	}
}

func TestUploadSourceFails(t *testing.T) {
	f := newFake(t).always(307, "")
	f.data = func(http.ResponseWriter, *http.Request, string) {}
	broken := io.MultiReader(strings.NewReader("some"), iotest.ErrReader(errors.New("disk on fire")))
	err := f.client().Create(t.Context(), "/x", broken, CreateOptions{})
	if err == nil || err.Error() != "cannot create /x: cannot read what is to be written: disk on fire" {
		t.Error(err)
	}
}

func TestOpen(t *testing.T) {
	f := newFake(t).always(307, "")
	f.data = func(w http.ResponseWriter, r *http.Request, _ string) {
		io.WriteString(w, r.URL.Query().Get("offset")+"+"+r.URL.Query().Get("length"))
	}
	for _, test := range []struct {
		offset, length int64
		want           string
	}{{0, -1, "+"}, {5, -1, "5+"}, {5, 10, "5+10"}, {5, 0, ""}} {
		r, err := f.client().Open(t.Context(), "/x", test.offset, test.length)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil || string(b) != test.want {
			t.Errorf("open %d %d: %q, %v", test.offset, test.length, b, err)
		}
	}
}

// HttpFS sends contents without a redirect.
func TestOpenDirect(t *testing.T) {
	r, err := newFake(t).always(200, `{"a":1}`).client().Open(t.Context(), "/x", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, _ := io.ReadAll(r); string(b) != `{"a":1}` {
		t.Errorf("read %q", b)
	}
}

func TestRefusals(t *testing.T) {
	const no = `{"boolean":false}`
	for _, test := range []struct {
		status int
		file   string
		call   func(context.Context, *Client) error
		is     error
		text   string
	}{
		{
			404, "not-found.json", func(ctx context.Context, c *Client) error { _, err := c.Status(ctx, "/nope"); return err },
			fs.ErrNotExist, "cannot read status of /nope: File does not exist: /nope (FileNotFoundException)",
		},
		{
			403, "exists.json", func(ctx context.Context, c *Client) error { return c.Mkdirs(ctx, "/page/a.txt", 0) },
			fs.ErrExist, "cannot make folder /page/a.txt: Path is not a directory: /page/a.txt (FileAlreadyExistsException)",
		},
		{
			403, "permission.json", func(ctx context.Context, c *Client) error { return c.SetOwner(ctx, "/page", "bob", "") },
			fs.ErrPermission, `cannot set owner of /page: Permission denied: user=bob, access=WRITE, inode="/page":root:root:drwxr-xr-x (AccessControlException)`,
		},
		{
			403, "not-empty.json", func(ctx context.Context, c *Client) error { return c.Delete(ctx, "/page", false) },
			ErrNotEmpty, "cannot delete /page: `/page is non empty': Directory is not empty (PathIsNotEmptyDirectoryException)",
		},
		{
			403, "safe-mode.json", func(ctx context.Context, c *Client) error { return c.SetPermission(ctx, "/sm", 0o700) },
			ErrSafeMode, "cannot set permissions of /sm: Cannot create directory /sm. Name node is in safe mode. (SafeModeException)",
		},
		{
			403, "quota.json", func(ctx context.Context, c *Client) error { return c.SetQuota(ctx, "/page", 5, -1) },
			ErrQuota, "cannot set quota of /page: The NameSpace quota (directories and files) of directory /page is exceeded: quota=5 file count=6 (NSQuotaExceededException)",
		},
		{
			403, "range.json", func(ctx context.Context, c *Client) error {
				_, err := c.Open(ctx, "/page/a.txt", 99999, -1)
				return err
			},
			ErrRange, "cannot open /page/a.txt: Offset=99999 out of the range [0, 677); OPEN, path=/page/a.txt (IOException)",
		},
		{
			502, "", func(ctx context.Context, c *Client) error { _, err := c.ContentSummary(ctx, "/x"); return err },
			nil, "cannot add up /x: HTTP status 502: Bad Gateway",
		},
		{
			200, no, func(ctx context.Context, c *Client) error { return c.Delete(ctx, "/x", true) },
			fs.ErrNotExist, "cannot delete /x: file does not exist",
		},
		{
			200, no, func(ctx context.Context, c *Client) error { return c.Mkdirs(ctx, "/x", 0o755) },
			errRefused, "cannot make folder /x: NameNode refused without a reason",
		},
		{
			200, no, func(ctx context.Context, c *Client) error { return c.Rename(ctx, "/x", "/y") },
			fs.ErrExist, "cannot rename /x to /y: file already exists",
		},
		{
			200, "{}", func(ctx context.Context, c *Client) error { return c.Rename(ctx, "x", "/y") },
			nil, `cannot rename x to /y: path "x" does not start with a slash`,
		},
	} {
		err := test.call(t.Context(), newFake(t).always(test.status, test.file).client())
		if err == nil || err.Error() != test.text || test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("got %v\nwant %s", err, test.text)
		}
	}
}

func TestRenameMissing(t *testing.T) {
	f := newFake(t)
	f.answer = func(op string, _ *http.Request) (int, string) {
		if op == "RENAME" {
			return 200, `{"boolean":false}`
		}
		return 404, "not-found.json"
	}
	if err := f.client().Rename(t.Context(), "/x", "/y"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestDataNodeRefuses(t *testing.T) {
	f := newFake(t).always(307, "")
	f.data = func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.WriteHeader(403)
		w.Write(f.file("datanode-permission.json"))
	}
	err := f.client().Create(t.Context(), "/in/new", strings.NewReader("hello"), CreateOptions{})
	if !errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
}

// A standby or dead NameNode makes the client ask the next.
func TestHighAvailability(t *testing.T) {
	standby := newFake(t).always(403, `{"RemoteException":{"exception":"StandbyException","message":"Operation category READ is not supported in state standby."}}`)
	active := newFake(t).always(200, "status.json")
	c := New(Config{Addresses: []string{"http://127.9.31.9:1", standby.nn.URL, active.nn.URL}})
	if _, err := c.Status(t.Context(), "/x"); err != nil {
		t.Error(err)
	}
	c = New(Config{Addresses: []string{standby.nn.URL}})
	if _, err := c.Status(t.Context(), "/x"); !errors.Is(err, ErrStandby) {
		t.Error(err)
	}
	if _, err := New(Config{}).Status(t.Context(), "/x"); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
}

func TestContextEnds(t *testing.T) {
	f := newFake(t)
	release := make(chan struct{})
	f.answer = func(string, *http.Request) (int, string) { <-release; return 200, "{}" }
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err := f.client().Status(ctx, "/x")
	close(release)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
