package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"howdah.dev/howdah/internal/cell/cgroup"
	"howdah.dev/howdah/internal/cell/master"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/mesos/v1client"
	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/shim/shimtest"
	"howdah.dev/howdah/internal/cell/worker/container"
	"howdah.dev/howdah/internal/cell/worker/docker"
	"howdah.dev/howdah/internal/cell/worker/plain"
	"howdah.dev/howdah/internal/cell/worker/runc"
	"howdah.dev/howdah/internal/node/proc"
)

// setup is what a worker process of a test is told.
type setup struct {
	Dir, Master, IP, Address, Shim, Node, Layer string
	Runc                                        bool
	Docker, Archive, Digest                     string // an engine's socket, and the image for it
	Resend, Quota, Drain                        time.Duration
	KeepPerApp                                  int
	KeepBytes                                   int64
	Gateway                                     string
	Plain                                       string // of the runtime: "broken" or "absent"
	CrashAt                                     int    // the write of a record after which the worker dies; 0: none
	Disk                                        int    // MB that the worker offers; 100,000 if zero
	LocalFetch                                  bool   // from this host
}

const setupEnv = "HOWDAH_TEST_WORKER"

// TestMain is the worker process when it is told to.
func TestMain(m *testing.M) {
	if text := os.Getenv(setupEnv); text != "" {
		var s setup
		err := json.Unmarshal([]byte(text), &s)
		if err == nil {
			err = s.serve()
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// layers gives out folders as images, or an archive.
type layers struct{ dir, archive, digest string }

func (l layers) Prepare(_ context.Context, r ImageRequest) (*container.Image, error) {
	if r.Name != "content" {
		return nil, fmt.Errorf("cannot pull %s: there is no such image", r.Name)
	}
	img := &container.Image{Name: r.Name, Config: container.ImageConfig{Entrypoint: []string{"/bin/content"}}}
	if !r.Packed {
		img.Layers = []string{l.dir}
		return img, nil
	}
	img.Digest = l.digest
	img.Archive = func(_ context.Context, _ string, w io.Writer) error {
		f, err := os.Open(l.archive)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	}
	return img, nil
}
func (layers) Release(string) error      { return nil }
func (layers) Leases() ([]string, error) { return nil, nil }

// broken is a runtime that cannot be used for the time being.
type broken struct{ container.Runtime }

func (broken) Probe(context.Context) ([]string, error) { return nil, errors.New("it is out of order") }

func (s setup) config() (Config, error) {
	shims := container.Shims{Program: s.Shim, Node: s.Node, IP: s.IP, Logs: shim.Logs{MaxBytes: 64 << 10, Keep: 2, BytesPerSecond: 64 << 20}}
	if os.Geteuid() == 0 {
		parent, err := cgroup.Find("/sys/fs/cgroup", "/proc/self/cgroup", s.Node)
		if err != nil {
			return Config{}, err
		}
		shims.Parent = &parent
	}
	cfg := Config{
		Dir: s.Dir, IP: s.IP, Address: s.Address, Master: func() string { return s.Master }, Client: http.DefaultClient,
		Images: layers{s.Layer, s.Archive, s.Digest}, Resend: s.Resend, Quota: s.Quota, Drain: s.Drain, KeepPerApp: s.KeepPerApp, KeepBytes: s.KeepBytes,
		RuntimesAttribute: "runtimes",
		Runtimes:          []container.Runtime{plain.New(plain.Config{Shims: shims})},
		Authorize: func(r *http.Request, t *mesos.TaskInfo) error {
			user, _, _ := r.BasicAuth()
			if t != nil && user != "owner" && user != "" {
				return ErrForbidden
			}
			if user == "" {
				return errors.New("who is it?")
			}
			return nil
		},
	}
	switch s.Plain {
	case "broken":
		cfg.Runtimes[0] = broken{cfg.Runtimes[0]}
	case "absent":
		cfg.Runtimes = nil
	}
	if s.Runc {
		cfg.Runtimes = append([]container.Runtime{runc.New(runc.Config{Shims: shims})}, cfg.Runtimes...)
	}
	if s.Docker != "" {
		engine, err := docker.New(docker.Config{Shims: shims, Socket: s.Docker})
		if err != nil {
			return Config{}, err
		}
		cfg.Runtimes = append([]container.Runtime{engine}, cfg.Runtimes...)
	}
	if s.Gateway != "" {
		cfg.Gateways = []shim.Gateway{{Port: 9870, Network: "tcp", Address: s.Gateway}}
	}
	cfg.Info = mesos.AgentInfo{Hostname: "worker-1", Port: 5051}
	cfg.Info.Resources, _ = mesos.ParseResources("cpus:64;mem:65536;disk:100000;ports:[31000-32000]")
	if s.Disk > 0 {
		cfg.Info.Resources, _ = mesos.ParseResources(fmt.Sprintf("cpus:64;mem:65536;disk:%d;ports:[31000-32000]", s.Disk))
	}
	if s.LocalFetch {
		cfg.Fetch.Blocked = func(netip.Addr) bool { return false }
	}
	return cfg, nil
}

func (s setup) serve() error {
	cfg, err := s.config()
	if err != nil {
		return err
	}
	w, err := New(context.Background(), cfg)
	if err != nil {
		return err
	}
	if s.CrashAt > 0 {
		w.wrote = dieAfter(s.CrashAt)
	}
	l, err := net.Listen("tcp", s.Address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", w.Handler())
	mux.HandleFunc("/holds/{framework}/{task}", func(rw http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(rw, w.Holds(r.Context(), r.PathValue("framework"), r.PathValue("task")))
	})
	go func() { _ = http.Serve(l, mux) }()
	return w.Run(context.Background())
}

// dieAfter ends the process after some writes of records, as a crash would.
func dieAfter(writes int) func(record) {
	var done atomic.Int64
	return func(record) {
		if done.Add(1) == int64(writes) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

// cell is a master, a worker in a process of its own, and a framework.
type cell struct {
	t      testing.TB
	setup  setup
	worker *exec.Cmd

	masterDir string
	listener  string
	server    *httptest.Server
	stop      context.CancelFunc

	stream *v1client.Stream
	id     mesos.ID
	offers chan mesos.Offer

	mu       sync.Mutex
	statuses map[string][]mesos.TaskStatus // by task, as they came
	mute     bool                          // acknowledges nothing
	lastID   int
}

func newCell(t testing.TB, change func(*setup)) *cell {
	t.Helper()
	c := &cell{t: t, masterDir: t.TempDir(), statuses: map[string][]mesos.TaskStatus{}, offers: make(chan mesos.Offer, 1000)}
	dir, err := os.MkdirTemp("", "howdah-worker-") //nolint:usetesting // other users must get in
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	c.setup = setup{Dir: dir, Shim: shimtest.Build(t), Node: "wt-" + filepath.Base(dir), IP: own, Resend: 10 * time.Second, Quota: 50 * time.Millisecond}
	addresses := freeAddresses(t, 2)
	c.setup.Address, c.listener = addresses[0], addresses[1]
	if change != nil {
		change(&c.setup)
	}
	c.setup.Master = "http://" + c.listener
	c.startMaster()
	t.Cleanup(func() { c.stopMaster() })
	c.subscribe(mesos.Capability{Type: mesos.CapTaskKillingState})
	c.startWorker()
	t.Cleanup(c.tearDown)
	return c
}

// own is an address of this process alone: what is free at it stays free, while at
// 127.0.0.1 the kernel gives every connection of the machine a port.
var own = netip.AddrFrom4([4]byte{127, 128 | byte(os.Getpid()>>16), byte(os.Getpid() >> 8), byte(os.Getpid())}).String() //nolint:gochecknoglobals // a constant

// freeAddresses are different ones that nobody listens on.
func freeAddresses(t testing.TB, n int) []string {
	t.Helper()
	out := make([]string, n)
	for i := range out {
		l, err := net.Listen("tcp", net.JoinHostPort(own, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out[i] = l.Addr().String()
	}
	return out
}

func (c *cell) startMaster() {
	c.t.Helper()
	m, err := master.New(master.Config{
		Dir: c.masterDir, Address: netip.MustParseAddrPort(c.listener), Log: slog.New(slog.DiscardHandler),
		Authorize: func(*http.Request) (string, error) { return "all", nil },
		Timings:   master.Timings{Cycle: 20 * time.Millisecond, Ping: 200 * time.Millisecond, Unreachable: time.Minute},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	var l net.Listener
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if l, err = net.Listen("tcp", c.listener); err == nil {
			break
		}
		if time.Now().After(end) {
			c.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = m.Run(ctx)
	}()
	c.server = httptest.NewUnstartedServer(m.Handler())
	c.server.Listener.Close()
	c.server.Listener = l
	c.server.Start()
	c.stop = func() {
		cancel()
		<-ended
	}
}

func (c *cell) stopMaster() {
	if c.server == nil {
		return
	}
	c.server.CloseClientConnections()
	c.stop()
	c.server.CloseClientConnections()
	c.server.Close()
	c.server = nil
}

// subscribe registers the test's framework, the same one each time.
func (c *cell) subscribe(capabilities ...mesos.Capability) {
	c.t.Helper()
	client, err := v1client.New(v1client.Config{URL: c.setup.Master})
	if err != nil {
		c.t.Fatal(err)
	}
	info := mesos.FrameworkInfo{User: "root", Name: "test", FailoverTimeout: 3600, Capabilities: capabilities}
	if c.id.Value != "" {
		info.ID = &c.id
	}
	stream, err := client.Subscribe(c.t.Context(), mesos.Subscribe{FrameworkInfo: info})
	if err != nil {
		c.t.Fatal(err)
	}
	c.stream = stream
	ready := make(chan struct{})
	go c.read(stream, ready)
	<-ready
}

func (c *cell) read(stream *v1client.Stream, ready chan struct{}) {
	for {
		e, err := stream.Next()
		if err != nil {
			return
		}
		switch e.Type {
		case mesos.EventSubscribed:
			c.id = e.Subscribed.FrameworkID
			close(ready)
		case mesos.EventOffers:
			for _, o := range e.Offers.Offers {
				c.offers <- o
			}
		case mesos.EventUpdate:
			c.mu.Lock()
			s := e.Update.Status
			c.statuses[s.TaskID.Value] = append(c.statuses[s.TaskID.Value], s)
			mute := c.mute
			c.mu.Unlock()
			if !mute {
				c.acknowledge(stream, s)
			}
		}
	}
}

func (c *cell) acknowledge(stream *v1client.Stream, s mesos.TaskStatus) {
	if len(s.UUID) > 0 {
		_ = stream.Call(context.Background(), mesos.Call{Type: mesos.CallAcknowledge, Acknowledge: &mesos.Acknowledge{AgentID: *s.AgentID, TaskID: s.TaskID, UUID: s.UUID}})
	}
}

func (c *cell) startWorker() {
	c.t.Helper()
	text, err := json.Marshal(c.setup)
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), setupEnv+"="+string(text))
	log, err := os.OpenFile(filepath.Join(c.setup.Dir, "worker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.worker = cmd
}

func (c *cell) killWorker() {
	_ = c.worker.Process.Kill()
	_ = c.worker.Wait()
}

// tearDown ends everything and looks for what was left.
func (c *cell) tearDown() {
	c.killWorker()
	_, err := proc.Sweep(context.Background(), proc.Labels{Node: c.setup.Node}, 3*time.Second)
	if err != nil {
		c.t.Error(err)
	}
	if c.t.Failed() {
		text, _ := os.ReadFile(filepath.Join(c.setup.Dir, "worker.log"))
		c.t.Logf("worker.log:\n%s", tailOf(text))
	}
	// Tasks of runtimes that a failing test left.
	cfg, err := c.setup.config()
	if err != nil {
		c.t.Error(err)
		return
	}
	entries, _ := os.ReadDir(filepath.Join(c.setup.Dir, "tasks"))
	for _, e := range entries {
		for _, r := range cfg.Runtimes {
			if run, err := r.Find(context.Background(), filepath.Join(c.setup.Dir, "tasks", e.Name(), "run0")); err == nil {
				_ = run.Kill(0)
				_, _ = run.Wait(context.Background())
			}
		}
	}
	if parent, err := cgroup.Find("/sys/fs/cgroup", "/proc/self/cgroup", c.setup.Node); err == nil {
		_ = parent.Group("probe").Remove()
		parent.Remove()
	}
	found, _ := filepath.Glob("/sys/fs/cgroup/*/" + c.setup.Node + "/*/")
	if len(found) > 0 {
		c.t.Errorf("left control groups %v", found)
	}
}

func tailOf(text []byte) []byte { return text[max(0, len(text)-4000):] }

// launch starts a task and returns its id. Zero resources become small ones.
func (c *cell) launch(info mesos.TaskInfo, resources string) string {
	c.t.Helper()
	c.lastID++
	info.TaskID.Value = fmt.Sprintf("task-%d", c.lastID)
	if info.Name == "" {
		info.Name = "app"
	}
	if resources == "" {
		resources = "cpus:0.1;mem:64"
	}
	wanted, err := mesos.ParseResources(resources)
	if err != nil {
		c.t.Fatal(err)
	}
	info.Resources = wanted
	offer := c.offer(wanted)
	none := 0.0
	info.AgentID = offer.AgentID
	err = c.stream.Call(c.t.Context(), mesos.Call{Type: mesos.CallAccept, Accept: &mesos.Accept{
		OfferIDs: []mesos.ID{offer.ID}, Filters: &mesos.Filters{RefuseSeconds: &none},
		Operations: []mesos.Operation{{Type: mesos.OperationLaunch, Launch: &mesos.Launch{TaskInfos: []mesos.TaskInfo{info}}}},
	}})
	if err != nil {
		c.t.Fatal(err)
	}
	return info.TaskID.Value
}

// offer waits for one that is large enough. Others are given back.
func (c *cell) offer(wanted mesos.Resources) mesos.Offer {
	c.t.Helper()
	none := 0.0
	for {
		select {
		case offer := <-c.offers:
			if mesos.Resources(offer.Resources).Scalar("mem") >= wanted.Scalar("mem") && mesos.Resources(offer.Resources).Scalar("disk") >= wanted.Scalar("disk") {
				return offer
			}
			_ = c.stream.Call(c.t.Context(), mesos.Call{Type: mesos.CallDecline, Decline: &mesos.Decline{OfferIDs: []mesos.ID{offer.ID}, Filters: &mesos.Filters{RefuseSeconds: &none}}})
		case <-time.After(time.Minute):
			c.t.Fatal("no offer in a minute")
		}
	}
}

func (c *cell) kill(id string) {
	c.t.Helper()
	if err := c.stream.Call(c.t.Context(), mesos.Call{Type: mesos.CallKill, Kill: &mesos.Kill{TaskID: mesos.ID{Value: id}}}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cell) history(id string) []mesos.TaskStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]mesos.TaskStatus(nil), c.statuses[id]...)
}

// until waits for a status of the task.
func (c *cell) until(id, what string, good func(mesos.TaskStatus) bool) mesos.TaskStatus {
	c.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		for _, s := range c.history(id) {
			if good(s) {
				return s
			}
		}
		if time.Now().After(end) {
			c.t.Fatalf("%s: not in a minute: %s; it was %s", id, what, describe(c.history(id)))
		}
	}
}

func (c *cell) untilState(id string, state mesos.TaskState) mesos.TaskStatus {
	c.t.Helper()
	return c.until(id, string(state), func(s mesos.TaskStatus) bool { return s.State == state })
}

// end waits for the terminal status.
func (c *cell) end(id string) mesos.TaskStatus {
	c.t.Helper()
	return c.until(id, "an end", func(s mesos.TaskStatus) bool { return s.State.Terminal() })
}

// describe is the history of a task in one line, repeated statuses once.
func describe(history []mesos.TaskStatus) string {
	var words []string
	seen := map[string]bool{}
	for _, s := range history {
		if len(s.UUID) > 0 && seen[string(s.UUID)] {
			continue
		}
		seen[string(s.UUID)] = true
		word := strings.TrimPrefix(string(s.State), "TASK_")
		if s.Healthy != nil {
			word += fmt.Sprintf("(healthy %v)", *s.Healthy)
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func shell(line string) mesos.TaskInfo {
	return mesos.TaskInfo{Command: &mesos.CommandInfo{Value: line}}
}

// sandboxFile reads a file of a task's sandbox over the worker's API.
func (c *cell) get(path string) (int, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+c.setup.Address+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.SetBasicAuth("owner", "pw")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	_, _ = b.ReadFrom(resp.Body)
	return resp.StatusCode, b.String()
}

// holds checks whether the worker says that it has a task, as soon as it answers.
func (c *cell) holds(id string, want bool) {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		code, got := c.get("/holds/" + c.id.Value + "/" + id)
		if code == http.StatusOK && got == fmt.Sprint(want) {
			return
		}
		if code != 0 || time.Now().After(deadline) {
			c.t.Errorf("the worker holds %s: %s", id, got)
			return
		}
	}
}

func (c *cell) dirOf(id string) string {
	return "/frameworks/" + c.id.Value + "/executors/" + id + "/runs/latest"
}

// file waits until a file of a sandbox has a text.
func (c *cell) file(id, name, want string) {
	c.t.Helper()
	var text string
	for end := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		if _, text = c.get("/files/download?path=" + c.dirOf(id) + "/" + name); strings.Contains(text, want) {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("%s of %s has %q, not %q", name, id, text, want)
		}
	}
}

func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ") && !errors.Is(err, syscall.ESRCH)
}
