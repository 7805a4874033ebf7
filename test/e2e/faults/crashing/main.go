// Command crashing is howdah with a server that ends itself, as kill -9 does, before
// and after commits, attempts at steps and calls of the local driver, once at each such
// point. It is for the tests beside it, and imports what the command line does.
//
// The directory HOME-files/crash steers it: in armed is a regexp of the points to end
// at; without that file it is howdah. It adds the points it came to to met, and those it
// ended at to died.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"howdah.dev/howdah/internal/cli"
	"howdah.dev/howdah/internal/infra"
	"howdah.dev/howdah/internal/infra/local"
	"howdah.dev/howdah/internal/node/proc"
	"howdah.dev/howdah/internal/server"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/wiring"
	"howdah.dev/howdah/stacks"
)

func main() {
	switch args := os.Args[1:]; {
	case len(args) > 0 && args[0] == proc.TaskCommand:
		os.Exit(proc.TaskMain(args[1:]))
	case len(args) > 2 && args[0] == "server" && args[1] == "--home":
		if err := serve(server.Home{Dir: args[2]}); err != nil {
			fmt.Fprintln(os.Stderr, "howdah:", err)
			os.Exit(1)
		}
	default:
		os.Exit(cli.Main(args))
	}
}

// serve is the command "server" with the points of a crash.
func serve(h server.Home) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	build, err := digest(self)
	if err != nil {
		return err
	}
	opts, err := h.LoadOptions()
	if err != nil {
		return err
	}
	c := &crasher{dir: h.Dir + "-files/crash", met: map[string]bool{}}
	c.remember()
	return server.Run(ctx, server.Config{
		Home: h, Options: opts, Version: cli.Version, Build: build, Stacks: stacks.FS, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Clients: wiring.Workloads, Web: wiring.Webs(), Agent: []string{self, "agent", "--build", build},
		Crash: c.point, Wrap: func(d *local.Driver) infra.Driver { return &driver{d, c} },
	})
}

// digest is of a program, as the command line has it.
func digest(program string) (string, error) {
	f, err := os.Open(program)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// crasher ends this process once at each point.
type crasher struct {
	dir string

	mu  sync.Mutex
	met map[string]bool
}

// remember learns which points servers before this one came to.
func (c *crasher) remember() {
	data, err := os.ReadFile(filepath.Join(c.dir, "met"))
	if err != nil {
		return // none has
	}
	for line := range strings.Lines(string(data)) {
		c.met[strings.TrimSpace(line)] = true
	}
}

// number is what differs between the steps of one kind.
var number = regexp.MustCompile(`op\d+-\d+-`)

// point ends the process where it is to, and else does nothing.
func (c *crasher) point(name string) {
	switch name {
	case "look": // how often it looks is a matter of luck
		return
	case store.CrashBefore, store.CrashAfter:
		who := asker()
		if strings.HasPrefix(who, "op.(*Engine)") {
			return // it has points of its own, one for each step
		}
		name += ":" + who
	}
	name = number.ReplaceAllString(name, "")
	c.mu.Lock()
	defer c.mu.Unlock()
	where, err := os.ReadFile(filepath.Join(c.dir, "armed"))
	if err != nil || c.met[name] {
		return
	}
	c.met[name] = true
	c.note("met", name)
	if regexp.MustCompile(string(where)).MatchString(name) {
		c.note("died", name)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func (c *crasher) note(file, line string) {
	f, err := os.OpenFile(filepath.Join(c.dir, file), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = fmt.Fprintln(f, line)
		f.Close()
	}
	if err != nil {
		panic(err) // without a note the same point would be met for ever
	}
}

// asker names the function that asks the store for an update.
func asker() string {
	var pcs [20]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		name := f.Function[strings.LastIndex(f.Function, "/")+1:]
		if !strings.HasPrefix(name, "store.") {
			at, _, _ := strings.Cut(name, ".func")
			return at
		}
		if !more {
			return "nobody"
		}
	}
}

// driver is the local one with a point before and after each call.
type driver struct {
	*local.Driver
	c *crasher
}

func (d *driver) around(call string) (after func()) {
	d.c.point("call:before:" + call)
	return func() { d.c.point("call:after:" + call) }
}

func (d *driver) Inventory(ctx context.Context) (infra.Inventory, error) {
	defer d.around("inventory")()
	return d.Driver.Inventory(ctx)
}

func (d *driver) Create(ctx context.Context, r infra.CreateRequest) error {
	defer d.around("create")()
	return d.Driver.Create(ctx, r)
}

func (d *driver) Delete(ctx context.Context, ref infra.Ref) error {
	defer d.around("delete")()
	return d.Driver.Delete(ctx, ref)
}

func (d *driver) Power(ctx context.Context, ref infra.Ref, on bool) error {
	defer d.around(fmt.Sprintf("power %v", on))()
	return d.Driver.Power(ctx, ref, on)
}

func (d *driver) Describe(ctx context.Context, ref infra.Ref) (infra.Description, error) {
	defer d.around("describe")()
	return d.Driver.Describe(ctx, ref)
}
