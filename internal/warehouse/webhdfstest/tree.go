package webhdfstest

import (
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// inode is a file or a folder.
type inode struct {
	id       int64
	folder   bool
	writing  bool // nobody has said yet that it is whole
	data     []byte
	owner    string
	group    string
	mode     string
	modified time.Time
	names    int64 // quotas; -1 is none
	space    int64
}

// tree is all files by path; folders are there too. The caller locks.
type tree struct {
	nodes map[string]*inode
	next  int64
}

func newTree() *tree {
	t := &tree{nodes: map[string]*inode{}}
	t.nodes["/"] = t.make(true, "root")
	return t
}

func (t *tree) make(folder bool, owner string) *inode {
	t.next++
	n := &inode{id: 16384 + t.next, folder: folder, owner: owner, group: "supergroup", mode: "644", modified: time.Now(), names: -1, space: -1}
	if folder {
		n.mode = "755"
	}
	return n
}

// mkdirs makes a folder and its parents; false if a file is in the way.
func (t *tree) mkdirs(name, owner string) bool {
	if n := t.nodes[name]; n != nil {
		return n.folder
	}
	if !t.mkdirs(path.Dir(name), owner) {
		return false
	}
	t.nodes[name] = t.make(true, owner)
	return true
}

// children returns the paths right below a folder, in order.
func (t *tree) children(name string) []string {
	var out []string
	for p := range t.nodes {
		if p != "/" && path.Dir(p) == name {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// below returns a path and all below it.
func (t *tree) below(name string) []string {
	var out []string
	for _, p := range slices.Sorted(maps.Keys(t.nodes)) {
		if p == name || strings.HasPrefix(p, strings.TrimSuffix(name, "/")+"/") {
			out = append(out, p)
		}
	}
	return out
}

func (t *tree) remove(name string) {
	for _, p := range t.below(name) {
		delete(t.nodes, p)
	}
}

func (t *tree) move(from, to string) {
	for _, p := range t.below(from) {
		t.nodes[to+strings.TrimPrefix(p, from)] = t.nodes[p]
		delete(t.nodes, p)
	}
}

// holds reports whether an inode is still anywhere.
func (t *tree) holds(n *inode) bool {
	for _, other := range t.nodes {
		if other == n {
			return true
		}
	}
	return false
}
