package host

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// InstallOptions says whether and how to install.
type InstallOptions struct {
	// Allow is false where the user forbade it (HOWDAH_INSTALL=0).
	Allow bool
	// Progress is told each step, one plain line at a time; may be nil.
	Progress func(line string)
	// LockWait is how long another package manager is waited for; 5 minutes by default.
	LockWait time.Duration
}

// Install brings what results miss to this machine; see Host.Install.
func Install(ctx context.Context, results []Result, opts InstallOptions) error {
	return New(Config{}).Install(ctx, results, opts)
}

// Install installs the packages that the failed results name: by apt-get on
// Debian, Ubuntu and their derivatives, as root or through sudo without a
// password. Elsewhere, and where it is not allowed, the error holds the exact
// command to run. Disk and memory cannot be installed and are an error, with
// nothing done. Afterwards Check tells whether all is there.
func (h *Host) Install(ctx context.Context, results []Result, opts InstallOptions) error {
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	if opts.LockWait <= 0 {
		opts.LockWait = 5 * time.Minute
	}
	var missing []Result
	var hopeless []error
	for _, r := range results {
		if r.OK {
			continue
		}
		missing = append(missing, r)
		if len(r.Packages)+len(r.Alternatives) == 0 {
			hopeless = append(hopeless, errors.New(r.String()))
		}
	}
	if len(hopeless) > 0 {
		return errors.Join(hopeless...)
	}
	if len(missing) == 0 {
		return nil
	}
	family := h.release().Family()
	if family != "debian" {
		return h.byHand(family, missing, "Howdah installs packages on Debian and Ubuntu only")
	}
	if !opts.Allow {
		return h.byHand(family, missing, "installing packages is switched off (HOWDAH_INSTALL=0)")
	}
	if _, ok := h.lookPath("apt-get"); !ok {
		return h.byHand(family, missing, "there is no apt-get on PATH")
	}
	a := &apt{host: h, opts: opts}
	if h.uid != 0 {
		if !h.sudo(ctx) {
			return h.byHand(family, missing, "installing packages needs root, and sudo asks for a password")
		}
		a.prefix = []string{"sudo", "-n"}
	}
	return a.install(ctx, missing)
}

// sudo reports whether sudo works without a password.
func (h *Host) sudo(ctx context.Context) bool {
	if _, ok := h.lookPath("sudo"); !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := h.cfg.Run(ctx, Command{Args: []string{"sudo", "-n", "true"}})
	return err == nil
}

// byHand is the error that tells what to run.
func (h *Host) byHand(family string, missing []Result, why string) error {
	var what []string
	for _, r := range missing {
		what = append(what, r.Wanted)
	}
	command := installCommand(family, missing, h.uid != 0)
	if command == "" {
		return fmt.Errorf("cannot install %s: %s; install them with your package manager", strings.Join(what, ", "), why)
	}
	return fmt.Errorf("cannot install %s: %s; run: %s", strings.Join(what, ", "), why, command)
}

// installCommand is the command that brings the missing things on a family of
// distributions, "" for an unknown family.
func installCommand(family string, missing []Result, sudo bool) string {
	prefix, ok := map[string]string{
		"debian": "apt-get install -y --no-install-recommends",
		"fedora": "dnf install -y",
		"suse":   "zypper install -y",
		"alpine": "apk add",
		"arch":   "pacman -S --needed --noconfirm",
	}[family]
	if !ok {
		return ""
	}
	if sudo {
		prefix = "sudo " + prefix
	}
	var names []string
	for _, r := range missing {
		for _, name := range packagesFor(family, r) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return prefix + " " + strings.Join(names, " ")
}

// packagesFor names the packages of a family that bring what a result misses.
func packagesFor(family string, r Result) []string {
	if family == "debian" {
		if len(r.Alternatives) > 0 {
			return r.Alternatives[:1]
		}
		return r.Packages
	}
	switch r.Need.Kind {
	case NeedMaven:
		return []string{"maven"}
	case NeedCC:
		return map[string][]string{"fedora": {"gcc", "glibc-devel"}, "suse": {"gcc", "glibc-devel"}, "alpine": {"gcc", "musl-dev"}, "arch": {"gcc"}}[family]
	case NeedJava:
		major := majorOf(strings.TrimPrefix(javaPackages(Release{}, r.Need.Min, r.Need.Max)[0], "openjdk-"))
		pattern := map[string]string{"fedora": "java-%d-openjdk-headless", "suse": "java-%d-openjdk-headless", "alpine": "openjdk%d-jre-headless", "arch": "jre%d-openjdk-headless"}[family]
		return []string{fmt.Sprintf(pattern, major)}
	case NeedDisk, NeedMemory: // no package brings them
	}
	return nil
}

// apt drives apt-get.
type apt struct {
	host    *Host
	opts    InstallOptions
	prefix  []string
	updated bool
}

func (a *apt) install(ctx context.Context, missing []Result) error {
	if !a.listed() {
		if err := a.update(ctx); err != nil {
			return err
		}
	}
	var names []string
	for _, r := range missing {
		found, err := a.pick(ctx, r)
		if err != nil {
			return err
		}
		for _, name := range found {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		a.opts.Progress("installing " + strings.Join(found, " ") + " for " + r.Wanted)
	}
	return a.get(ctx, append([]string{"install", "-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"}, names...)...)
}

// listed reports whether apt knows any packages; a container image comes without.
func (a *apt) listed() bool {
	for _, f := range a.host.entries("/var/lib/apt/lists") {
		if strings.Contains(f, "_Packages") {
			return true
		}
	}
	return false
}

func (a *apt) update(ctx context.Context) error {
	a.opts.Progress("reading the package lists (apt-get update)")
	a.updated = true
	return a.get(ctx, "update")
}

// pick returns the packages for a result that this release of the distribution
// has. Lists that lack a package may be old: they are read again, once.
func (a *apt) pick(ctx context.Context, r Result) ([]string, error) {
	if len(r.Alternatives) == 0 {
		return r.Packages, nil
	}
	for {
		for _, name := range r.Alternatives {
			if a.known(ctx, name) {
				return []string{name}, nil
			}
		}
		if a.updated {
			return nil, fmt.Errorf("cannot install %s: %s has no package %s; install it by hand and set JAVA_HOME",
				r.Wanted, a.host.releaseName(), strings.Join(r.Alternatives, " or "))
		}
		if err := a.update(ctx); err != nil {
			return nil, err
		}
	}
}

func (a *apt) known(ctx context.Context, name string) bool {
	out, err := a.host.cfg.Run(ctx, Command{Args: []string{"apt-cache", "policy", name}, Env: []string{"LC_ALL=C"}})
	return err == nil && strings.Contains(out, "Candidate: ") && !strings.Contains(out, "Candidate: (none)")
}

func (h *Host) releaseName() string {
	if r := h.release(); r.Name != "" {
		return r.Name
	}
	return "this system"
}

var (
	lockLine  = regexp.MustCompile(`(?:Could not get lock|Unable to acquire|Unable to lock)\b[^\n]*`)
	lockOwner = regexp.MustCompile(`held by process (\d+)(?: \(([^)]+)\))?`)
)

// staleLists is what apt-get says when its lists name what the archive no longer has.
var staleLists = regexp.MustCompile(`Unable to fetch some archives|Unable to locate package|has no installation candidate`)

// lockPause is the time between two attempts while another package manager runs.
const lockPause = 3 * time.Second

// get runs apt-get: again while another package manager holds its locks, once
// more after completing an installation that was interrupted earlier, and once
// more with fresh lists.
func (a *apt) get(ctx context.Context, args ...string) error {
	var waited time.Duration
	repaired := false
	for {
		out, err := a.host.cfg.Run(ctx, a.command(append([]string{"apt-get"}, args...)))
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("cannot finish apt-get %s: %w", args[0], context.Cause(ctx))
		case strings.Contains(out, "dpkg --configure -a") && !repaired:
			repaired = true
			a.opts.Progress("completing an interrupted installation (dpkg --configure -a)")
			if out, err := a.host.cfg.Run(ctx, a.command([]string{"dpkg", "--configure", "-a", "--force-confold"})); err != nil {
				return fmt.Errorf("cannot complete an interrupted installation with dpkg --configure -a: %w", failure(out, err))
			}
		case !a.updated && staleLists.MatchString(out):
			if err := a.update(ctx); err != nil {
				return err
			}
		case !lockLine.MatchString(out):
			return fmt.Errorf("cannot run apt-get %s: %w", args[0], failure(out, err))
		case waited >= a.opts.LockWait:
			return fmt.Errorf("cannot run apt-get %s: %s still runs after %s; try again when it is done", args[0], owner(out), a.opts.LockWait)
		default:
			if waited%(10*lockPause) == 0 {
				a.opts.Progress(fmt.Sprintf("waiting for %s, %s of at most %s", owner(out), waited, a.opts.LockWait))
			}
			if err := a.host.cfg.Sleep(ctx, lockPause); err != nil {
				return fmt.Errorf("cannot wait for %s: %w", owner(out), err)
			}
			waited += lockPause
		}
	}
}

// owner says who holds the lock.
func owner(out string) string {
	m := lockOwner.FindStringSubmatch(out)
	switch {
	case m == nil:
		return "another package manager"
	case m[2] == "":
		return "another package manager (process " + m[1] + ")"
	}
	return m[2] + " (process " + m[1] + ")"
}

var settingUp = regexp.MustCompile(`^Setting up (\S+?)(?::\S+)? \((\S+)\)`)

// command adds what makes the package tools ask nothing, and reports each
// package as it is set up.
func (a *apt) command(args []string) Command {
	env := []string{"DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1", "LC_ALL=C"}
	c := Command{Args: args, Env: env, Line: func(line string) {
		if m := settingUp.FindStringSubmatch(line); m != nil {
			a.opts.Progress("installed " + m[1] + " " + m[2])
		}
	}}
	if len(a.prefix) > 0 {
		// sudo drops the environment.
		c.Args, c.Env = slices.Concat(a.prefix, []string{"env"}, env, args), nil
	}
	return c
}
