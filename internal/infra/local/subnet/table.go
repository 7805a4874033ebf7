package subnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Claimed is the content of a claim: who has the subnet.
type Claimed struct {
	Home string `json:"home"` // absolute, without symbolic links
	UID  int    `json:"uid"`
}

// table is the shared directory, while it is locked for us.
type table struct {
	dir, home string
	first     netip.Prefix
}

func (t *table) path(p netip.Prefix) string { return filepath.Join(t.dir, p.Addr().String()) }

func (t *table) claim() (netip.Prefix, error) {
	own, ok, err := readSubnet(t.home)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return netip.Prefix{}, err
	}
	if ok {
		return own, t.renew(own)
	}
	if err == nil {
		return netip.Prefix{}, fmt.Errorf("%s names no subnet of 127.0.0.0/8; remove it to get a new one", filepath.Join(t.home, homeFile))
	}
	used, err := inUse()
	if err != nil {
		return netip.Prefix{}, err
	}
	for p := t.first; p.Addr().Compare(lastSubnet) <= 0; p = next(p) {
		if used[p] {
			continue
		}
		if taken, err := t.take(p); err != nil {
			return netip.Prefix{}, err
		} else if taken {
			return p, t.writeHome(p)
		}
	}
	return netip.Prefix{}, fmt.Errorf("no free subnet from %s to %s; claims are in %s", t.first.Addr(), lastSubnet, t.dir)
}

func next(p netip.Prefix) netip.Prefix {
	a := p.Addr().As4()
	if a[2]++; a[2] == 0 {
		a[1]++
	}
	return netip.PrefixFrom(netip.AddrFrom4(a), 24)
}

// renew confirms the subnet that the home names.
func (t *table) renew(p netip.Prefix) error {
	holder, err := t.holder(p)
	if err == nil && holder.Home == t.home {
		now := time.Now()
		_ = os.Chtimes(t.path(p), now, now) // fails when another user made the claim: root, on a shared home
		return nil
	}
	taken, err := t.take(p)
	if err == nil && !taken {
		return &ConflictError{Subnet: p, Home: t.home, Holder: holder}
	}
	return err
}

// take claims a subnet unless it is another home's; false when it is.
func (t *table) take(p netip.Prefix) (bool, error) {
	holder, err := t.holder(p)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil && !errors.Is(err, errBadClaim):
		return false, nil // not ours to read: somebody's
	case err == nil && holder.Home != t.home && holds(holder.Home, p):
		return false, nil
	default: // the dead's
		if err := os.Remove(t.path(p)); errors.Is(err, os.ErrPermission) {
			return false, nil // another user's, who alone may remove it
		} else if err != nil {
			return false, err
		}
	}
	return true, t.write(p)
}

// holds reports whether the home still names the subnet. A home that we may not look
// into does.
func holds(home string, p netip.Prefix) bool {
	named, ok, err := readSubnet(home)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return false
	}
	return err != nil || (ok && named == p)
}

var errBadClaim = errors.New("not a claim")

func (t *table) holder(p netip.Prefix) (Claimed, error) {
	b, err := readSmall(t.path(p))
	if err != nil {
		return Claimed{}, err
	}
	var c Claimed
	if json.Unmarshal(b, &c) != nil || !filepath.IsAbs(c.Home) {
		return Claimed{}, errBadClaim
	}
	return c, nil
}

func (t *table) write(p netip.Prefix) error {
	b, err := json.Marshal(Claimed{Home: t.home, UID: os.Getuid()})
	if err != nil {
		return err
	}
	return create(t.path(p), append(b, '\n'))
}

// writeHome comes after write: a crash in between leaves a claim that does not count.
func (t *table) writeHome(p netip.Prefix) error {
	tmp := filepath.Join(t.home, homeFile+".part")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := create(tmp, []byte(p.String()+"\n")); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(t.home, homeFile))
}

func (t *table) release() error {
	own, ok, err := readSubnet(t.home)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if !ok {
		return nil
	}
	if holder, err := t.holder(own); err == nil && holder.Home == t.home {
		if err := os.Remove(t.path(own)); err != nil && !errors.Is(err, os.ErrPermission) {
			return err // a claim made by another user lapses with the home's file
		}
	}
	return os.Remove(filepath.Join(t.home, homeFile))
}

// create writes a new file that all may read, and takes it back when that fails.
func create(path string, content []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			os.Remove(path)
		}
	}()
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if _, err = f.Write(content); err != nil {
		return err
	}
	return f.Sync()
}

// readSmall reads a file of at most 64 KiB, which must be a regular one: others may
// put anything in a shared directory.
func readSmall(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errBadClaim
	}
	return io.ReadAll(io.LimitReader(f, 64<<10))
}
