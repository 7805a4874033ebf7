package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/definition"
	"howdah.dev/howdah/internal/host"
	"howdah.dev/howdah/internal/infra/local/identity"
)

// What clusters need of their host beside what their stacks say.
const (
	needDiskBytes   = 3 << 30
	needMemoryBytes = 2 << 30
)

// prerequisites checks what the host lacks for a file's clusters, installing
// it where that is allowed.
func (u *upper) prerequisites(ctx context.Context, file string) error {
	begun := time.Now()
	needs, err := u.needs(file)
	if err != nil || len(needs) == 0 {
		return err
	}
	rs := host.Check(ctx, needs)
	if missing(rs) {
		for _, r := range rs {
			if !r.OK {
				u.remark("%s", r)
			}
		}
		err := host.Install(ctx, rs, host.InstallOptions{
			Allow: os.Getenv("HOWDAH_INSTALL") != "0", Progress: func(line string) { u.remark("  %s", line) },
		})
		if err != nil {
			return &exitError{exitFailed, err}
		}
		rs = host.Check(ctx, needs)
	}
	var found []string
	for _, r := range rs {
		if !r.OK {
			return &exitError{exitFailed, errors.New(r.Problem)}
		}
		if r.Need.Kind != host.NeedDisk && r.Need.Kind != host.NeedMemory {
			found = append(found, r.String())
		}
	}
	fmt.Fprintf(u.notes(), "prerequisites  %s  ok  %s\n", strings.Join(found, "  "), seconds(time.Since(begun)))
	return nil
}

func missing(rs []host.Result) bool {
	return slices.ContainsFunc(rs, func(r host.Result) bool { return !r.OK })
}

// needs lists what a file's clusters need of this host. What is wrong with the
// file is for the server to say.
func (u *upper) needs(file string) ([]host.Need, error) {
	if file == "" {
		return nil, nil // what is there already had what it needs
	}
	f, err := u.readFile(file)
	if err != nil {
		return nil, err
	}
	cat, ds := catalog(u.opts.Stacks...)
	if err := ds.Err(); err != nil {
		return nil, err
	}
	ps, _ := definition.Read(f.Name, []byte(f.Content))
	cs, _ := definition.Complete(ps, definition.World{Stacks: cat, Infrastructures: []string{"local"}, OpenPorts: true})
	cache := artifact.New(artifact.Config{Dir: u.home.Cache()})
	needs := neededBy(cs, needing{
		maven:    func(locks []*artifact.Lock) bool { return len(cache.OnlyByMaven(locks)) > 0 },
		compiler: !u.opts.OpenPorts && !identity.Built(filepath.Join(u.home.Cache(), "identity")),
	})
	for i := range needs {
		if needs[i].Kind == host.NeedDisk {
			needs[i].Path = u.home.Dir
		}
	}
	return needs, nil
}

// needing says what is not here yet.
type needing struct {
	maven    func([]*artifact.Lock) bool // whether Maven has to fetch some of it
	compiler bool                        // whether services that are open need one
}

// neededBy lists what clusters need of the host that is to carry them.
func neededBy(cs []definition.Completed, lack needing) []host.Need {
	var javas []host.Need
	var locks []*artifact.Lock
	open, some := false, false
	for _, c := range cs {
		if c.Cluster.Infrastructure != "local" {
			continue
		}
		some = true
		if c.Stack.Java.Min > 0 {
			javas = append(javas, host.Need{Kind: host.NeedJava, Min: c.Stack.Java.Min, Max: c.Stack.Java.Max})
		}
		locks = append(locks, c.Stack.Locks()...)
		open = open || hasOpen(c)
	}
	if !some {
		return nil
	}
	needs := narrowest(javas)
	if lack.maven(locks) {
		needs = append(needs, host.Need{Kind: host.NeedMaven})
	}
	if open && lack.compiler {
		needs = append(needs, host.Need{Kind: host.NeedCC})
	}
	return append(needs, host.Need{Kind: host.NeedDisk, Bytes: needDiskBytes}, host.Need{Kind: host.NeedMemory, Bytes: needMemoryBytes})
}

// hasOpen reports whether a cluster has a service that listens on every address.
func hasOpen(c definition.Completed) bool {
	for _, g := range c.Cluster.NodeGroups {
		for _, r := range g.Roles {
			if slices.ContainsFunc(c.Stack.Roles[r].Services, func(svc string) bool { return c.Stack.Services[svc].Open }) {
				return true
			}
		}
	}
	return false
}

// narrowest leaves out each range of Java that another lies in: what fits the
// narrow one fits the wide one.
func narrowest(javas []host.Need) []host.Need {
	within := func(a, b host.Need) bool {
		return a.Min >= b.Min && (b.Max == 0 || a.Max != 0 && a.Max <= b.Max)
	}
	var out []host.Need
	for i, j := range javas {
		wide := false
		for k, other := range javas {
			wide = wide || k != i && within(other, j) && (other != j || k < i)
		}
		if !wide {
			out = append(out, j)
		}
	}
	return out
}
