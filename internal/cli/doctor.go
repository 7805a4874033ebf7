package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/host"
	"howdah.dev/howdah/internal/store"
)

// Outcomes of a check.
const (
	checkOK     = "ok"
	checkWarn   = "warn" // works, but something is weaker or slower than it could be
	checkFailed = "failed"
)

// check is one thing doctor has looked at.
type check struct {
	Name    string `json:"name"`
	Outcome string `json:"outcome"` // ok, warn, failed
	Found   string `json:"found"`
	Remedy  string `json:"remedy,omitempty"`
}

// doctor collects checks.
type doctor struct {
	*app
	file   string
	deep   bool
	checks []check
}

func (a *app) doctorCmd() *cobra.Command {
	d := &doctor{app: a}
	c := &cobra.Command{
		Use: "doctor", Short: "Check this machine, the home, and what runs", Args: args(0, 0, ""),
		Long: `Check this machine (Java, compiler, disk, memory, limits, names, container
runtimes), the home (permissions, database, authority, artifacts) and what runs
(server, agents, clusters, failed operations). Changes nothing, and works with the
server away. Ends with exit code 1 where a check failed; each says what to do.`,
		Example: "  howdah doctor\n  howdah doctor -f examples/platform/platform.yaml\n  howdah doctor --deep",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := d.examine(cmd.Context()); err != nil {
				return err
			}
			if err := a.print(d.checks, d.show); err != nil {
				return err
			}
			return d.verdict()
		},
	}
	c.Flags().StringVarP(&d.file, "file", "f", "", "check also what the clusters of this definition need")
	c.Flags().BoolVar(&d.deep, "deep", false, "read every file of the artifact cache and compare its digest")
	return c
}

// examine makes all checks, each whatever the others found.
func (d *doctor) examine(ctx context.Context) error {
	if err := d.host(ctx); err != nil {
		return err
	}
	d.limits()
	d.names(ctx)
	d.runtimes()
	known := d.directory()
	if known {
		d.database(ctx)
		d.artifacts(ctx)
	}
	d.server(ctx, known)
	return nil
}

func (d *doctor) add(name, outcome, found, remedy string) {
	if outcome == checkOK {
		remedy = ""
	}
	d.checks = append(d.checks, check{name, outcome, found, remedy})
}

// when is ok or, where something is wrong, the outcome given.
func when(ok bool, otherwise string) string {
	if ok {
		return checkOK
	}
	return otherwise
}

// host checks what clusters need: those of the file, else of every stack.
func (d *doctor) host(ctx context.Context) error {
	opts, err := d.home.LoadOptions()
	if err != nil {
		opts.Stacks = nil // the directory's check says so
	}
	var needs []host.Need
	if d.file != "" {
		if needs, err = (&upper{app: d.app, opts: opts}).needs(d.file); err != nil {
			return err
		}
	} else {
		cat, ds := catalog(opts.Stacks...)
		if err := ds.Err(); err != nil {
			return ds
		}
		var javas []host.Need
		for _, name := range cat.Names() {
			if s, _ := cat.Get(name); s.Java.Min > 0 {
				javas = append(javas, host.Need{Kind: host.NeedJava, Min: s.Java.Min, Max: s.Java.Max})
			}
		}
		needs = append(narrowest(javas), host.Need{Kind: host.NeedCC}, host.Need{Kind: host.NeedDisk, Bytes: needDiskBytes, Path: d.home.Dir}, host.Need{Kind: host.NeedMemory, Bytes: needMemoryBytes})
	}
	for _, r := range host.Check(ctx, needs) {
		remedy := ""
		switch {
		case len(r.Packages) > 0:
			remedy = "install " + strings.Join(r.Packages, " and ")
		case len(r.Alternatives) > 0:
			remedy = "install " + strings.Join(r.Alternatives, " or ")
		}
		found := strings.TrimSpace(r.Found + "  " + r.Path)
		if !r.OK {
			found = r.Problem
		}
		d.add(string(r.Need.Kind), when(r.OK, checkFailed), found, remedy)
	}
	return nil
}

// minFiles is how many files a process should be allowed to open: a DataNode or a
// broker of many topologies holds thousands.
const minFiles = 8192

func (d *doctor) limits() {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		d.add("open files", checkWarn, err.Error(), "")
		return
	}
	d.add("open files", when(files.Max >= minFiles, checkWarn), fmt.Sprintf("%d a process", files.Max), fmt.Sprintf("raise the limit to %d: ulimit -Hn, or LimitNOFILE of the unit", minFiles))
}

// names checks that this host's own name and localhost lead to it: programs of
// clusters look both up.
func (d *doctor) names(ctx context.Context) {
	if name, err := os.Hostname(); err == nil {
		addrs, err := net.DefaultResolver.LookupHost(ctx, name)
		d.add("own name", when(err == nil, checkFailed), orError(name+" is "+strings.Join(addrs, ", "), err), "put "+name+" into /etc/hosts")
	}
	addrs, err := net.DefaultResolver.LookupHost(ctx, "localhost")
	d.add("localhost", when(err == nil, checkFailed), orError(strings.Join(addrs, ", "), err), "put 127.0.0.1 localhost into /etc/hosts")
}

func orError(text string, err error) string {
	if err != nil {
		return err.Error()
	}
	return text
}

// runtimes looks for what runs containers; a cell without any runs plain commands.
func (d *doctor) runtimes() {
	if path, err := exec.LookPath("runc"); err == nil {
		d.add("containers", checkOK, "runc at "+path, "")
		return
	}
	if exists("/var/run/docker.sock") {
		d.add("containers", checkOK, "a Docker engine at /var/run/docker.sock", "")
		return
	}
	d.add("containers", checkWarn, "neither runc nor a Docker engine: cells run plain commands only", "install runc")
}

// directory checks the home; false where there is none to look into.
func (d *doctor) directory() bool {
	st, err := os.Stat(d.home.Dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !exists(d.home.Settings()) {
		d.add("home", checkOK, d.home.Dir+" is not used yet", "")
		return false
	}
	if err != nil {
		d.add("home", checkFailed, err.Error(), "")
		return false
	}
	if st.Mode().Perm()&0o077 != 0 {
		d.add("home", checkFailed, fmt.Sprintf("%s is open to others (mode %o): it holds keys", d.home.Dir, st.Mode().Perm()), "chmod 700 "+d.home.Dir)
		return true
	}
	if _, err := d.home.LoadOptions(); err != nil {
		d.add("home", checkFailed, err.Error(), "mend the file, or remove it: it only holds the server's settings")
		return true
	}
	d.add("home", checkOK, d.home.Dir, "")
	return true
}

func (d *doctor) database(ctx context.Context) {
	err := store.Check(ctx, d.home.Database())
	remedy := "restore a backup: see docs/how-to/recover.md"
	if errors.Is(err, store.ErrNewer) {
		remedy = "run the newer howdah that wrote it"
	}
	d.add("database", when(err == nil, checkFailed), orError(d.home.Database(), err), remedy)
}

// artifacts counts what of the sets of all stacks is in the cache and, looking deep,
// compares each file with its digest.
func (d *doctor) artifacts(ctx context.Context) {
	locks, err := (&lockChoice{app: d.app, file: d.file}).locks()
	if err != nil {
		return // the stacks' own mistakes are said where they are used
	}
	cache, all, missing := d.cache(), 0, 0
	var broken []string
	for _, l := range locks {
		all += len(l.Blobs())
		missing += len(cache.Missing(l))
		if d.deep {
			broken = append(broken, damaged(ctx, cache, l)...)
		}
	}
	switch {
	case len(broken) > 0:
		d.add("artifacts", checkFailed, fmt.Sprintf("%d files are not what their digest says, first %s", len(broken), broken[0]), "delete them from "+filepath.Join(d.home.Cache(), "blobs")+" and: howdah artifact fetch")
	case missing > 0:
		d.add("artifacts", checkWarn, fmt.Sprintf("%d of %d files are not in the cache; clusters that need them fetch them first", missing, all), "howdah artifact fetch")
	default:
		d.add("artifacts", checkOK, fmt.Sprintf("all %d files are in the cache", all), "")
	}
}

// damaged lists files of a lock that are in the cache with another content.
func damaged(ctx context.Context, cache *artifact.Cache, l *artifact.Lock) []string {
	var out []string
	for _, e := range l.Blobs() {
		f, err := cache.Open(e.SHA256)
		if err != nil {
			continue // missing ones are counted
		}
		sum, err := artifact.Digest(ctx, f)
		_ = f.Close()
		if err != nil || sum != e.SHA256 {
			out = append(out, e.SHA256)
		}
	}
	return out
}

// server checks what runs: the server itself, agents, operations, clusters.
func (d *doctor) server(ctx context.Context, known bool) {
	info, err := d.client().Info(ctx)
	switch {
	case errors.Is(err, client.ErrUnreachable) && !known:
		return
	case errors.Is(err, client.ErrUnreachable):
		d.add("server", checkWarn, "none runs; services that run go on", "howdah up")
		return
	case err != nil:
		d.add("server", checkFailed, err.Error(), "read "+d.home.Log())
		return
	case info.Build != build():
		d.add("server", checkWarn, fmt.Sprintf("version %s at %s, another build than this program", info.Version, info.Address), "howdah up replaces it; services go on")
	default:
		d.add("server", checkOK, fmt.Sprintf("version %s at %s, process %d", info.Version, info.Address, info.PID), "")
	}
	clusters, err := d.client().Clusters(ctx)
	if err != nil {
		d.add("clusters", checkFailed, err.Error(), "read "+d.home.Log())
		return
	}
	for _, c := range clusters {
		ok := c.State == api.StateReady || c.State == api.StateStopped || c.State == api.StateSuspended
		d.add("cluster "+c.Name, when(ok, checkFailed), strings.TrimSuffix(c.State+": "+c.Message, ": "), "howdah explain "+c.Name)
		for _, cond := range c.Conditions {
			if cond.Status && (cond.Type == api.ConditionWeakened || cond.Type == api.ConditionStackOutdated) {
				d.add("cluster "+c.Name, checkWarn, cond.Type+": "+cond.Message, "howdah describe "+c.Name)
			}
		}
	}
}

func (d *doctor) show(w io.Writer) {
	var rows [][]string
	for _, c := range d.checks {
		rows = append(rows, []string{c.Outcome, c.Name, tame(c.Found), c.Remedy})
	}
	table(w, []string{"", "CHECK", "FOUND", "WHAT TO DO"}, rows)
}

// verdict is the command's end: exit code 1 where a check failed.
func (d *doctor) verdict() error {
	failed, warned := 0, 0
	for _, c := range d.checks {
		switch c.Outcome {
		case checkFailed:
			failed++
		case checkWarn:
			warned++
		}
	}
	if failed == 0 {
		return nil
	}
	return &exitError{exitFailed, fmt.Errorf("%d of %d checks failed, %d have a remark", failed, len(d.checks), warned)}
}
