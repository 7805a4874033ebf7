package pipeline

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/document"
)

func lines(text string) []string { return strings.Split(strings.Trim(text, "\n"), "\n") }

func TestParseFindings(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"empty": {"", `p.yaml:1:1  error  the file is empty`},
		"two":   {"name: a\n---\nname: b\n", `p.yaml:3:1  error  the file holds more than one pipeline`},
		"bare": {"name: Go\nstepz: []\n", `
p.yaml:1:1  error  warehouse: is missing
p.yaml:1:1  error  steps: is missing
p.yaml:1:7  error  name: "Go" has not the form wanted here
p.yaml:2:1  error  stepz: unknown field; did you mean steps?`},
		"steps": {`name: a
warehouse: w
steps:
  - name: one
  - name: one
    after: [one, two, oen]
    ingest: {from: x, dataset: /data/x, partMB: 0}
    feed: {from: x, path: /feeds/x}
  - name: three
    after: [four]
    job: {cluster: c, main: m, output: /data/x/words, args: ["${OUTPUT}", "${FEED}", "${"]}
  - name: four
    after: [three]
    ingest: {from: "${HOME}/src", match: "a/[", dataset: data}
`, `
p.yaml:4:5  error  steps[0]: the step does nothing
p.yaml:5:11  error  steps[1].name: step one is declared twice
p.yaml:6:13  error  steps[1].after[0]: step one comes after itself
p.yaml:6:18  error  steps[1].after[1]: there is no step "two"
p.yaml:6:23  error  steps[1].after[2]: there is no step "oen"
p.yaml:7:49  error  steps[1].ingest.partMB: 0 is too small
p.yaml:8:11  error  steps[1].feed: the step does several things: ingest, feed
p.yaml:10:12  error  steps[2].after: step three comes after itself by way of others
p.yaml:11:40  error  steps[2].job.output: /data/x/words and /data/x of steps[1].ingest.dataset overlap
p.yaml:11:75  error  steps[2].job.args[1]: ${FEED} is not known here
p.yaml:11:86  error  steps[2].job.args[2]: ${ has no closing brace
p.yaml:13:12  error  steps[3].after: step four comes after itself by way of others
p.yaml:14:20  error  steps[3].ingest.from: ${HOME} is not known here
p.yaml:14:42  error  steps[3].ingest.match: "a/[" is no pattern
p.yaml:14:42  error  steps[3].ingest.match: "a/[" holds a slash
p.yaml:14:58  error  steps[3].ingest.dataset: "data" does not start with a slash`},
		"paths": {`name: a
warehouse: w
steps:
  - {name: a, ingest: {from: x, dataset: /data}}
  - {name: b, ingest: {from: x, dataset: /data/../x}}
  - {name: c, ingest: {from: x, dataset: /data/.howdah}}
  - {name: d, job: {cluster: c, output: /data/d, deadline: -1s}}
`, `
p.yaml:4:42  error  steps[0].ingest.dataset: /data is too near the root
p.yaml:5:42  error  steps[1].ingest.dataset: "/data/../x" is no plain path
p.yaml:6:42  error  steps[2].ingest.dataset: /data/.howdah would replace Howdah's run records in /data/.howdah/pipelines
p.yaml:7:20  error  steps[3].job.main: is missing
p.yaml:7:60  error  steps[3].job.deadline: the deadline is negative`},
		"apps": {`name: a
warehouse: w
steps:
  - {name: a, app: {cell: c, app: /x, dataset: /data/a, build: {binary: b, layers: [{from: s, match: "a/b", to: src}]}}}
  - {name: b, app: {cell: c, app: /x, dataset: /data/a/b, build: {binary: "${X}", layers: []}, deadline: -1s, instances: -1, env: {HOWDAH_RUN: 1}}}
  - {name: c, app: {cell: c, app: x, image: UPPER, dataset: data}}
  - {name: d, app: , ingest: {from: x, dataset: /data/d}}
`, `
p.yaml:4:102  error  steps[0].app.build.layers[0].match: "a/b" holds a slash
p.yaml:4:113  error  steps[0].app.build.layers[0].to: "src" is no folder of an image
p.yaml:5:35  error  steps[1].app.app: another step runs app /x on c
p.yaml:5:48  error  steps[1].app.dataset: /data/a/b and /data/a of steps[0].app.dataset overlap
p.yaml:5:75  error  steps[1].app.build.binary: ${X} is not known here
p.yaml:5:91  error  steps[1].app.build.layers: has 0 items; at least 1 are wanted
p.yaml:5:106  error  steps[1].app.deadline: the deadline is negative
p.yaml:5:122  error  steps[1].app.instances: -1 is too small
p.yaml:5:144  error  steps[1].app.env.HOWDAH_RUN: the pipeline sets HOWDAH_RUN itself
p.yaml:6:20  error  steps[2].app.build: is missing
p.yaml:6:35  error  steps[2].app.app: "x" has not the form wanted here
p.yaml:6:45  error  steps[2].app.image: "UPPER" has not the form wanted here
p.yaml:6:61  error  steps[2].app.dataset: "data" does not start with a slash
p.yaml:7:30  error  steps[3].ingest: the step does several things: app, ingest`},
		"verify": {`name: a
warehouse: w
steps:
  - {name: in, ingest: {from: x, dataset: /data/in}}
  - {name: words, after: [in], job: {cluster: c, main: m, output: /data/out}}
  - {name: lines, after: [in], topology: {cluster: s, name: n, flux: f, output: /data/n, properties: {a: "x\ny"}}}
  - {name: again, after: [in], topology: {cluster: s, name: n, flux: f, output: /data/m}}
  - name: verify
    after: [words]
    verify: [{words: words, of: in}, {words: words, lines: lines, of: in}, {lines: lines, of: in}, {words: wrods, of: words}, {words: in}]
`, `
p.yaml:6:26  error  steps[2].after: the topology comes after no feed steps; exactly one is wanted
p.yaml:6:106  error  steps[2].topology.properties.a: the value holds a line break
p.yaml:7:26  error  steps[3].after: the topology comes after no feed steps; exactly one is wanted
p.yaml:7:61  error  steps[3].topology.name: another step runs topology n on s
p.yaml:10:38  error  steps[4].verify[1]: the check wants either words or lines
p.yaml:10:84  error  steps[4].verify[2].lines: step verify does not come after lines
p.yaml:10:95  error  steps[4].verify[2].of: step in is no feed step
p.yaml:10:108  error  steps[4].verify[3].words: there is no step "wrods"
p.yaml:10:119  error  steps[4].verify[3].of: step words is no app or ingest step
p.yaml:10:127  error  steps[4].verify[4].of: is missing
p.yaml:10:135  error  steps[4].verify[4].words: step in is no job step`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d, found := Parse("p.yaml", []byte(test.in))
			if d != nil {
				t.Error("a definition was returned beside errors")
			}
			if diff := cmp.Diff(lines(test.want), lines(found.Error())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestExample(t *testing.T) {
	const file = "../../examples/platform/pipeline.yaml"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d, found := Parse(file, data)
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	// Every property the Flux file asks for is given.
	flux, err := os.ReadFile("../../examples/platform/pipeline/net-lines.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, _ := d.step("lines")
	for key := range s.Topology.Properties {
		if !strings.Contains(string(flux), "${"+key+"}") {
			t.Errorf("property %s is not asked for", key)
		}
	}
	if asked := strings.Count(string(flux), "${"); asked < len(s.Topology.Properties) {
		t.Errorf("%d properties asked for, %d given", asked, len(s.Topology.Properties))
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	write("src/net/http/a.go", "x")
	file := write("p.yaml", `name: a
warehouse: w
steps:
  - {name: in, ingest: {from: src, dataset: /data/in}}
  - {name: go, ingest: {from: "${GOROOT}/src", dataset: /data/go}}
  - {name: feed, feed: {from: src/net, path: /feeds/f}}
`)
	d, found := Load(context.Background(), file)
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	if got := d.Steps[0].Ingest; *got != (Ingest{From: filepath.Join(dir, "src"), Match: "*", PartMB: 16, Dataset: "/data/in"}) {
		t.Errorf("ingest is %+v", *got)
	}
	if got := d.Steps[1].Ingest.From; !filepath.IsAbs(got) || filepath.Base(got) != "src" {
		t.Errorf("${GOROOT}/src is %s", got)
	}
	if got, err := d.Steps[2].Feed.prefix(); got != "net" || err != nil {
		t.Errorf("prefix is %q, %v", got, err)
	}

	t.Setenv("PATH", dir)
	bad := write("bad.yaml", `name: a
warehouse: w
steps:
  - {name: in, ingest: {from: "${GOROOT}/src", dataset: /data/in}}
  - {name: job, job: {cluster: c, jar: no.jar, output: /data/out}}
  - {name: feed, feed: {from: p.yaml, path: /feeds/f}}
  - {name: top, after: [feed], topology: {cluster: c, name: n, flux: p.yaml, resources: [bin/none], output: /data/t}}
`)
	_, found = Load(context.Background(), bad)
	want := strings.ReplaceAll(`
DIR/bad.yaml:4:31  error  steps[0].ingest.from: ${GOROOT} is not known: there is no go program on the PATH
DIR/bad.yaml:5:40  error  steps[1].job.jar: DIR/no.jar does not exist
DIR/bad.yaml:6:31  error  steps[2].feed.from: DIR/p.yaml is no directory
DIR/bad.yaml:7:90  error  steps[3].topology.resources[0]: DIR/bin/none does not exist`, "DIR", dir)
	if diff := cmp.Diff(lines(want), lines(found.Error())); diff != "" {
		t.Error(diff)
	}
	_, found = Load(context.Background(), filepath.Join(dir, "none.yaml"))
	if got, want := found.Error(), "error  cannot read pipeline: open "+dir+"/none.yaml: no such file or directory"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSchema(t *testing.T) {
	if _, err := document.Schema(reflect.TypeFor[Definition](), document.SchemaOptions{}); err != nil {
		t.Fatal(err)
	}
}

func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("../../examples/platform/pipeline.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"name":"a","warehouse":"w","steps":[{"name":"v","after":["v"],"verify":[{"words":"v"}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, found := Parse("p.yaml", data)
		if (d == nil) != found.HasErrors() {
			t.Fatalf("definition %v with findings %v", d, found)
		}
		if d != nil {
			for _, s := range d.Steps {
				if s.Kind() == "" {
					t.Fatalf("step %s has no kind", s.Name)
				}
			}
		}
	})
}
