package host

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const meminfo16 = "MemTotal:       16777216 kB\nMemFree:  1 kB\nMemAvailable:   8388608 kB\n"

func TestFacts(t *testing.T) {
	const gib = 1 << 30
	tests := []struct {
		name         string
		files        map[string]string
		total, avail int64
		cores        int
		quota        float64
	}{
		{"no cgroup", nil, 16 * gib, 8 * gib, 8, 0},
		{"v2 without limits", map[string]string{
			"/proc/self/cgroup": "0::/user.slice\n", "/sys/fs/cgroup/cgroup.controllers": "cpu memory",
			"/sys/fs/cgroup/user.slice/memory.max": "max\n", "/sys/fs/cgroup/user.slice/cpu.max": "max 100000\n",
		}, 16 * gib, 8 * gib, 8, 0},
		{"v2 limits on two levels", map[string]string{
			"/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/cgroup.controllers": "cpu memory",
			"/sys/fs/cgroup/a/memory.max": "4294967296\n", "/sys/fs/cgroup/a/memory.current": "3221225472\n", "/sys/fs/cgroup/a/memory.stat": "anon 1\ninactive_file 1073741824\n",
			"/sys/fs/cgroup/a/b/memory.max": "6442450944\n", "/sys/fs/cgroup/a/b/cpu.max": "250000 100000\n", "/sys/fs/cgroup/a/cpu.max": "400000 100000\n",
		}, 4 * gib, 2 * gib, 2, 2.5},
		{"v2 in a container that sees only its root", map[string]string{
			"/proc/self/cgroup": "0::/../../x\n", "/sys/fs/cgroup/cgroup.controllers": "cpu memory",
			"/sys/fs/cgroup/memory.max": "1073741824", "/sys/fs/cgroup/memory.current": "2147483648", "/sys/fs/cgroup/cpu.max": "50000 100000",
		}, gib, 0, 1, 0.5},
		{"v1", map[string]string{
			"/proc/self/cgroup":                           "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/\n",
			"/sys/fs/cgroup/memory/memory.limit_in_bytes": "2147483648", "/sys/fs/cgroup/memory/memory.usage_in_bytes": "1610612736", "/sys/fs/cgroup/memory/memory.stat": "total_inactive_file 536870912",
			"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000", "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
			"/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "1",
		}, 2 * gib, gib, 3, 3},
		{"v1 without limits", map[string]string{
			"/proc/self/cgroup": "4:memory:/\n1:cpu:/\n", "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712", "/sys/fs/cgroup/memory/memory.usage_in_bytes": "1",
			"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
		}, 16 * gib, 8 * gib, 8, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, merge(tt.files, map[string]string{"/proc/meminfo": meminfo16, "/proc/sys/kernel/random/boot_id": "b-1\n"}))
			f, err := w.host().Facts(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if f.MemoryTotal != tt.total || f.MemoryAvailable != tt.avail || f.Cores != tt.cores || f.CPUQuota != tt.quota || f.BootID != "b-1" {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestRelease(t *testing.T) {
	for _, tt := range []struct {
		text, family string
		want         Release
	}{
		{"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n", "debian", Release{ID: "debian", Version: "12", Name: "Debian GNU/Linux 12 (bookworm)"}},
		{"ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_ID=22\n", "debian", Release{ID: "linuxmint", Like: []string{"ubuntu", "debian"}, Version: "22"}},
		{"ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"", "fedora", Release{ID: "rocky", Like: []string{"rhel", "centos", "fedora"}, Version: "9.4"}},
		{"ID=alpine", "alpine", Release{ID: "alpine"}},
		{"ID=nixos", "", Release{ID: "nixos"}},
	} {
		r := newWorld(t, map[string]string{"/usr/lib/os-release": tt.text}).host().release()
		if diff := cmp.Diff(tt.want, r); diff != "" || r.Family() != tt.family {
			t.Error(r.Family(), diff)
		}
	}
}

func TestFactsErrors(t *testing.T) {
	want := "cannot read the memory of this machine: /proc/meminfo has no MemTotal\ncannot read the boot id: open "
	w := newWorld(t, map[string]string{"/proc/meminfo": "x"})
	f, err := w.host().Facts(t.Context())
	if err == nil || len(err.Error()) < len(want) || err.Error()[:len(want)] != want || f.Cores != 8 {
		t.Error(f, err)
	}
}
