package document

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"

	"howdah.dev/howdah/api"
)

var update = flag.Bool("update", false, "rewrite golden files")

type tree struct {
	Groups   []group         `json:"nodeGroups" doc:"Groups of nodes"`
	Children map[string]tree `json:"children,omitempty"`
	Found    api.Diagnostic  `json:"found,omitempty"`
	Text     Text            `json:"text,omitempty" default:"x"`
	Small    *int8           `json:"small"`
}

func treeSchema(t *testing.T) []byte {
	t.Helper()
	got, err := Schema(reflect.TypeFor[tree](), SchemaOptions{ID: "https://howdah.dev/schema/tree.json", Title: "Tree"})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSchemaGolden(t *testing.T) {
	got, path := treeSchema(t), filepath.Join("testdata", "tree.schema.json")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
	for range 5 {
		if string(treeSchema(t)) != string(got) {
			t.Fatal("two runs differ")
		}
	}
}

// What the schema accepts, Decode and Check accept, and nothing else.
func TestSchemaAgreesWithDecodeAndCheck(t *testing.T) {
	var s jsonschema.Schema
	if err := json.Unmarshal(treeSchema(t), &s); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]bool{
		`{"nodeGroups": []}`: true,
		`{}`:                 false,
		`{"nodeGroups": [{"name": "ab", "roles": ["worker"]}]}`:                                        true,
		`{"nodeGroups": [{"name": "ab", "roles": ["wroker"]}]}`:                                        false,
		`{"nodeGroups": [{"name": "ab", "roles": []}]}`:                                                false,
		`{"nodeGroups": [{"name": "AB", "roles": ["worker"]}]}`:                                        false,
		`{"nodeGroups": [{"name": "a", "roles": ["worker"]}]}`:                                         false,
		`{"nodeGroups": [{"name": "ab", "roles": ["worker"], "instanceNum": 0}]}`:                      false,
		`{"nodeGroups": [{"name": "ab", "roles": ["worker"], "instanceNum": 1.0}]}`:                    true,
		`{"nodeGroups": [{"name": "ab", "roles": ["worker"], "instanceNum": 1.5}]}`:                    false,
		`{"nodeGroups": [{"name": "ab", "roles": ["worker"], "port": -1}]}`:                            false,
		`{"nodeGroups": [{"name": "ab", "roles": ["worker"], "every": "200ms"}]}`:                      true,
		`{"nodeGroups": [{"name": "ab", "roles": ["worker"], "every": "200"}]}`:                        false,
		`{"nodeGroups": [{"name": "ab", "roles": ["worker"], "conf": {"a": 1, "b": true, "c": "x"}}]}`: true,
		`{"nodeGroups": [{"name": "ab", "roles": ["worker"], "conf": {"a": []}}]}`:                     false,
		`{"nodeGroups": [{"name": "ab", "roles": ["worker"], "pair": [1]}]}`:                           false,
		`{"nodeGroups": [], "children": {"x": {"nodeGroups": [], "children": {}}}}`:                    true,
		`{"nodeGroups": [], "children": {"x": {"children": {}}}}`:                                      false,
		`{"nodeGroups": [], "found": {"severity": "eror", "summary": "x"}}`:                            false,
		`{"nodeGroups": [], "small": 128}`:                                                             false,
		`{"nodeGroups": [], "other": 1}`:                                                               false,
	} {
		var instance any
		if err := json.Unmarshal([]byte(in), &instance); err != nil {
			t.Fatal(err)
		}
		if err := resolved.Validate(instance); (err == nil) != want {
			t.Errorf("%s: the schema says %v", in, err)
		}
		doc, _ := Parse("a.json", []byte(in))
		var v tree
		ds := append(Decode(doc.Roots()[0], &v), Check(doc.Roots()[0], v)...)
		if ds.HasErrors() == want {
			t.Errorf("%s: Decode and Check say %v", in, ds)
		}
	}
}

func TestCheckFindings(t *testing.T) {
	in := `nodeGroups:
- name: A
  roles: [wroker, worker]
  instanceNum: 2000
- instanceNum: -1
  name: ""
  roles: []
found: {severity: fatal, summary: x}
`
	want := `a.yaml:2:9  error  nodeGroups[0].name: "A" is too short
    Give at least 2 characters.
a.yaml:2:9  error  nodeGroups[0].name: "A" has not the form wanted here
    It must match ^[a-z][a-z0-9-]*$, for example batch.
a.yaml:3:11  error  nodeGroups[0].roles[0]: "wroker" is not possible here; did you mean worker?
    Possible: worker and master.
a.yaml:4:16  error  nodeGroups[0].instanceNum: 2000 is too large
    Give 1000 or less.
a.yaml:5:16  error  nodeGroups[1].instanceNum: -1 is too small
    Give 1 or more.
a.yaml:6:9  error  nodeGroups[1].name: is empty
    Give at least 2 characters.
a.yaml:6:9  error  nodeGroups[1].name: "" has not the form wanted here
    It must match ^[a-z][a-z0-9-]*$, for example batch.
a.yaml:7:10  error  nodeGroups[1].roles: has 0 items; at least 1 are wanted
a.yaml:8:19  error  found.severity: "fatal" is not possible here
    Possible: error and warning.
`
	doc, _ := Parse("a.yaml", []byte(in))
	if diff := cmp.Diff(want, render(Check(doc.Roots()[0], tree{}))); diff != "" {
		t.Error(diff)
	}
	doc, _ = Parse("a.yaml", []byte("small: 1\n"))
	if diff := cmp.Diff("a.yaml:1:1  error  nodeGroups: is missing\n    Groups of nodes\n", render(Check(doc.Roots()[0], &tree{}))); diff != "" {
		t.Error(diff)
	}
}

func TestSchemaRefusesBadTypes(t *testing.T) {
	for want, v := range map[string]any{
		"cannot write the schema of struct { C chan int }: chan int has no JSON form": struct{ C chan int }{},
		"cannot write the schema of struct { A int \"minimum:\\\"x\\\"\" }: field A: minimum is \"x\", no number": struct {
			A int `minimum:"x"`
		}{},
	} {
		if _, err := Schema(reflect.TypeOf(v), SchemaOptions{}); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
