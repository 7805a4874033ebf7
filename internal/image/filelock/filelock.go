// Package filelock owns locks between processes: a file under an advisory lock,
// which the kernel frees when its holder ends. A lock is between goroutines too,
// because each call opens the file anew. It knows nothing of what is guarded.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrHeld is the answer of Try when another holds the lock.
var ErrHeld = errors.New("another holds the lock")

// Mode is how a lock is held.
type Mode int

// A shared lock excludes exclusive ones only.
const (
	Exclusive Mode = iota
	Shared
)

// poll is how often a waiting lock is tried again.
const poll = 10 * time.Millisecond

// Try takes the lock at once or returns ErrHeld. The file stays when the lock is
// given back: removing it would let two holders lock two files of one name.
func Try(file string, mode Mode) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return nil, fmt.Errorf("cannot make the folder of a lock: %w", err)
		}
		f, err = os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the lock: %w", err)
	}
	how := unix.LOCK_EX
	if mode == Shared {
		how = unix.LOCK_SH
	}
	for {
		err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrHeld
		}
		return nil, fmt.Errorf("cannot lock %s: %w", file, err)
	}
	return func() { f.Close() }, nil
}

// Take waits for the lock until the context ends.
func Take(ctx context.Context, file string, mode Mode) (unlock func(), err error) {
	for {
		unlock, err := Try(file, mode)
		if !errors.Is(err, ErrHeld) {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("cannot wait longer for the lock %s: %w", filepath.Base(file), context.Cause(ctx))
		case <-time.After(poll):
		}
	}
}
