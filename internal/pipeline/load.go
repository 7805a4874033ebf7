package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/document"
)

// Load reads the definition in a file, fills in ${GOROOT}, makes local paths
// absolute (they are relative to the file), and checks that they are there. It
// returns every finding at once, and the definition only without errors.
func Load(ctx context.Context, file string) (*Definition, api.Diagnostics) {
	data, err := readFile(file)
	if err != nil {
		return nil, api.Diagnostics{{Severity: api.SeverityError, Summary: "cannot read pipeline: " + err.Error()}}
	}
	return LoadText(ctx, file, data)
}

// LoadText is Load with the text that was in the file.
func LoadText(ctx context.Context, file string, data []byte) (*Definition, api.Diagnostics) {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, api.Diagnostics{{Severity: api.SeverityError, Summary: "cannot read pipeline: " + err.Error()}}
	}
	d, found := Parse(file, data)
	if d == nil {
		return nil, found
	}
	found = inOrder(append(found, d.resolve(ctx, dir)...))
	if found.HasErrors() {
		return nil, found
	}
	return d, found
}

// readFile stops a little past what document.Parse accepts.
func readFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, document.DefaultBytes+1))
}

// resolve turns the local paths of a definition into absolute ones.
func (d *Definition) resolve(ctx context.Context, dir string) api.Diagnostics {
	var found api.Diagnostics
	goroot := onceGoroot(ctx)
	for i := range d.Steps {
		s := &d.Steps[i]
		s.localPaths(func(path *string, keys ...any) {
			n := d.root.At(append([]any{"steps", i}, keys...)...)
			full, err := expand(*path, func(string) (string, error) { return goroot() })
			if err != nil {
				found = append(found, document.Error(n, err.Error(), "Install Go, or write the directory in the place of ${GOROOT}."))
				return
			}
			if !filepath.IsAbs(full) {
				full = filepath.Join(dir, full)
			}
			*path = filepath.Clean(full)
			if summary, detail := missing(*path, keys); summary != "" {
				found = append(found, document.Error(n, summary, detail))
			}
		})
		if s.Feed != nil && !found.HasErrors() {
			found = append(found, d.base(i, s.Feed)...)
		}
	}
	return found
}

// missing says what is wrong with a local path. Those under from and base are
// directories, the others files; programs are what somebody builds.
func missing(path string, keys []any) (summary, detail string) {
	last := keys[len(keys)-1]
	dir := last == "from" || last == "base"
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && (keys[1] == "resources" || last == "binary"):
		return path + " does not exist", "Build it first."
	case errors.Is(err, fs.ErrNotExist):
		return path + " does not exist", "Relative paths start at the pipeline's file."
	case err != nil:
		return "cannot look at " + path + ": " + err.Error(), ""
	case dir && !info.IsDir():
		return path + " is no directory", "Name the directory that holds the files."
	case !dir && !info.Mode().IsRegular():
		return path + " is no regular file", "Name a file."
	}
	return "", ""
}

// base fills in a feed's base, and checks that it is at or above from.
func (d *Definition) base(i int, f *Feed) api.Diagnostics {
	if f.Base == "" {
		f.Base = filepath.Dir(f.From)
	}
	if _, err := f.prefix(); err != nil {
		return api.Diagnostics{document.Error(d.root.At("steps", i, "feed", "base"), err.Error(), "Packages are named by their place below base.")}
	}
	return nil
}

// prefix returns where from is below base, with slashes.
func (f *Feed) prefix() (string, error) {
	rel, err := filepath.Rel(f.Base, f.From)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "", fmt.Errorf("%s is not at or above %s", f.Base, f.From)
	}
	return filepath.ToSlash(rel), nil
}

// onceGoroot returns a function that asks go at its first call.
func onceGoroot(ctx context.Context) func() (string, error) {
	var dir string
	var err error
	asked := false
	return func() (string, error) {
		if !asked {
			asked = true
			dir, err = goroot(ctx)
		}
		return dir, err
	}
}

// goroot asks the go program on the PATH. It is kept from downloading another
// release of itself, which a go.mod or go.work around may ask for.
func goroot(ctx context.Context) (string, error) {
	program, err := exec.LookPath("go")
	if err != nil {
		return "", errors.New("${GOROOT} is not known: there is no go program on the PATH")
	}
	cmd := exec.CommandContext(ctx, program, "env", "GOROOT")
	cmd.Dir = string(filepath.Separator)
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	dir := strings.TrimSpace(string(out))
	switch {
	case err != nil:
		return "", fmt.Errorf("${GOROOT} is not known: %s env GOROOT failed: %w: %s", program, err, short(strings.TrimSpace(stderr.String())))
	case !filepath.IsAbs(dir):
		return "", fmt.Errorf("${GOROOT} is not known: %s env GOROOT printed %s", program, quote(dir))
	}
	return dir, nil
}
