package webhdfs

import (
	"context"
	"io/fs"
	"iter"
	"path"
	"strconv"
	"time"
)

// Status is what HDFS knows about a file or folder.
type Status struct {
	Path        string // in full
	ID          int64  // of the inode: it survives a rename, and a path that is made anew has another
	Dir         bool
	Length      int64 // bytes; of a file being written, those known so far
	Owner       string
	Group       string
	Mode        fs.FileMode // permissions, sticky bit and, for a folder, fs.ModeDir
	Replication int
	BlockSize   int64
	Modified    time.Time
	Accessed    time.Time // rounded to an hour by default; zero for a folder
}

// Name returns the last part of the path.
func (s Status) Name() string { return path.Base(s.Path) }

type fileStatus struct {
	PathSuffix       string `json:"pathSuffix"`
	FileID           int64  `json:"fileId"`
	Type             string `json:"type"`
	Length           int64  `json:"length"`
	Owner            string `json:"owner"`
	Group            string `json:"group"`
	Permission       string `json:"permission"`
	Replication      int    `json:"replication"`
	BlockSize        int64  `json:"blockSize"`
	ModificationTime int64  `json:"modificationTime"`
	AccessTime       int64  `json:"accessTime"`
}

func (f fileStatus) status(parent string) Status {
	s := Status{
		Path:        path.Join(parent, f.PathSuffix),
		ID:          f.FileID,
		Dir:         f.Type == "DIRECTORY",
		Length:      f.Length,
		Owner:       f.Owner,
		Group:       f.Group,
		Mode:        modeOf(f.Permission),
		Replication: f.Replication,
		BlockSize:   f.BlockSize,
		Modified:    time.UnixMilli(f.ModificationTime),
	}
	if f.AccessTime != 0 {
		s.Accessed = time.UnixMilli(f.AccessTime)
	}
	if s.Dir {
		s.Mode |= fs.ModeDir
	}
	return s
}

// modeOf reads an octal permission such as 755 or 1777.
func modeOf(octal string) fs.FileMode {
	n, err := strconv.ParseUint(octal, 8, 32)
	if err != nil {
		return 0
	}
	mode := fs.FileMode(n) & fs.ModePerm
	if n&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// octalOf is the opposite of modeOf.
func octalOf(mode fs.FileMode) string {
	n := uint64(mode.Perm())
	if mode&fs.ModeSticky != 0 {
		n |= 0o1000
	}
	return strconv.FormatUint(n, 8)
}

// Status returns what HDFS knows about a path.
func (c *Client) Status(ctx context.Context, name string) (Status, error) {
	var answer struct{ FileStatus fileStatus }
	err := c.do(ctx, request{method: "GET", op: "GETFILESTATUS", path: name}, &answer)
	if err != nil {
		return Status{}, cannot("read status of", name, err)
	}
	return answer.FileStatus.status(name), nil
}

// List yields the entries of a folder by name, a page at a time, so that a
// folder of any size can be read. For a file it yields the file. After an
// error it stops.
func (c *Client) List(ctx context.Context, name string) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		for after := ""; ; {
			page, remaining, err := c.listPage(ctx, name, after)
			if err != nil {
				yield(Status{}, cannot("list", name, err))
				return
			}
			for _, f := range page {
				after = f.PathSuffix
				if !yield(f.status(name), nil) {
					return
				}
			}
			if remaining == 0 || len(page) == 0 {
				return
			}
		}
	}
}

func (c *Client) listPage(ctx context.Context, name, after string) ([]fileStatus, int64, error) {
	r := request{method: "GET", op: "LISTSTATUS_BATCH", path: name}
	if after != "" {
		r.params = map[string]string{"startAfter": after}
	}
	var answer struct {
		DirectoryListing struct {
			PartialListing struct {
				FileStatuses struct{ FileStatus []fileStatus }
			} `json:"partialListing"`
			RemainingEntries int64 `json:"remainingEntries"`
		}
	}
	err := c.do(ctx, r, &answer)
	l := answer.DirectoryListing
	return l.PartialListing.FileStatuses.FileStatus, l.RemainingEntries, err
}

// Summary is the sum over a tree, and its quotas.
type Summary struct {
	Folders    int64 // the root included
	Files      int64
	Length     int64 // bytes
	Space      int64 // bytes with replicas
	NameQuota  int64 // files and folders; -1 if none
	SpaceQuota int64 // bytes with replicas; -1 if none
}

// ContentSummary adds up a tree.
func (c *Client) ContentSummary(ctx context.Context, name string) (Summary, error) {
	var answer struct {
		ContentSummary struct {
			DirectoryCount int64 `json:"directoryCount"`
			FileCount      int64 `json:"fileCount"`
			Length         int64 `json:"length"`
			SpaceConsumed  int64 `json:"spaceConsumed"`
			Quota          int64 `json:"quota"`
			SpaceQuota     int64 `json:"spaceQuota"`
		}
	}
	err := c.do(ctx, request{method: "GET", op: "GETCONTENTSUMMARY", path: name}, &answer)
	if err != nil {
		return Summary{}, cannot("add up", name, err)
	}
	s := answer.ContentSummary
	return Summary{s.DirectoryCount, s.FileCount, s.Length, s.SpaceConsumed, s.Quota, s.SpaceQuota}, nil
}
