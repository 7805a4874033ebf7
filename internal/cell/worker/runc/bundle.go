package runc

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"howdah.dev/howdah/internal/cell/cgroup"
	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/worker/container"
)

// bundle makes the configuration that runc reads, and the files it names.
type bundle struct {
	spec     container.Spec
	mapping  shim.Mapping
	rootless bool
	group    string // what runc calls the control group; empty: none
	swap     bool   // swap can be limited
	// labels are variables by which the container is found when its shim and its
	// worker were killed and do not come back.
	labels []string

	user     specs.User
	volumes  []string // paths of the host, for the shim to mount
	readOnly []int    // those of them that are
	mounts   []specs.Mount
}

func (b *bundle) write() error {
	var err error
	if b.user, err = findUser(b.spec); err != nil {
		return err
	}
	if b.rootless {
		b.user = specs.User{} // there is no other
	}
	if err := container.Own(b.spec.Sandbox, b.host(b.user.UID), b.host(b.user.GID)); err != nil {
		return err
	}
	if err := b.addMounts(); err != nil {
		return err
	}
	oci, err := b.config()
	if err != nil {
		return err
	}
	text, err := json.Marshal(oci)
	if err == nil {
		err = os.WriteFile(filepath.Join(b.spec.Dir, shim.BundleFile), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot write the container's configuration: %w", err)
	}
	return nil
}

// host is the id on the host of one of the container.
func (b *bundle) host(id uint32) int {
	if b.rootless {
		return os.Geteuid()
	}
	return b.mapping.Base + int(id)
}

func (b *bundle) config() (*specs.Spec, error) {
	args, err := container.Args(b.spec)
	if err != nil {
		return nil, err
	}
	image := b.spec.Image.Config
	cwd := image.WorkingDir
	if cwd == "" {
		cwd = container.SandboxPath
	}
	oci := &specs.Spec{
		Version: "1.0.2", // of runc 1.1 and later
		Process: &specs.Process{
			User: b.user, Args: args, Env: container.Environment(image.Env, b.spec.Env, b.labels), Cwd: path.Join("/", cwd),
			Capabilities: capabilities(), Rlimits: limits(b.spec.Ulimits), NoNewPrivileges: true,
		},
		Root:     &specs.Root{Path: shim.Rootfs},
		Hostname: b.spec.Host(),
		Mounts:   b.mounts,
		Linux: &specs.Linux{
			CgroupsPath: b.group,
			Namespaces:  b.namespaces(),
			MaskedPaths: []string{
				"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/scsi",
				"/proc/sched_debug", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware", "/sys/devices/virtual/powercap",
			},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
	if !b.rootless && b.group != "" {
		oci.Linux.Resources = resources(b.spec.Limits, b.swap)
	}
	if m := b.mapping; m.Size > 0 {
		ids := []specs.LinuxIDMapping{{HostID: uint32(m.Base), Size: uint32(m.Size)}} //nolint:gosec // ids fit by their kind
		oci.Linux.UIDMappings, oci.Linux.GIDMappings = ids, ids
	}
	if oci.Linux.Seccomp, err = seccomp.GetDefaultProfile(oci); err != nil {
		return nil, fmt.Errorf("cannot make the seccomp profile: %w", err)
	}
	return oci, nil
}

// capabilities are granted to the first process and what it starts, but for users other
// than root.
func capabilities() *specs.LinuxCapabilities {
	list := container.Capabilities()
	return &specs.LinuxCapabilities{Bounding: list, Effective: list, Permitted: list}
}

func limits(asked []container.Ulimit) []specs.POSIXRlimit {
	var list []specs.POSIXRlimit
	for _, u := range container.Ulimits(asked) {
		list = append(list, specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Hard: u.Hard, Soft: u.Soft})
	}
	return list
}

func resources(l cgroup.Limits, swap bool) *specs.LinuxResources {
	r := &specs.LinuxResources{CPU: &specs.LinuxCPU{}, Pids: &specs.LinuxPids{}}
	if l.Memory > 0 {
		r.Memory = &specs.LinuxMemory{Limit: &l.Memory}
		if swap {
			r.Memory.Swap = &l.Memory
		}
	}
	if l.CPUShares > 0 {
		shares := uint64(max(2, l.CPUShares)) //nolint:gosec // positive
		r.CPU.Shares = &shares
	}
	if l.CPUQuota > 0 {
		quota, period := max(1000, l.CPUQuota.Microseconds()), uint64(cgroup.Period.Microseconds())
		r.CPU.Quota, r.CPU.Period = &quota, &period
	}
	if l.Pids > 0 {
		r.Pids.Limit = &l.Pids
	}
	return r
}

func (b *bundle) namespaces() []specs.LinuxNamespace {
	ns := []specs.LinuxNamespace{
		{Type: specs.PIDNamespace},
		{Type: specs.IPCNamespace},
		{Type: specs.UTSNamespace},
		{Type: specs.MountNamespace},
		{Type: specs.CgroupNamespace},
	}
	if b.mapping.Size > 0 {
		ns = append(ns, specs.LinuxNamespace{Type: specs.UserNamespace, Path: shim.UsernsAt})
	}
	if !b.spec.Network.Host {
		ns = append(ns, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: shim.NetnsAt})
	}
	return ns
}

// findUser finds the ids of the task's user, or the image's, in the image's files.
func findUser(spec container.Spec) (specs.User, error) {
	u, err := container.FindUser(spec, func(file string) (string, error) { return readImage(spec.Image, file) })
	return specs.User{UID: u.UID, GID: u.GID}, err
}

const maxPasswd = 1 << 20

// readImage reads a file of an image: of the highest layer that has it.
func readImage(image *container.Image, file string) (string, error) {
	for _, v := range slices.Backward(image.Layers) {
		text, err := readLayer(v, file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		return text, err
	}
	return "", container.ErrNoUser
}

func readLayer(dir, file string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	info, err := root.Stat(file)
	if err != nil {
		return "", err
	}
	// A device stands for a file that this layer took away.
	if !info.Mode().IsRegular() || info.Size() > maxPasswd {
		return "", container.ErrNoUser
	}
	text, err := root.ReadFile(file)
	return string(text), err
}
