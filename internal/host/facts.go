package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// Facts is what the machine is, as far as this process may use it.
type Facts struct {
	MemoryTotal     int64   `json:"memoryTotal" doc:"Bytes of memory, or the cgroup's limit where that is lower"`
	MemoryAvailable int64   `json:"memoryAvailable" doc:"Bytes that can be taken without swapping"`
	Cores           int     `json:"cores" doc:"Processors we may use, at least 1; a cgroup's quota counts, rounded down"`
	CPUQuota        float64 `json:"cpuQuota,omitempty" doc:"Processors the cgroup grants, 0 without a limit"`
	OS              Release `json:"os" doc:"The distribution"`
	Architecture    string  `json:"architecture" doc:"As Go names it: amd64, arm64"`
	BootID          string  `json:"bootId,omitempty" doc:"Differs after each boot"`
}

// Release is what /etc/os-release says.
type Release struct {
	ID      string   `json:"id" doc:"Distribution in lower case: debian, ubuntu, fedora"`
	Like    []string `json:"like,omitempty" doc:"Distributions it derives from"`
	Version string   `json:"version,omitempty" doc:"Version, such as 12 or 24.04"`
	Name    string   `json:"name,omitempty" doc:"Name and version to show"`
}

// Major returns the first number of the version, 0 without one.
func (r Release) Major() int {
	if n := numbers(r.Version); len(n) > 0 {
		return n[0]
	}
	return 0
}

// Family returns the package manager's family: debian, fedora, suse, alpine,
// arch, or "" for another one.
func (r Release) Family() string {
	for _, id := range append([]string{r.ID}, r.Like...) {
		switch id {
		case "debian", "ubuntu":
			return "debian"
		case "fedora", "rhel", "centos", "rocky", "almalinux", "amzn", "ol":
			return "fedora"
		case "suse", "opensuse", "sles", "opensuse-leap", "opensuse-tumbleweed":
			return "suse"
		case "alpine", "arch":
			return id
		}
	}
	return ""
}

// ReadFacts returns the facts of this machine; see Host.Facts.
func ReadFacts(ctx context.Context) (Facts, error) { return New(Config{}).Facts(ctx) }

// Facts reads what the machine is. With an error, what could be read is returned too.
func (h *Host) Facts(context.Context) (Facts, error) {
	f := Facts{Architecture: runtime.GOARCH, OS: h.release()}
	var errs []error
	if err := h.memory(&f); err != nil {
		errs = append(errs, err)
	}
	f.CPUQuota = h.cpuQuota()
	f.Cores = h.cfg.CPUs
	if f.CPUQuota > 0 {
		f.Cores = max(1, min(f.Cores, int(f.CPUQuota)))
	}
	id, err := h.read("/proc/sys/kernel/random/boot_id")
	if err != nil {
		errs = append(errs, fmt.Errorf("cannot read the boot id: %w", err))
	}
	f.BootID = strings.TrimSpace(id)
	return f, errors.Join(errs...)
}

func (h *Host) release() Release {
	text, err := h.read("/etc/os-release")
	if err != nil {
		text, _ = h.read("/usr/lib/os-release")
	}
	v := keyValues(text)
	r := Release{ID: strings.ToLower(v["ID"]), Version: v["VERSION_ID"], Name: v["PRETTY_NAME"]}
	if like := strings.Fields(strings.ToLower(v["ID_LIKE"])); len(like) > 0 {
		r.Like = like
	}
	return r
}

func (h *Host) memory(f *Facts) error {
	text, err := h.read("/proc/meminfo")
	if err != nil {
		return fmt.Errorf("cannot read the memory of this machine: %w", err)
	}
	f.MemoryTotal, f.MemoryAvailable = meminfo(text, "MemTotal"), meminfo(text, "MemAvailable")
	if f.MemoryTotal == 0 {
		return errors.New("cannot read the memory of this machine: /proc/meminfo has no MemTotal")
	}
	for _, g := range h.memoryGroups() {
		f.MemoryTotal = min(f.MemoryTotal, g.limit)
		f.MemoryAvailable = min(f.MemoryAvailable, max(0, g.limit-g.used))
	}
	return nil
}

// meminfo returns a line of /proc/meminfo in bytes.
func meminfo(text, key string) int64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			if fields := strings.Fields(rest); len(fields) > 0 {
				n, _ := strconv.ParseInt(fields[0], 10, 64)
				return n << 10
			}
		}
	}
	return 0
}

// Disk is the room on a file system.
type Disk struct {
	Path  string `json:"path" doc:"The path asked about"`
	Free  int64  `json:"free" doc:"Bytes this user may still write"`
	Total int64  `json:"total" doc:"Bytes in total"`
}

// ReadDisk returns the room at a path of this machine; see Host.Disk.
func ReadDisk(path string) (Disk, error) { return New(Config{}).Disk(path) }

// Disk returns the room on the file system of a path. A path that does not
// exist yet counts as its nearest parent.
func (h *Host) Disk(path string) (Disk, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return Disk{}, fmt.Errorf("cannot read the free space of %s: %w", path, err)
	}
	for at := abs; ; at = filepath.Dir(at) {
		_, err := os.Stat(h.real(at))
		if errors.Is(err, fs.ErrNotExist) && at != "/" {
			continue
		}
		d := Disk{Path: path}
		if err == nil {
			d.Free, d.Total, err = h.cfg.Statfs(h.real(at))
		}
		if err != nil {
			return Disk{}, fmt.Errorf("cannot read the free space of %s: %w", path, err)
		}
		return d, nil
	}
}
