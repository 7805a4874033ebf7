package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/store"
)

// examined runs doctor and returns its checks by name, and its exit code.
func examined(t *testing.T, a *app, words ...string) (map[string]check, int) {
	t.Helper()
	var out, errs strings.Builder
	a.out, a.err = &out, &errs
	code := a.run(t.Context(), append([]string{"--home", a.home.Dir, "-o", "json", "doctor"}, words...))
	var all []check
	if err := json.Unmarshal([]byte(out.String()), &all); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	byName := map[string]check{}
	for _, c := range all {
		if c.Outcome != checkOK && c.Remedy == "" && c.Name != "disk" && c.Name != "memory" {
			t.Errorf("%s is %s and nothing says what to do: %s", c.Name, c.Outcome, c.Found)
		}
		byName[c.Name] = c
	}
	failed := slices.ContainsFunc(all, func(c check) bool { return c.Outcome == checkFailed })
	if failed != (code == exitFailed) || !failed && code != exitOK {
		t.Errorf("exit code %d with %v", code, all)
	}
	return byName, code
}

// TestDoctor looks at a home that is not there, a good one, and ones with damage.
func TestDoctor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	a := &app{}
	a.home.Dir = dir
	found, _ := examined(t, a)
	if c := found["home"]; c.Outcome != checkOK || !strings.Contains(c.Found, "is not used yet") {
		t.Errorf("a home that is not there: %+v", c)
	}
	for _, name := range []string{"disk", "memory", "open files", "own name", "localhost", "containers"} {
		if _, ok := found[name]; !ok {
			t.Errorf("%s was not checked", name)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("doctor made the home")
	}

	if err := a.home.Prepare(); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(context.Background(), store.Config{Path: a.home.Database()})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, a.home.Settings(), "{}")
	found, _ = examined(t, a)
	if found["home"].Outcome != checkOK || found["database"].Outcome != checkOK || found["artifacts"].Outcome != checkWarn {
		t.Errorf("a good home: %+v", found)
	}
	if c := found["server"]; c.Outcome != checkWarn || c.Remedy != "howdah up" {
		t.Errorf("without a server: %+v", c)
	}

	data, err := os.ReadFile(a.home.Database())
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(data); i++ {
		data[i] ^= 0x55
	}
	write(t, a.home.Database(), string(data))
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // what is to be found
		t.Fatal(err)
	}
	found, code := examined(t, a)
	if c := found["database"]; code != exitFailed || c.Outcome != checkFailed || !strings.Contains(c.Found, a.home.Database()) {
		t.Errorf("a damaged database: %+v", c)
	}
	if c := found["home"]; c.Outcome != checkFailed || c.Remedy != "chmod 700 "+dir {
		t.Errorf("an open home: %+v", c)
	}
}

// TestDoctorDeep finds a file of the cache whose content is another.
func TestDoctorDeep(t *testing.T) {
	a := &app{}
	a.home.Dir = t.TempDir()
	if err := a.home.Prepare(); err != nil {
		t.Fatal(err)
	}
	write(t, a.home.Settings(), "{}")
	locks, err := (&lockChoice{app: a, names: []string{"zookeeper"}}).locks()
	if err != nil {
		t.Fatal(err)
	}
	e := locks[0].Entries[0]
	blobs := filepath.Join(a.home.Cache(), "blobs")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(blobs, e.SHA256), strings.Repeat("x", int(e.Size)))
	if found, _ := examined(t, a); found["artifacts"].Outcome != checkWarn {
		t.Errorf("without looking deep: %+v", found["artifacts"])
	}
	if found, _ := examined(t, a, "--deep"); found["artifacts"].Outcome != checkFailed || !strings.Contains(found["artifacts"].Found, e.SHA256) {
		t.Errorf("looking deep: %+v", found["artifacts"])
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
