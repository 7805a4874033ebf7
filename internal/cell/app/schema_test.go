package app

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// validates checks an answer against a schema of package schema.
func validates(t testing.TB, name string, body []byte) {
	t.Helper()
	c := jsonschema.NewCompiler()
	const base = "https://howdah.dev/schema/marathon/"
	for _, file := range []string{"app.json", "group.json", "error.json"} {
		raw, err := Schemas.ReadFile("schema/" + file)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := c.AddResource(base+file, doc); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := c.Compile(base + name)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
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
