package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/host"
	"howdah.dev/howdah/internal/node/proc"
)

// How often the node's surroundings are looked at, and for how long one name may
// be looked up.
const (
	vitalsEvery  = 10 * time.Second
	memoryEvery  = 6 // rounds; it reads all of /proc
	namesEvery   = 6 // rounds
	nameDeadline = 2 * time.Second
)

// disk is the room on one file system.
type disk struct {
	path               string
	device             [2]int32
	free, total        uint64 // bytes
	inodesFree, inodes uint64 // 0 of 0 where they are not limited
}

// memory is how much of it there is, in bytes.
type memory struct{ available, total int64 }

// senses are the ways to look at what surrounds the node.
type senses struct {
	every   time.Duration
	disk    func(path string) (disk, error)
	used    func(node string, enough int64) (int64, error) // see usedMemory
	memory  func(ctx context.Context) (memory, error)
	resolve func(ctx context.Context, name string) error
}

func (s senses) orReal() senses {
	if s.every == 0 {
		s.every = vitalsEvery
	}
	if s.disk == nil {
		s.disk = statDisk
	}
	if s.used == nil {
		s.used = usedMemory
	}
	if s.memory == nil {
		s.memory = hostMemory
	}
	if s.resolve == nil {
		s.resolve = resolve
	}
	return s
}

// vitals keeps the node's own conditions.
type vitals struct {
	agent  *Agent
	senses senses
	node   string
	limit  int64    // bytes of memory set aside for the node; 0 where unknown
	paths  []string // whose disks are looked at
	names  []string // that must resolve

	mu     sync.Mutex
	known  map[string]api.Condition
	skewed int           // answers of the server in a row with another time than ours
	told   time.Duration // by how much we said to be ahead
	lost   int           // rounds in a row in which a name did not resolve
	held   string        // what waits for room on the disk
}

func newVitals(a *Agent) *vitals {
	v := &vitals{agent: a, senses: a.cfg.senses.orReal(), node: a.nodeID(), limit: int64(a.host.MemoryMB) << 20, paths: []string{a.cfg.Dir}, known: map[string]api.Condition{}}
	if a.host.Cache != "" {
		v.paths = append(v.paths, a.host.Cache)
	}
	if name, err := os.Hostname(); err == nil {
		v.names = append(v.names, name)
	}
	if at, _, err := net.SplitHostPort(a.link.server); err == nil {
		v.names = append(v.names, at)
	}
	return v
}

// run looks again and again until ctx ends.
func (v *vitals) run(ctx context.Context) {
	for round := 0; ctx.Err() == nil; round++ {
		v.agent.retake(ctx)
		v.set(v.diskPressure())
		if round%memoryEvery == 0 {
			v.set(v.memoryPressure(ctx))
		}
		if round%namesEvery == 0 || v.lost > 0 {
			v.set(v.nameResolution(ctx))
		}
		if !sleep(ctx, v.agent.beat(v.senses.every)) {
			return
		}
	}
}

// set takes over what was found; news go out at once.
func (v *vitals) set(c api.Condition) {
	v.mu.Lock()
	old, known := v.known[c.Type]
	if known && old.Status == c.Status && old.Reason == c.Reason {
		c.Since = old.Since
	} else {
		now := time.Now()
		c.Since = &now
	}
	v.known[c.Type] = c
	v.mu.Unlock()
	if !known && !c.Bad() || known && old.Status == c.Status && old.Reason == c.Reason && old.Message == c.Message {
		return
	}
	v.agent.changed()
}

// hold says which assignment the disk has no room for; nil that there is none.
func (v *vitals) hold(as *agentapi.Assignment) {
	held := ""
	if as != nil {
		held = fmt.Sprintf("; assignment %d waits for room, what runs goes on as it is", as.Generation)
	}
	v.mu.Lock()
	news := v.held != held
	v.held = held
	v.mu.Unlock()
	if news {
		v.set(v.diskPressure())
	}
}

// was returns what was found last.
func (v *vitals) was(kind string) api.Condition {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.known[kind]
}

// conditions returns what is known, in a fixed order.
func (v *vitals) conditions() []api.Condition {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []api.Condition
	for _, kind := range []string{api.ConditionDiskPressure, api.ConditionMemoryPressure, api.ConditionClockSkew, api.ConditionNameResolution} {
		if c, ok := v.known[kind]; ok {
			out = append(out, c)
		}
	}
	return out
}

func (v *vitals) diskPressure() api.Condition {
	var disks []disk
	for _, p := range v.paths {
		d, err := v.senses.disk(p)
		for at := p; errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at); d, err = v.senses.disk(at) {
			at = filepath.Dir(at) // it will be made there
		}
		if err != nil {
			return v.unknown(api.ConditionDiskPressure, fmt.Errorf("cannot read the room on the disk of %s: %w", p, err))
		}
		if !slices.ContainsFunc(disks, func(o disk) bool { return o.device == d.device }) {
			disks = append(disks, d)
		}
	}
	c := judgeDisks(v.was(api.ConditionDiskPressure), disks)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.held != "" && c.Status {
		c.Message += v.held
	}
	return c
}

func (v *vitals) memoryPressure(ctx context.Context) api.Condition {
	m, err := v.senses.memory(ctx)
	if err != nil {
		return v.unknown(api.ConditionMemoryPressure, err)
	}
	used := int64(0)
	if v.limit > 0 {
		if used, err = v.senses.used(v.node, int64(nodeMemoryEnds*float64(v.limit))); err != nil {
			return v.unknown(api.ConditionMemoryPressure, err)
		}
	}
	return judgeMemory(v.was(api.ConditionMemoryPressure), used, v.limit, m)
}

func (v *vitals) nameResolution(ctx context.Context) api.Condition {
	ctx, cancel := context.WithTimeout(ctx, nameDeadline)
	defer cancel()
	for _, name := range v.names {
		if err := v.senses.resolve(ctx, name); err != nil {
			v.lost++
			if v.lost < timesInARow {
				return orFine(v.was(api.ConditionNameResolution), api.ConditionNameResolution, true, "Resolved")
			}
			return api.Condition{Type: api.ConditionNameResolution, Reason: "NotResolved", Message: fmt.Sprintf("%s does not resolve: %v", name, err)}
		}
	}
	v.lost = 0
	return api.Condition{Type: api.ConditionNameResolution, Status: true, Reason: "Resolved"}
}

// compare compares our clock with the time the server's answer carries, which
// is in whole seconds; the answer took a while, and half of that lies after it.
func (v *vitals) compare(date string, received time.Time, took time.Duration) {
	server, err := http.ParseTime(date)
	if err != nil {
		v.set(v.unknown(api.ConditionClockSkew, fmt.Errorf("the server's answer carries no time: %w", err)))
		return
	}
	if took > slowAnswer {
		return // too slow to tell
	}
	ahead := received.Add(-took / 2).Sub(server.Add(dateStep / 2))
	was := v.was(api.ConditionClockSkew)
	off := ahead.Abs() > maxSkew+dateStep/2+took/2
	if off {
		v.skewed++
	} else {
		v.skewed = 0
	}
	switch {
	case was.Status && ahead.Abs() > skewEnds && (ahead-v.told).Abs() < maxSkew: // as told
	case off && v.skewed >= timesInARow:
		way := "ahead of"
		if ahead < 0 {
			way = "behind"
		}
		v.told = ahead
		v.set(api.Condition{Type: api.ConditionClockSkew, Status: true, Reason: "Differs", Message: fmt.Sprintf("the clock is %s %s the server's", ahead.Abs().Round(time.Second), way)})
	case !off:
		v.set(api.Condition{Type: api.ConditionClockSkew, Reason: "InTime"})
	}
}

func statDisk(path string) (disk, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return disk{}, err
	}
	size := uint64(st.Bsize) //nolint:gosec // block sizes are positive
	return disk{path: path, device: st.Fsid.Val, free: st.Bavail * size, total: st.Blocks * size, inodesFree: st.Ffree, inodes: st.Files}, nil
}

func hostMemory(ctx context.Context) (memory, error) {
	f, err := host.ReadFacts(ctx)
	if f.MemoryTotal == 0 {
		return memory{}, err
	}
	return memory{available: f.MemoryAvailable, total: f.MemoryTotal}, nil
}

// usedMemory adds up the memory of a node's processes, the agent among them.
// Their resident memory counts shared pages in full and costs little; only where
// that reaches the mark that is asked about, the true share is read.
func usedMemory(node string, mark int64) (int64, error) {
	all, err := proc.List(node)
	if err != nil {
		return 0, err
	}
	sum := int64(0)
	for _, p := range all {
		sum += p.RSS
	}
	if sum < mark {
		return sum, nil
	}
	sum = 0
	for _, p := range all {
		share, err := proc.PSS(p.PID)
		if err != nil {
			share = p.RSS // it ended meanwhile, or is another user's
		}
		sum += share
	}
	return sum, nil
}

func resolve(ctx context.Context, name string) error {
	_, err := net.DefaultResolver.LookupHost(ctx, name)
	return err
}
