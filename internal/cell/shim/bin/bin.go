// Package bin carries the program howdah-shim inside the program that imports it,
// and puts it on disk on first use. It knows nothing of what the shim does.
package bin

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// The folder always holds a README, so that the build works without the program.
//
//go:embed embedded
var embedded embed.FS

// ErrNone says that this build does not carry the shim.
var ErrNone = errors.New("this howdah was built without its task shim: build it with make build")

// Unpack puts the shim into dir, unless it is there, under a name with its digest:
// shims of other versions go on running beside it. It returns its path.
func Unpack(dir string) (string, error) {
	program, err := embedded.ReadFile("embedded/howdah-shim")
	if err != nil {
		return "", ErrNone
	}
	return unpack(dir, program)
}

func unpack(dir string, program []byte) (string, error) {
	sum := sha256.Sum256(program)
	path := filepath.Join(dir, "howdah-shim-"+hex.EncodeToString(sum[:8]))
	if info, err := os.Stat(path); err == nil && info.Size() == int64(len(program)) {
		return path, nil
	}
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = renameio.WriteFile(path, program, 0o755, renameio.IgnoreUmask())
	}
	if err != nil {
		return "", fmt.Errorf("cannot unpack the task shim: %w", err)
	}
	return path, nil
}
