package runc

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

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

	user    specs.User
	volumes []string // paths of the host, for the shim to mount
	mounts  []specs.Mount
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
	args, err := b.args()
	if err != nil {
		return nil, err
	}
	image := b.spec.Image.Config
	cwd := image.WorkingDir
	if cwd == "" {
		cwd = SandboxPath
	}
	hostname := b.spec.Hostname
	if hostname == "" {
		hostname = b.spec.ID[:min(12, len(b.spec.ID))]
	}
	oci := &specs.Spec{
		Version: "1.0.2", // of runc 1.1 and later
		Process: &specs.Process{
			User: b.user, Args: args, Env: container.Environment(image.Env, b.spec.Env, b.labels), Cwd: path.Join("/", cwd),
			Capabilities: capabilities(), Rlimits: limits(b.spec.Ulimits), NoNewPrivileges: true,
		},
		Root:     &specs.Root{Path: shim.Rootfs},
		Hostname: hostname,
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

// args joins command and image as engines do: arguments replace the image's own
// command, a program or shell line also its entry point.
func (b *bundle) args() ([]string, error) {
	image := b.spec.Image.Config
	var args []string
	switch {
	case b.spec.Shell:
		args = append([]string{"/bin/sh", "-c"}, b.spec.Argv...)
	case b.spec.Program:
		args = b.spec.Argv
	case len(b.spec.Argv) > 0:
		args = append(append(args, image.Entrypoint...), b.spec.Argv...)
	default:
		args = append(append(args, image.Entrypoint...), image.Cmd...)
	}
	if len(args) == 0 {
		return nil, fmt.Errorf("image %s has no command of its own, and the task gives none", b.spec.Image.Name)
	}
	return args, nil
}

// capabilities are those that programs need which begin as root and become another.
func capabilities() *specs.LinuxCapabilities {
	list := []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
		"CAP_SETGID", "CAP_SETUID", "CAP_NET_BIND_SERVICE",
	}
	return &specs.LinuxCapabilities{Bounding: list, Effective: list, Permitted: list}
}

// limits are ours, but for those that the task asks for; none is above our own.
func limits(asked []container.Ulimit) []specs.POSIXRlimit {
	files := uint64(container.MaxFiles)
	var now unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &now) == nil {
		files = min(files, now.Max)
	}
	list := []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: files, Soft: files}, {Type: "RLIMIT_CORE"}}
	for _, u := range asked {
		limit := specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Hard: u.Hard, Soft: u.Soft}
		if i := slices.IndexFunc(list, func(l specs.POSIXRlimit) bool { return l.Type == limit.Type }); i >= 0 {
			list[i] = limit
			continue
		}
		list = append(list, limit)
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

var errNoUser = errors.New("no such name")

// findUser finds the ids of the task's user, or the image's, in the image's files.
func findUser(spec container.Spec) (specs.User, error) {
	name := spec.User
	if name == "" {
		name = spec.Image.Config.User
	}
	if name == "" {
		return specs.User{}, nil
	}
	who, group, hasGroup := strings.Cut(name, ":")
	var u specs.User
	fields, err := lookUp(spec.Image, "etc/passwd", who)
	id, idErr := strconv.ParseUint(who, 10, 16)
	switch {
	case err == nil && len(fields) >= 4:
		uid, err1 := strconv.ParseUint(fields[2], 10, 16)
		gid, err2 := strconv.ParseUint(fields[3], 10, 16)
		if errors.Join(err1, err2) != nil {
			return u, fmt.Errorf("image %s has no usable ids for user %q", spec.Image.Name, who)
		}
		u.UID, u.GID = uint32(uid), uint32(gid)
	case idErr == nil:
		u.UID = uint32(id)
	default:
		return u, fmt.Errorf("image %s has no user %q", spec.Image.Name, who)
	}
	if !hasGroup {
		return u, nil
	}
	fields, err = lookUp(spec.Image, "etc/group", group)
	text := group
	if err == nil && len(fields) >= 3 {
		text = fields[2]
	}
	gid, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return u, fmt.Errorf("image %s has no group %q", spec.Image.Name, group)
	}
	u.GID = uint32(gid)
	return u, nil
}

const maxPasswd = 1 << 20

// lookUp finds a line by its first or third field in a file of an image: in the
// highest layer that has the file.
func lookUp(image *container.Image, file, name string) ([]string, error) {
	for _, v := range slices.Backward(image.Layers) {
		text, err := readLayer(v, file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(text) {
			f := strings.Split(strings.TrimSpace(line), ":")
			if len(f) >= 3 && (f[0] == name || f[2] == name) {
				return f, nil
			}
		}
		return nil, errNoUser
	}
	return nil, errNoUser
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
		return "", errNoUser
	}
	text, err := root.ReadFile(file)
	return string(text), err
}
