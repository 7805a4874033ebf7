package worker

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/cell/cgroup"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/worker/container"
)

const (
	maxPids   = 1024
	minMemory = 32 // MB, as Mesos has it
)

// wish is a task as its runtime will get it, but for what has to be fetched first.
type wish struct {
	spec         container.Spec
	image        string // empty: none
	force        bool
	dockerConfig []byte
	uris         []mesos.URI
	memoryMB     float64
	diskMB       float64
}

// read turns a task into a wish, or says all that this worker cannot do of it.
func (t *task) read() (wish, error) {
	info := &t.info
	w := wish{memoryMB: memoryMB(info), diskMB: amount(info, "disk")}
	w.spec = container.Spec{
		ID: t.id, Dir: t.runDir(), Sandbox: t.sandbox(),
		Grace: grace(info.KillPolicy), Limits: limits(info),
		Network: container.Network{Host: true},
	}
	var errs []error
	if len(info.Executor) > 0 && string(info.Executor) != "null" {
		errs = append(errs, errors.New("custom executors are not supported"))
	}
	errs = append(errs, w.readCommand(info.Command), w.readContainer(info.Container, &t.w.cfg))
	if w.image == "" && (info.Command == nil || info.Command.Value == "") {
		errs = append(errs, errors.New("the task has no command"))
	}
	w.spec.Env = append(w.spec.Env, t.ownEnv(w.image != "")...)
	return w, errors.Join(errs...)
}

// ownEnv is what every task learns about itself.
func (t *task) ownEnv(inContainer bool) []string {
	sandbox := t.sandbox()
	if inContainer {
		sandbox = container.SandboxPath
	}
	return []string{
		"MESOS_SANDBOX=" + sandbox, "MESOS_DIRECTORY=" + sandbox, "MESOS_TASK_ID=" + t.info.TaskID.Value,
		"MESOS_FRAMEWORK_ID=" + t.framework.Value, "MESOS_SLAVE_ID=" + t.info.AgentID.Value,
		"MESOS_CONTAINER_NAME=mesos-" + t.id, "LIBPROCESS_IP=" + t.w.cfg.IP,
	}
}

func (w *wish) readCommand(c *mesos.CommandInfo) error {
	if c == nil {
		return nil
	}
	w.uris, w.spec.User = c.URIs, c.User
	switch {
	case c.Shell == nil || *c.Shell:
		if w.spec.Shell = c.Value != ""; w.spec.Shell {
			w.spec.Argv = []string{c.Value}
		}
	case c.Value != "": // the program, then argv with its own name first
		w.spec.Program = true
		w.spec.Argv = append([]string{c.Value}, c.Arguments[min(1, len(c.Arguments)):]...)
	default:
		w.spec.Argv = c.Arguments
	}
	if c.Environment == nil {
		return nil
	}
	var errs []error
	for _, v := range c.Environment.Variables {
		value := v.Value
		if v.Secret != nil {
			data, err := secret(v.Secret)
			if err != nil {
				errs = append(errs, fmt.Errorf("variable %s: %w", v.Name, err))
			}
			value = string(data)
		}
		if v.Name == "" || strings.ContainsAny(v.Name, "=\x00") || strings.Contains(value, "\x00") {
			errs = append(errs, fmt.Errorf("%q cannot be a variable of an environment", v.Name))
			continue
		}
		w.spec.Env = append(w.spec.Env, v.Name+"="+value)
	}
	return errors.Join(errs...)
}

func secret(s *mesos.Secret) ([]byte, error) {
	if s.Value == nil {
		return nil, errors.New("the secret has no value: references are resolved before the launch")
	}
	return s.Value.Data, nil
}

func (w *wish) readContainer(c *mesos.ContainerInfo, cfg *Config) error {
	if c == nil {
		return nil
	}
	w.spec.Hostname = c.Hostname
	var errs []error
	for _, v := range c.Volumes {
		volume, err := readVolume(v, cfg.Volumes)
		errs = append(errs, err)
		w.spec.Volumes = append(w.spec.Volumes, volume)
	}
	switch {
	case c.Type == mesos.ContainerDocker && c.Docker != nil:
		errs = append(errs, w.readDocker(c.Docker, cfg))
	case c.Type == mesos.ContainerMesos:
		if c.Mesos != nil && c.Mesos.Image != nil {
			errs = append(errs, w.readImage(c.Mesos.Image))
		}
		for _, n := range c.NetworkInfos {
			errs = append(errs, w.readNetwork(n, cfg))
		}
	default:
		errs = append(errs, fmt.Errorf("containers of type %q are not supported", c.Type))
	}
	return errors.Join(errs...)
}

func (w *wish) readDocker(d *mesos.DockerInfo, cfg *Config) error {
	w.image, w.force = d.Image, d.ForcePullImage
	var errs []error
	if d.Privileged {
		errs = append(errs, errors.New("privileged containers are not supported"))
	}
	for _, p := range d.Parameters {
		switch p.Key {
		case "label": // nothing keeps labels of containers here; the task has its own
		case "env":
			w.spec.Env = append(w.spec.Env, p.Value)
		case "hostname":
			w.spec.Hostname = p.Value
		case "ulimit":
			u, err := readUlimit(p.Value)
			errs = append(errs, err)
			w.spec.Ulimits = append(w.spec.Ulimits, u)
		default:
			errs = append(errs, fmt.Errorf("the Docker parameter %q is not supported", p.Key))
		}
	}
	switch d.Network {
	case "", mesos.NetworkHost:
	case mesos.NetworkNone:
		w.spec.Network = container.Network{}
	case mesos.NetworkBridge:
		errs = append(errs, w.ownNetwork(d.PortMappings, cfg))
	default:
		errs = append(errs, fmt.Errorf("the network %s is not supported: use host or container/bridge", d.Network))
	}
	return errors.Join(errs...)
}

// readUlimit reads NAME=SOFT[:HARD], as docker run does.
func readUlimit(text string) (container.Ulimit, error) {
	known := map[string]int{
		"as": unix.RLIMIT_AS, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA, "fsize": unix.RLIMIT_FSIZE, "locks": unix.RLIMIT_LOCKS,
		"memlock": unix.RLIMIT_MEMLOCK, "msgqueue": unix.RLIMIT_MSGQUEUE, "nofile": unix.RLIMIT_NOFILE, "nproc": unix.RLIMIT_NPROC,
		"rss": unix.RLIMIT_RSS, "rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
	}
	name, value, _ := strings.Cut(text, "=")
	if slices.Contains([]string{"core", "nice", "rtprio"}, name) {
		return container.Ulimit{}, fmt.Errorf("the Docker parameter ulimit may not be %s: it reaches beyond the container", name)
	}
	soft, hard, both := strings.Cut(value, ":")
	if !both {
		hard = soft
	}
	s, err1 := strconv.ParseUint(soft, 10, 63)
	h, err2 := strconv.ParseUint(hard, 10, 63)
	kind, ok := known[name]
	if !ok || errors.Join(err1, err2) != nil || s > h {
		return container.Ulimit{}, fmt.Errorf("the Docker parameter ulimit has the value %q: write it like nofile=1024:2048", text)
	}
	var own unix.Rlimit
	if err := unix.Getrlimit(kind, &own); err == nil && h > own.Max {
		return container.Ulimit{}, fmt.Errorf("the Docker parameter ulimit has the value %q: this worker's own is %d", text, own.Max)
	}
	return container.Ulimit{Name: name, Soft: s, Hard: h}, nil
}

func (w *wish) readImage(i *mesos.Image) error {
	if i.Type != mesos.ContainerDocker || i.Docker == nil {
		return fmt.Errorf("images of type %q are not supported", i.Type)
	}
	w.image, w.force = i.Docker.Name, i.Cached != nil && !*i.Cached
	if i.Docker.Config == nil {
		return nil
	}
	var err error
	w.dockerConfig, err = secret(i.Docker.Config)
	return err
}

func (w *wish) readNetwork(n mesos.NetworkInfo, cfg *Config) error {
	if n.Name != cfg.Bridge {
		return fmt.Errorf("this worker has no network %q", n.Name)
	}
	if w.image == "" {
		return errors.New("a network of the task's own needs an image")
	}
	return w.ownNetwork(n.PortMappings, cfg)
}

func (w *wish) ownNetwork(ports []mesos.PortMapping, cfg *Config) error {
	n := container.Network{Gateways: cfg.Gateways, Forwards: w.spec.Network.Forwards}
	var errs []error
	for _, p := range ports {
		protocol := p.Protocol
		if protocol == "" {
			protocol = "tcp"
		}
		for _, port := range []int{p.HostPort, p.ContainerPort} {
			if port < 1 || port > math.MaxUint16 {
				errs = append(errs, fmt.Errorf("%d is no port", port))
			}
		}
		for one := range strings.SplitSeq(strings.ToLower(protocol), ",") {
			n.Forwards = append(n.Forwards, shim.Forward{Protocol: one, Listen: net.JoinHostPort(cfg.IP, strconv.Itoa(p.HostPort)), Port: p.ContainerPort})
		}
	}
	w.spec.Network = n
	return errors.Join(errs...)
}

func readVolume(v mesos.Volume, allowed []string) (container.Volume, error) {
	out := container.Volume{ContainerPath: v.ContainerPath, ReadOnly: v.Mode == "RO"}
	var err error
	switch {
	case v.Source != nil && v.Source.Secret != nil:
		if out.Data, err = secret(v.Source.Secret); err == nil && out.Data == nil {
			out.Data = []byte{}
		}
	case v.Source != nil:
		err = fmt.Errorf("volumes of type %q are not supported", v.Source.Type)
	default:
		out.HostPath, err = allowedPath(v.HostPath, allowed)
	}
	if err == nil && (v.ContainerPath == "" || !filepath.IsAbs(v.ContainerPath) && !filepath.IsLocal(v.ContainerPath)) {
		err = fmt.Errorf("%q cannot be the path of a volume", v.ContainerPath)
	}
	return out, err
}

// allowedPath resolves a path of the host, links included, and sees that it is where
// volumes may be.
func allowedPath(path string, allowed []string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("the volume's host path %q must be absolute", path)
	}
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("the volume's host path %s does not exist on this worker", path)
	}
	if err != nil {
		return "", fmt.Errorf("cannot resolve the volume's host path: %w", err)
	}
	ok := slices.ContainsFunc(allowed, func(prefix string) bool {
		root, err := filepath.EvalSymlinks(prefix)
		if err != nil {
			return false
		}
		rel, err := filepath.Rel(root, real)
		return err == nil && filepath.IsLocal(rel)
	})
	if !ok {
		return "", fmt.Errorf("the volume's host path %s is not one that this worker allows", path)
	}
	return real, nil
}

// amount is how much of a resource the task was given.
func amount(info *mesos.TaskInfo, name string) float64 {
	return mesos.Resources(info.Resources).Scalar(name)
}

// memoryMB is the task's memory limit; 0 is none, which only a limit that is infinite
// asks for. As in Mesos, no task has less than minMemory, and so none is without a
// limit because it asked for nothing.
func memoryMB(info *mesos.TaskInfo) float64 {
	if l, ok := info.Limits["mem"]; ok {
		if math.IsInf(l.Value, 1) {
			return 0
		}
		return max(minMemory, l.Value)
	}
	return max(minMemory, amount(info, "mem"))
}

// limits are a weight of processor time, with an upper bound only where one was
// asked for, and bounds of memory and processes.
func limits(info *mesos.TaskInfo) cgroup.Limits {
	l := cgroup.Limits{CPUShares: max(2, int64(amount(info, "cpus")*1024)), Pids: maxPids}
	if mb := memoryMB(info); mb > 0 {
		l.Memory = int64(mb * (1 << 20))
	}
	if cpus, ok := info.Limits["cpus"]; ok && !math.IsInf(cpus.Value, 1) {
		l.CPUQuota = time.Duration(cpus.Value * float64(cgroup.Period))
	}
	return l
}
