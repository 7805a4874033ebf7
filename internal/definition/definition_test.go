package definition_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/definition"
	"howdah.dev/howdah/internal/golden"
	"howdah.dev/howdah/internal/stack"
)

// world is what the files of these tests may refer to: the stacks of the
// repository, and a warehouse that is there already.
func world(t testing.TB) definition.World {
	t.Helper()
	stacks, ds := stack.LoadCatalog(stack.Layer{Name: "stacks", FS: os.DirFS("../../stacks")})
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	return definition.World{
		Stacks: stacks, Infrastructures: []string{"local"}, OpenPorts: true, WhyOpen: "there is no C compiler",
		Exports: map[string][]string{"warehouse": {"fs", "web"}, "coordination": {"hosts"}},
	}
}

// read reads every file of an archive but "want" and completes it. A file
// named "closed" asks for a host whose nodes have no identity of their own.
func read(t *testing.T, a *golden.Archive) ([]definition.Completed, api.Diagnostics) {
	w := world(t)
	var out []definition.Completed
	var ds api.Diagnostics
	for _, f := range a.Files {
		switch f.Name {
		case "want":
		case "closed":
			w.OpenPorts = false
		default:
			ps, more := definition.Read(f.Name, []byte(f.Data))
			ds = append(ds, more...)
			cs, more := definition.Complete(ps, w)
			ds = append(ds, more...)
			out = append(out, cs...)
		}
	}
	return out, ds
}

// TestBadInput compares every finding, in the words users read.
func TestBadInput(t *testing.T) {
	golden.Each(t, "bad", func(t *testing.T, a *golden.Archive) string {
		_, ds := read(t, a)
		if !ds.HasErrors() && a.Get("warnings") == "" && !strings.Contains(a.Comment, "warning") {
			t.Error("no error at all")
		}
		return listed(ds)
	})
}

// TestGoodInput compares definitions with every default filled in.
func TestGoodInput(t *testing.T) {
	golden.Each(t, "good", func(t *testing.T, a *golden.Archive) string {
		cs, ds := read(t, a)
		if len(ds) > 0 {
			t.Error(ds)
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		for _, c := range cs {
			if err := enc.Encode(c.Cluster); err != nil {
				t.Fatal(err)
			}
		}
		return b.String()
	})
}

// TestExamples reads the definitions that the repository shows people.
func TestExamples(t *testing.T) {
	for _, name := range []string{"platform.yaml", "batch-5-nodes.yaml"} {
		data, err := os.ReadFile("../../examples/platform/" + name)
		if err != nil {
			t.Fatal(err)
		}
		ps, ds := definition.Read(name, data)
		if _, more := definition.Complete(ps, world(t)); len(ds)+len(more) > 0 {
			t.Error(ds, more)
		}
	}
}

func listed(ds api.Diagnostics) string {
	var b strings.Builder
	for _, d := range ds {
		b.WriteString(d.String() + "\n")
		if d.Detail != "" {
			b.WriteString("    " + d.Detail + "\n")
		}
	}
	return b.String()
}

// FuzzRead reads any file: it never panics, findings have a place, and what
// is read without error can be completed.
func FuzzRead(f *testing.F) {
	for _, dir := range []string{"testdata/bad", "testdata/good"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range entries {
			text, err := os.ReadFile(dir + "/" + e.Name())
			if err != nil {
				f.Fatal(err)
			}
			f.Add([]byte(golden.Parse(string(text)).Files[0].Data))
		}
	}
	w := world(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4000 {
			return
		}
		ps, ds := definition.Read("fuzz", data)
		for _, d := range ds {
			if d.Summary == "" || d.Source == nil && !strings.Contains(d.Summary, "more findings") {
				t.Errorf("%q: %+v", data, d)
			}
		}
		if len(ps) == 0 && !ds.HasErrors() && !bytes.Contains(data, []byte("clusters")) {
			t.Errorf("%q: neither a cluster nor an error", data)
		}
		for _, p := range ps {
			for _, g := range p.Cluster.NodeGroups {
				if g.InstanceNum > 200 {
					return // rules look at every node; not here
				}
			}
		}
		cs, _ := definition.Complete(ps, w)
		again, _ := definition.Complete(ps, w)
		if len(cs) != len(again) {
			t.Errorf("%q completes in two ways", data)
		}
	})
}
