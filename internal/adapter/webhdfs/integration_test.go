package webhdfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// TestReal runs the whole client against a real HDFS:
//
//	HOWDAH_TEST_WEBHDFS=http://host:9870 HOWDAH_TEST_HDFS_USER=superuser go test ./internal/adapter/webhdfs
func TestReal(t *testing.T) {
	address := os.Getenv("HOWDAH_TEST_WEBHDFS")
	if address == "" {
		t.Skip("HOWDAH_TEST_WEBHDFS is not set")
	}
	user, ctx, dir := os.Getenv("HOWDAH_TEST_HDFS_USER"), t.Context(), "/tmp/howdah test %+é"
	c := New(Config{Addresses: []string{address}, User: user})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Mkdirs(ctx, dir, 0o755))
	defer func() { must(c.Delete(ctx, dir, true)) }()

	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	must(c.Create(ctx, dir+"/a.part", bytes.NewReader(big), CreateOptions{}))
	must(c.Rename(ctx, dir+"/a.part", dir+"/a"))
	// One copy: HDFS may refuse to append while others of a new file are being finished.
	must(c.Create(ctx, dir+"/a.part", bytes.NewReader(big), CreateOptions{Replication: 1}))
	must(c.Replace(ctx, dir+"/a.part", dir+"/a"))
	must(c.Append(ctx, dir+"/a", strings.NewReader("end")))
	if err := c.Create(ctx, dir+"/a", strings.NewReader(""), CreateOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create over: %v", err)
	}
	r, err := c.Open(ctx, dir+"/a", int64(len(big))-2, -1)
	must(err)
	tail, err := io.ReadAll(r)
	must(err)
	must(r.Close())
	if string(tail) != "efend" {
		t.Errorf("tail = %q", tail)
	}
	must(c.Create(ctx, dir+"/empty", strings.NewReader(""), CreateOptions{Overwrite: true}))
	r, err = c.Open(ctx, dir+"/empty", 0, -1)
	must(err)
	must(r.Close())

	must(c.SetPermission(ctx, dir, 0o770|fs.ModeSticky))
	must(c.SetQuota(ctx, dir, 100, 1<<40))
	status, err := c.Status(ctx, dir)
	must(err)
	if status.Mode != 0o770|fs.ModeSticky|fs.ModeDir {
		t.Errorf("mode = %v", status.Mode)
	}
	must(c.SetOwner(ctx, dir, "ann", "staff"))
	sum, err := c.ContentSummary(ctx, dir)
	must(err)
	if sum.Files != 2 || sum.Length != int64(len(big))+3 || sum.NameQuota != 100 {
		t.Errorf("summary = %+v", sum)
	}
	other := New(Config{Addresses: []string{address}, User: "nobody-else"})
	if _, err := other.Open(ctx, dir+"/a", 0, 1); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("other user: %v", err)
	}
	if err := c.Delete(ctx, dir, false); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("delete: %v", err)
	}
	if err := c.Rename(ctx, dir+"/nope", dir+"/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("rename: %v", err)
	}
}
