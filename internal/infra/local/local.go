// Package local makes nodes on this host: each is a directory, a loopback
// address and an agent process. Memory is a hard sum, cores are shared. The
// driver's loop restarts dead agents. It must not know what runs on a node.
package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/host"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/infra/local/identity"
	"howdah.dev/howdah/internal/node/proc"
)

// firstNode is the last part of the first address a node may have; those
// before belong to the server.
const firstNode = 10

// watchEvery is how often dead agents are looked for.
const watchEvery = time.Second

// Config is what the driver needs.
type Config struct {
	Dir       string       // holds the nodes' directories
	Cache     string       // the host's artifact cache
	Addresses netip.Prefix // claimed for this home
	MemoryMB  int          // for nodes in all
	CPUs      int
	Identity  string   // shared object that gives a process its node's address; "" without a compiler
	Missing   string   // why there is none
	Agent     []string // command of the agent; --dir DIR is added
	Log       *slog.Logger
}

// Driver is the local infrastructure.
type Driver struct {
	cfg  Config
	host string

	mu       sync.Mutex
	attempts map[string]attempts // starts of agents, by the node's directory
}

// New makes the driver.
func New(cfg Config) (*Driver, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("cannot learn the host's name: %w", err)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Driver{cfg: cfg, host: host, attempts: map[string]attempts{}}, nil
}

// claim is the driver's own record of a node, in its directory.
type claim struct {
	Key     string `json:"key"`
	Powered bool   `json:"powered,omitempty"`
}

// labelAgent is the service an agent's process is labelled with.
const labelAgent = "agent"

const (
	fileClaim = "node.json"
	fileHost  = "host.json"
	fileJoin  = "join.json"
)

// Inventory is this host.
func (d *Driver) Inventory(context.Context) (infra.Inventory, error) {
	disk, err := host.ReadDisk(d.cfg.Dir)
	if err != nil {
		return infra.Inventory{}, err
	}
	return infra.Inventory{
		Hosts:     []infra.Host{{Name: d.host, CPUs: d.cfg.CPUs, MemoryMB: d.cfg.MemoryMB, DiskFreeMB: disk.Free >> 20}},
		Addresses: d.cfg.Addresses, First: firstNode,
		Identity: d.cfg.Identity != "", Reason: d.cfg.Missing,
	}, nil
}

func (d *Driver) dir(ref infra.Ref) string { return filepath.Join(d.cfg.Dir, ref.Cluster, ref.Name) }

// claimOf reads who a node's directory belongs to.
func (d *Driver) claimOf(ref infra.Ref) (claim, error) {
	var c claim
	data, err := os.ReadFile(filepath.Join(d.dir(ref), fileClaim))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(d.dir(ref)); err == nil {
			return c, infra.Errorf(infra.KindConflict, "cannot use %s: it is there and was not made by this driver", d.dir(ref))
		}
		return c, infra.Errorf(infra.KindNotFound, "node %s is not there", ref.Name)
	}
	if err != nil {
		return c, fmt.Errorf("cannot read node %s: %w", ref.Name, err)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		file := filepath.Join(d.dir(ref), fileClaim)
		return c, infra.Errorf(infra.KindConflict, `cannot read %s: %v; where the directory is still that of node %s, write {"key":%q,"powered":true} into it`, file, err, ref.Name, ref.Key)
	}
	if c.Key != ref.Key {
		return c, infra.Errorf(infra.KindConflict, "cannot use %s: it belongs to node %s", d.dir(ref), c.Key)
	}
	return c, nil
}

// Create makes the directory, puts the join file into it and starts the agent.
// The claim is the first thing in the directory, which appears by rename.
func (d *Driver) Create(_ context.Context, r infra.CreateRequest) error {
	_, err := d.claimOf(r.Ref)
	switch {
	case err == nil:
	case infra.KindOf(err) == infra.KindNotFound:
		if err := d.make(r.Ref); err != nil {
			return err
		}
	default:
		return err
	}
	host := agentapi.HostFile{Address: r.Address, Cache: d.cfg.Cache, MemoryMB: r.MemoryMB, CPUs: r.CPUs, Env: map[string]string{identity.EnvIP: r.Address}}
	if d.cfg.Identity != "" {
		host.Env["LD_PRELOAD"] = d.cfg.Identity
	}
	if err := write(filepath.Join(d.dir(r.Ref), fileHost), host); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(d.dir(r.Ref), "agent", "identity.json")); errors.Is(err, fs.ErrNotExist) {
		if err := renameio.WriteFile(filepath.Join(d.dir(r.Ref), fileJoin), r.Join, 0o600); err != nil {
			return fmt.Errorf("cannot write join file of %s: %w", r.Name, err)
		}
	}
	return d.setPower(r.Ref, true)
}

// Invite puts another join file into a node's directory; its agent looks for one
// before each connection.
func (d *Driver) Invite(_ context.Context, ref infra.Ref, join []byte) error {
	if _, err := d.claimOf(ref); err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(d.dir(ref), fileJoin), join, 0o600); err != nil {
		return fmt.Errorf("cannot write join file of %s: %w", ref.Name, err)
	}
	return nil
}

// make makes a node's directory with its claim.
func (d *Driver) make(ref infra.Ref) error {
	parent := filepath.Dir(d.dir(ref))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("cannot make node %s: %w", ref.Name, err)
	}
	// What an attempt that was cut short left behind has the same name.
	tmp := filepath.Join(parent, ".making-"+ref.Key)
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("cannot make node %s: %w", ref.Name, err)
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return fmt.Errorf("cannot make node %s: %w", ref.Name, err)
	}
	if err := write(filepath.Join(tmp, fileClaim), claim{Key: ref.Key}); err != nil {
		return err
	}
	if err := os.Rename(tmp, d.dir(ref)); err != nil {
		return errors.Join(fmt.Errorf("cannot make node %s: %w", ref.Name, err), os.RemoveAll(tmp))
	}
	return nil
}

func write(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

// overwrite writes v over what a file holds, which is longer, in the room that it has.
func overwrite(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("cannot write over %s: %w", path, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("cannot write over %s: %w", path, err)
	}
	if more := int(st.Size()) - len(data); more > 0 {
		data = append(data, bytes.Repeat([]byte(" "), more)...)
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		return fmt.Errorf("cannot write over %s: %w", path, err)
	}
	return f.Sync()
}

// setPower records what is wanted and has the loop see to it. A node can be switched off
// though its disk has no room for another file.
func (d *Driver) setPower(ref infra.Ref, on bool) error {
	file, want := filepath.Join(d.dir(ref), fileClaim), claim{Key: ref.Key, Powered: on}
	err := write(file, want)
	if !on && (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)) {
		err = overwrite(file, want)
	}
	if err != nil {
		return err
	}
	d.forget(d.dir(ref))
	if on {
		return d.startAgent(d.dir(ref))
	}
	return nil
}

// Delete ends everything that runs for the node and removes its directory.
func (d *Driver) Delete(ctx context.Context, ref infra.Ref) error {
	// A directory on its way out has a name of its own: a removal cut short is
	// known by it, whatever of the directory is left.
	leaving := filepath.Join(filepath.Dir(d.dir(ref)), ".deleting-"+ref.Key)
	_, err := d.claimOf(ref)
	switch {
	case err == nil:
		if err := d.Power(ctx, ref, false); err != nil {
			return err
		}
		if err := os.Rename(d.dir(ref), leaving); err != nil {
			return fmt.Errorf("cannot remove node %s: %w", ref.Name, err)
		}
	case infra.KindOf(err) != infra.KindNotFound:
		return err
	}
	if err := os.RemoveAll(leaving); err != nil {
		return fmt.Errorf("cannot remove node %s: %w", ref.Name, err)
	}
	return d.removeEmpty(ref)
}

// removeEmpty removes the cluster's directory when its last node went.
func (d *Driver) removeEmpty(ref infra.Ref) error {
	err := os.Remove(filepath.Dir(d.dir(ref)))
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
		return nil
	}
	return err
}

// Power switches a node on or off. Off ends the agent and all its processes.
func (d *Driver) Power(ctx context.Context, ref infra.Ref, on bool) error {
	if _, err := d.claimOf(ref); err != nil {
		return err
	}
	if err := d.setPower(ref, on); err != nil || on {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	// The agent carries the label too; it goes first with the rest.
	if _, err := proc.Sweep(ctx, proc.Labels{Node: ref.Key}, 10*time.Second); err != nil {
		return fmt.Errorf("cannot end the processes of node %s: %w", ref.Name, err)
	}
	return nil
}

// Describe tells whether the node is powered.
func (d *Driver) Describe(_ context.Context, ref infra.Ref) (infra.Description, error) {
	c, err := d.claimOf(ref)
	if err != nil {
		return infra.Description{}, err
	}
	return infra.Description{Powered: c.Powered, Trouble: d.trouble(d.dir(ref))}, nil
}

// End ends every agent and every process of all nodes below a directory. It
// needs no server; the nodes' data stays. What runs for the nodes of another home goes
// on, though this be a copy of it.
func End(ctx context.Context, nodes string) error {
	keys, err := keysBelow(nodes)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for key := range keys {
		g.Go(func() error {
			_, err := proc.Sweep(ctx, proc.Labels{Node: key}, 10*time.Second)
			return err
		})
	}
	return g.Wait()
}

// nodeDir matches a path in the directory of a node of any home.
var nodeDir = regexp.MustCompile(`/nodes/[^/]+/[^/]+(/|$)`)

// keysBelow finds the keys of nodes below a directory: those that their claims name, and
// those of processes that run in it, whatever became of the claims. A key whose processes
// run in the nodes of another home is that home's.
func keysBelow(nodes string) (map[string]bool, error) {
	own, err := filepath.EvalSymlinks(nodes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := proc.List("")
	if err != nil {
		return nil, err
	}
	here, elsewhere := map[string]bool{}, map[string]bool{}
	for _, p := range all {
		dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.PID))
		switch {
		case err != nil: // it ended, or is not ours to look at
		case strings.HasPrefix(dir, own+"/"):
			here[p.Node] = true
		case nodeDir.MatchString(dir):
			elsewhere[p.Node] = true
		}
	}
	claims, err := filepath.Glob(filepath.Join(own, "*", "*", fileClaim))
	if err != nil {
		return nil, err
	}
	for _, f := range claims {
		var c claim
		data, err := os.ReadFile(f)
		if err == nil && json.Unmarshal(data, &c) == nil && c.Key != "" && !elsewhere[c.Key] {
			here[c.Key] = true
		}
	}
	return here, nil
}

// startAgent starts the agent of a node that is there and switched on, unless it runs.
func (d *Driver) startAgent(dir string) error {
	runs, err := agentRuns(dir)
	if err != nil || runs {
		return err
	}
	var c claim
	data, err := os.ReadFile(filepath.Join(dir, fileClaim))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot start agent: %w", err)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return fmt.Errorf("cannot start agent: %w", err)
	}
	if !c.Powered {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(dir, "agent"), 0o700); err != nil {
		return fmt.Errorf("cannot start agent: %w", err)
	}
	argv := append(append([]string{}, d.cfg.Agent...), "--dir", dir)
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return fmt.Errorf("cannot start agent: %w", err)
	}
	argv[0] = program
	p, err := proc.Start(proc.Spec{
		Argv: argv, Dir: dir, Env: os.Environ(), Output: filepath.Join(dir, "agent", "agent.log"),
		Labels: proc.Labels{Node: c.Key, Service: labelAgent, Incarnation: time.Now().UnixNano()},
	})
	if err != nil {
		return fmt.Errorf("cannot start agent: %w", err)
	}
	go d.await(dir, p)
	return nil
}

// agentRuns asks the lock an agent holds.
func agentRuns(dir string) (bool, error) {
	path := filepath.Join(dir, "agent", "lock")
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot look for agent: open %s: %w", path, err)
	}
	defer unix.Close(fd)
	err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
