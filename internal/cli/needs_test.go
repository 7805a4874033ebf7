package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/definition"
	"howdah.dev/howdah/internal/host"
	"howdah.dev/howdah/internal/server"
)

// TestNeededBy: only what the clusters of a file need is asked for.
func TestNeededBy(t *testing.T) {
	cat, ds := catalog()
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	rest := []host.Need{{Kind: host.NeedDisk, Bytes: needDiskBytes}, {Kind: host.NeedMemory, Bytes: needMemoryBytes}}
	for _, tt := range []struct {
		name, text      string
		fetch, compiler bool // what is not here yet
		want            []host.Need
	}{
		{"ZooKeeper", "name: zk\nstack: zookeeper\n", true, true, []host.Need{{Kind: host.NeedJava, Min: 11}, {Kind: host.NeedMaven}}},
		{"ZooKeeper that is here", "name: zk\nstack: zookeeper\n", false, true, []host.Need{{Kind: host.NeedJava, Min: 11}}},
		{"Storm", "name: s\nstack: storm\n", true, true, []host.Need{{Kind: host.NeedJava, Min: 17, Max: 24}, {Kind: host.NeedMaven}, {Kind: host.NeedCC}}},
		{"Storm with the compiler's work done", "name: s\nstack: storm\n", true, false, []host.Need{{Kind: host.NeedJava, Min: 17, Max: 24}, {Kind: host.NeedMaven}}},
		{
			"HDFS and Storm", "clusters: [{name: s, stack: storm}, {name: h, stack: hdfs}, {name: z, stack: zookeeper}]", false, true,
			[]host.Need{{Kind: host.NeedJava, Min: 17, Max: 24}, {Kind: host.NeedCC}},
		},
		{"none of this host", "{name: z, stack: zookeeper, infrastructure: elsewhere}", true, true, nil},
		{"nothing that can be read", "name: x\nstack: yarm\n", true, true, nil},
	} {
		ps, _ := definition.Read("a.yaml", []byte(tt.text))
		cs, _ := definition.Complete(ps, definition.World{Stacks: cat, Infrastructures: []string{"local"}, OpenPorts: true})
		want := tt.want
		if want != nil {
			want = append(want, rest...)
		}
		got := neededBy(cs, needing{maven: func([]*artifact.Lock) bool { return tt.fetch }, compiler: tt.compiler})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestNarrowest(t *testing.T) {
	j := func(from, to int) host.Need { return host.Need{Kind: host.NeedJava, Min: from, Max: to} }
	for _, tt := range []struct{ in, want []host.Need }{
		{[]host.Need{j(17, 25), j(17, 25)}, []host.Need{j(17, 25)}},
		{[]host.Need{j(17, 25), j(17, 24), j(11, 0)}, []host.Need{j(17, 24)}},
		{[]host.Need{j(8, 11), j(17, 0)}, []host.Need{j(8, 11), j(17, 0)}},
		{[]host.Need{j(11, 0), j(17, 0)}, []host.Need{j(17, 0)}},
	} {
		if diff := cmp.Diff(tt.want, narrowest(tt.in)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.in, diff)
		}
	}
}

// TestNeeds: without a file nothing is asked for; without artifacts Maven is.
func TestNeeds(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	dir := t.TempDir()
	file := filepath.Join(dir, "zk.yaml")
	if err := os.WriteFile(file, []byte("name: zk\nstack: zookeeper\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u := &upper{app: &app{home: server.Home{Dir: dir}}}
	if needs, err := u.needs(""); err != nil || len(needs) > 0 {
		t.Errorf("%v %v", needs, err)
	}
	needs, err := u.needs(file)
	want := []host.Need{{Kind: host.NeedJava, Min: 11}, {Kind: host.NeedMaven}, {Kind: host.NeedDisk, Bytes: needDiskBytes, Path: dir}, {Kind: host.NeedMemory, Bytes: needMemoryBytes}}
	if diff := cmp.Diff(want, needs); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
