package local

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/node/proc"
)

// TestFailingAgent: one that ends soon after each start is tried less and less
// often, and from the fifth end on Describe says why it does not run.
func TestFailingAgent(t *testing.T) {
	dir := t.TempDir()
	d, err := New(Config{
		Dir: dir, Addresses: netip.MustParsePrefix("127.9.0.0/24"), MemoryMB: 1000, CPUs: 1,
		Agent: []string{"/bin/sh", "-c", `echo started; echo "no luck"; exit 3`},
	})
	if err != nil {
		t.Fatal(err)
	}
	ref := infra.Ref{Key: "failing-agent-" + filepath.Base(dir) + time.Now().Format("150405.000000"), Cluster: "c", Name: "n"}
	t.Cleanup(func() {
		if _, err := proc.Sweep(context.Background(), proc.Labels{Node: ref.Key}, 0); err != nil {
			t.Error(err)
		}
	})
	at := d.dir(ref)
	ended := func(times int) attempts {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); d.attempt(at).soon != times; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%+v, want %d ends", d.attempt(at), times)
			}
		}
		return d.attempt(at)
	}
	trouble := func() string {
		t.Helper()
		desc, err := d.Describe(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		return desc.Trouble
	}
	if err := d.Create(t.Context(), infra.CreateRequest{Ref: ref, Address: "127.9.0.10", MemoryMB: 100, CPUs: 1, Join: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, time.Minute, time.Minute} {
		a := ended(i + 1)
		if left := time.Until(a.next); left > want || left < want-15*time.Second {
			t.Errorf("after %d ends it waits %s more, want at most %s", i+1, left, want)
		}
		if got := trouble(); (got != "") != (i >= 4) {
			t.Errorf("after %d ends: %q", i+1, got)
		}
		if time.Until(a.next) > 5*time.Second { // a busy machine may be late
			d.revive()
			if n := d.attempt(at).soon; n != i+1 {
				t.Errorf("it was started before its time: %d ends", n)
			}
		}
		if i < 5 { // its time has come
			d.mu.Lock()
			a.next = time.Time{}
			d.attempts[at] = a
			d.mu.Unlock()
			d.revive()
		}
	}
	log := filepath.Join(at, "agent", "agent.log")
	want := "its agent ended 6 times in a row within 10 s of its start, last: exit 3: no luck; tried again every 60 s; its log is " + log
	if got := trouble(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	text, err := os.ReadFile(log)
	if n := strings.Count(string(text), "started"); err != nil || n != 6 {
		t.Errorf("it was started %d times, want 6: %v", n, err)
	}

	// What a person or the server asks for is tried at once.
	if err := d.Mend(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	ended(1)
	if got := trouble(); got != "" {
		t.Errorf("%q", got)
	}
	if err := d.Mend(t.Context(), infra.Ref{Key: "other", Cluster: "c", Name: "n"}); infra.KindOf(err) != infra.KindConflict {
		t.Errorf("another's node was mended: %v", err)
	}
}

// TestNodes: directories of nodes are found, also of a cluster that somebody put on another
// disk; those that are being made and removed, and files, are none.
func TestNodes(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for _, d := range []string{dir + "/one/a", dir + "/one/b", dir + "/one/.making-c", dir + "/one/.deleting-d", dir + "/.kept/e", other + "/f"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{dir + "/file", dir + "/one/file"} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{dir + "/two": other, dir + "/one/lost": dir + "/nowhere", dir + "/one/link": dir + "/file"} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{dir + "/one/a", dir + "/one/b", dir + "/two/f"}, nodes(dir)); diff != "" {
		t.Error(diff)
	}
	if got := nodes(dir + "/nowhere"); got != nil {
		t.Errorf("%q in a directory that is not there", got)
	}
}
