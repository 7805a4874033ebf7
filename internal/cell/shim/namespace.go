package shim

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// makeNamespaces makes what the container joins: its users, and its network, which
// belongs to them. Both have to be there before runc is, for the owners of files are
// mapped by the one and ports are opened in the other.
func (s *shim) makeNamespaces() error {
	c := s.config.Container
	if c == nil {
		return nil
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot keep mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", openDir, "tmpfs", unix.MS_NODEV|unix.MS_NOSUID, "mode=755,size=64k"); err != nil {
		return fmt.Errorf("cannot make a place for the container's root: %w", err)
	}
	if c.Mapping.Size > 0 && !c.Rootless {
		return s.hold(c.Mapping)
	}
	if s.config.Network == nil {
		return nil
	}
	var err error
	s.netns, err = newNetns(nil)
	return err
}

// hold has a process make the namespaces, which then live on because we hold them.
func (s *shim) hold(m Mapping) error {
	mapping := []syscall.SysProcIDMap{{ContainerID: 0, HostID: m.Base, Size: m.Size}}
	attr := &syscall.ProcAttr{Env: os.Environ(), Sys: &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: mapping, GidMappings: mapping, Pdeathsig: syscall.SIGKILL,
	}}
	if s.config.Network != nil {
		attr.Sys.Cloneflags |= syscall.CLONE_NEWNET
	}
	holder, err := s.family.start([]string{"/proc/self/exe", "hold"}, attr)
	if err != nil {
		return fmt.Errorf("cannot make a user namespace: %w", err)
	}
	defer func() {
		s.family.signal(holder, syscall.SIGKILL)
		<-holder.done
	}()
	proc := "/proc/" + strconv.Itoa(holder.pid) + "/ns/"
	if s.users, err = bindNamespace(proc+"user", UsernsAt); err != nil {
		return fmt.Errorf("cannot make a user namespace: %w", err)
	}
	if s.config.Network == nil {
		return nil
	}
	network, err := os.Open(proc + "net")
	if err != nil {
		return fmt.Errorf("cannot make a network namespace: %w", err)
	}
	s.netns, err = newNetns(network)
	return err
}

// bindNamespace gives a namespace a name for runc, and returns it open.
func bindNamespace(from, at string) (*os.File, error) {
	file, err := os.Open(from)
	if err != nil {
		return nil, err
	}
	if err = os.WriteFile(at, nil, 0o600); err == nil {
		err = unix.Mount(from, at, "", unix.MS_BIND, "")
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
