package shim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Directories of a container in the state directory.
const (
	UpperDir  = "upper" // what the container wrote
	workDir   = "work"
	layersDir = "l" // a short name: all layers have to fit one mount option of 4 KiB
	volumeDir = "v"
)

// VolumePath is where the bundle finds a volume of Container.
func VolumePath(dir string, i int) string { return filepath.Join(dir, volumeDir, strconv.Itoa(i)) }

// mountRoot puts the container's root filesystem together at RootfsDir. The mounts
// are in the shim's own mount namespace, so none is left when the shim ends, however
// it ends. The working directory is the state directory.
func (s *shim) mountRoot(c *Container) error {
	for _, dir := range []string{UpperDir, workDir, layersDir, volumeDir, Rootfs} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cannot make the container's folders: %w", err)
		}
	}
	if err := s.placeLayers(c); err != nil {
		return err
	}
	lower := make([]string, 0, len(c.Layers))
	for i := range slices.Backward(c.Layers) { // the option wants the highest first
		lower = append(lower, filepath.Join(layersDir, strconv.Itoa(i)))
	}
	options := "lowerdir=" + strings.Join(lower, ":") + ",upperdir=" + UpperDir + ",workdir=" + workDir
	if c.Rootless || c.UserXattr {
		options += ",userxattr"
	}
	if !c.Rootless { // else everything is ours
		if err := os.Chown(UpperDir, c.Mapping.Base, c.Mapping.Base); err != nil {
			return fmt.Errorf("cannot make the container's folders: %w", err)
		}
	}
	if len(options) >= os.Getpagesize() {
		return fmt.Errorf("the image has %d layers, which is too many", len(c.Layers))
	}
	if err := unix.Mount("overlay", Rootfs, "overlay", unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("cannot put the image's layers together: %w", err)
	}
	for i, path := range c.Volumes {
		if err := mountVolume(path, VolumePath(".", i), slices.Contains(c.ReadOnly, i)); err != nil {
			return fmt.Errorf("cannot mount the volume %s: %w", path, err)
		}
	}
	return nil
}

// mountVolume mounts a path of the host that was found to be allowed. Should
// somebody have put a symbolic link into it since, it is refused. What is mounted below
// it is there too, and restricted alike: runc looks at the topmost mount alone.
func mountVolume(path, at string, readOnly bool) error {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = os.Mkdir(at, 0o755)
	} else {
		err = os.WriteFile(at, nil, 0o600)
	}
	if err != nil {
		return err
	}
	tree, err := unix.OpenTree(fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if readOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return fmt.Errorf("cannot restrict what is mounted in it: %w", err)
	}
	return unix.MoveMount(tree, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// placeLayers makes each layer known by a short name, its files owned by the ids of
// the container's user namespace.
func (s *shim) placeLayers(c *Container) error {
	for i, layer := range c.Layers {
		at := filepath.Join(layersDir, strconv.Itoa(i))
		if s.users == nil {
			if err := os.Symlink(layer, at); err != nil && !errors.Is(err, os.ErrExist) {
				return fmt.Errorf("cannot place a layer of the image: %w", err)
			}
			continue
		}
		if err := mountShifted(layer, at, s.users); err != nil {
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
