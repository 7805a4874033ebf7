package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/infra/local"
	"howdah.dev/howdah/internal/infra/local/subnet"
)

// Home is the directory that holds all state of an installation.
type Home struct{ Dir string }

// Database is where the state is kept.
func (h Home) Database() string { return filepath.Join(h.Dir, "howdah.db") }

// Socket is where the command line reaches the API; only the owner may.
func (h Home) Socket() string { return filepath.Join(h.Dir, "run", "api.sock") }

// Token is the file with the owner's token for the API over TCP.
func (h Home) Token() string { return filepath.Join(h.Dir, "run", "token") }

// Former is the program an upgrade replaced.
func (h Home) Former() string { return filepath.Join(h.Dir, "run", "howdah.former") }

// Sent holds what agents send for a backup until it is written.
func (h Home) Sent() string { return filepath.Join(h.Dir, "run", "sent") }

// Log is the server's log.
func (h Home) Log() string { return filepath.Join(h.Dir, "log", "server.log") }

// Nodes holds the directories of local nodes.
func (h Home) Nodes() string { return filepath.Join(h.Dir, "nodes") }

// Cache is the host's artifact cache.
func (h Home) Cache() string { return filepath.Join(h.Dir, "cache") }

// Images holds the images of the registry.
func (h Home) Images() string { return filepath.Join(h.Dir, "images") }

// Authority holds the certificate authority.
func (h Home) Authority() string { return filepath.Join(h.Dir, "ca") }

// Clients holds command line clients of clusters.
func (h Home) Clients() string { return filepath.Join(h.Dir, "clients") }

// Pipelines holds the definitions of pipelines that were applied or run.
func (h Home) Pipelines() string { return filepath.Join(h.Dir, "pipelines") }

// Stacks holds directories of stacks that a restored backup brought.
func (h Home) Stacks() string { return filepath.Join(h.Dir, "stacks") }

// Settings is what a server of this home was started with, so that a later
// start needs no flags.
func (h Home) Settings() string { return filepath.Join(h.Dir, "settings.json") }

// parts is everything Howdah puts into a home; what else is there is not ours.
var parts = []string{"howdah.db", "howdah.db-wal", "howdah.db-shm", "settings.json", "subnet", "nodes", "clients", "cache", "images", "pipelines", "stacks", "ca", "log", "run"}

// ours reports whether a home's entry is one Howdah made.
func ours(name string) bool {
	return slices.Contains(parts, name) || strings.HasPrefix(name, "howdah.db.before-") || strings.HasPrefix(name, "subnet.") || strings.HasPrefix(name, ".subnet")
}

// known reports whether a server has run in the home before. What somebody put
// there since is left alone, also by Remove.
func (h Home) known() bool {
	for _, f := range []string{h.Settings(), h.Database(), h.Authority()} {
		if _, err := os.Stat(f); err != nil {
			return false
		}
	}
	return true
}

// maxSocket is what the kernel takes as the path of a unix socket, in bytes.
const maxSocket = 107

// Prepare makes the home's directories, for the owner only. A directory that
// holds anything else is refused: cleaning up must never cost somebody's files.
func (h Home) Prepare() error {
	if n := len(h.Socket()); n > maxSocket {
		return fmt.Errorf("cannot use %s as home: its path is %d bytes too long for a socket; choose a shorter one by HOWDAH_HOME", h.Dir, n-maxSocket)
	}
	entries, err := os.ReadDir(h.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot use %s as home: %w", h.Dir, err)
	}
	for _, e := range entries {
		if !ours(e.Name()) && !h.known() {
			return fmt.Errorf("cannot use %s as home: it holds %s, which is not Howdah's; choose an empty directory by HOWDAH_HOME", h.Dir, e.Name())
		}
	}
	for _, d := range []string{h.Dir, filepath.Dir(h.Socket()), filepath.Dir(h.Log()), h.Nodes(), h.Cache()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("cannot make home: %w", err)
		}
	}
	if err := os.Chmod(h.Dir, 0o700); err != nil { //nolint:gosec // a directory needs its x bit
		return fmt.Errorf("cannot protect home: %w", err)
	}
	return nil
}

// ErrRunning is returned when a server runs in the home already.
var ErrRunning = errors.New("a server runs in this home already")

// Lock makes sure that one server, or one who writes a home, is in it.
func (h Home) Lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(h.Dir, "run", "server.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock home: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil { //nolint:gosec // a descriptor fits an int
		return nil, errors.Join(ErrRunning, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// Options are what a user may set for a home's server.
type Options struct {
	Stacks    []string `json:"stacks,omitempty"`    // further directories of stacks
	OpenPorts bool     `json:"openPorts,omitempty"` // accept services that listen on every address
	MemoryMB  int      `json:"memoryMB,omitempty"`  // for local nodes; from the host where 0
	Posture   string   `json:"posture,omitempty"`   // single-user, where empty too, or shared
}

// LoadOptions reads what the home's server was started with.
func (h Home) LoadOptions() (Options, error) {
	var o Options
	data, err := os.ReadFile(h.Settings())
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err != nil {
		return o, fmt.Errorf("cannot read settings: %w", err)
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return o, fmt.Errorf("cannot read settings %s: %w", h.Settings(), err)
	}
	return o, nil
}

// Running reports whether a server runs in the home.
func (h Home) Running() bool {
	f, err := os.OpenFile(filepath.Join(h.Dir, "run", "server.lock"), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK) //nolint:gosec // a descriptor fits an int
}

// Remove ends everything that runs for the home and removes it. Its server
// must have ended. A directory that is no home is left alone.
func (h Home) Remove(ctx context.Context) error {
	if _, err := os.Stat(h.Settings()); err != nil {
		return fmt.Errorf("cannot remove %s: it is not a home of Howdah", h.Dir)
	}
	if err := local.End(ctx, h.Nodes()); err != nil {
		return fmt.Errorf("cannot end what runs for %s: %w", h.Dir, err)
	}
	if err := subnet.Release(ctx, subnet.Config{Home: h.Dir}); err != nil {
		return err
	}
	entries, err := os.ReadDir(h.Dir)
	if err != nil {
		return fmt.Errorf("cannot remove %s: %w", h.Dir, err)
	}
	// Artifact sets are read-only; make their directories writable again.
	err = filepath.WalkDir(h.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && filepath.Dir(path) == h.Dir && !ours(d.Name()) {
			return filepath.SkipDir
		}
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o700) //nolint:gosec // a directory needs its x bit
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot remove %s: %w", h.Dir, err)
	}
	// The settings go last: they are how a half-removed home is known.
	for _, e := range entries {
		if ours(e.Name()) && e.Name() != filepath.Base(h.Settings()) {
			if err := os.RemoveAll(filepath.Join(h.Dir, e.Name())); err != nil {
				return fmt.Errorf("cannot remove %s: %w", h.Dir, err)
			}
		}
	}
	if err := os.Remove(h.Settings()); err != nil {
		return fmt.Errorf("cannot remove %s: %w", h.Dir, err)
	}
	// Others' files stay, and so does a folder that somebody else made for its user.
	if err := os.Remove(h.Dir); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("cannot remove %s: %w", h.Dir, err)
	}
	return nil
}
