package node

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"howdah.dev/howdah/internal/agentapi"
)

// writeJSON replaces a document as a whole, for its owner only. One that is there
// already needs no room on the disk.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(path, data, 0o600)
}

// makeDirs makes a service's directories; data directories are for their
// owner only.
func makeDirs(s *agentapi.Service) error {
	for _, d := range s.Dirs {
		mode := fs.FileMode(0o755)
		if d.Keep {
			mode = 0o700
		}
		if err := os.MkdirAll(d.Path, mode); err != nil {
			return fmt.Errorf("cannot make directory %s: %w", d.Name, err)
		}
	}
	return nil
}

// writeFiles writes the files whose content differs.
func writeFiles(files []agentapi.File) error {
	for _, f := range files {
		old, err := os.ReadFile(f.Path)
		if err == nil && string(old) == f.Content {
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot read %s: %w", f.Path, err)
		}
		if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
			return fmt.Errorf("cannot write %s: %w", f.Path, err)
		}
		mode := fs.FileMode(f.Mode)
		if mode == 0 {
			mode = 0o644
		}
		if err := renameio.WriteFile(f.Path, []byte(f.Content), mode); err != nil {
			return fmt.Errorf("cannot write %s: %w", f.Path, err)
		}
	}
	return nil
}

// writeSecrets writes the files for their owner only. Those that are right stay.
func writeSecrets(secrets []agentapi.Secret) error {
	for _, s := range secrets {
		if old, err := os.ReadFile(s.Path); err == nil && string(old) == string(s.Content) {
			if err := os.Chmod(s.Path, 0o600); err != nil {
				return fmt.Errorf("cannot write %s: %w", s.Path, err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(s.Path), 0o755); err != nil {
			return fmt.Errorf("cannot write %s: %w", s.Path, err)
		}
		if err := renameio.WriteFile(s.Path, []byte(s.Content), 0o600); err != nil {
			return fmt.Errorf("cannot write %s: %w", s.Path, err)
		}
	}
	return nil
}

// reloadKey digests the files a running program can be told to read again.
func reloadKey(files []agentapi.File) string {
	h := sha256.New()
	for _, f := range files {
		if f.OnChange == agentapi.ChangeReload {
			fmt.Fprintf(h, "%s %d\n%s", f.Path, len(f.Content), f.Content)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:24]
}

// empty removes what is in a directory that must be below home.
func empty(home, dir string) error {
	rel, err := filepath.Rel(home, dir)
	if err != nil || !filepath.IsLocal(rel) || rel == "." {
		return fmt.Errorf("cannot empty %s: it is not inside %s", dir, home)
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot empty %s: %w", dir, err)
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return fmt.Errorf("cannot empty %s: %w", dir, err)
	}
	for _, e := range entries {
		if err := root.RemoveAll(e.Name()); err != nil {
			return fmt.Errorf("cannot empty %s: %w", dir, err)
		}
	}
	return nil
}

// sizeOf returns the size of a file in bytes, 0 where there is none.
func sizeOf(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return st.Size()
}

// tail returns the end of a file.
func tail(path string, n int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return ""
	}
	from := max(0, st.Size()-n)
	buf := make([]byte, st.Size()-from)
	k, _ := f.ReadAt(buf, from)
	return string(buf[:k])
}
