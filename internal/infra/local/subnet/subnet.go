// Package subnet gives every home on a host a loopback network of its own, so that
// several live side by side. Claims are files in a directory shared by all users of
// the host, one per subnet, named after its first address; the home names its
// subnet in turn. A claim counts only while both agree.
//
// It owns nothing but those files, and knows nothing of what runs in a subnet
// except that something listens there.
package subnet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/infra/local/sockets"
)

// DefaultDir is where claims usually live. Unlike /run and /tmp it outlives a reboot.
const DefaultDir = "/var/tmp/howdah-subnets"

// homeFile in a home names its subnet, as "127.5.0.0/24".
const homeFile = "subnet"

var (
	firstSubnet = netip.MustParseAddr("127.5.0.0")
	lastSubnet  = netip.MustParseAddr("127.254.255.0")
)

// Config says whose subnet it is about.
type Config struct {
	Dir   string     // where claims live: shared by all homes of the host, created with mode 1777; empty means DefaultDir
	Home  string     // an existing directory
	First netip.Addr // the lowest subnet to consider; the zero value means 127.5.0.0
}

// ConflictError says that the subnet a home was using now belongs to another home:
// the home was copied, or its claim got lost for a while.
type ConflictError struct {
	Subnet netip.Prefix
	Home   string
	Holder Claimed
}

// Error says who holds it and what to do.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s is used by %s (uid %d); if %s is a copy of it, remove the copy: howdah --home %s clean; if nothing is deployed in it, remove %s to get another subnet",
		e.Subnet, e.Holder.Home, e.Holder.UID, e.Home, e.Home, filepath.Join(e.Home, homeFile))
}

// Claim returns the home's own /24 of 127/8: the one it has, or else the lowest free
// one, where nobody listens. The claim lasts until Release or until the home is gone.
// A subnet that another home took over is a *ConflictError: addresses never change
// silently. Any number of processes may call it at once. Call it at every start of
// the home: it renews the claim's time, as hosts tend to remove old files from
// /var/tmp.
func Claim(ctx context.Context, cfg Config) (netip.Prefix, error) {
	var got netip.Prefix
	err := cfg.locked(ctx, func(t *table) (err error) {
		got, err = t.claim()
		return err
	})
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("cannot claim a subnet for %s: %w", cfg.Home, err)
	}
	return got, nil
}

// Release gives the home's subnet back. Without one it does nothing. What still
// runs in the subnet is the caller's to end first.
func Release(ctx context.Context, cfg Config) error {
	err := cfg.locked(ctx, (*table).release)
	if err != nil {
		return fmt.Errorf("cannot release the subnet of %s: %w", cfg.Home, err)
	}
	return nil
}

// locked runs do alone on this host. The lock is on the directory itself: a lock
// file in a directory of mode 1777 could not be opened by every user.
func (cfg Config) locked(ctx context.Context, do func(*table) error) error {
	home, err := filepath.Abs(cfg.Home)
	if err == nil {
		home, err = filepath.EvalSymlinks(home)
	}
	if err != nil {
		return err
	}
	if info, err := os.Stat(home); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", home)
	}
	first := cfg.First
	if !first.IsValid() {
		first = firstSubnet
	}
	if !first.Is4() || first.As4()[0] != 127 {
		return fmt.Errorf("%s is not an IPv4 loopback address", first)
	}
	cfg.Dir = cmp.Or(cfg.Dir, DefaultDir)
	dir, err := lockShared(ctx, cfg.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return do(&table{dir: cfg.Dir, home: home, first: prefix24(first)})
}

// openShared opens the directory of claims, created for all users if it is missing.
// It gets its mode before its name: mkdir alone obeys the umask.
func openShared(dir string) (*os.File, error) {
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		tmp, err := os.MkdirTemp(filepath.Dir(dir), ".howdah-subnets-")
		if err != nil {
			return nil, err
		}
		defer os.Remove(tmp) // when it did not become dir
		if err := os.Chmod(tmp, os.ModeSticky|0o777); err != nil {
			return nil, err
		}
		err = unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, dir, unix.RENAME_NOREPLACE)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("cannot create %s: %w", dir, err)
		}
	}
	return os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// lockShared opens and locks the directory, again when somebody removed it meanwhile.
func lockShared(ctx context.Context, path string) (*os.File, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lockPatience, fmt.Errorf("somebody has held it for %s", lockPatience))
	defer cancel()
	for {
		dir, err := openShared(path)
		if err != nil {
			return nil, err
		}
		if err := flock(ctx, dir); err != nil {
			dir.Close()
			return nil, err
		}
		ours, err := dir.Stat()
		named, nerr := os.Lstat(path)
		if err == nil && nerr == nil && os.SameFile(ours, named) {
			return dir, nil
		}
		dir.Close()
	}
}

// lockPatience bounds the wait for others; a claim takes milliseconds.
const lockPatience = 20 * time.Second

func flock(ctx context.Context, dir *os.File) error {
	for {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("cannot lock %s: %w", dir.Name(), err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot lock %s: %w", dir.Name(), context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// prefix24 is the /24 that addr lies in.
func prefix24(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, 24).Masked() }

// inUse returns the subnets in which somebody listens. Wildcard listeners do not
// count: they are in all of them.
func inUse() (map[netip.Prefix]bool, error) {
	ls, err := sockets.Table()
	if err != nil {
		return nil, err
	}
	used := map[netip.Prefix]bool{}
	for _, l := range ls {
		if addr := l.Addr.Addr(); addr.Is4() && addr.IsLoopback() {
			used[prefix24(addr)] = true
		}
	}
	return used, nil
}

// readSubnet reads a home's file. ok is false when it names no subnet of ours.
func readSubnet(home string) (p netip.Prefix, ok bool, err error) {
	b, err := readSmall(filepath.Join(home, homeFile))
	if err != nil {
		return netip.Prefix{}, false, err
	}
	p, err = netip.ParsePrefix(strings.TrimSpace(string(b)))
	ok = err == nil && p == prefix24(p.Addr()) && p.Addr().Is4() && p.Addr().IsLoopback()
	return p, ok, nil
}
