package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a warehouse in memory.
type memory struct {
	mu      sync.Mutex
	files   map[string][]byte
	folders map[string]bool
	created []string // every path that was ever written, in order
	fail    func(op, path string) error
}

func newMemory() *memory {
	return &memory{files: map[string][]byte{}, folders: map[string]bool{"/": true}}
}

func (m *memory) check(ctx context.Context, op, name string) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if m.fail != nil {
		return m.fail(op, name)
	}
	return nil
}

func (m *memory) List(ctx context.Context, name string) ([]Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, "list", name); err != nil {
		return nil, err
	}
	if data, ok := m.files[name]; ok {
		return []Entry{{Name: path.Base(name), Bytes: int64(len(data))}}, nil
	}
	if !m.folders[name] {
		return nil, fmt.Errorf("cannot list %s: %w", name, fs.ErrNotExist)
	}
	byName := map[string]Entry{}
	for f, data := range m.files {
		if path.Dir(f) == name {
			byName[path.Base(f)] = Entry{Name: path.Base(f), Bytes: int64(len(data))}
		}
	}
	for f := range m.folders {
		if path.Dir(f) == name && f != "/" {
			byName[path.Base(f)] = Entry{Name: path.Base(f), Folder: true}
		}
	}
	var out []Entry
	for _, k := range sortedKeys(byName) {
		out = append(out, byName[k])
	}
	return out, nil
}

func (m *memory) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, "open", name); err != nil {
		return nil, err
	}
	data, ok := m.files[name]
	if !ok {
		return nil, fmt.Errorf("cannot open %s: %w", name, fs.ErrNotExist)
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (m *memory) makeFolder(name string) {
	for ; name != "/"; name = path.Dir(name) {
		m.folders[name] = true
	}
}

func (m *memory) MakeFolder(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, "make", name); err != nil {
		return err
	}
	m.makeFolder(name)
	return nil
}

func (m *memory) Create(ctx context.Context, name string, r io.Reader) error {
	m.mu.Lock()
	err := m.check(ctx, "create", name)
	m.mu.Unlock()
	if err != nil {
		return err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m.put(name, data)
	return nil
}

func (m *memory) put(name string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.makeFolder(path.Dir(name))
	m.files[name] = data
	m.created = append(m.created, name)
}

func (m *memory) get(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return string(m.files[name])
}

// names returns every file below a folder.
func (m *memory) names(dir string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, f := range sortedKeys(m.files) {
		if after0, ok := strings.CutPrefix(f, dir+"/"); ok {
			out = append(out, after0)
		}
	}
	return out
}

func (m *memory) Rename(ctx context.Context, from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, "rename", from); err != nil {
		return err
	}
	data, ok := m.files[from]
	if _, taken := m.files[to]; !ok || taken || !m.folders[path.Dir(to)] {
		return errors.New("NameNode refused without a reason")
	}
	delete(m.files, from)
	m.files[to] = data
	return nil
}

func (m *memory) Remove(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, "remove", name); err != nil {
		return err
	}
	for f := range m.files {
		if within(f, name) {
			delete(m.files, f)
		}
	}
	for f := range m.folders {
		if within(f, name) {
			delete(m.folders, f)
		}
	}
	return nil
}
