package worker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"howdah.dev/howdah/internal/cell/mesos"
)

// maxFiles is how many files a task may have: more would take the worker too long to
// count, and the disk's own table of files from others.
const maxFiles = 1_000_000

// sharedMB is how much tasks without disk of their own share where the worker offers
// none.
const sharedMB = 10 << 10

// quota is how much disk the task may use: what it was given, or a share of what the
// worker offers to all that were given none. That is what most apps say; a disk that
// they fill ends everybody.
func (t *task) quota() (mb float64, shared bool) {
	if mb = amount(&t.info, "disk"); mb > 0 {
		return mb, false
	}
	if mb = mesos.Resources(t.w.cfg.Info.Resources).Scalar("disk"); mb > 0 {
		return mb, true
	}
	return sharedMB, true
}

// watchDisk ends a task that uses more disk than it was given. It asks until the task
// has ended: a full disk may have kept something of the first time from being written.
func (t *task) watchDisk(ctx context.Context) {
	mb, shared := t.quota()
	if shared {
		defer t.w.shares.drop(t)
	}
	tick := time.NewTicker(t.w.cfg.Quota)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		used := diskUse(maxFiles, append([]string{t.sandbox()}, t.runtime.Written(t.runDir())...)...)
		k := killing{Reason: mesos.ReasonContainerDisk}
		switch {
		case used.files > maxFiles:
			k.Message = fmt.Sprintf("the task has more than %d files", maxFiles)
		case shared:
			if k.Message = t.overShared(used.bytes, mb); k.Message == "" {
				continue
			}
		case float64(used.bytes) > mb*(1<<20):
			k.Message = fmt.Sprintf("disk limit of %s MB exceeded: %d MB are used", trimFloat(mb), used.bytes>>20)
		default:
			continue
		}
		t.kill(k)
	}
}

// shares are what tasks use that were given no disk of their own.
type shares struct {
	mu    sync.Mutex
	bytes map[*task]int64
}

// note counts what a task uses, and returns what all do and whether it uses the most.
func (s *shares) note(t *task, bytes int64) (all int64, most bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes[t] = bytes
	most = true
	for _, n := range s.bytes {
		all += n
		most = most && n <= bytes
	}
	return all, most
}

func (s *shares) drop(t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.bytes, t)
}

// overShared says that the task has to end because all use more than they share and
// it uses the most; else it says nothing.
func (t *task) overShared(bytes int64, mb float64) string {
	all, most := t.w.shares.note(t, bytes)
	if !most || float64(all) <= mb*(1<<20) {
		return ""
	}
	return fmt.Sprintf("tasks without disk of their own use %d MB of the %s MB that they share here, and this one the most, %d MB: give its app disk",
		all>>20, trimFloat(mb), bytes>>20)
}

// usage is what folders take of a disk.
type usage struct {
	bytes int64
	files int
}

// inode is a file whatever it is called.
type inode struct{ dev, ino uint64 }

const (
	batch    = 1000    // entries of a folder read at a time: one may have millions
	maxLinks = 100_000 // files with several names that are told apart
)

// diskUse counts as du does: files with several names once, holes not at all. It
// stops when there are more files than it is to count.
func diskUse(most int, dirs ...string) usage {
	var u usage
	seen := map[inode]bool{}
	for len(dirs) > 0 && u.files <= most {
		dir := dirs[len(dirs)-1]
		dirs = append(dirs[:len(dirs)-1], u.folder(dir, most, seen)...)
	}
	return u
}

// folder counts what is in a folder and returns the folders in it. What vanishes
// meanwhile is not counted.
func (u *usage) folder(dir string, most int, seen map[inode]bool) []string {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	var below []string
	for u.files <= most {
		entries, err := f.ReadDir(batch)
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				continue
			}
			u.files++
			if e.IsDir() {
				below = append(below, filepath.Join(dir, e.Name()))
			}
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				u.add(st, e.IsDir(), seen)
			}
		}
		if err != nil { // io.EOF, or it cannot be read further
			break
		}
	}
	return below
}

func (u *usage) add(st *syscall.Stat_t, isDir bool, seen map[inode]bool) {
	if st.Nlink > 1 && !isDir {
		key := inode{st.Dev, st.Ino}
		if seen[key] {
			return
		}
		if len(seen) < maxLinks {
			seen[key] = true
		}
	}
	u.bytes += st.Blocks * 512
}
