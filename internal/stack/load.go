package stack

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/document"
)

// sharedDir holds locks and class lists that several stacks use.
const sharedDir = "shared"

// maxFile bounds one file of a stack directory.
const maxFile = 8 << 20

// Stack is a loaded and checked stack, its includes merged in.
type Stack struct {
	Spec
	// Digest identifies the stack's files, those of its includes and its
	// locks; a cluster records it.
	Digest string
	// Bundle holds those files by path, so that a cluster can be rendered with
	// the stack it was made with, whatever the binary brings.
	Bundle map[string][]byte

	locks map[string]*artifact.Lock
	raw   map[string][]byte // lock files as written, by artifact name
}

// Layer is a place stacks are loaded from.
type Layer struct {
	Name string // how its files are named in findings: a directory, or "builtin"
	FS   fs.FS
}

// Catalog is the set of stacks an installation knows.
type Catalog struct {
	layers []Layer
	stacks map[string]*Stack
}

// LoadCatalog loads every stack of every layer. A directory is a stack when it
// has a stack.yaml. All findings of all stacks are returned together.
func LoadCatalog(layers ...Layer) (*Catalog, api.Diagnostics) {
	c := &Catalog{layers: layers, stacks: map[string]*Stack{}}
	var ds api.Diagnostics
	from := map[string]string{}
	for i, l := range layers {
		for _, name := range stackDirs(l.FS) {
			if other, dup := from[name]; dup {
				ds = append(ds, api.Diagnostic{
					Severity: api.SeverityError, Address: name,
					Summary: fmt.Sprintf("stack %s is in %s and in %s", name, other, l.Name),
					Detail:  "give one of them another name",
				})
				continue
			}
			from[name] = l.Name
			s, more := load(layers, i, name)
			ds = append(ds, more...)
			if !more.HasErrors() {
				c.stacks[name] = s
			}
		}
	}
	return c, ds
}

// FromBundle loads the stack a cluster was made with out of its kept files.
func FromBundle(name string, bundle map[string][]byte) (*Stack, error) {
	s, ds := load([]Layer{{Name: "kept", FS: bundleFS(bundle)}}, 0, name)
	if ds.HasErrors() {
		return nil, fmt.Errorf("cannot load kept stack %s: %w", name, ds)
	}
	return s, nil
}

// Get returns a stack by name.
func (c *Catalog) Get(name string) (*Stack, bool) {
	s, ok := c.stacks[name]
	return s, ok
}

// Names returns the names of all stacks, sorted.
func (c *Catalog) Names() []string { return slices.Sorted(maps.Keys(c.stacks)) }

// ClassList returns the content of a class list by file name, nil where no
// layer has it. Class lists only make starts faster, so they are not part of a
// stack's digest.
func (c *Catalog) ClassList(stackName, file string) []byte {
	for _, l := range c.layers {
		for _, p := range []string{path.Join(stackName, file), path.Join(sharedDir, file)} {
			if data, err := readFile(l.FS, p); err == nil {
				return data
			}
		}
	}
	return nil
}

// Lock returns the lock of an artifact set.
func (s *Stack) Lock(set string) *artifact.Lock { return s.locks[set] }

// LockText returns a lock as written.
func (s *Stack) LockText(set string) []byte { return s.raw[set] }

// Locks returns all locks, in order of name.
func (s *Stack) Locks() []*artifact.Lock {
	out := make([]*artifact.Lock, 0, len(s.locks))
	for _, k := range sortedKeys(s.locks) {
		out = append(out, s.locks[k])
	}
	return out
}

// stackDirs lists the directories of a layer that hold a stack.
func stackDirs(fsys fs.FS) []string {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if _, err := fs.Stat(fsys, path.Join(e.Name(), "stack.yaml")); err == nil {
			names = append(names, e.Name())
		}
	}
	return names
}

// loader collects the files one stack is made of.
type loader struct {
	layers []Layer
	home   int // layer of the stack itself; searched first
	bundle map[string][]byte
	ds     api.Diagnostics
	late   api.Diagnostics // of locks: what is wrong there hides nothing else
}

func load(layers []Layer, home int, name string) (*Stack, api.Diagnostics) {
	l := &loader{layers: layers, home: home, bundle: map[string][]byte{}}
	s := &Stack{locks: map[string]*artifact.Lock{}, raw: map[string][]byte{}}
	root := l.spec(name, nil, &s.Spec, s)
	if l.ds.HasErrors() {
		return nil, append(l.ds, l.late...)
	}
	l.ds = append(append(l.ds, l.late...), check(s, root)...)
	s.Bundle = l.bundle
	s.Digest = digest(l.bundle)
	return s, l.ds
}

// spec reads one stack.yaml, its includes and its locks into s.
func (l *loader) spec(name string, chain []string, into *Spec, s *Stack) *document.Node {
	file := path.Join(name, "stack.yaml")
	shown, data, err := l.read(file)
	if err != nil {
		l.fail(name, fmt.Sprintf("stack %s cannot be read: %v", name, err), "a stack is a directory with a stack.yaml")
		return nil
	}
	doc, ds := document.Parse(shown, data)
	l.ds = append(l.ds, ds...)
	if ds.HasErrors() || len(doc.Roots()) == 0 {
		return nil
	}
	root := doc.Roots()[0]
	ds = append(document.Decode(root, into), document.Check(root, Spec{})...)
	l.ds = append(l.ds, ds...)
	if ds.HasErrors() {
		return root
	}
	if into.Name != name {
		l.ds = append(l.ds, document.Error(root.At("name"), fmt.Sprintf("the stack is called %q but its directory %q", into.Name, name), "make them equal"))
	}
	for _, set := range sortedKeys(into.Artifacts) {
		l.lock(name, set, into.Artifacts[set], root, s)
	}
	for i, inc := range into.Includes {
		at := root.At("includes", i)
		if slices.Contains(append(chain, name), inc) {
			l.ds = append(l.ds, document.Error(at, fmt.Sprintf("stack %s includes itself (%s)", inc, strings.Join(append(chain, name, inc), " → ")), "take one of them out"))
			continue
		}
		if _, _, err := l.read(path.Join(inc, "stack.yaml")); err != nil {
			l.ds = append(l.ds, document.Error(at, fmt.Sprintf("stack %s cannot be read: %v", inc, err), "a stack is a directory with a stack.yaml"))
			continue
		}
		var included Spec
		l.spec(inc, append(chain, name), &included, s)
		l.ds = append(l.ds, merge(into, &included, at)...)
	}
	return root
}

// lock reads one lock of a stack.
func (l *loader) lock(stackName, set string, a Artifact, root *document.Node, s *Stack) {
	file := path.Join(stackName, a.Lock)
	shown, data, err := l.read(file)
	if err != nil {
		file = path.Join(sharedDir, a.Lock)
		shown, data, err = l.read(file)
	}
	if err != nil {
		l.late = append(l.late, document.Error(root.At("artifacts", set, "lock"), fmt.Sprintf("lock %s is not there", a.Lock), "put it into the stack's directory, or into shared/ beside it"))
		return
	}
	lock, ds := artifact.ParseLock(shown, data)
	l.late = append(l.late, ds...)
	if !ds.HasErrors() {
		lock.Files = layered{l.order(), path.Dir(file)}
		s.locks[set], s.raw[set] = lock, data
	}
}

// read finds a file, first in the stack's own layer, and keeps it for the bundle.
func (l *loader) read(name string) (shown string, data []byte, err error) {
	if !fs.ValidPath(name) {
		return "", nil, fmt.Errorf("%q leaves the directory", name)
	}
	for _, layer := range l.order() {
		data, err = readFile(layer.FS, name)
		if err == nil {
			l.bundle[name] = data
			return path.Join(layer.Name, name), data, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", nil, err
		}
	}
	return "", nil, err
}

// order is the layers, the stack's own first.
func (l *loader) order() []Layer { return append([]Layer{l.layers[l.home]}, l.layers...) }

// layered is a directory of several layers: a file is the first layer's that
// has it. Locks read their file: sources from it.
type layered struct {
	layers []Layer
	dir    string
}

// Open implements fs.FS.
func (l layered) Open(name string) (f fs.File, err error) {
	for _, layer := range l.layers {
		if f, err = layer.FS.Open(path.Join(l.dir, name)); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, err
}

func (l *loader) fail(address, summary, detail string) {
	l.ds = append(l.ds, api.Diagnostic{Severity: api.SeverityError, Address: address, Summary: summary, Detail: detail})
}

// readFile reads a regular file. Anything else could block for ever when it is
// opened, where no signal reaches.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	st, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it is larger than %d MiB", maxFile>>20)
	}
	return data, err
}

// merge adds what an included stack brings. Names must not clash.
func merge(into, from *Spec, at *document.Node) api.Diagnostics {
	var ds api.Diagnostics
	ds = append(ds, mergeMap("artifact", &into.Artifacts, from.Artifacts, from.Name, at)...)
	ds = append(ds, mergeMap("classpath", &into.Classpaths, from.Classpaths, from.Name, at)...)
	ds = append(ds, mergeMap("role", &into.Roles, from.Roles, from.Name, at)...)
	ds = append(ds, mergeMap("file", &into.Files, from.Files, from.Name, at)...)
	ds = append(ds, mergeMap("service", &into.Services, from.Services, from.Name, at)...)
	ds = append(ds, mergeMap("link", &into.Links, from.Links, from.Name, at)...)
	into.Java.Min = max(into.Java.Min, from.Java.Min)
	if from.Java.Max != 0 && (into.Java.Max == 0 || from.Java.Max < into.Java.Max) {
		into.Java.Max = from.Java.Max
	}
	return ds
}

func mergeMap[V any](kind string, into *map[string]V, from map[string]V, name string, at *document.Node) api.Diagnostics {
	var ds api.Diagnostics
	if *into == nil {
		*into = map[string]V{}
	}
	for _, k := range sortedKeys(from) {
		if _, dup := (*into)[k]; dup {
			ds = append(ds, document.Error(at, fmt.Sprintf("%s %s is also in the included stack %s", kind, k, name), "give it another name"))
			continue
		}
		(*into)[k] = from[k]
	}
	return ds
}

func digest(files map[string][]byte) string {
	h := sha256.New()
	for _, name := range sortedKeys(files) {
		fmt.Fprintf(h, "%s %d\n", name, len(files[name]))
		h.Write(files[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// sortedKeys returns a map's keys in order, so that findings and renderings
// come out the same each time.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// LoadOne loads one stack of the first layer; the others hold what it may
// include or share.
func LoadOne(name string, layers ...Layer) (*Stack, api.Diagnostics) {
	return load(layers, 0, name)
}
