package backup_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/backup"
	"howdah.dev/howdah/internal/infra/local/subnet"
	"howdah.dev/howdah/internal/server"
	"howdah.dev/howdah/internal/store"
)

// home makes a directory whose path is short enough for a socket; its subnet is
// given back at the end.
func home(t *testing.T) server.Home {
	t.Helper()
	dir, err := os.MkdirTemp("", "howdah-b-") //nolint:usetesting // the path of a unix socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := os.Stat(dir); err != nil {
			return // it was left
		}
		if err := subnet.Release(context.Background(), subnet.Config{Home: dir}); err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	return server.Home{Dir: dir}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func got(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// made is a backup of a home with one cluster, one node, its data, and a directory
// of stacks.
func made(t *testing.T) (from server.Home, stacks, file string) {
	t.Helper()
	h := home(t)
	if err := h.Prepare(); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Config{Path: h.Database(), Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	err = st.Update(t.Context(), func(tx *store.Tx) error {
		return errors.Join(
			tx.PutCluster(store.Cluster{ID: "c1", Name: "zk", Infrastructure: "local", Intent: agentapi.IntentRun, Revision: 1, Created: tx.Now()}),
			tx.PutNode(store.Node{ID: "n1", Cluster: "c1", Name: "zk-1", Intent: agentapi.IntentRun, Revision: 1, Infrastructure: "local", Address: "127.5.0.10", Facts: &agentapi.Facts{PID: 7}, Incarnation: 3}),
			tx.PutOnce("c1", store.Once{Task: "s/format", Node: "n1", State: store.OnceDone}),
			tx.PutToken("hash", "n1", tx.Now().Add(1e12)),
		)
	})
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	stacks = t.TempDir()
	put(t, filepath.Join(stacks, "mine", "stack.yaml"), "name: mine")
	put(t, h.Settings(), `{"stacks": ["`+stacks+`"], "memoryMB": 900}`)
	put(t, filepath.Join(h.Authority(), "ca.pem"), "certificate")
	put(t, filepath.Join(h.Authority(), "ca.key"), "key")
	put(t, filepath.Join(h.Pipelines(), "p.json"), "{}")
	put(t, filepath.Join(h.Images(), "blobs", "sha256", "ab"), "a layer")
	put(t, filepath.Join(h.Images(), "uploads", "half"), "not all of one")
	put(t, filepath.Join(h.Nodes(), "zk", "zk-1", "node.json"), `{"key": "n1", "powered": true}`)
	if _, err := subnet.Claim(t.Context(), subnet.Config{Home: h.Dir}); err != nil {
		t.Fatal(err)
	}
	var sent bytes.Buffer
	zw := gzip.NewWriter(&sent)
	tw := tar.NewWriter(zw)
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "current/VERSION", Mode: 0o644, Size: 4}); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(tw, "v = ")
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(t.TempDir(), "0.tar.gz")
	put(t, part, sent.String())
	sum := sha256.Sum256(sent.Bytes())
	file = filepath.Join(t.TempDir(), "b")
	m, err := backup.Write(t.Context(), backup.Config{Home: h, File: file, Version: "v1", Images: true, Data: api.Backup{
		Parts:   []api.BackupPart{{Cluster: "zk", Node: "zk-1", Service: "s", Dir: "data", Point: "now", Files: []api.BackupFile{{Path: part, SHA256: hex.EncodeToString(sum[:])}}}},
		LeftOut: []string{"zk: logs of s on 1 nodes"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Data) != 1 || m.Data[0].Bytes != int64(sent.Len()) || m.Howdah != "v1" {
		t.Errorf("the manifest says %+v", m)
	}
	return h, stacks, file
}

// leave ends a home, so that its subnet is free.
func leave(t *testing.T, h server.Home) {
	t.Helper()
	if err := h.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestRestore(t *testing.T) {
	old, stacks, file := made(t)
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", st, err)
	}
	h := home(t)
	if _, err := backup.Restore(t.Context(), h, file, "v1"); err == nil || !strings.Contains(err.Error(), old.Dir) {
		t.Errorf("beside the home whose subnet it needs: %v", err)
	}
	nothing(t, h)
	leave(t, old)
	if err := os.RemoveAll(stacks); err != nil {
		t.Fatal(err)
	}
	// What a restore that was killed leaves is in nobody's way.
	put(t, filepath.Join(h.Dir, "run", "restoring", "howdah.db"), "half of it")
	put(t, filepath.Join(h.Dir, "subnet"), "127.254.9.0/24\n")
	if _, err := backup.Restore(t.Context(), h, file, "v1"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"ca/ca.key": "key", "pipelines/p.json": "{}", "nodes/zk/zk-1/s/data/current/VERSION": "v = ",
		"nodes/zk/zk-1/node.json": `{"key":"n1","powered":false}`, "stacks/0/mine/stack.yaml": "name: mine",
		"images/blobs/sha256/ab": "a layer",
	} {
		if text := got(t, filepath.Join(h.Dir, path)); text != want {
			t.Errorf("%s holds %q, want %q", path, text, want)
		}
	}
	for _, gone := range []string{"run/restoring", "images/uploads"} {
		if _, err := os.Lstat(filepath.Join(h.Dir, gone)); err == nil {
			t.Errorf("%s is there", gone)
		}
	}
	if o, err := h.LoadOptions(); err != nil || o.MemoryMB != 900 || len(o.Stacks) != 1 || o.Stacks[0] != filepath.Join(h.Dir, "stacks", "0") {
		t.Errorf("the settings are %+v, %v", o, err)
	}
	st, err := store.Open(t.Context(), store.Config{Path: h.Database()})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	err = st.View(t.Context(), func(tx *store.Tx) error {
		c, err := tx.Cluster("zk")
		n, errNode := tx.Node("n1")
		once, errOnce := tx.Onces("c1")
		if !c.Suspended || n.Facts != nil || n.Intent != agentapi.IntentStop || n.Incarnation != 3 || len(once) != 1 || once[0].State != store.OnceDone {
			t.Errorf("the database has %+v, %+v, %+v", c, n, once)
		}
		return errors.Join(err, errNode, errOnce)
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := backup.Restore(t.Context(), h, file, "v1"); !errors.Is(err, backup.ErrNotEmpty) {
		t.Errorf("a second restore: %v", err)
	}
}

// TestDamagedClaim: no backup is made that could not be restored.
func TestDamagedClaim(t *testing.T) {
	h, _, _ := made(t)
	claim, file := filepath.Join(h.Nodes(), "zk", "zk-1", "node.json"), filepath.Join(t.TempDir(), "b")
	for text, why := range map[string]string{`{"key":"01`: "unexpected EOF", "null": "it names no node", `{"powered":true}`: "it names no node", "": "EOF"} {
		put(t, claim, text)
		_, err := backup.Write(t.Context(), backup.Config{Home: h, File: file, Version: "v1"})
		if want := "cannot back up " + claim + ": " + why + "; howdah explain says of its node how to mend it"; err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: got %v\nwant %s", text, err, want)
		}
		if _, err := os.Lstat(file); err == nil {
			t.Errorf("%q: there is a backup", text)
		}
	}
}

// nothing says that a refused restore left no trace.
func nothing(t *testing.T, h server.Home) {
	t.Helper()
	for _, name := range []string{"howdah.db", "ca", "settings.json", "subnet", "stacks", "run/restoring"} {
		if _, err := os.Lstat(filepath.Join(h.Dir, name)); err == nil {
			t.Errorf("the refused restore left %s", name)
		}
	}
}

// TestHostile: files that are not what an honest backup is are refused, and write
// nothing anywhere.
func TestHostile(t *testing.T) {
	old, _, file := made(t)
	leave(t, old)
	honest := unpacked(t, file)
	victim := filepath.Join(t.TempDir(), "victim")
	with := func(change func([]entry) []entry) []entry { return change(append([]entry{}, honest...)) }
	manifest := func(es []entry, change func(*backup.Manifest)) []entry {
		var m backup.Manifest
		last := &es[len(es)-1]
		if err := json.Unmarshal(last.data, &m); err != nil {
			t.Fatal(err)
		}
		change(&m)
		last.data, _ = json.Marshal(m)
		return es
	}
	evil := func(name string) []entry {
		return with(func(es []entry) []entry {
			sum := sha256.Sum256([]byte("evil"))
			es = append([]entry{{name: name, data: []byte("evil")}}, es...)
			return manifest(es, func(m *backup.Manifest) {
				m.Members = append(m.Members, backup.Member{Name: name, Mode: 0o600, Bytes: 4, SHA256: hex.EncodeToString(sum[:])})
			})
		})
	}
	for what, c := range map[string]struct {
		es   []entry
		want string
	}{
		"a member outside":   {evil("../../" + filepath.Base(victim)), "it lists a file"},
		"an absolute member": {evil(victim), "it lists a file"},
		"a member twice": {with(func(es []entry) []entry {
			return manifest(es, func(m *backup.Manifest) { m.Members = append(m.Members, m.Members[0]) })
		}), "it lists a file"},
		"an unlisted member":      {with(func(es []entry) []entry { return append([]entry{{name: "more", data: []byte("x")}}, es...) }), "which its manifest does not list"},
		"a changed member":        {with(func(es []entry) []entry { es[0].data = append([]byte{}, append(es[0].data, 'x')...); return es }), "is not what was written"},
		"no manifest":             {with(func(es []entry) []entry { return es[:len(es)-1] }), "it ends before its manifest"},
		"more after the manifest": {with(func(es []entry) []entry { return append(es, entry{name: "z", data: []byte("x")}) }), "comes after the manifest"},
		"another format":          {with(func(es []entry) []entry { return manifest(es, func(m *backup.Manifest) { m.Format = 9 }) }), "has format 9"},
		"no key":                  {with(func(es []entry) []entry { return manifest(es, func(m *backup.Manifest) { m.Members = m.Members[:1] }) }), "it has no"},
		"a newer schema": {with(func(es []entry) []entry {
			return manifest(es, func(m *backup.Manifest) { m.Schema, m.Howdah = 9999, "v9" })
		}), "howdah v9 wrote it, with schema 9999"},
		"a link": {with(func(es []entry) []entry { return append([]entry{{name: "ln", link: "/etc/passwd"}}, es...) }), "is no plain file"},
	} {
		h := home(t)
		bad := filepath.Join(t.TempDir(), "bad")
		pack(t, bad, c.es)
		if _, err := backup.Restore(t.Context(), h, bad, "v1"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
		nothing(t, h)
		if _, err := os.Lstat(victim); err == nil {
			t.Fatalf("%s wrote %s", what, victim)
		}
	}
}

// entry is one member as it is in the file.
type entry struct {
	name, link string
	data       []byte
}

func unpacked(t *testing.T, file string) (es []entry) {
	t.Helper()
	zr, err := zstd.NewReader(strings.NewReader(got(t, file)))
	if err != nil {
		t.Fatal(err)
	}
	defer zr.Close()
	tr := tar.NewReader(zr)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return es
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		es = append(es, entry{name: h.Name, data: data})
	}
}

func pack(t *testing.T, file string, es []entry) {
	t.Helper()
	var out bytes.Buffer
	zw, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	tw := tar.NewWriter(zw)
	for _, e := range es {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: 0o600, Size: int64(len(e.data))}
		if e.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		_, _ = tw.Write(e.data)
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	put(t, file, out.String())
}
