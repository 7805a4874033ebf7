package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// CheckLimits says, as a sentence, why limits cannot be set.
func (s Shims) CheckLimits() error {
	var cause error
	switch {
	case os.Geteuid() != 0 && s.Parent == nil:
		cause = errors.New("not root")
	case s.Parent == nil:
		cause = errors.New("the host has no control groups for memory, processor and processes")
	default:
		cause = s.Parent.Check()
	}
	if cause != nil {
		return fmt.Errorf("limits of memory, processor and processes cannot be set: %w", cause)
	}
	return nil
}

// Own gives a folder and all below it to a user. It follows no links.
func Own(dir string, uid, gid int) error {
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
	if err != nil {
		return fmt.Errorf("cannot give the sandbox to user %d: %w", uid, err)
	}
	return nil
}
