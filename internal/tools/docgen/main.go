// Command docgen writes the reference pages that are made from code: the JSON
// Schemas of definitions, pipelines and datasets, the fields of stacks, the REST API, the
// command line.
// Its output depends on the code alone.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/document"
	"howdah.dev/howdah/internal/pipeline"
	"howdah.dev/howdah/internal/server"
	"howdah.dev/howdah/internal/warehouse/dataset"
)

//go:generate go run . ../../../docs/reference

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: docgen DIRECTORY")
		os.Exit(2)
	}
	for name, page := range map[string]func() ([]byte, error){
		"definition.schema.json": definitionSchema,
		"pipeline.schema.json":   pipelineSchema,
		"dataset.schema.json":    datasetSchema,
		"openapi.json":           openAPI,
		"stack.md":               stackPage,
		"cli.md":                 cliPage,
	} {
		data, err := page()
		if err == nil {
			err = os.WriteFile(filepath.Join(os.Args[1], name), data, 0o644) //nolint:gosec // a page for everyone
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "docgen: cannot write %s: %v\n", name, err)
			os.Exit(1)
		}
	}
}

// definitionSchema describes a definition file: one cluster, or a list of them.
func definitionSchema() ([]byte, error) {
	data, err := document.Schema(reflect.TypeFor[api.Definition](), document.SchemaOptions{
		ID: "https://howdah.dev/definition.schema.json", Title: "Howdah definition",
		Description: "One cluster, or a list of them under clusters. JSON with comments or YAML.",
	})
	if err != nil {
		return nil, err
	}
	var s map[string]any
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, err
	}
	list := map[string]any{}
	for _, k := range []string{"type", "properties", "required", "additionalProperties", "$ref"} {
		if v, ok := s[k]; ok {
			list[k] = v
			delete(s, k)
		}
	}
	s["oneOf"] = []any{map[string]any{"$ref": "#/$defs/Cluster"}, list}
	return indented(s)
}

// pipelineSchema describes a pipeline's file.
func pipelineSchema() ([]byte, error) {
	data, err := document.Schema(reflect.TypeFor[pipeline.Definition](), document.SchemaOptions{
		ID: "https://howdah.dev/pipeline.schema.json", Title: "Howdah pipeline",
		Description: "A declared chain of steps. JSON with comments or YAML.",
	})
	if err != nil {
		return nil, err
	}
	return indented(json.RawMessage(data))
}

// datasetSchema describes a file that declares datasets.
func datasetSchema() ([]byte, error) {
	data, err := document.Schema(reflect.TypeFor[dataset.File](), document.SchemaOptions{
		ID: "https://howdah.dev/dataset.schema.json", Title: "Howdah datasets",
		Description: "Declared folders of a warehouse. JSON with comments or YAML.",
	})
	if err != nil {
		return nil, err
	}
	return indented(json.RawMessage(data))
}

// openAPI describes the REST API.
func openAPI() ([]byte, error) {
	return indented(server.OpenAPI())
}

func indented(v any) ([]byte, error) {
	flat, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, flat, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
