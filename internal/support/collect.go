package support

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/host"
	"howdah.dev/howdah/internal/node/proc"
	"howdah.dev/howdah/internal/store"
)

// How much of the past is taken along.
const (
	maxEvents     = 2000
	maxOperations = 200
	maxSteps      = 30 // operations whose steps are taken along
)

// How long a server may take: for the first answer, and for all of them. One that
// hangs is a reason to ask for support.
const (
	infoPatience   = 10 * time.Second
	serverPatience = 2 * time.Minute
)

// collect gathers everything there is.
func (b *bundle) collect(ctx context.Context) {
	b.host(ctx)
	b.json("settings.json", b.settings)
	asking, cancel := context.WithTimeout(ctx, cmp.Or(b.cfg.Patience, infoPatience))
	info, err := b.cfg.Client.Info(asking)
	cancel()
	switch {
	case err == nil:
		b.about.Server = "answers"
		b.put("server.json", info)
		asking, cancel := context.WithTimeoutCause(ctx, serverPatience, fmt.Errorf("the server has not answered all questions within %s", serverPatience))
		b.served(asking)
		cancel()
	case errors.Is(err, client.ErrUnreachable), errors.Is(err, context.DeadlineExceeded):
		b.about.Server = "does not answer; what is here of clusters and operations is from the database"
		b.stored(ctx)
	default:
		b.about.Server = err.Error()
		b.stored(ctx)
	}
	b.logs(ctx)
}

// json adds what a function returns, or says why not.
func (b *bundle) json(name string, get func() (any, error)) {
	v, err := get()
	if err != nil {
		b.miss(name, err)
		return
	}
	b.put(name, v)
}

// host says what the machine is and how full the home's disk is.
func (b *bundle) host(ctx context.Context) {
	b.json("host.json", func() (any, error) {
		facts, err := host.ReadFacts(ctx)
		if err != nil {
			return nil, err
		}
		disk, err := host.ReadDisk(b.cfg.Home.Dir)
		if err != nil {
			return nil, err
		}
		var name unix.Utsname
		if err := unix.Uname(&name); err != nil {
			return nil, err
		}
		var env []string
		for _, kv := range os.Environ() {
			if strings.HasPrefix(kv, "HOWDAH_") || strings.HasPrefix(kv, "JAVA_HOME=") {
				env = append(env, kv)
			}
		}
		return map[string]any{
			"facts": facts, "kernel": unix.ByteSliceToString(name.Release[:]), "go": runtime.Version(), "environment": env,
			"diskTotalMB": disk.Total >> 20, "diskFreeMB": disk.Free >> 20,
		}, nil
	})
	b.json("database.json", func() (any, error) {
		look, err := store.LookAt(ctx, b.cfg.Home.Database())
		return map[string]any{"schema": look.Schema, "known": look.Newest, "writer": look.Writer, "nodes": len(look.Nodes)}, err
	})
	b.json("processes.json", func() (any, error) { return b.processes() })
}

func (b *bundle) settings() (any, error) { return b.cfg.Home.LoadOptions() }

// process is one process of the home.
type process struct {
	PID     int       `json:"pid"`
	Labels  string    `json:"labels"`
	State   string    `json:"state"`
	RSSMB   int64     `json:"rssMB"`
	Started time.Time `json:"started"`
	Command string    `json:"command"`
}

// processes lists what carries the label of one of the home's nodes or its server.
func (b *bundle) processes() ([]process, error) {
	keys := map[string]bool{"server:" + b.cfg.Home.Dir: true}
	files, err := filepath.Glob(filepath.Join(b.cfg.Home.Nodes(), "*", "*", "node.json"))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		var claim struct{ Key string }
		if data, err := os.ReadFile(f); err == nil && json.Unmarshal(data, &claim) == nil {
			keys[claim.Key] = true
		}
	}
	all, err := proc.List("")
	if err != nil {
		return nil, err
	}
	out := []process{}
	for _, p := range all {
		if keys[p.Node] {
			out = append(out, process{p.PID, p.Labels.String(), p.State, p.RSS >> 20, p.Started, p.Command})
		}
	}
	return out, nil
}

// served asks the server.
func (b *bundle) served(ctx context.Context) {
	c := b.cfg.Client
	cs, err := c.Clusters(ctx)
	b.json("clusters.json", func() (any, error) { return cs, err })
	for _, cl := range cs {
		b.json(path.Join("clusters", cl.Name, "describe.json"), func() (any, error) { return c.Cluster(ctx, cl.Name) })
		b.json(path.Join("clusters", cl.Name, "explain.json"), func() (any, error) { return c.Explain(ctx, cl.Name) })
	}
	ops, err := c.Operations(ctx, "", maxOperations)
	b.json("operations.json", func() (any, error) { return ops, err })
	for i, o := range ops {
		if i == maxSteps {
			break
		}
		b.json(fmt.Sprintf("operations/%d.json", o.ID), func() (any, error) { return c.Operation(ctx, o.ID) })
	}
	b.json("events.json", func() (any, error) { return c.History(ctx, "", maxEvents) })
	b.json("artifacts.json", func() (any, error) { return c.Artifacts(ctx) })
	text, err := c.Goroutines(ctx)
	if err != nil {
		b.miss("goroutines.txt", err)
		return
	}
	b.add("goroutines.txt", []byte(text))
}

// stored reads a copy of the database: the copy may be migrated.
func (b *bundle) stored(ctx context.Context) {
	if err := b.copied(ctx); err != nil {
		b.miss("clusters.json, operations.json, events.json", err)
	}
}

func (b *bundle) copied(ctx context.Context) error {
	tmp, err := os.MkdirTemp("", "howdah-support-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	db := filepath.Join(tmp, "howdah.db")
	if err := store.Backup(ctx, b.cfg.Home.Database(), db); err != nil {
		return err
	}
	st, err := store.Open(ctx, store.Config{Path: db})
	if err != nil {
		return err
	}
	defer st.Close()
	return st.View(ctx, func(tx *store.Tx) error { return b.rows(tx) })
}

// rows adds what the database knows of clusters, operations and the past.
func (b *bundle) rows(tx *store.Tx) error {
	cs, err := tx.Clusters()
	if err != nil {
		return err
	}
	b.put("clusters.json", cs)
	for _, c := range cs {
		nodes, err := tx.Nodes(c.ID)
		if err != nil {
			return err
		}
		seen, err := tx.ObservedOf(c.ID)
		if err != nil {
			return err
		}
		var rev json.RawMessage
		if c.Revision > 0 {
			if err := tx.Revision(c.ID, c.Revision, &rev); err != nil {
				return err
			}
		}
		b.put(path.Join("clusters", c.Name, "database.json"), map[string]any{"nodes": nodes, "observed": seen, "revision": rev})
	}
	ops, err := tx.Operations("", maxOperations)
	if err != nil {
		return err
	}
	list := []api.Operation{}
	for _, o := range ops {
		list = append(list, o.API(nil))
	}
	b.put("operations.json", list)
	for i, o := range ops {
		if i == maxSteps {
			break
		}
		steps, err := tx.Steps(o.ID)
		if err != nil {
			return err
		}
		b.put(fmt.Sprintf("operations/%d.json", o.ID), o.API(steps))
	}
	events, err := tx.RecentEvents("", maxEvents)
	b.put("events.json", events)
	return err
}

// logs adds the ends of all logs: the server's, the agents', the services'.
func (b *bundle) logs(ctx context.Context) {
	h := b.cfg.Home
	b.tail(h.Log(), "logs/server.log")
	for _, pattern := range []string{"agent/agent.log", "*/logs/*.out", "*/logs/*.log"} {
		files, err := filepath.Glob(filepath.Join(h.Nodes(), "*", "*", filepath.FromSlash(pattern)))
		if err != nil {
			b.miss(pattern, err)
		}
		for _, f := range files {
			if ctx.Err() != nil {
				return
			}
			if rel, err := filepath.Rel(h.Nodes(), f); err == nil {
				b.tail(f, path.Join("logs/nodes", filepath.ToSlash(rel)))
			}
		}
	}
}

// tail adds the end of a log, from the beginning of a line on: a part of one could
// be a part of a secret that nobody knows again.
func (b *bundle) tail(file, name string) {
	data, cut, err := end(file, b.cfg.Tail)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		b.miss(name, err)
		return
	}
	if cut {
		_, rest, _ := strings.Cut(string(data), "\n")
		data = []byte("[the beginning is left out]\n" + rest)
	}
	b.add(name, data)
}

// end reads the last bytes of a regular file, and says whether there are more.
func end(file string, most int64) (data []byte, cut bool, err error) {
	st, err := os.Lstat(file)
	if err != nil {
		return nil, false, err
	}
	if !st.Mode().IsRegular() {
		return nil, false, errors.New("it is no plain file")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	from := max(0, st.Size()-most)
	data, err = io.ReadAll(io.NewSectionReader(f, from, most))
	return data, from > 0, err
}
