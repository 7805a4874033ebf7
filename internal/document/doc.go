// Package document reads the JSON and YAML files users write and remembers
// where every value stood, so that each finding can point at a line and a column.
//
// Parse turns bytes into trees of Nodes; Decode fills Go structs from a Node,
// strictly, and returns every finding at once; Node.At finds the place of a
// decoded field again for checks made later; Schema writes the JSON Schema of
// the same Go types. The package knows files, not clusters: it imports api and
// nothing else of the project.
//
// What YAML means here is the 1.2 core schema, narrowed: null, booleans and
// numbers as in JSON (plus ~, True, 0x1f and 0o17); yes, no, on, off, dates and
// numbers with leading zeros are text. Aliases and merge keys are expanded
// within Limits.Nodes; tags other than the standard scalar ones are refused.
package document
