package soak

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/adapter/webhdfs"
	"howdah.dev/howdah/test/e2e/harness"
)

// resizeFor is how long one resize may take before the other one supersedes it.
const resizeFor = 90 * time.Second

// TestSoak kills one of Howdah's processes every 2 to 4 s. SOAK_KILLS says how often
// (15), SOAK_SEED which kills: the number printed by a run before.
func TestSoak(t *testing.T) {
	kills, seed := number(t, "SOAK_KILLS", 15), number(t, "SOAK_SEED", time.Now().UnixNano())
	t.Logf("SOAK_SEED=%d SOAK_KILLS=%d", seed, kills)
	h := harness.New(t)
	h.Up()
	h.OK("apply", "--yes", "-f", definition(t, "warehouse"))
	h.OK("apply", "--yes", "-f", definition(t, "batch-2"))
	h.Ready(10*time.Second, "warehouse", "batch")
	before := h.PIDs("warehouse")
	maps.Copy(before, masters(h.PIDs("batch")))

	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	f := &files{
		hdfs: webhdfs.New(webhdfs.Config{Addresses: []string{h.Cluster("warehouse").Exports["web"]}, User: me.Username}),
		rng:  rand.New(rand.NewPCG(uint64(seed), 1)), //nolint:gosec // the same files for the same seed
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	filesEnd, resizesEnd := make(chan error, 1), make(chan error, 1)
	r := &resizer{h: h, api: h.API(), files: [2]string{definition(t, "batch-3"), definition(t, "batch-2")}}
	go func() { filesEnd <- f.work(ctx) }()
	go func() { resizesEnd <- r.work(ctx) }()
	began := time.Now()
	servers, agents := killer(t, h, int(kills), rand.New(rand.NewPCG(uint64(seed), 2))) //nolint:gosec // the same kills for the same seed
	took := time.Since(began)
	stop()
	for what, end := range map[string]chan error{"the client of the warehouse": filesEnd, "resizing": resizesEnd} {
		if err := <-end; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	h.OK("apply", "--yes", "-f", definition(t, "batch-2"))
	h.Ready(time.Minute, "warehouse", "batch")
	if err := f.all(t.Context()); err != nil {
		t.Errorf("reading all %d files at the end: %v", len(f.kept), err)
	}
	settled(t, h)
	after := h.PIDs("warehouse")
	maps.Copy(after, masters(h.PIDs("batch")))
	if !maps.Equal(before, after) {
		t.Errorf("services that nobody killed had the pids %v, they have %v", before, after)
	}
	if f.again > 0 {
		t.Errorf("%d tries to write or read failed and succeeded when made again; HDFS was not touched, so none should", f.again)
	}
	t.Logf("in %.0f s: %d kills (server %d, agents %d); %d resizes begun, %d done, %d superseded, %d applies refused while no server ran", took.Seconds(), kills, servers, agents, r.begun, r.done, r.superseded, r.refused)
	t.Logf("client: %d files written, %d times read back (%d MiB), 0 lost, %d with wrong bytes, %d tries made again", f.writes, f.reads, f.bytes>>20, len(f.wrong), f.again)
	if r.begun == 0 || servers == 0 || agents == 0 {
		t.Errorf("%d resizes began, the server was killed %d times, agents %d times; none may be 0", r.begun, servers, agents)
	}
}

// TestPowerLoss ends everything at once while files are written, again and again; the
// ordinary command brings all back, with every file that was acknowledged. SOAK_LOSSES
// says how often (5). test/e2e/faults has the short form.
func TestPowerLoss(t *testing.T) {
	if os.Getenv("SOAK") == "" {
		t.Skip("the short form is in test/e2e/faults")
	}
	losses := int(number(t, "SOAK_LOSSES", 5))
	h := harness.New(t)
	h.Up()
	h.OK("apply", "--yes", "-f", definition(t, "warehouse"))
	h.OK("apply", "--yes", "-f", definition(t, "batch-2"))
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	f := &files{
		hdfs: webhdfs.New(webhdfs.Config{Addresses: []string{h.Cluster("warehouse").Exports["web"]}, User: me.Username}),
		rng:  rand.New(rand.NewPCG(1, 2)), //nolint:gosec // the same files each time
	}
	ended, longest := 0, time.Duration(0)
	for range losses {
		before := h.PIDs("warehouse")
		maps.Copy(before, h.PIDs("batch"))
		ctx, stop := context.WithCancel(t.Context())
		filesEnd := make(chan error, 1)
		had := len(f.kept)
		go func() { filesEnd <- f.work(ctx) }()
		time.Sleep(10 * time.Second)
		ended += len(h.Processes())
		h.KillAll()
		stop()
		<-filesEnd // what was not acknowledged may fail
		if len(f.kept) == had {
			t.Error("nothing was written before the loss")
		}
		began := time.Now()
		h.Up()
		h.Ready(time.Minute, "warehouse", "batch")
		longest = max(longest, time.Since(began))
		if err := f.all(t.Context()); err != nil {
			t.Errorf("reading all %d files: %v", len(f.kept), err)
		}
		after := h.PIDs("warehouse")
		maps.Copy(after, h.PIDs("batch"))
		for name, pid := range after {
			if pid == before[name] || before[name] == 0 {
				t.Errorf("%s has pid %d, it had %d", name, pid, before[name])
			}
		}
		if len(after) != len(before) {
			t.Errorf("%d services came back of %d", len(after), len(before))
		}
	}
	settled(t, h)
	t.Logf("%d losses of everything, %d processes ended in all; all was back after %.0f s at most; %d files written, read back %d times (%d MiB), 0 lost, %d with wrong bytes",
		losses, ended, longest.Seconds(), len(f.kept), f.reads, f.bytes>>20, len(f.wrong))
}

func number(t *testing.T, name string, absent int64) int64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return absent
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s is no number: %v", name, err)
	}
	return n
}

func definition(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// masters are the services of nodes that no resize takes away.
func masters(pids map[string]int) map[string]int {
	maps.DeleteFunc(pids, func(name string, _ int) bool { return strings.Contains(name, "-worker-") })
	return pids
}

// killer kills the server in one of three cases, else any agent. A dead server is
// started as a user would; an agent by its server.
func killer(t *testing.T, h *harness.Home, kills int, rng *rand.Rand) (servers, agents int) {
	t.Helper()
	var ups []func() string
	for range kills {
		next := time.Now().Add(2*time.Second + time.Duration(rng.Int64N(int64(2*time.Second))))
		server, nth, wait := rng.IntN(3) == 0, rng.IntN(1<<20), time.Duration(rng.Int64N(int64(time.Second)))
		running := h.Agents()
		switch {
		case server || len(running) == 0:
			servers++
			h.KillServer()
			time.Sleep(wait)
			ups = append(ups, h.UpBeside())
		default:
			agents++
			p := running[nth%len(running)]
			h.KillIfAlive(p.PID) // a resize may have ended it meanwhile
		}
		time.Sleep(time.Until(next))
	}
	for _, wait := range ups {
		wait()
	}
	return servers, agents
}

// resizer applies one definition after the other.
type resizer struct {
	h     *harness.Home
	api   *client.Client
	files [2]string

	begun, done, superseded, refused int
}

func (r *resizer) work(ctx context.Context) error {
	for i := 0; ctx.Err() == nil; i++ {
		got := r.h.Run("apply", "--yes", "--no-wait", "-f", r.files[i%2])
		if got.Code != 0 {
			r.refused++
			i-- // the same again
			time.Sleep(100 * time.Millisecond)
			if got.Code != 1 {
				return fmt.Errorf("apply: exit code %d: %s", got.Code, got.Stderr)
			}
			continue
		}
		r.begun++
		if err := r.follow(ctx); err != nil {
			return err
		}
	}
	return nil
}

// follow waits for the newest operation's end. The server may be away.
func (r *resizer) follow(ctx context.Context) error {
	for deadline := time.Now().Add(resizeFor); ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		newest, err := r.api.Operations(ctx, "batch", 1)
		switch {
		case err != nil || len(newest) == 0:
			continue
		case newest[0].State == api.OperationFailed:
			return fmt.Errorf("operation %d failed: %s", newest[0].ID, newest[0].Reason)
		case newest[0].State.Final():
			r.done++
			return nil
		case time.Now().After(deadline):
			r.superseded++
			return nil
		}
	}
	return nil
}

// settled says that what runs and what is kept is what is defined, and nothing else.
func settled(t *testing.T, h *harness.Home) {
	t.Helper()
	harness.Contains(t, "applying again", h.OK("apply", "--yes", "-f", definition(t, "batch-2")), "batch (yarn, local) is as defined; nothing to do")
	for _, o := range h.Operations("batch") {
		if !o.State.Final() {
			t.Errorf("operation %d is %s: %s", o.ID, o.State, o.Reason)
		}
	}
	if o := h.Operations("batch")[0]; o.State != api.OperationDone {
		t.Errorf("the last apply, operation %d, is %s: %s", o.ID, o.State, o.Reason)
	}
	for name, want := range map[string]int{"warehouse": 2, "batch": 3} {
		var nodes, dirs []string
		for _, n := range h.Cluster(name).Nodes {
			nodes = append(nodes, n.Name)
		}
		entries, err := os.ReadDir(filepath.Join(h.Dir, "nodes", name))
		if err != nil {
			t.Error(err)
		}
		for _, e := range entries {
			dirs = append(dirs, e.Name())
		}
		slices.Sort(nodes)
		if len(nodes) != want || !slices.Equal(nodes, dirs) {
			t.Errorf("%s has the nodes %v, want %d; its directories are %v", name, nodes, want, dirs)
		}
	}
	onlyWanted(t, h)
}

// onlyWanted says that every process is the server, or the one agent or one service of
// a node that is there. What a service started for the last test of its cluster may
// still be ending.
func onlyWanted(t *testing.T, h *harness.Home) {
	t.Helper()
	running := 0
	harness.Within(t, time.Minute, "every process is the server, an agent or a service", func() (bool, string) {
		want := wanted(h)
		var strange []string
		all := h.Processes()
		for _, p := range all {
			if want[p.PID] == "" {
				strange = append(strange, fmt.Sprintf("%s is nobody's: %s", p, harness.CommandLine(p.PID)))
			}
			delete(want, p.PID)
		}
		running = len(all)
		return len(strange) == 0 && len(want) == 0, fmt.Sprintf("%s; these do not run: %v", strings.Join(strange, "; "), want)
	})
	t.Logf("at the end %d processes run: the server, and one for each agent and service", running)
}

// wanted are the processes there should be, and what they are.
func wanted(h *harness.Home) map[int]string {
	want := map[int]string{h.ServerPID(): "server"}
	for _, c := range []string{"warehouse", "batch"} {
		for _, n := range h.Cluster(c).Nodes {
			want[n.AgentPID] = n.Name
			for _, s := range n.Services {
				want[s.PID] = n.Name + "/" + s.Name
			}
		}
	}
	return want
}
