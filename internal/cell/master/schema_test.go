package master

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// reads are the schemas of what GET paths answer, by path. They are written by
// hand from Mesos's reference, so that tests compare the code with something else.
//
//nolint:gochecknoglobals // compiled once, never changed
var reads = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	file, err := os.Open("testdata/reads.json")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	doc, err := jsonschema.UnmarshalJSON(file)
	if err != nil {
		return nil, err
	}
	const base = "https://howdah.dev/schema/mesos/reads.json"
	c := jsonschema.NewCompiler()
	if err := c.AddResource(base, doc); err != nil {
		return nil, err
	}
	out := map[string]*jsonschema.Schema{}
	for path, name := range map[string]string{"/state": "state", "/slaves": "slaves", "/tasks": "tasks", "/version": "version", "/metrics/snapshot": "metrics"} {
		if out[path], err = c.Compile(base + "#/$defs/" + name); err != nil {
			return nil, err
		}
	}
	return out, nil
})

// conforms checks what a GET path answered, where there is a schema of it.
func conforms(t testing.TB, path, body string) {
	t.Helper()
	all, err := reads()
	if err != nil {
		t.Fatal(err)
	}
	path, _, _ = strings.Cut(strings.TrimPrefix(path, "/master"), "?")
	schema := all[strings.TrimSuffix(path, ".json")]
	if schema == nil {
		return
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		t.Errorf("%s: %v\n%s", path, err, body)
	}
}
