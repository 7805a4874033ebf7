package artifact

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// killEnv makes the test binary a process that lays out sets until it is killed.
const killEnv = "HOWDAH_TEST_MATERIALISE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killEnv); dir != "" {
		materialiseForEver(dir)
	}
	os.Exit(m.Run())
}

// bigContent is a set that takes a moment to lay out.
func bigContent(t testing.TB) ([]string, map[string][]byte) {
	members := make([]member, 300)
	for i := range members {
		members[i] = member{name: string(rune('a'+i%26)) + "/" + string(rune('a'+i/26)), content: string(bytes.Repeat([]byte{byte(i)}, 1000))}
	}
	content := map[string][]byte{"w/": zipOf(t, members...)}
	paths := []string{"w/"}
	for i := range 20 {
		p := "lib/" + string(rune('a'+i)) + ".jar"
		paths, content[p] = append(paths, p), []byte(p)
	}
	return paths, content
}

func materialiseForEver(dir string) {
	data, err := os.ReadFile(filepath.Join(dir, "test.lock"))
	if err != nil {
		panic(err)
	}
	l, _ := ParseLock("test.lock", data)
	c := New(Config{Dir: dir})
	for {
		root, err := c.Materialise(context.Background(), l)
		if err != nil {
			panic(err)
		}
		// Aside by rename, as a set comes: what is under its name stays whole.
		gone, err := os.MkdirTemp(dir, "gone-")
		if err != nil {
			panic(err)
		}
		_ = os.Rename(root, filepath.Join(gone, "set"))
		_ = os.RemoveAll(gone)
	}
}

// Processes that lay out one set are killed at any instant: the set is whole
// or absent, and the next one gets it done and leaves no rubbish.
func TestMaterialiseKilled(t *testing.T) {
	dir := t.TempDir()
	paths, content := bigContent(t)
	l := testLock(t, paths, content)
	c := New(Config{Dir: dir})
	putAll(t, c, content)
	var text bytes.Buffer
	for _, e := range l.Entries {
		text.WriteString(e.Path + " " + e.Source.String() + " " + strconv.FormatInt(e.Size, 10) + " sha256:" + e.SHA256 + " MIT\n")
	}
	if err := os.WriteFile(filepath.Join(dir, "test.lock"), text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	for round := range 12 {
		var procs []*exec.Cmd
		for range 2 {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), killEnv+"="+dir)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			procs = append(procs, cmd)
		}
		time.Sleep(time.Duration(20+rand.IntN(150)) * time.Millisecond)
		for _, p := range procs {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
		if root := SetRoot(dir, l.ID()); isDir(root) && len(tree(t, root)) != 320 {
			t.Fatalf("round %d: a set of %d files", round, len(tree(t, root)))
		}
	}
	root, err := c.Materialise(t.Context(), l)
	if err != nil || len(tree(t, root)) != 320 {
		t.Fatal(root, err)
	}
	_ = os.RemoveAll(root) // as if lost: the next build clears what the killed left
	if _, err := c.Materialise(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "sets", ".tmp-*")); len(left) > 0 {
		t.Error("left behind:", left)
	}
}
