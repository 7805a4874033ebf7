package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Howdah's own logs are rotated when they pass this size, and this many are kept.
const (
	MaxOwnLog  = 10 << 20
	KeepOwnLog = 3
)

// Rotate copies a log larger than maxBytes to path.1, moving earlier copies up to
// path.keep, and empties it. Writers that append keep going and need not know. With
// keep 0 the log is only emptied. A missing log is no error.
//
// Where the file system can cut off the head of a file (ext4, XFS), nothing is lost:
// the last piece of the log, less than a block, stays, so that a line may begin in
// path.1 and end in path. Elsewhere lines written between the end of the copy and
// the emptying (some hundred microseconds under load) are lost, and one may be torn.
// A crash in between leaves lines twice, never not at all. Only one caller may
// rotate a path at a time. moved is how many bytes have left the head of the log, 0
// when it was not rotated.
func Rotate(path string, maxBytes int64, keep int) (moved int64, err error) {
	log, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cannot rotate log: %w", err)
	}
	defer log.Close()
	info, err := log.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return 0, fmt.Errorf("cannot rotate %s: %w", path, err)
	}
	if info.Size() <= maxBytes {
		return 0, nil
	}
	if moved, err = rotate(log, path, info.Mode().Perm(), keep); err != nil {
		return moved, fmt.Errorf("cannot rotate %s: %w", path, err)
	}
	return moved, nil
}

func rotate(log *os.File, path string, mode os.FileMode, keep int) (moved int64, err error) {
	if keep <= 0 {
		info, err := log.Stat()
		if err != nil {
			return 0, err
		}
		return info.Size(), log.Truncate(0)
	}
	part := path + ".part"
	dst, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, mode)
	if err != nil {
		return 0, err
	}
	defer dst.Close()
	defer os.Remove(part) // when it did not become path.1
	copied, err := io.Copy(dst, log)
	if err != nil {
		return 0, err
	}
	for n := keep; n > 1; n-- {
		if err := os.Rename(numbered(path, n-1), numbered(path, n)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
	}
	if err := os.Rename(part, numbered(path, 1)); err != nil {
		return 0, err
	}
	if cut := cutHead(log, copied); cut > 0 {
		return cut, dst.Truncate(cut) // the rest is still in the log
	}
	if err := copyToLineEnd(dst, log); err != nil {
		return 0, err
	}
	if moved, err = log.Seek(0, io.SeekCurrent); err != nil {
		return 0, err
	}
	return moved, log.Truncate(0)
}

// cutHead removes as many whole blocks of the first n bytes as it can, and says how
// many bytes that were; 0 when the file system has no means.
func cutHead(log *os.File, n int64) int64 {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(log.Fd()), &fs); err != nil || fs.Bsize <= 0 {
		return 0
	}
	cut := (n - 1) / int64(fs.Bsize) * int64(fs.Bsize) // something has to stay
	if cut <= 0 {
		return 0
	}
	// Written out before, or every writer would wait for that under the file's lock.
	_ = unix.Fdatasync(int(log.Fd()))
	if err := unix.Fallocate(int(log.Fd()), unix.FALLOC_FL_COLLAPSE_RANGE, 0, cut); err != nil {
		return 0
	}
	return cut
}

// copyToLineEnd copies what came meanwhile. A write that crosses a page shows up in
// two pieces, so it gives a line that is not complete a moment to become so.
func copyToLineEnd(dst io.Writer, log *os.File) error {
	for range 10 {
		if _, err := io.Copy(dst, log); err != nil {
			return err
		}
		end, err := log.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		last := []byte{'\n'}
		if end > 0 {
			if _, err := log.ReadAt(last, end-1); err != nil {
				return err
			}
		}
		if last[0] == '\n' {
			break
		}
		time.Sleep(50 * time.Microsecond)
	}
	return nil
}

func numbered(path string, n int) string { return path + "." + strconv.Itoa(n) }
