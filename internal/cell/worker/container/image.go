package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// SandboxPath is where a container sees its sandbox.
const SandboxPath = "/mnt/mesos/sandbox"

// Image is an image that was fetched.
type Image struct {
	Name   string
	Layers []string // of one that was unpacked: directories, lowest first; not written to
	// UserXattr says that the layers must be put together with the option userxattr.
	UserXattr bool
	Config    ImageConfig

	Digest string // of the manifest, sha256:...
	// Archive writes an image that was not unpacked, as docker load takes it, under a
	// name.
	Archive func(ctx context.Context, name string, w io.Writer) error
}

// ImageConfig is what an image says about how to run it.
type ImageConfig struct {
	Env        []string
	Entrypoint []string
	Cmd        []string
	User       string
	WorkingDir string
}

// Packer is a runtime that takes images packed, by Image.Archive.
type Packer interface{ Packed() bool }

// Args joins command and image as engines do: arguments replace the image's own
// command, a program or shell line also its entry point.
func Args(s Spec) ([]string, error) {
	image := s.Image.Config
	var args []string
	switch {
	case s.Shell:
		args = append([]string{"/bin/sh", "-c"}, s.Argv...)
	case s.Program:
		args = s.Argv
	case len(s.Argv) > 0:
		args = append(append(args, image.Entrypoint...), s.Argv...)
	default:
		args = append(append(args, image.Entrypoint...), image.Cmd...)
	}
	if len(args) == 0 {
		return nil, fmt.Errorf("image %s has no command of its own, and the task gives none", s.Image.Name)
	}
	return args, nil
}

// Capabilities are those that programs need which begin as root and become another.
func Capabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
		"CAP_SETGID", "CAP_SETUID", "CAP_NET_BIND_SERVICE",
	}
}

// Ulimits are ours, but for those that the task asks for; none is above our own.
func Ulimits(asked []Ulimit) []Ulimit {
	files := uint64(MaxFiles)
	var now unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &now) == nil {
		files = min(files, now.Max)
	}
	list := []Ulimit{{Name: "nofile", Soft: files, Hard: files}, {Name: "core"}}
	for _, u := range asked {
		if i := slices.IndexFunc(list, func(l Ulimit) bool { return l.Name == u.Name }); i >= 0 {
			list[i] = u
			continue
		}
		list = append(list, u)
	}
	return list
}

// Host is the name that the container's host goes by inside.
func (s Spec) Host() string {
	if s.Hostname != "" {
		return s.Hostname
	}
	return s.ID[:min(12, len(s.ID))]
}

// NameFiles writes the files with which a program learns its name, and returns them
// as they are called in /etc and on the host. A network of its own leads nowhere, so
// there is no name server in it.
func NameFiles(s Spec) ([][2]string, error) {
	texts := map[string]string{
		"hostname":    s.Host() + "\n",
		"hosts":       "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.0.1\t" + s.Host() + "\n",
		"resolv.conf": "",
	}
	if s.Network.Host {
		for _, name := range []string{"hosts", "resolv.conf"} {
			if text, err := os.ReadFile(filepath.Join("/etc", name)); err == nil {
				texts[name] = string(text)
			}
		}
	}
	var files [][2]string
	for _, name := range []string{"hostname", "hosts", "resolv.conf"} {
		file := filepath.Join(s.Dir, name)
		if err := os.WriteFile(file, []byte(texts[name]), 0o644); err != nil {
			return nil, fmt.Errorf("cannot write the container's names: %w", err)
		}
		files = append(files, [2]string{"/etc/" + name, file})
	}
	return files, nil
}

// secretsDir holds files with secrets in the state directory.
const secretsDir = "secrets"

// SecretPath is the file on the host with the secret of a volume.
func SecretPath(s Spec, volume int) string {
	return filepath.Join(s.Dir, secretsDir, strconv.Itoa(volume))
}

// SecretFile writes the secret of a volume for its user and returns the file.
func SecretFile(s Spec, volume, uid, gid int) (string, error) {
	v := s.Volumes[volume]
	file := SecretPath(s, volume)
	err := os.MkdirAll(filepath.Dir(file), 0o700)
	if err == nil {
		err = os.WriteFile(file, v.Data, 0o600)
	}
	if err == nil {
		err = os.Lchown(file, uid, gid)
	}
	if err != nil {
		return "", fmt.Errorf("cannot write the secret at %s: %w", v.ContainerPath, err)
	}
	return file, nil
}

// User is an image's user, as ids inside.
type User struct{ UID, GID uint32 }

// ErrNoUser says that a file of an image has no such name, or that there is no such
// file.
var ErrNoUser = errors.New("no such name")

// FindUser finds the ids of the task's user, or the image's. read returns a file of the
// image, etc/passwd or etc/group.
func FindUser(s Spec, read func(file string) (string, error)) (User, error) {
	name := s.User
	if name == "" {
		name = s.Image.Config.User
	}
	if name == "" {
		return User{}, nil
	}
	who, group, hasGroup := strings.Cut(name, ":")
	var u User
	fields, err := lookUp(read, "etc/passwd", who)
	id, idErr := strconv.ParseUint(who, 10, 16)
	switch {
	case err == nil && len(fields) >= 4:
		uid, err1 := strconv.ParseUint(fields[2], 10, 16)
		gid, err2 := strconv.ParseUint(fields[3], 10, 16)
		if errors.Join(err1, err2) != nil {
			return u, fmt.Errorf("image %s has no usable ids for user %q", s.Image.Name, who)
		}
		u.UID, u.GID = uint32(uid), uint32(gid)
	case idErr == nil:
		u.UID = uint32(id)
	default:
		return u, fmt.Errorf("image %s has no user %q", s.Image.Name, who)
	}
	if !hasGroup {
		return u, nil
	}
	fields, err = lookUp(read, "etc/group", group)
	text := group
	if err == nil && len(fields) >= 3 {
		text = fields[2]
	}
	gid, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return u, fmt.Errorf("image %s has no group %q", s.Image.Name, group)
	}
	u.GID = uint32(gid)
	return u, nil
}

// lookUp finds a line by its first or third field.
func lookUp(read func(file string) (string, error), file, name string) ([]string, error) {
	text, err := read(file)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) >= 3 && (f[0] == name || f[2] == name) {
			return f, nil
		}
	}
	return nil, ErrNoUser
}
