package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestJudgeDisks: when little room begins and when it ends.
func TestJudgeDisks(t *testing.T) {
	const gb = 1 << 30
	low := api.Condition{Type: api.ConditionDiskPressure, Status: true, Reason: reasonRoom}
	for name, c := range map[string]struct {
		was  api.Condition
		disk disk
		want string
	}{
		"room":                        {disk: disk{free: 50 * gb, total: 100 * gb}, want: "Enough"},
		"below 5 %":                   {disk: disk{path: "/n", free: 49 * gb, total: 1000 * gb}, want: "LittleRoom 49.0 GiB free of 1000.0 GiB on the disk of /n"},
		"at 5 %":                      {disk: disk{free: 50 * gb, total: 1000 * gb}, want: "Enough"},
		"at 5 %, was low":             {was: low, disk: disk{path: "/n", free: 50 * gb, total: 1000 * gb}, want: "LittleRoom 50.0 GiB free of 1000.0 GiB on the disk of /n"},
		"at 6 %, was low":             {was: low, disk: disk{free: 60 * gb, total: 1000 * gb}, want: "Enough"},
		"below 2 GiB of a small disk": {disk: disk{path: "/n", free: 2*gb - 1, total: 10 * gb}, want: "LittleRoom 2.0 GiB free of 10.0 GiB on the disk of /n"},
		"2 GiB, was low":              {was: low, disk: disk{path: "/n", free: 2 * gb, total: 10 * gb}, want: "LittleRoom 2.0 GiB free of 10.0 GiB on the disk of /n"},
		"2.3 GiB, was low":            {was: low, disk: disk{free: 23 * gb / 10, total: 10 * gb}, want: "Enough"},
		"full":                        {disk: disk{path: "/n", free: minFree - 1, total: 10 * gb}, want: "Full 0.2 GiB free of 10.0 GiB on the disk of /n; nothing can be started on it"},
		"few inodes":                  {disk: disk{path: "/n", free: 50 * gb, total: 100 * gb, inodesFree: 49, inodes: 1000}, want: "FewInodes 4 % of the inodes free on the disk of /n"},
		"no limit of inodes":          {disk: disk{free: 50 * gb, total: 100 * gb}, want: "Enough"},
	} {
		got := judgeDisks(c.was, []disk{c.disk})
		if have := strings.TrimSpace(got.Reason + " " + got.Message); have != c.want || got.Status != (got.Reason != reasonEnough) {
			t.Errorf("%s: %q, want %q", name, have, c.want)
		}
	}
	if got := judgeDisks(api.Condition{}, []disk{{free: gb, total: 10 * gb}, {path: "/cache", total: 10 * gb}}); got.Reason != api.ReasonFull {
		t.Errorf("a full disk is hidden by one with little room: %+v", got)
	}
}

func TestJudgeMemory(t *testing.T) {
	const mb = 1 << 20
	node := api.Condition{Type: api.ConditionMemoryPressure, Status: true, Reason: reasonNode}
	onHost := api.Condition{Type: api.ConditionMemoryPressure, Status: true, Reason: reasonHost}
	much := memory{available: 500 * mb, total: 1000 * mb}
	for name, c := range map[string]struct {
		was         api.Condition
		used, limit int64
		memory      memory
		want        string
	}{
		"half":              {used: 500 * mb, limit: 1000 * mb, memory: much, want: "Enough"},
		"90 %":              {used: 900 * mb, limit: 1000 * mb, memory: much, want: "Enough"},
		"91 %":              {used: 910 * mb, limit: 1000 * mb, memory: much, want: "Node its processes use 91 % of the 1000 MiB set aside for them"},
		"86 %, was more":    {was: node, used: 860 * mb, limit: 1000 * mb, memory: much, want: "Node its processes use 86 % of the 1000 MiB set aside for them"},
		"85 %, was more":    {was: node, used: 850 * mb, limit: 1000 * mb, memory: much, want: "Enough"},
		"nothing set aside": {used: 850 * mb, memory: much, want: "Enough"},
		"host at 4 %":       {memory: memory{available: 40 * mb, total: 1024 * mb}, want: "Host the host has 3 % of its 1.0 GiB left"},
		"host at 6 %, was":  {was: onHost, memory: memory{available: 62 * mb, total: 1024 * mb}, want: "Host the host has 6 % of its 1.0 GiB left"},
		"host at 6 %":       {memory: memory{available: 62 * mb, total: 1024 * mb}, want: "Enough"},
		"host at 8 %, was":  {was: onHost, memory: memory{available: 82 * mb, total: 1024 * mb}, want: "Enough"},
	} {
		got := judgeMemory(c.was, c.used, c.limit, c.memory)
		if have := strings.TrimSpace(got.Reason + " " + got.Message); have != c.want {
			t.Errorf("%s: %q, want %q", name, have, c.want)
		}
	}
}

// world is what an agent's senses find; tests change it.
type world struct {
	mu     sync.Mutex
	disk   disk
	memory memory
	fails  error // of every look
	lost   string
}

func (w *world) change(f func(*world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
}

func (w *world) senses() senses {
	return senses{
		every: 5 * time.Millisecond,
		disk: func(path string) (disk, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			d := w.disk
			d.path = path
			return d, w.fails
		},
		memory: func(context.Context) (memory, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.memory, w.fails
		},
		resolve: func(_ context.Context, name string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.lost == name {
				return errors.New("no such host")
			}
			return nil
		},
	}
}

// condition waits until a condition of the node is reported as wanted.
func (h *hub) condition(kind, want string) {
	h.t.Helper()
	got := ""
	h.until(kind+" is "+want, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		i := slices.IndexFunc(h.report.Conditions, func(c api.Condition) bool { return c.Type == kind })
		if i < 0 {
			return want == "absent"
		}
		c := h.report.Conditions[i]
		got = strings.TrimSpace(c.Reason + " " + c.Message)
		return got == want && c.Since != nil
	})
}

// TestVitals: an agent reports what surrounds its node, what it cannot find out
// as that, and that it is over.
func TestVitals(t *testing.T) {
	h := newHub(t)
	const gb = 1 << 30
	w := &world{disk: disk{free: 50 * gb, total: 100 * gb}, memory: memory{available: 10 * gb, total: 16 * gb}}
	h.senses = w.senses()
	h.serve(h.service(""))
	h.agent()
	h.state("ready")
	h.condition(api.ConditionDiskPressure, "Enough")
	h.condition(api.ConditionMemoryPressure, "Enough")
	h.condition(api.ConditionNameResolution, "Resolved")
	w.change(func(w *world) { w.disk.free, w.memory.available = gb, gb/2 })
	h.condition(api.ConditionDiskPressure, "LittleRoom 1.0 GiB free of 100.0 GiB on the disk of "+h.dir)
	h.condition(api.ConditionMemoryPressure, "Host the host has 3 % of its 16.0 GiB left")
	w.change(func(w *world) { w.fails = errors.New("no answer") })
	h.condition(api.ConditionDiskPressure, "Unknown cannot read the room on the disk of "+h.dir+": no answer")
	h.condition(api.ConditionMemoryPressure, "Unknown no answer")
	w.change(func(w *world) { w.fails, w.disk.free, w.memory.available = nil, 50*gb, 10*gb })
	h.condition(api.ConditionDiskPressure, "Enough")
	h.condition(api.ConditionMemoryPressure, "Enough")
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	w.change(func(w *world) { w.lost = name })
	h.condition(api.ConditionNameResolution, "NotResolved "+name+" does not resolve: no such host")
	w.change(func(w *world) { w.lost = "127.0.0.1" })
	h.condition(api.ConditionNameResolution, "NotResolved 127.0.0.1 does not resolve: no such host")
	w.change(func(w *world) { w.lost = "" })
	h.condition(api.ConditionNameResolution, "Resolved")
}

// TestRealDisk looks at a real file system that shrinks, grows and runs out of
// inodes.
func TestRealDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a file system")
	}
	h := newHub(t)
	cache := h.path("cache")
	if err := os.Mkdir(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", cache, "tmpfs", 0, "size=4g,nr_inodes=200"); err != nil {
		t.Skip("this environment mounts nothing: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(cache, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	size := func(options string) {
		t.Helper()
		if err := unix.Mount("tmpfs", cache, "tmpfs", unix.MS_REMOUNT, options); err != nil {
			t.Fatal(err)
		}
	}
	real := senses{}.orReal()
	real.every = 5 * time.Millisecond
	// The disk of the node itself is this machine's, which may be full.
	real.disk = func(path string) (disk, error) {
		if path != cache {
			return disk{free: 1 << 40, total: 1 << 40}, nil
		}
		return statDisk(path)
	}
	h.senses = real
	h.serve(h.service(""))
	h.agent()
	h.condition(api.ConditionDiskPressure, "Enough")
	size("size=1g,nr_inodes=200")
	h.condition(api.ConditionDiskPressure, "LittleRoom 1.0 GiB free of 1.0 GiB on the disk of "+cache)
	size("size=100m,nr_inodes=200")
	h.condition(api.ConditionDiskPressure, "Full 0.1 GiB free of 0.1 GiB on the disk of "+cache+"; nothing can be started on it")
	size("size=4g,nr_inodes=200")
	h.condition(api.ConditionDiskPressure, "Enough")
	for i := range 195 {
		writeFile(t, filepath.Join(cache, strconv.Itoa(i)), "")
	}
	h.condition(api.ConditionDiskPressure, "FewInodes 2 % of the inodes free on the disk of "+cache)
}

// TestMemoryOfTheNode counts what its processes really use.
func TestMemoryOfTheNode(t *testing.T) {
	h := newHub(t)
	w := &world{disk: disk{free: 1 << 40, total: 1 << 40}, memory: memory{available: 1 << 40, total: 1 << 40}}
	h.senses = w.senses()
	h.write("host.json", agentapi.HostFile{Address: "127.0.0.1", Cache: h.path("cache"), MemoryMB: 1, CPUs: 1})
	h.serve(h.service(`x=$(head -c 4000000 /dev/zero | tr '\0' x); touch ready; while :; do sleep 1; done`))
	h.agent()
	h.state("ready")
	h.until("the node's processes use more than 1 MiB", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return slices.ContainsFunc(h.report.Conditions, func(c api.Condition) bool {
			return c.Type == api.ConditionMemoryPressure && c.Reason == reasonNode && strings.HasSuffix(c.Message, " % of the 1 MiB set aside for them")
		})
	})
}

// TestSenses: what the real ones find is plausible.
func TestSenses(t *testing.T) {
	s := senses{}.orReal()
	d, err := s.disk(t.TempDir())
	var st unix.Statfs_t
	if statErr := unix.Statfs(os.TempDir(), &st); err != nil || statErr != nil || d.total != st.Blocks*uint64(st.Bsize) || d.free > d.total {
		t.Errorf("%+v %v %v", d, err, statErr)
	}
	if _, err := s.disk("/nowhere/at/all"); err == nil {
		t.Error("a disk that is not there has room")
	}
	m, err := s.memory(t.Context())
	if err != nil || m.total < 1<<26 || m.available <= 0 || m.available > m.total {
		t.Errorf("%+v %v", m, err)
	}
	if err := s.resolve(t.Context(), "127.0.0.1"); err != nil {
		t.Error(err)
	}
	if err := s.resolve(t.Context(), "no-such-host.invalid"); err == nil {
		t.Error("a name that nobody has resolves")
	}
}

// TestClock compares the agent's clock with the time of the server's answers.
func TestClock(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 500e6, time.UTC)
	for name, c := range map[string]struct {
		ahead []time.Duration // of our clock, answer by answer
		took  time.Duration
		want  string
	}{
		"in time":                 {ahead: []time.Duration{0, time.Second, -time.Second}, want: "InTime"},
		"once":                    {ahead: []time.Duration{time.Hour}, want: ""},
		"twice":                   {ahead: []time.Duration{time.Hour, time.Hour}, want: "Differs the clock is 1h0m0s ahead the server's"},
		"behind":                  {ahead: []time.Duration{-10 * time.Second, -10 * time.Second}, want: "Differs the clock is 10s behind the server's"},
		"within what can be told": {ahead: []time.Duration{2400 * time.Millisecond, 2400 * time.Millisecond}, want: "InTime"},
		"a slow answer":           {ahead: []time.Duration{time.Hour, time.Hour}, took: 3 * time.Second, want: ""},
		"half of the way counts":  {ahead: []time.Duration{3 * time.Second, 3 * time.Second}, took: time.Second, want: "InTime"},
		"it stays at the edge":    {ahead: []time.Duration{5 * time.Second, 5 * time.Second, 4 * time.Second}, want: "Differs the clock is 5s ahead the server's"},
		"it changes":              {ahead: []time.Duration{5 * time.Second, 5 * time.Second, 9 * time.Second}, want: "Differs the clock is 9s ahead the server's"},
		"it ends":                 {ahead: []time.Duration{5 * time.Second, 5 * time.Second, time.Second}, want: "InTime"},
	} {
		v := &vitals{agent: &Agent{reports: make(chan struct{}, 1)}, known: map[string]api.Condition{}}
		for _, ahead := range c.ahead {
			v.compare(now.Format("Mon, 02 Jan 2006 15:04:05 GMT"), now.Add(ahead), c.took)
		}
		got := v.was(api.ConditionClockSkew)
		if have := strings.ReplaceAll(strings.TrimSpace(got.Reason+" "+got.Message), "ahead of", "ahead"); have != c.want {
			t.Errorf("%s: %q, want %q", name, have, c.want)
		}
	}
	h := newHub(t)
	h.ahead = -time.Hour
	h.serve(h.service(""))
	h.agent()
	h.state("ready")
	h.until("the skew is told", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return slices.ContainsFunc(h.report.Conditions, func(c api.Condition) bool {
			return c.Type == api.ConditionClockSkew && c.Status && strings.HasSuffix(c.Message, "ahead of the server's")
		})
	})
}

// TestRelations: by which addresses services depend on one another.
func TestRelations(t *testing.T) {
	spec := &agentapi.Service{
		Ports: []agentapi.Port{{Name: "rpc", Address: "127.0.0.2:1"}, {Name: "web", Address: "127.0.0.2:2"}},
		Gates: []agentapi.Probe{{TCP: "127.0.0.3:8020"}, {HTTP: "http://127.0.0.4:9870/jmx?q"}, {Adapter: "x", Address: "127.0.0.5:6627"}, {Adapter: "x", Address: ""}},
		Ready: agentapi.Probe{HTTP: "http://127.0.0.2:2/ready"}, Health: &agentapi.Probe{TCP: "127.0.0.3:8020"},
	}
	listens, needs := relations(spec)
	if diff := cmp.Diff([]string{"127.0.0.2:1", "127.0.0.2:2"}, listens); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"127.0.0.3:8020", "127.0.0.4:9870", "127.0.0.5:6627"}, needs); diff != "" {
		t.Error(diff)
	}
	for url, want := range map[string]string{"http://a/x": "a:80", "https://a/x": "a:443", "http://[::1]:9/x": "[::1]:9", "://": "", "ftp://a/x": ""} {
		if got := asked(agentapi.Probe{HTTP: url}); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}
