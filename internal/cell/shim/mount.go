package shim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Directories of a container in the state directory.
const (
	UpperDir  = "upper" // what the container wrote
	workDir   = "work"
	layersDir = "l" // a short name: all layers have to fit one mount option of 4 KiB
)

// mountRoot puts the container's root filesystem together at RootfsDir. The mounts
// are in the shim's own mount namespace, so none is left when the shim ends, however
// it ends. The working directory is the state directory.
func (s *shim) mountRoot(c *Container) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot keep mounts private: %w", err)
	}
	for _, dir := range []string{UpperDir, workDir, layersDir, RootfsDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cannot make the container's folders: %w", err)
		}
	}
	if err := s.placeLayers(c); err != nil {
		return err
	}
	lower := make([]string, 0, len(c.Layers))
	for i := len(c.Layers) - 1; i >= 0; i-- { // the option wants the highest first
		lower = append(lower, filepath.Join(layersDir, strconv.Itoa(i)))
	}
	options := "lowerdir=" + strings.Join(lower, ":") + ",upperdir=" + UpperDir + ",workdir=" + workDir
	if c.Rootless {
		options += ",userxattr"
	} else if err := os.Chown(UpperDir, c.Mapping.Base, c.Mapping.Base); err != nil {
		return fmt.Errorf("cannot make the container's folders: %w", err)
	}
	if len(options) >= os.Getpagesize() {
		return fmt.Errorf("the image has %d layers, which is too many", len(c.Layers))
	}
	if err := unix.Mount("overlay", RootfsDir, "overlay", unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("cannot put the image's layers together: %w", err)
	}
	return nil
}

// placeLayers makes each layer known by a short name, its files owned by the ids of
// the container's user namespace.
func (s *shim) placeLayers(c *Container) error {
	var users *os.File
	if c.Mapping.Size > 0 && !c.Rootless {
		var err error
		if users, err = s.userNamespace(c.Mapping); err != nil {
			return err
		}
		defer users.Close()
	}
	for i, layer := range c.Layers {
		at := filepath.Join(layersDir, strconv.Itoa(i))
		if users == nil {
			if err := os.Symlink(layer, at); err != nil && !errors.Is(err, os.ErrExist) {
				return fmt.Errorf("cannot place a layer of the image: %w", err)
			}
			continue
		}
		if err := mountShifted(layer, at, users); err != nil {
			return fmt.Errorf("cannot place a layer of the image: %w", err)
		}
	}
	return nil
}

// mountShifted mounts a directory at another place, with owners as in the user
// namespace.
func mountShifted(from, at string, users *os.File) error {
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, from, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", from, err)
	}
	defer unix.Close(tree)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP | unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NODEV, Userns_fd: uint64(users.Fd())}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("cannot map the owners of files: %w", err)
	}
	return unix.MoveMount(tree, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// userNamespace makes a user namespace to take the mapping from: a process holds it
// until we have it open.
func (s *shim) userNamespace(m Mapping) (*os.File, error) {
	mapping := []syscall.SysProcIDMap{{ContainerID: 0, HostID: m.Base, Size: m.Size}}
	attr := &syscall.ProcAttr{Sys: &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: mapping, GidMappings: mapping, Pdeathsig: syscall.SIGKILL,
	}}
	holder, err := s.family.start([]string{"/proc/self/exe", "hold"}, attr)
	if err != nil {
		return nil, fmt.Errorf("cannot make a user namespace: %w", err)
	}
	file, err := os.Open("/proc/" + strconv.Itoa(holder.pid) + "/ns/user")
	s.family.signal(holder, syscall.SIGKILL)
	<-holder.done
	if err != nil {
		return nil, fmt.Errorf("cannot make a user namespace: %w", err)
	}
	return file, nil
}
