package artifact

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// errLocked is the answer of tryLock when another holds the lock.
var errLocked = errors.New("another process is at it")

// tryLock takes the named lock of the cache, between processes and between
// goroutines alike. The kernel frees it when its holder dies.
func (c *Cache) tryLock(name string) (unlock func(), err error) {
	if err := os.MkdirAll(c.path("locks"), 0o755); err != nil {
		return nil, fmt.Errorf("cannot use the artifact cache: %w", err)
	}
	f, err := os.OpenFile(c.path("locks", name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("cannot lock %s: %w", f.Name(), err)
	}
	// Lock files may be removed by their holder: a lock on a file that has
	// lost its name guards nothing.
	mine, err1 := f.Stat()
	named, err2 := os.Stat(f.Name())
	if err1 != nil || err2 != nil || !os.SameFile(mine, named) {
		f.Close()
		return nil, errLocked
	}
	return func() { f.Close() }, nil
}

// lock waits for the named lock until the context ends.
func (c *Cache) lock(ctx context.Context, name string) (unlock func(), err error) {
	for {
		unlock, err := c.tryLock(name)
		if !errors.Is(err, errLocked) {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("cannot wait longer for the lock %s: %w", name, context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}
