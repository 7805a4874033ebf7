package docker

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	types "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/storage"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"howdah.dev/howdah/internal/cell/cgroup"
	"howdah.dev/howdah/internal/cell/shim"
	"howdah.dev/howdah/internal/cell/worker/container"
)

// plainSpec is a task that asks for nothing.
func plainSpec() container.Spec {
	return container.Spec{
		ID: "0123456789abcdef", Dir: "/w/tasks/1/run0", Sandbox: "/w/sandboxes/1",
		Image:   &container.Image{Name: "shop/web:1", Config: container.ImageConfig{Entrypoint: []string{"/bin/web"}, Cmd: []string{"--port", "80"}, Env: []string{"A=image", "B=image"}}},
		Ulimits: []container.Ulimit{{Name: "nofile", Soft: 1024, Hard: 2048}},
	}
}

// plainOptions is what the engine is told of it.
func plainOptions() client.ContainerCreateOptions {
	ro := func(source, target string) mount.Mount {
		return mount.Mount{Type: "bind", Source: source, Target: target, ReadOnly: true, BindOptions: &mount.BindOptions{Propagation: "rprivate"}}
	}
	rw := func(source, target string) mount.Mount {
		m := ro(source, target)
		m.ReadOnly = false
		return m
	}
	return client.ContainerCreateOptions{
		Name: "howdah-0123456789abcdef",
		Config: &types.Config{
			Image: "howdah.invalid/image:feed", Hostname: "0123456789ab", WorkingDir: "/mnt/mesos/sandbox",
			Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=image", "B=image", "LABEL=x"},
			Entrypoint: []string{"/.howdah-shim"}, Cmd: []string{"gate", "/bin/web", "--port", "80"},
			Labels:    map[string]string{labelTask: "1"},
			OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
			Healthcheck: &types.HealthConfig{Test: []string{"NONE"}},
		},
		HostConfig: &types.HostConfig{
			NetworkMode: "none", LogConfig: types.LogConfig{Type: "none"}, IpcMode: "private", CgroupnsMode: "private",
			CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges:true"},
			CapAdd:  []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_NET_BIND_SERVICE"},
			Sysctls: map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"}, Init: new(false),
			Resources: types.Resources{Ulimits: []*types.Ulimit{{Name: "nofile", Soft: 1024, Hard: 2048}, {Name: "core"}}},
			Mounts: []mount.Mount{
				ro("/w/bin/howdah-shim", "/.howdah-shim"),
				ro("/w/tasks/1/run0/hostname", "/etc/hostname"), ro("/w/tasks/1/run0/hosts", "/etc/hosts"), ro("/w/tasks/1/run0/resolv.conf", "/etc/resolv.conf"),
				rw("/w/sandboxes/1", "/mnt/mesos/sandbox"),
			},
		},
	}
}

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		name    string
		spec    func(*container.Spec)
		want    func(*client.ContainerCreateOptions)
		volumes []shim.EngineVolume
		err     string
	}{
		{name: "nothing asked"},
		{
			name: "limits",
			spec: func(s *container.Spec) {
				s.Limits = cgroup.Limits{Memory: 64 << 20, CPUShares: 1, CPUQuota: 50 * time.Millisecond, Pids: 1024}
			},
			want: func(o *client.ContainerCreateOptions) {
				r := &o.HostConfig.Resources
				r.Memory, r.MemorySwap, r.CPUShares, r.CPUQuota, r.CPUPeriod, r.PidsLimit = 64<<20, 64<<20, 2, 50000, 100000, new(int64(1024))
			},
		},
		{
			name: "network of the host",
			spec: func(s *container.Spec) { s.Network.Host = true },
			want: func(o *client.ContainerCreateOptions) { o.HostConfig.NetworkMode, o.HostConfig.Sysctls = "host", nil },
		},
		{
			name: "arguments beside the entry point",
			spec: func(s *container.Spec) { s.Argv = []string{"--port", "81"} },
			want: func(o *client.ContainerCreateOptions) { o.Config.Cmd = []string{"gate", "/bin/web", "--port", "81"} },
		},
		{
			name: "program",
			spec: func(s *container.Spec) { s.Argv, s.Program = []string{"sleep", "1"}, true },
			want: func(o *client.ContainerCreateOptions) { o.Config.Cmd = []string{"gate", "sleep", "1"} },
		},
		{
			name: "shell line",
			spec: func(s *container.Spec) { s.Argv, s.Shell = []string{"echo $A"}, true },
			want: func(o *client.ContainerCreateOptions) { o.Config.Cmd = []string{"gate", "/bin/sh", "-c", "echo $A"} },
		},
		{
			name: "user, folder, names and environment",
			spec: func(s *container.Spec) {
				s.Image.Config.User, s.Image.Config.WorkingDir, s.Hostname, s.Env = "app", "srv", "web-1", []string{"B=task", "PATH=/bin"}
			},
			want: func(o *client.ContainerCreateOptions) {
				o.Config.User, o.Config.WorkingDir, o.Config.Hostname = "app", "/srv", "web-1"
				o.Config.Env = []string{"PATH=/bin", "A=image", "B=task", "LABEL=x"}
			},
		},
		{
			name: "the task's user comes first",
			spec: func(s *container.Spec) { s.Image.Config.User, s.User = "app", "1000:50" },
			want: func(o *client.ContainerCreateOptions) { o.Config.User = "1000:50" },
		},
		{
			name: "volumes",
			spec: func(s *container.Spec) {
				s.Volumes = []container.Volume{{ContainerPath: "/data", HostPath: "/srv/data", ReadOnly: true}, {ContainerPath: "../cache", HostPath: "/srv/cache"}, {ContainerPath: "key", Data: []byte("k")}}
			},
			want: func(o *client.ContainerCreateOptions) {
				o.HostConfig.Mounts = append(o.HostConfig.Mounts,
					bind("/srv/data", "/data", true), bind("/srv/cache", "/mnt/mesos/sandbox/cache", false), bind("/w/tasks/1/run0/secrets/2", "/mnt/mesos/sandbox/key", true))
			},
			volumes: []shim.EngineVolume{{Path: "/srv/data", Target: "/data"}, {Path: "/srv/cache", Target: "/mnt/mesos/sandbox/cache"}},
		},
		{
			name: "no command",
			spec: func(s *container.Spec) { s.Image.Config = container.ImageConfig{} },
			err:  "image shop/web:1 has no command of its own, and the task gives none",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := translation{
				spec: plainSpec(), image: "howdah.invalid/image:feed", program: "/w/bin/howdah-shim",
				labels: []string{"LABEL=x"}, marks: map[string]string{labelTask: "1"},
			}
			if tt.spec != nil {
				tt.spec(&tr.spec)
			}
			got, err := tr.options()
			if err != nil || tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
				return
			}
			want := plainOptions()
			if tt.want != nil {
				tt.want(&want)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if diff := cmp.Diff(tt.volumes, tr.volumes); diff != "" {
				t.Errorf("volumes: -want +got\n%s", diff)
			}
		})
	}
}

func TestWrittenPaths(t *testing.T) {
	c := &types.InspectResponse{
		GraphDriver: &storage.DriverData{Name: "overlay2", Data: map[string]string{"UpperDir": "/d/diff"}},
		Mounts:      []types.MountPoint{{Type: "volume", Source: "/d/volumes/1/_data"}, {Type: "bind", Source: "/srv"}},
	}
	if diff := cmp.Diff([]string{"/d/diff", "/d/volumes/1/_data"}, written(c)); diff != "" {
		t.Error(diff)
	}
	if got := written(&types.InspectResponse{}); got != nil {
		t.Errorf("another driver: %q", got)
	}
}

// goodInfo is an engine as it should be.
func goodInfo() *system.Info {
	return &system.Info{
		OSType: "linux", KernelVersion: "6.1", SecurityOptions: []string{"name=apparmor", "name=seccomp,profile=default"},
		MemoryLimit: true, SwapLimit: true, CPUShares: true, PidsLimit: true, LiveRestoreEnabled: true,
	}
}

func TestUsable(t *testing.T) {
	for _, tt := range []struct {
		change func(*system.Info)
		want   string
	}{
		{func(*system.Info) {}, ""},
		{func(i *system.Info) { i.KernelVersion = "5.15-linuxkit" }, "it runs on another machine (linux 5.15-linuxkit)"},
		{func(i *system.Info) { i.OSType = "windows" }, "it runs on another machine (windows 6.1)"},
		{func(i *system.Info) { i.SecurityOptions = append(i.SecurityOptions, "name=rootless") }, "it is rootless: the worker could not reach its networks"},
		{func(i *system.Info) { i.SecurityOptions = append(i.SecurityOptions, "name=userns") }, "it maps the users of containers (userns-remap): they could not write their sandboxes; runc maps them too"},
	} {
		info := goodInfo()
		tt.change(info)
		got := ""
		if err := usable(info, "6.1"); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestWeaknesses(t *testing.T) {
	always := "root of a container is root of the host, with few capabilities: the engine's containers have no user namespace"
	if diff := cmp.Diff([]string{always}, weaknesses(goodInfo())); diff != "" {
		t.Error(diff)
	}
	unconfined := goodInfo()
	unconfined.SecurityOptions = []string{"name=seccomp,profile=unconfined"}
	unconfined.LiveRestoreEnabled = false
	want := []string{always, "system calls are not filtered: the engine has no seccomp profile", "tasks end when the Docker engine does: its live-restore is off"}
	if diff := cmp.Diff(want, weaknesses(unconfined)); diff != "" {
		t.Error(diff)
	}
	want = []string{
		always, "system calls are not filtered: the engine has no seccomp profile", "memory is not limited: the engine cannot", "processor time is not weighted: the engine cannot",
		"the number of processes is not limited: the engine cannot", "tasks end when the Docker engine does: its live-restore is off",
	}
	if diff := cmp.Diff(want, weaknesses(&system.Info{})); diff != "" {
		t.Error(diff)
	}
}

// TestReach: who nobody named has to be there, and root's.
func TestReach(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	named, err := New(Config{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := named.Probe(t.Context()); err == nil || errors.Is(err, container.ErrAbsent) {
		t.Errorf("a named engine that is not there: %v", err)
	}
	unnamed := &Runtime{socket: socket, api: named.api}
	if _, err := unnamed.Probe(t.Context()); !errors.Is(err, container.ErrAbsent) {
		t.Errorf("no engine: %v", err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if user, err := peerOf(conn); err != nil || int(user) != os.Geteuid() {
		t.Errorf("user %d, %v", user, err)
	}
	if _, err := New(Config{Socket: "tcp://10.0.0.1:2375"}); err == nil || err.Error() != `cannot use the Docker engine "tcp://10.0.0.1:2375": give the absolute path of its socket on this host` {
		t.Error(err)
	}
}
