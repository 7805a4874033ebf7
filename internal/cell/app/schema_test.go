package app

import (
	"bytes"
	"encoding/json"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const schemaBase = "https://howdah.dev/schema/marathon/"

// schemas are compiled once: properties ask for them thousands of times.
//
//nolint:gochecknoglobals // never changed
var schemas = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	files := []string{"app.json", "group.json", "error.json", "answers.json", "events.json"}
	for _, file := range files {
		raw, err := Schemas.ReadFile("schema/" + file)
		if err != nil {
			return nil, err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			return nil, err
		}
		if err := c.AddResource(schemaBase+file, doc); err != nil {
			return nil, err
		}
	}
	compiled := map[string]*jsonschema.Schema{}
	for _, file := range files {
		schema, err := c.Compile(schemaBase + file)
		if err != nil {
			return nil, err
		}
		compiled[file] = schema
	}
	return compiled, nil
})

// validates checks an answer against a schema of this package.
func validates(t testing.TB, name string, body []byte) {
	t.Helper()
	all, err := schemas()
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := all[name].Validate(value); err != nil {
		t.Errorf("%s: %v\n%s", name, err, body)
	}
}

// answer checks an error's body against its schema and returns it.
func answer(t testing.TB, e *Error) string {
	t.Helper()
	body, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	validates(t, "error.json", body)
	return string(body)
}
