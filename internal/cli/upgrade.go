package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/number"
	"howdah.dev/howdah/internal/store"
)

const (
	// agentPatience is how long an agent may take to be back.
	agentPatience = 90 * time.Second
	// agentsAtOnce is how many agents are replaced side by side: while one is
	// away nobody restarts what ends on its node.
	agentsAtOnce = 3
)

func (a *app) upgradeCmd() *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use: "upgrade", Short: "Replace the server and the agents by this howdah; services go on", Args: args(0, 0, ""),
		Long: `Replace the server, then the agents of all nodes, by this howdah. Put the new
program in the place of the old one first and run it. The database is copied
before; services go on untouched. An upgrade that was cut short is finished by
running it again.`,
		Example: "  howdah upgrade --dry-run\n  howdah upgrade",
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := a.home.LoadOptions()
			if err != nil {
				return err
			}
			u := &upgrader{upper: &upper{app: a, cmd: cmd, opts: opts, begun: time.Now()}, mine: build()}
			return u.upgrade(cmd.Context(), dryRun)
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be replaced")
	return c
}

// upgraded is what "howdah upgrade" did, or would do.
type upgraded struct {
	Home   string    `json:"home"`
	DryRun bool      `json:"dryRun,omitempty"`
	Backup string    `json:"backup,omitempty"` // copy of the database
	Former string    `json:"former,omitempty"` // copy of the program that was replaced
	Parts  []upgrade `json:"parts"`
	Kept   int       `json:"kept"`    // services whose process is the one it was
	Others int       `json:"changed"` // services whose process is another
}

// upgrade is one part of an installation.
type upgrade struct {
	Part    string `json:"part"` // server, database, or a node's agent
	Cluster string `json:"cluster,omitempty"`
	Node    string `json:"node,omitempty"`
	Old     string `json:"old"`
	New     string `json:"new"`
	Result  string `json:"result"`
}

// upgrader replaces what runs.
type upgrader struct {
	*upper
	mine string     // build of this program
	was  store.Look // the database before
	old  *api.Info  // the server before; nil where none ran
	pids map[string]int
	done upgraded
}

func (u *upgrader) upgrade(ctx context.Context, dryRun bool) error {
	u.client, u.done = u.app.client(), upgraded{Home: u.home.Dir, DryRun: dryRun}
	if err := u.look(ctx); err != nil {
		return err
	}
	if err := u.check(); err != nil {
		return err
	}
	if dryRun {
		u.foresee()
		return u.show()
	}
	if err := u.replaceServer(ctx); err != nil {
		return err
	}
	failed := u.replaceAgents(ctx)
	if err := u.count(ctx); err != nil {
		return errors.Join(failed, err)
	}
	return errors.Join(u.show(), failed)
}

// look finds out what is there.
func (u *upgrader) look(ctx context.Context) error {
	if !exists(u.home.Database()) {
		return &exitError{exitNotFound, fmt.Errorf("there is no installation in %s; make one with: howdah up", u.home.Dir)}
	}
	var err error
	if u.was, err = store.LookAt(ctx, u.home.Database()); err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	info, err := u.client.Info(asking)
	switch {
	case err == nil:
		u.old = &info
		u.pids, err = u.running(ctx)
		return err
	case !errors.Is(err, client.ErrUnreachable) && !errors.Is(err, context.DeadlineExceeded):
		return err
	case u.home.Running():
		return &exitError{exitFailed, fmt.Errorf("a server runs in %s and does not answer; see %s, or end its process and run this again", u.home.Dir, u.home.Log())}
	}
	return nil
}

// running lists the processes of all services by cluster, node and name.
func (u *upgrader) running(ctx context.Context) (map[string]int, error) {
	cs, err := u.client.Clusters(ctx)
	if err != nil {
		return nil, err
	}
	pids := map[string]int{}
	for _, c := range cs {
		for _, n := range c.Nodes {
			for _, s := range n.Services {
				if s.PID > 0 {
					pids[c.Name+" "+n.Name+" "+s.Name] = s.PID
				}
			}
		}
	}
	return pids, nil
}

func (u *upgrader) serverIsMine() bool { return u.old != nil && u.old.Build == u.mine && u.mine != "" }

// check refuses what would not work.
func (u *upgrader) check() error {
	if u.was.Schema > u.was.Newest {
		by := ""
		if u.was.Writer != "" {
			by = ", written by howdah " + u.was.Writer
		}
		return &exitError{exitGuard, fmt.Errorf("this howdah, %s, is older than the database: it knows schema %d, %s has schema %d%s; run that howdah or a newer one, or put back the copy of the database made before its upgrade",
			Version, u.was.Newest, u.home.Database(), u.was.Schema, by)}
	}
	if u.serverIsMine() {
		return nil // its agents may be as far away as they like: they are to be replaced
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find this program: %w", err)
	}
	for _, n := range u.was.Nodes {
		if n.Facts == nil {
			continue
		}
		if !agentapi.Understood(n.Facts.Protocol, agentapi.Protocol) {
			at := agentapi.Numbered(n.Facts.Protocol)
			step := at + 1
			if at > agentapi.Protocol {
				step = at - 1
			}
			return &exitError{exitGuard, fmt.Errorf("the agent of %s speaks protocol %d and this howdah %d; at most one version apart is understood. Upgrade first to a howdah that speaks protocol %d",
				n.Name, at, agentapi.Protocol, step)}
		}
		if n.Facts.Program != "" && n.Facts.Program != self {
			return &exitError{exitGuard, fmt.Errorf("the agents run %s and this is %s; services may name their program by that path. Put this howdah in its place and run it there: %s upgrade",
				n.Facts.Program, self, n.Facts.Program)}
		}
	}
	if _, ds := catalog(u.opts.Stacks...); ds.HasErrors() {
		return ds
	}
	return nil
}

// named writes a version with its build.
func named(version, build string) string {
	if build == "" {
		return version
	}
	return fmt.Sprintf("%s (%s)", version, build)
}

func (u *upgrader) me() string { return named(Version, u.mine) }

// foresee lists what would be done.
func (u *upgrader) foresee() {
	p := upgrade{Part: "server", Old: "not running", New: u.me(), Result: "would be started"}
	switch {
	case u.serverIsMine():
		p.Old, p.Result = u.me(), "is as it should be"
	case u.old != nil:
		p.Old, p.Result = named(u.old.Version, u.old.Build), "would be replaced"
	}
	u.done.Parts = append(u.done.Parts, p)
	db := upgrade{Part: "database", Old: schema(u.was.Schema), New: schema(u.was.Newest), Result: "would be copied and migrated"}
	if u.was.Schema == u.was.Newest {
		db.Result = "is as it should be"
	}
	u.done.Parts = append(u.done.Parts, db)
	for _, n := range u.was.Nodes {
		if n.Facts == nil {
			continue
		}
		p := upgrade{Part: "agent", Cluster: n.Cluster, Node: n.Name, Old: named(n.Facts.Version, n.Facts.Build), New: u.me(), Result: "would be replaced"}
		if n.Facts.Build == u.mine {
			p.Result = "is as it should be"
		}
		u.done.Parts = append(u.done.Parts, p)
	}
}

func schema(n int64) string { return fmt.Sprintf("schema %d", n) }

// replaceServer copies the database, ends the old server and starts this one.
func (u *upgrader) replaceServer(ctx context.Context) error {
	p := upgrade{Part: "server", Old: "not running", New: u.me(), Result: "started"}
	db := upgrade{Part: "database", Old: schema(u.was.Schema), New: schema(u.was.Newest), Result: "as it was"}
	if u.serverIsMine() {
		p.Old, p.Result = u.me(), "as it was"
		u.done.Parts = append(u.done.Parts, p, db)
		return nil
	}
	// Named by its schema: a second try, after a migration, leaves the copy alone
	// that the former howdah needs.
	to := fmt.Sprintf("%s.before-upgrade-%d", u.home.Database(), u.was.Schema)
	if err := store.Backup(ctx, u.home.Database(), to); err != nil {
		return err
	}
	u.done.Backup = to
	if u.old != nil {
		p.Old, p.Result = named(u.old.Version, u.old.Build), "replaced"
		u.keepFormer()
	}
	u.say("database: %s, copied to %s", schema(u.was.Schema), to)
	begun := time.Now()
	if u.old != nil {
		if err := u.stopServer(ctx); err != nil {
			return err
		}
	}
	if err := u.spawn(ctx); err != nil {
		return u.wayBack(ctx, err)
	}
	u.say("server:   %s → %s, answers after %.1f s", p.Old, p.New, time.Since(begun).Seconds())
	if u.was.Schema != u.was.Newest {
		db.Result = "migrated"
	}
	u.done.Parts = append(u.done.Parts, p, db)
	return nil
}

// say tells people what has been done; programs get all of it at the end.
func (u *upgrader) say(format string, args ...any) {
	if !u.programs() {
		fmt.Fprintf(u.err, format+"\n", args...)
	}
}

// keepFormer copies the program of the running server, which may have been
// replaced on disk already: the kernel still has it.
func (u *upgrader) keepFormer() {
	to := u.home.Former()
	if err := copyProgram(fmt.Sprintf("/proc/%d/exe", u.old.PID), to); err != nil {
		u.say("the former program is not kept: %v", err)
		return
	}
	u.done.Former = to
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700) //nolint:gosec // a program needs its x bit
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return errors.Join(err, out.Close(), os.Remove(to))
	}
	return out.Close()
}

// wayBack says how the former howdah goes on where this one's server does not start.
func (u *upgrader) wayBack(ctx context.Context, why error) error {
	lines := []string{why.Error(), "Services go on meanwhile. Mend that and run howdah upgrade again, or go back to the former howdah:"}
	now, err := store.LookAt(ctx, u.home.Database())
	if err != nil || now.Schema != u.was.Schema {
		db := u.home.Database()
		lines = append(lines, fmt.Sprintf("  rm -f %s-wal %s-shm && cp %s %s", db, db, u.done.Backup, db))
	}
	former := u.home.Former()
	if !exists(former) {
		former = "the former howdah:  howdah"
	}
	lines = append(lines, fmt.Sprintf("  %s up --home %s", former, u.home.Dir))
	code := exitFailed
	if e, ok := errors.AsType[*exitError](why); ok {
		code = e.code
	}
	return &exitError{code, errors.New(strings.Join(lines, "\n"))}
}

// replaceAgents replaces the agents that are of another build, a few at once.
func (u *upgrader) replaceAgents(ctx context.Context) error {
	cs, err := u.gather(ctx)
	if err != nil {
		return err
	}
	first := len(u.done.Parts)
	for _, c := range cs {
		for _, n := range c.Nodes {
			u.done.Parts = append(u.done.Parts, upgrade{Part: "agent", Cluster: c.Name, Node: n.Name, Old: named(n.AgentVersion, n.AgentBuild), New: u.me(), Result: u.fate(n)})
		}
	}
	var g errgroup.Group
	g.SetLimit(agentsAtOnce)
	failed := make([]error, len(u.done.Parts))
	for i := first; i < len(u.done.Parts); i++ {
		p := &u.done.Parts[i]
		if p.Result != toReplace {
			continue
		}
		g.Go(func() error {
			begun := time.Now()
			if failed[i] = u.replaceAgent(ctx, p.Cluster, p.Node); failed[i] != nil {
				p.Result = "not replaced: " + failed[i].Error()
				u.say("agent:    %s: %s", p.Node, p.Result)
				return nil
			}
			p.Result = "replaced"
			u.say("agent:    %s: %s → %s, reports after %.1f s", p.Node, p.Old, p.New, time.Since(begun).Seconds())
			return nil
		})
	}
	_ = g.Wait() // what failed is kept beside
	return errors.Join(failed...)
}

// What becomes of an agent.
const (
	toReplace   = "to be replaced"
	asItWas     = "as it was"
	startsLater = "off; starts as this howdah"
)

func (u *upgrader) fate(n api.NodeStatus) string {
	switch {
	case n.Intent == "stop" && !n.Connected, n.AgentPID == 0:
		return startsLater
	case n.AgentBuild == u.mine && n.AgentRefused == "":
		return asItWas
	}
	return toReplace
}

// gather waits until every agent that is on has come back to the new server, was
// refused by it, or is silent for too long.
func (u *upgrader) gather(ctx context.Context) ([]api.ClusterStatus, error) {
	deadline := time.Now().Add(startPatience)
	for {
		cs, err := u.client.Clusters(ctx)
		if err != nil {
			return nil, err
		}
		away := 0
		for _, c := range cs {
			for _, n := range c.Nodes {
				if u.fate(n) != startsLater && !n.AgentReports && n.AgentRefused == "" {
					away++
				}
			}
		}
		if away == 0 || time.Now().After(deadline) {
			return cs, nil
		}
		if err := sleep(ctx, glance); err != nil {
			return nil, err
		}
	}
}

// replaceAgent replaces one agent and waits until the new one reports.
func (u *upgrader) replaceAgent(ctx context.Context, cluster, node string) error {
	if err := u.client.ReplaceAgent(ctx, cluster, node); err != nil {
		return err
	}
	deadline := time.Now().Add(agentPatience)
	for {
		c, err := u.client.Cluster(ctx, cluster)
		if err != nil {
			return err
		}
		for _, n := range c.Nodes {
			if n.Name == node && n.AgentBuild == u.mine && n.AgentReports {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return &exitError{exitTimeout, fmt.Errorf("the new agent of %s has not reported for %s; see agent/agent.log of the node, then run howdah upgrade again", node, agentPatience)}
		}
		if err := sleep(ctx, glance); err != nil {
			return err
		}
	}
}

// count compares the services' processes with those from before.
func (u *upgrader) count(ctx context.Context) error {
	now, err := u.running(ctx)
	if err != nil {
		return err
	}
	for name, pid := range u.pids {
		if now[name] == pid {
			u.done.Kept++
		} else {
			u.done.Others++
		}
	}
	return nil
}

// show prints the table old → new.
func (u *upgrader) show() error {
	return u.print(u.done, func(w io.Writer) {
		fmt.Fprintln(w)
		rows := make([][]string, len(u.done.Parts))
		for i, p := range u.done.Parts {
			what := p.Part
			if p.Node != "" {
				what = p.Node
			}
			rows[i] = []string{what, p.Old, p.New, p.Result}
		}
		table(w, []string{"PART", "OLD", "NEW", "RESULT"}, rows)
		if u.done.DryRun {
			fmt.Fprintln(w, "\nnothing was changed")
			return
		}
		if u.old != nil {
			fmt.Fprintf(w, "\n%s went on untouched", number.Count(u.done.Kept, "service"))
			if u.done.Others > 0 {
				fmt.Fprintf(w, ", %d ended or started meanwhile: howdah get events", u.done.Others)
			}
			fmt.Fprintln(w)
		}
	})
}

// agentsOfOthers counts connected agents that are another build than this program.
func agentsOfOthers(cs []api.ClusterStatus) int {
	mine, n := build(), 0
	for _, c := range cs {
		for _, node := range c.Nodes {
			if node.Connected && node.AgentBuild != mine {
				n++
			}
		}
	}
	return n
}
