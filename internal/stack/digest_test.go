package stack_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/golden"
	"howdah.dev/howdah/internal/stack"
)

const toys = `
-- toy/stack.yaml --
name: toy
summary: a toy
version: "1"
java: {min: 17, max: 21}
includes: [tin]
artifacts: {toy: {lock: toy.lock}}
classpaths: {toy: {set: toy, classes: toy.classes}}
roles: {toy: {services: [toyd], memoryMB: 64}}
services:
  toyd: {command: ["${java.bin}", -cp, "${cp.toy}", "${cds.toy}", Toy], ready: {tcp: "${self.ip}:1"}, files: {a.properties: {format: properties, user: toy/a, values: {k: "${self.ip}"}}}}
default: {nodeGroups: [{name: all, roles: [toy], instanceNum: 1}]}
-- tin/stack.yaml --
name: tin
summary: a tin
version: "1"
java: {min: 11, max: 19}
artifacts: {tin: {lock: tin.lock}}
roles: {tin: {services: [tind], memoryMB: 64}}
services: {tind: {command: [tin], ready: {tcp: "${self.ip}:2"}}}
default: {nodeGroups: [{name: all, roles: [tin], instanceNum: 1}]}
-- toy/toy.lock --
lib/a.jar mvn:g:a:1 10 sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa MIT
-- toy/toy.classes --
Toy
-- shared/tin.lock --
lib/b.jar mvn:g:b:1 10 sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb MIT
-- shared/other.lock --
lib/c.jar mvn:g:c:1 10 sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc MIT
`

func load(t *testing.T, a *golden.Archive) *stack.Stack {
	t.Helper()
	c, ds := stack.LoadCatalog(stack.Layer{Name: "mine", FS: a.FS()})
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	s, ok := c.Get("toy")
	if !ok {
		t.Fatal("no toy")
	}
	return s
}

// TestDigest: what a cluster runs depends on decides the digest, and nothing
// else does.
func TestDigest(t *testing.T) {
	was := load(t, golden.Parse(toys))
	if was.Java.Min != 17 || was.Java.Max != 19 {
		t.Errorf("Java %d to %d, want what both stacks run on, 17 to 19", was.Java.Min, was.Java.Max)
	}
	for _, tt := range []struct {
		file, old, now string
		changes        bool
	}{
		{"toy/stack.yaml", "Toy]", "Toy2]", true},
		{"tin/stack.yaml", "[tin]", "[tin2]", true},
		{"toy/toy.lock", " 10 ", " 11 ", true},
		{"shared/tin.lock", "sha256:b", "sha256:c", true},
		{"shared/other.lock", "MIT", "BSD", false},
		{"toy/toy.classes", "Toy", "Other", false},
	} {
		a := golden.Parse(toys)
		a.Set(tt.file, strings.Replace(a.Get(tt.file), tt.old, tt.now, 1))
		now := load(t, a)
		if changed := now.Digest != was.Digest; changed != tt.changes {
			t.Errorf("%s: %s → %s changes the digest: %v, want %v", tt.file, tt.old, tt.now, changed, tt.changes)
		}
	}
}

// TestFromBundle loads each stack out of the files a cluster keeps of it: it
// is the same stack and renders the same.
func TestFromBundle(t *testing.T) {
	stacks := builtin(t)
	for _, name := range stacks.Names() {
		s, _ := stacks.Get(name)
		kept, err := stack.FromBundle(name, maps.Clone(s.Bundle))
		if err != nil {
			t.Fatal(err)
		}
		if kept.Digest != s.Digest {
			t.Errorf("%s: digest %s, kept %s", name, s.Digest, kept.Digest)
		}
		rev := &stack.Revision{ClusterID: "id", Links: map[string]map[string]string{"hdfs": {"cluster": "w", "fs": "hdfs://w:8020", "web": "http://w"}}}
		rev.Cluster.Name = "c"
		for i, g := range s.Default.NodeGroups {
			rev.Members = append(rev.Members, stack.Member{Name: g.Name, Group: g.Name, Ordinal: i + 1, Roles: g.Roles, Address: "127.0.0.1", MemoryMB: 1024, CPUs: 1})
		}
		for _, m := range rev.Members {
			a, err := stack.NewRenderer(s, rev, nil).Assignment(m.Name, host(m.Name))
			if err != nil {
				t.Fatal(err)
			}
			b, err := stack.NewRenderer(kept, rev, nil).Assignment(m.Name, host(m.Name))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(a, b); diff != "" {
				t.Errorf("%s of %s renders otherwise (-stack +kept):\n%s", m.Name, name, diff)
			}
		}
	}
	if _, err := stack.FromBundle("toy", map[string][]byte{"tin/stack.yaml": nil}); err == nil ||
		err.Error() != "cannot load kept stack toy: error  toy: stack toy cannot be read: open toy/stack.yaml: file does not exist" {
		t.Errorf("%v", err)
	}
}

// TestLayers: a stack of one layer may use what another layer shares; two
// stacks of one name are refused.
func TestLayers(t *testing.T) {
	a, b := golden.Parse(toys), &golden.Archive{}
	b.Add("mine/stack.yaml", strings.NewReplacer("name: tin", "name: mine", "tin.lock", "other.lock").Replace(a.Get("tin/stack.yaml")))
	c, ds := stack.LoadCatalog(stack.Layer{Name: "one", FS: a.FS()}, stack.Layer{Name: "two", FS: b.FS()})
	if len(ds) > 0 || len(c.Names()) != 3 {
		t.Errorf("%v %v", c.Names(), ds)
	}
	if got := string(c.ClassList("toy", "toy.classes")); got != "Toy\n" {
		t.Errorf("class list %q", got)
	}
	_, ds = stack.LoadCatalog(stack.Layer{Name: "one", FS: a.FS()}, stack.Layer{Name: "two", FS: a.FS()})
	want := "error  tin: stack tin is in one and in two\n    give one of them another name\nerror  toy: stack toy is in one and in two\n    give one of them another name\n"
	if diff := cmp.Diff(want, listed(ds)); diff != "" {
		t.Error(diff)
	}
}

// TestRestartKey changes with what only a restart brings, and with nothing else.
func TestRestartKey(t *testing.T) {
	key := func(old, now string, set map[string]string) string {
		a := golden.Parse(toys)
		a.Set("toy/stack.yaml", strings.Replace(a.Get("toy/stack.yaml"), old, now, 1))
		rev := &stack.Revision{Members: []stack.Member{{Name: "n", Group: "all", Ordinal: 1, Roles: []string{"toy"}, Address: "127.0.0.1"}}}
		rev.Cluster.Configuration = configuration(set)
		as, err := stack.NewRenderer(load(t, a), rev, nil).Assignment("n", host("n"))
		if err != nil {
			t.Fatal(err)
		}
		return as.Services[0].RestartKey
	}
	was := key("", "", nil)
	for _, tt := range []struct {
		old, now string
		set      map[string]string
		changes  bool
	}{
		{"Toy]", "Toy2]", nil, true},
		{"ready:", "env: {A: b}, ready:", nil, true},
		{"", "", map[string]string{"x": "y"}, true},
		{"", "", map[string]string{"k": "127.0.0.1"}, false},
		{"format: properties", "onChange: rollingRestart, format: properties", nil, false},
		{"tcp:", "every: 1s, tcp:", nil, false},
		{"ready:", "stop: {signal: INT}, ready:", nil, false},
		{"ready:", "health: {tcp: 'a:1'}, ready:", nil, false},
	} {
		if changed := key(tt.old, tt.now, tt.set) != was; changed != tt.changes {
			t.Errorf("%q → %q %v changes the restart key: %v, want %v", tt.old, tt.now, tt.set, changed, tt.changes)
		}
	}
	if a, b := key("format:", "onChange: reload, format:", nil), key("format:", "onChange: reload, format:", map[string]string{"x": "y"}); a != b {
		t.Error("a file that is reloaded changes the restart key")
	}
}
