package local_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/infra/local"
	"howdah.dev/howdah/internal/node/proc"
)

// The test binary is the agent of these tests: a program that holds the lock
// in its node's directory until it is ended.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "agent" && os.Args[2] == "--dir" {
		holdLock(os.Args[3])
	}
	goleak.VerifyTestMain(m)
}

func holdLock(dir string) {
	f, err := os.OpenFile(filepath.Join(dir, "agent", "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		time.Sleep(time.Hour)
	}
}

// site is a driver, and one node of it that is not there yet.
type site struct {
	t *testing.T
	*local.Driver
	dir  string
	node infra.CreateRequest
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: filepath.Join(t.TempDir(), "nodes")}
	var err error
	s.Driver, err = local.New(local.Config{
		Dir: s.dir, Cache: "/cache", Addresses: netip.MustParsePrefix("127.9.0.0/24"), MemoryMB: 1000, CPUs: 2,
		Identity: "/cache/identity.so", Agent: []string{os.Args[0], "agent"},
	})
	if err != nil {
		t.Fatal(err)
	}
	key := fmt.Sprintf("%s-%d", strings.ReplaceAll(t.Name(), "/", "-"), os.Getpid())
	s.node = infra.CreateRequest{Ref: infra.Ref{Key: key, Cluster: "c", Name: "c-worker-1"}, Address: "127.9.0.10", MemoryMB: 100, CPUs: 1, Join: []byte(`{"token":"one"}`)}
	t.Cleanup(func() {
		if _, err := proc.Sweep(context.Background(), proc.Labels{Node: key}, 0); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *site) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir, "c", "c-worker-1"}, elem...)...)
}

func (s *site) create() {
	s.t.Helper()
	if err := s.Create(s.t.Context(), s.node); err != nil {
		s.t.Fatal(err)
	}
}

// agents are the agents that hold the node's lock.
func (s *site) agents() []int {
	s.t.Helper()
	all, err := proc.List(s.node.Key)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []int
	for _, p := range all {
		out = append(out, p.PID)
	}
	return out
}

// running waits until one agent holds the lock, and returns it.
func (s *site) running() int {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		f, err := os.OpenFile(s.path("agent", "lock"), os.O_RDWR, 0)
		if err == nil {
			err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
			f.Close()
		}
		if a := s.agents(); err == unix.EWOULDBLOCK && len(a) == 1 { //nolint:errorlint // as the kernel gives it
			return a[0]
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("agents %v: %v", s.agents(), err)
		}
	}
}

func (s *site) powered() string {
	s.t.Helper()
	d, err := s.Describe(s.t.Context(), s.node.Ref)
	if infra.KindOf(err) == infra.KindNotFound && err != nil {
		return "not there"
	}
	if err != nil {
		return err.Error()
	}
	return map[bool]string{true: "on", false: "off"}[d.Powered]
}

func TestInventory(t *testing.T) {
	s := newSite(t)
	inv, err := s.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(inv.Hosts) != 1 || inv.Hosts[0].MemoryMB != 1000 || inv.Hosts[0].CPUs != 2 || inv.Hosts[0].DiskFreeMB <= 0 || !inv.Identity || inv.First != 10 || inv.Addresses.String() != "127.9.0.0/24" {
		t.Errorf("%+v", inv)
	}
}

// TestCreate: what is made, for whom, and that doing it again changes nothing.
func TestCreate(t *testing.T) {
	s := newSite(t)
	if got := s.powered(); got != "not there" {
		t.Errorf("before it was made it is %s", got)
	}
	s.create()
	pid := s.running()
	var host agentapi.HostFile
	data, err := os.ReadFile(s.path("host.json"))
	if err == nil {
		err = json.Unmarshal(data, &host)
	}
	if err != nil || host.Address != "127.9.0.10" || host.MemoryMB != 100 || host.Env["HOWDAH_IP"] != "127.9.0.10" || host.Env["LD_PRELOAD"] != "/cache/identity.so" {
		t.Errorf("%+v %v", host, err)
	}
	if st, err := os.Stat(s.path("join.json")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the join file: %v %v", st, err)
	}

	s.node.Join = []byte(`{"token":"two"}`)
	s.create()
	if got := s.running(); got != pid {
		t.Errorf("made again it has another agent: %d, not %d", got, pid)
	}
	if data, _ := os.ReadFile(s.path("join.json")); string(data) != `{"token":"two"}` {
		t.Errorf("the join file holds %s; an agent that has not joined needs the newest", data)
	}
	if err := os.WriteFile(s.path("agent", "identity.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.path("join.json")); err != nil {
		t.Fatal(err)
	}
	s.create()
	if _, err := os.Stat(s.path("join.json")); !os.IsNotExist(err) {
		t.Errorf("an agent that has joined got a token: %v", err)
	}
	if got := s.powered(); got != "on" {
		t.Errorf("it is %s", got)
	}
	entries, err := os.ReadDir(filepath.Dir(s.path()))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the node there is %v %v", entries, err)
	}
}

// TestForeign: what carries another key, or none, is not touched.
func TestForeign(t *testing.T) {
	for name, prepare := range map[string]func(*site){
		"another node": func(s *site) {
			s.create()
			s.running()
			s.node.Key += "-other"
		},
		"no claim": func(s *site) {
			if err := os.MkdirAll(s.path("precious"), 0o755); err != nil {
				t.Fatal(err)
			}
		},
		"a broken claim": func(s *site) {
			if err := os.MkdirAll(s.path(), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.path("node.json"), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			s := newSite(t)
			prepare(s)
			before := list(t, s.dir)
			for what, err := range map[string]error{
				"create": s.Create(t.Context(), s.node), "delete": s.Delete(t.Context(), s.node.Ref),
				"power": s.Power(t.Context(), s.node.Ref, false), "describe": func() error { _, err := s.Describe(t.Context(), s.node.Ref); return err }(),
			} {
				if infra.KindOf(err) != infra.KindConflict {
					t.Errorf("%s: %v", what, err)
				}
			}
			if after := list(t, s.dir); !slices.Equal(before, after) {
				t.Errorf("it was touched: %v, before %v", after, before)
			}
		})
	}
}

// list lists all files below a directory.
func list(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	if err := filepath.Walk(dir, func(p string, _ os.FileInfo, err error) error {
		out = append(out, p)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPower: off ends all that runs for the node and keeps its data.
func TestPower(t *testing.T) {
	s := newSite(t)
	s.create()
	s.running()
	if err := os.MkdirAll(s.path("svc", "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Power(t.Context(), s.node.Ref, false); err != nil {
			t.Fatal(err)
		}
		if got := s.powered(); got != "off" || len(s.agents()) > 0 {
			t.Errorf("it is %s with agents %v", got, s.agents())
		}
	}
	if _, err := os.Stat(s.path("svc", "data")); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := s.Power(t.Context(), s.node.Ref, true); err != nil {
			t.Fatal(err)
		}
		s.running()
	}
	if got := s.powered(); got != "on" {
		t.Errorf("it is %s", got)
	}
}

// TestRevive: the loop starts dead agents, of nodes that are switched on only.
func TestRevive(t *testing.T) {
	s := newSite(t)
	s.create()
	pid := s.running()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if a := s.agents(); len(a) == 1 && a[0] != pid {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the agent does not come back: %v", s.agents())
		}
	}
	s.running()
	cancel()
	<-ended
	if err := s.Power(t.Context(), s.node.Ref, false); err != nil {
		t.Fatal(err)
	}
	// A look at nodes is the first thing the loop does.
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_ = s.Run(ctx)
	if a := s.agents(); len(a) > 0 {
		t.Errorf("a node that is switched off has agents %v", a)
	}
}

// TestDelete: nothing is left, neither of the node nor of a removal that was
// cut short; what is not there is deleted already.
func TestDelete(t *testing.T) {
	s := newSite(t)
	s.create()
	s.running()
	for range 2 {
		if err := s.Delete(t.Context(), s.node.Ref); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Dir(s.path())); !os.IsNotExist(err) || len(s.agents()) > 0 {
			t.Errorf("left: %v %v", err, s.agents())
		}
	}
	if err := os.MkdirAll(filepath.Join(filepath.Dir(s.path()), ".deleting-"+s.node.Key, "svc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), s.node.Ref); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(s.path())); !os.IsNotExist(err) {
		t.Errorf("left of a removal cut short: %v", err)
	}
}

// TestCreateCutShort: an attempt that ended in the middle is made good.
func TestCreateCutShort(t *testing.T) {
	s := newSite(t)
	if err := os.MkdirAll(filepath.Join(filepath.Dir(s.path()), ".making-"+s.node.Key, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.create()
	s.running()
	if entries, err := os.ReadDir(filepath.Dir(s.path())); err != nil || len(entries) != 1 {
		t.Errorf("%v %v", entries, err)
	}
}

// TestEnd: all nodes of a home end without a server; their data stays.
func TestEnd(t *testing.T) {
	s := newSite(t)
	s.create()
	s.running()
	if err := local.End(t.Context(), s.dir); err != nil {
		t.Fatal(err)
	}
	if a := s.agents(); len(a) > 0 {
		t.Errorf("agents %v go on", a)
	}
	if got := s.powered(); got != "on" {
		t.Errorf("it is %s; the wish was not asked for", got)
	}
}

// TestEndOfCopy: the end of a copy of a home is not that of the home it is a copy of.
func TestEndOfCopy(t *testing.T) {
	s := newSite(t)
	s.create()
	was := s.running()
	other := filepath.Join(t.TempDir(), "nodes")
	if err := os.CopyFS(other, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	if err := local.End(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if now := s.running(); now != was {
		t.Errorf("agent %d runs, it was %d", now, was)
	}
	if err := local.End(t.Context(), filepath.Join(other, "nowhere")); err != nil {
		t.Errorf("of a home without nodes: %v", err)
	}
}

// TestEndOfDamaged: what runs in a node's directory ends, whatever became of its claim.
func TestEndOfDamaged(t *testing.T) {
	for name, claim := range map[string]string{"empty": "", "another's": `{"key":"another","powered":true}`, "no JSON": `{"key":"01`} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.create()
			s.running()
			if err := os.WriteFile(s.path("node.json"), []byte(claim), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := local.End(t.Context(), s.dir); err != nil {
				t.Fatal(err)
			}
			if a := s.agents(); len(a) > 0 {
				t.Errorf("agents %v go on", a)
			}
		})
	}
}

// TestDamagedClaim says which file it is, and what is to be in it; with that the node is
// there again.
func TestDamagedClaim(t *testing.T) {
	s := newSite(t)
	s.create()
	s.running()
	if err := os.WriteFile(s.path("node.json"), []byte(`{"key":"01`), 0o600); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"key":%q,"powered":true}`, s.node.Key)
	_, err := s.Describe(t.Context(), s.node.Ref)
	if says := "cannot read " + s.path("node.json") + ": unexpected end of JSON input; where the directory is still that of node c-worker-1, write " + want + " into it"; infra.KindOf(err) != infra.KindConflict || err.Error() != says {
		t.Errorf("got %v\nwant %s", err, says)
	}
	if err := os.WriteFile(s.path("node.json"), []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := s.powered(); got != "on" {
		t.Errorf("it is %s", got)
	}
}
