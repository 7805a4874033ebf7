package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/cell/worker/container"
)

const probeTime = 10 * time.Second

// Probe asks the engine what it is. A worker that is not root does not use one: who may
// speak to an engine is root of the host, and an app would be it by accident.
func (r *Runtime) Probe(ctx context.Context) (weaker []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	if err := r.reach(ctx); err != nil {
		return nil, err
	}
	if _, err := r.api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return nil, fmt.Errorf("the Docker engine at %s cannot be used: %w", r.socket, err)
	}
	info, err := r.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return nil, fmt.Errorf("the Docker engine at %s cannot be used: %w", r.socket, err)
	}
	var host unix.Utsname
	if err := unix.Uname(&host); err != nil {
		return nil, err
	}
	if err := usable(&info.Info, unix.ByteSliceToString(host.Release[:])); err != nil {
		return nil, fmt.Errorf("the Docker engine at %s cannot be used: %w", r.socket, err)
	}
	if err := r.removeForgotten(ctx); err != nil {
		return nil, err
	}
	return weaknesses(&info.Info), nil
}

// reach finds out who listens. Where no engine was named, only one of root counts.
func (r *Runtime) reach(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", r.socket)
	if err != nil && r.cfg.Socket == "" {
		return fmt.Errorf("%w: no Docker engine answers at %s", container.ErrAbsent, r.socket)
	}
	if err != nil {
		return fmt.Errorf("no Docker engine answers at %s: %w", r.socket, err)
	}
	defer conn.Close()
	if os.Geteuid() != 0 {
		return errors.New("a Docker engine is used by a worker that is root only: who may speak to it is root of the host")
	}
	if r.cfg.Socket != "" {
		return nil
	}
	peer, err := peerOf(conn)
	if err != nil {
		return fmt.Errorf("cannot tell who listens at %s: %w", r.socket, err)
	}
	if peer != 0 {
		return fmt.Errorf("the Docker engine at %s is user %d's, not root's", r.socket, peer)
	}
	return nil
}

// peerOf returns the user of the process that listens.
func peerOf(conn net.Conn) (uint32, error) {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, credErr); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// usable says why an engine cannot do what we need.
func usable(info *system.Info, kernel string) error {
	switch {
	case info.OSType != "linux" || info.KernelVersion != kernel:
		return fmt.Errorf("it runs on another machine (%s %s)", info.OSType, info.KernelVersion)
	case has(info, "rootless"):
		return errors.New("it is rootless: the worker could not reach its networks")
	case has(info, "userns"):
		return errors.New("it maps the users of containers (userns-remap): they could not write their sandboxes; runc maps them too")
	}
	return nil
}

// has tells whether the engine has a security option: name=seccomp,profile=default.
func has(info *system.Info, name string) bool {
	return slices.ContainsFunc(info.SecurityOptions, func(o string) bool {
		return slices.Contains(strings.Split(o, ","), "name="+name)
	})
}

// weaknesses are a sentence each.
func weaknesses(info *system.Info) []string {
	list := []string{"root of a container is root of the host, with few capabilities: the engine's containers have no user namespace"}
	unconfined := slices.ContainsFunc(info.SecurityOptions, func(o string) bool { return strings.Contains(o, "profile=unconfined") })
	for _, w := range []struct {
		bad  bool
		text string
	}{
		{!has(info, "seccomp") || unconfined, "system calls are not filtered: the engine has no seccomp profile"},
		{!info.MemoryLimit, "memory is not limited: the engine cannot"},
		{info.MemoryLimit && !info.SwapLimit, "swap is not limited: the engine cannot"},
		{!info.CPUShares, "processor time is not weighted: the engine cannot"},
		{!info.PidsLimit, "the number of processes is not limited: the engine cannot"},
		{!info.LiveRestoreEnabled, "tasks end when the Docker engine does: its live-restore is off"},
	} {
		if w.bad {
			list = append(list, w.text)
		}
	}
	return list
}

// removeForgotten removes containers of ours whose state is gone: of a cell that was
// deleted while its shims were killed.
func (r *Runtime) removeForgotten(ctx context.Context) error {
	return r.remove(ctx, labelDir, func(labels map[string]string) bool {
		_, err := os.Stat(labels[labelDir])
		return errors.Is(err, os.ErrNotExist)
	})
}
